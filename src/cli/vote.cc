#include "cli/vote.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <sstream>

#include "cli/commands.h"
#include "cli/console.h"
#include "engine/reply_text.h"

namespace raison::cli {
namespace {

constexpr int64_t kMostSamples = 1024;
constexpr size_t kShownAnswers = 6;
constexpr int kBar = 20;  // columns

struct RuleName {
  const char* name;
  VoteRule rule;
};
constexpr RuleName kRules[] = {
    {"majority", VoteRule::Majority}, {"self-verified", VoteRule::SelfVerified}, {"confidence", VoteRule::Weighted}};

const RuleName* find_rule(const std::string& name) {
  for (const RuleName& r : kRules)
    if (name == r.name) return &r;
  return nullptr;
}

// "  7 ███████····· (8-3)*6", one row an answer, those that lead first.
std::vector<std::string> vote_rows(const VoteSettings& settings, const std::vector<Ballot::Tally>& tallies, int columns,
                                   bool figures) {
  std::vector<std::string> rows;
  for (size_t i = 0; i < std::min(tallies.size(), kShownAnswers); ++i) {
    const Ballot::Tally& t = tallies[i];
    const auto filled = static_cast<int>(std::max<int64_t>(1, t.votes * kBar / settings.samples));
    std::string bar;
    for (int k = 0; k < kBar; ++k) bar += k < filled ? "█" : "·";
    std::string row = fmt::format("{:>4} {} {}", t.votes, bar, t.answer);
    if (figures) {
      const std::string verified =
          settings.rule == VoteRule::SelfVerified ? fmt::format("{} self-verified, ", t.verified) : std::string();
      row = fmt::format("{:>4} {} {}  ({}confidence {:.3f})", t.votes, bar, clipped(t.answer, std::max(8, columns - 70)),
                        verified, t.confidence);
    }
    rows.push_back(clipped(row, columns));
  }
  if (tallies.size() > kShownAnswers) rows.push_back(fmt::format("     and {} more", tallies.size() - kShownAnswers));
  return rows;
}

// Votes filling up at the bottom of the terminal.
class VoteView {
 public:
  explicit VoteView(const VoteSettings& settings) : settings_(settings), live_(stdout_has_style()) {}
  void show(const VoteProgress& p) {
    if (!live_ || !block_.due()) return;
    const TerminalSize size = terminal_size();
    std::vector<std::string> rows = vote_rows(settings_, p.tallies, size.columns - 1, false);
    if (rows.size() > static_cast<size_t>(std::max(size.rows - 2, 0)))
      rows.resize(static_cast<size_t>(std::max(size.rows - 2, 0)));
    rows.push_back(fmt::format("{} of {} are done · {} · {:.1f} s · Ctrl+C ends the vote", p.ended, p.samples,
                               counted(p.tokens, "token"), seconds()));
    block_.show(rows);
  }
  void clear() {
    if (live_) block_.clear();
  }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  const VoteSettings& settings_;
  const bool live_;
  LiveBlock block_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

Result<VoteOptions> vote_options(const VoteSettings& settings, const ReplyRequest& request) {
  RAISON_RETURN_IF_ERROR(settings.check());
  if (!request.stop.empty()) return error("a vote looks for no stop strings; leave out --stop, or the vote");
  if (request.sampling.temperature == 0 && settings.samples > 1)
    return error("at temperature 0 all samples are the same; a vote needs a temperature");
  VoteOptions options;
  options.rule = settings.rule;
  options.samples = settings.samples;
  options.min_confidence = settings.min_confidence;
  RAISON_RETURN_IF_ERROR(options.validate());
  return options;
}

void report(const VoteSettings& settings, const VoteResult& result) {
  for (const std::string& row :
       vote_rows(settings, result.tallies, stderr_is_terminal() ? terminal_size().columns - 1 : 120, true))
    note(row);
  int64_t voted = 0;
  for (const auto& t : result.tallies) voted += t.votes;
  std::string line = fmt::format("{} of {} voted", voted, settings.samples);
  if (result.spared > 0) line += fmt::format(" · {} stopped, the vote was decided", result.spared);
  if (result.unsure > 0) line += fmt::format(" · {} stopped as unsure", result.unsure);
  if (const auto cut = std::count_if(result.samples.begin(), result.samples.end(),
                                     [](const Generation& g) { return g.finish == FinishReason::Length; });
      cut > 0)
    line += fmt::format(" · {} cut off before an answer", cut);
  note(line);
}

Reply reply_of(const TextSide& text, const Thinking& thinking, const ReplyRequest& request, const Generation& g) {
  Reply reply;
  const ReplyText parts = reply_text(*text.tokenizer, thinking.format ? &*thinking.format : nullptr, g);
  reply.tokens = g.tokens;
  reply.thought = parts.thought;
  reply.answer = parts.answer;
  reply.finish = g.finish;
  reply.prompt_tokens = static_cast<int64_t>(request.prompt.tokens.size());
  reply.thought_tokens = parts.thought_tokens;
  reply.thought_seconds = -1;
  reply.thought_end = g.think_end;
  reply.seed = request.sampling.seed;
  return reply;
}

}  // namespace

void VoteSettings::add_to(CLI::App* command) {
  const std::string group = "Votes";
  command->add_option("--vote", samples, "Think N times at once and give the answer that most thoughts reach")
      ->check(CLI::Range(int64_t{1}, kMostSamples))
      ->type_name("N")
      ->group(group);
  command
      ->add_option_function<std::string>(
          "--vote-by", [this](const std::string& name) { rule = find_rule(name)->rule; },
          "majority (default), confidence (each vote weighs the mean probability of its tokens), or self-verified (those whose "
          "thought found its answer right)")
      ->check(CLI::IsMember({"majority", "self-verified", "confidence"}))
      ->type_name("RULE")
      ->group(group);
  command
      ->add_option(
          "--vote-answers", answers,
          "What of a reply is its answer: final (\\boxed{...}, \"answer:\" or the last line; default), text (all of it) "
          "or countdown (default with the bundled models)")
      ->check(CLI::IsMember(judge_names()))
      ->type_name("KIND")
      ->group(group);
  command
      ->add_option("--vote-confidence", min_confidence,
                   "Stop thoughts whose last 64 tokens have a mean probability below this (default: 0, none)")
      ->check(CLI::Range(0.0, 0.999999))
      ->type_name("X")
      ->group(group);
}

Status VoteSettings::set(const std::string& words) {
  if (words == "off") {
    samples = 0;
    return {};
  }
  VoteSettings changed = *this;
  std::istringstream in(words);
  std::string word;
  in >> word;
  const auto n = parse_whole(word);
  if (!n || *n < 1 || *n > static_cast<uint64_t>(kMostSamples))
    return error(
        "a vote needs how many thoughts vote (1 to {}), or off; a rule and a kind of answers may follow: 16 confidence {}",
        kMostSamples, judge_names().front());
  changed.samples = static_cast<int64_t>(*n);
  while (in >> word) {
    const auto kinds = judge_names();
    if (const RuleName* named = find_rule(word)) {
      changed.rule = named->rule;
    } else if (std::find(kinds.begin(), kinds.end(), word) != kinds.end()) {
      changed.answers = word;
    } else {
      return error("a vote knows no \"{}\"; there are majority, self-verified and confidence, and answers read as {}", word,
                   fmt::join(kinds, ", "));
    }
  }
  RAISON_RETURN_IF_ERROR(changed.check());
  *this = changed;
  return {};
}

Status VoteSettings::check() const {
  RAISON_ASSIGN(const auto judge, make_judge(answers));
  if (rule == VoteRule::SelfVerified && !judge->can_self_verify())
    return error("self-verified votes need thoughts that say whether their answer is right; answers read as \"{}\" have none",
                 judge->name());
  return {};
}

std::string VoteSettings::described() const {
  if (samples == 0) return "no vote: one thought answers";
  std::string by;
  for (const RuleName& r : kRules)
    if (r.rule == rule) by = r.name;
  return fmt::format("{} will vote ({}; answers read as \"{}\")", counted(samples, "thought"), by, answers);
}

Result<Reply> vote_reply(const TextSide& text, const Thinking& thinking, Engine& engine, const ReplyRequest& request,
                         const VoteSettings& settings) {
  RAISON_ASSIGN(const auto judge, make_judge(settings.answers));
  RAISON_ASSIGN(const VoteOptions options, vote_options(settings, request));
  const ThinkFormat* format = thinking.format ? &*thinking.format : nullptr;
  const auto vote_of = [&](const Generation& g) {
    Vote v;
    v.confidence = confidence(g);
    if (g.finish != FinishReason::Stop) return v;  // cut off: no answer
    const ReplyText parts = reply_text(*text.tokenizer, format, g);
    v.answer = judge->canonical(parts.answer);
    v.verified = judge->can_self_verify() && judge->self_verified(parts.thought);
    return v;
  };
  VoteView view(settings);
  const EngineStats before = engine.stats();
  auto keys = request.keys ? std::make_unique<ReplyKeys>() : nullptr;
  const Result<VoteResult> result =
      run_vote(engine, engine_request(text, thinking, request), options, vote_of, [&](const VoteProgress& p) {
        view.show(p);
        return !interrupted() && output_status().ok();
      });
  keys.reset();
  view.clear();
  RAISON_RETURN_IF_ERROR(result);
  report(settings, *result);
  if (!result->winner && interrupted()) return error("the vote was ended before any thought had an answer");
  if (!result->winner)
    return error("none of {} gave an answer; more --max-tokens, or a --budget, may help", counted(settings.samples, "thought"));
  const Generation& winner = result->samples[static_cast<size_t>(*result->winner)];
  print_reply(text, thinking, request, winner);
  Reply reply = reply_of(text, thinking, request, winner);
  const EngineStats after = engine.stats();
  reply.seconds = view.seconds();
  reply.prompt_seconds = after.prefill_seconds - before.prefill_seconds;
  reply.decode_seconds = after.decode_seconds - before.decode_seconds;
  reply.prompt_computed = after.prompt_tokens - before.prompt_tokens;
  reply.all_tokens = result->tokens;
  return reply;
}

}  // namespace raison::cli
