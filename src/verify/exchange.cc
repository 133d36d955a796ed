#include "verify/exchange.h"

#include <cmath>

#include "base/json_depth.h"
#include "verify/plain_text.h"

namespace raison {
namespace {

constexpr size_t kMostReason = 300, kMostAnswer = 4096;

// A text of the answer, or "" if it has none of that name.
Result<std::string> optional_text(const nlohmann::json& answer, const char* key, size_t most) {
  const auto it = answer.find(key);
  if (it == answer.end() || it->is_null()) return std::string();
  if (!it->is_string()) return error("its {} is no text", key);
  return one_line(it->get_ref<const std::string&>(), most);
}

}  // namespace

nlohmann::json exchange_request(int64_t id, const Submission& s) {
  return {{"id", id},
          {"prompt", s.question->prompt},
          {"record", s.question->record},
          {"reply", s.reply->text},
          {"thought", s.reply->thought},
          {"answer", s.reply->answer},
          {"ended", s.reply->ended},
          {"thought_ended", s.reply->thought_ended},
          {"tokens", s.reply->tokens}};
}

std::string exchange_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

Result<nlohmann::json> parse_exchange(std::string_view text) {
  if (json_too_deep_at(text) != kShallow) return error("wrote JSON that is nested too deep");
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return error("wrote what is no JSON: \"{}\"", one_line(text, 80));
  return json;
}

int64_t exchange_id(const nlohmann::json& answer) {
  const bool has = answer.is_object() && answer.contains("id") && answer["id"].is_number_integer();
  return has ? std::max<int64_t>(answer["id"].get<int64_t>(), -1) : -1;
}

Result<Verdict> exchange_verdict(const nlohmann::json& answer) {
  if (!answer.is_object()) return error("its answer is no JSON object");
  const auto score = answer.find("score");
  if (score == answer.end() || !score->is_number()) return error("its answer has no score that is a number");
  Verdict out;
  out.score = score->get<double>();
  if (!std::isfinite(out.score)) return error("its score is not finite");
  RAISON_ASSIGN(const std::string kind, optional_text(answer, "kind", 40));
  if (!kind.empty() && kind != "right" && kind != "wrong" && kind != "unparseable")
    return error("its kind is \"{}\", not right, wrong or unparseable", kind);
  RAISON_ASSIGN(out.answer, optional_text(answer, "answer", kMostAnswer));
  RAISON_ASSIGN(out.reason, optional_text(answer, "reason", kMostReason));
  const bool right = kind.empty() ? out.score > 0 : kind == "right";
  out.kind = right ? Verdict::Right : kind == "unparseable" ? Verdict::Unparseable : Verdict::Wrong;
  if (out.right()) out.reason.clear();
  return out;
}

Verdict failed_verdict(const std::string& reason) {
  Verdict out;
  out.kind = Verdict::Failed;
  out.reason = one_line(reason, kMostReason);
  return out;
}

}  // namespace raison
