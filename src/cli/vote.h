// Votes on the command line: many thoughts on one question, counted as they come in.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "cli/reply.h"
#include "engine/voting.h"
#include "verify/judge.h"

namespace raison::cli {

struct VoteSettings {
  int64_t samples = 0;  // 0: no vote
  VoteRule rule = VoteRule::Majority;
  std::string answers;  // how they are told apart: a judge's name (verify/judge.h); empty until the model is known
  double min_confidence = 0;

  void add_to(CLI::App* command);
  // "16", "16 self-verified countdown", "off". Error: anything else; nothing changes then.
  Status set(const std::string& words);
  Status check() const;  // Error: a rule that the judge can't serve
  std::string described() const;
};

// Asks request.sampling's seed for `samples` replies at once, shows the votes filling up (on a terminal with ANSI codes), and prints the
// reply that won; the Reply is that one, its times those of the whole vote. Ctrl+C ends the vote with what has come in. Error: nobody
// voted; what check() says; stop strings, which a vote does not look for.
Result<Reply> vote_reply(const TextSide& text, const Thinking& thinking, Engine& engine, const ReplyRequest& request,
                         const VoteSettings& settings);

}  // namespace raison::cli
