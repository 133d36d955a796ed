#include "verify/verifier.h"

#include "verify/factories.h"

namespace raison {
namespace {

struct NamedFactory {
  const char* name;
  VerifierFactory make;
};

constexpr NamedFactory kVerifiers[] = {
    {"countdown", make_countdown_verifier}, {"math", make_math_verifier},         {"choice", make_choice_verifier},
    {"exact", make_exact_verifier},         {"regex", make_regex_verifier},       {"format", make_format_verifier},
    {"length", make_length_verifier},       {"language", make_language_verifier}, {"code", make_code_verifier},
    {"program", make_program_verifier},     {"http", make_http_verifier},
};

}  // namespace

const char* verdict_name(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Right: return "right";
    case Verdict::Wrong: return "wrong";
    case Verdict::Unparseable: return "unparseable";
    case Verdict::Failed: return "failed";
  }
  return "?";
}

Result<std::vector<Verdict>> SingleVerifier::judge(std::span<const Submission> submissions) {
  std::vector<Verdict> out;
  for (const Submission& s : submissions) {
    if (!s.reply->ended || !s.reply->thought_ended) {
      Verdict cut;
      cut.kind = Verdict::Wrong;
      cut.reason = "cut off";
      out.push_back(cut);
      continue;
    }
    out.push_back(judge_one(*s.question, *s.reply));
  }
  return out;
}

std::vector<std::string> verifier_names() {
  std::vector<std::string> out;
  for (const NamedFactory& v : kVerifiers) out.emplace_back(v.name);
  return out;
}

Result<std::unique_ptr<Verifier>> make_verifier(const std::string& name, const nlohmann::json& options) {
  std::string list;
  for (const NamedFactory& v : kVerifiers) {
    if (name == v.name) return v.make(options);
    list += (list.empty() ? "" : ", ") + std::string(v.name);
  }
  return error("no verifier is called \"{}\"; there are {}", name.substr(0, 64), list);
}

}  // namespace raison
