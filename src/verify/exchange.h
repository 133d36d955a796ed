// What the verifiers "program" and "http" say to the judge outside, and what it answers (docs/verifiers.md).
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "verify/verifier.h"

namespace raison {

inline constexpr size_t kMostExchange = size_t{1} << 20;  // bytes of one answer

// {"id", "prompt", "record", "reply", "thought", "answer", "ended", "thought_ended", "tokens"}
nlohmann::json exchange_request(int64_t id, const Submission& submission);
// As one line of ASCII without its end; bytes that are no UTF-8 become U+FFFD.
std::string exchange_text(const nlohmann::json& json);

// Error: no JSON, or nested too deep.
Result<nlohmann::json> parse_exchange(std::string_view text);
// The id of an answer; -1: it has none.
int64_t exchange_id(const nlohmann::json& answer);
// {"score": finite, "kind"?: "right|wrong|unparseable", "answer"?, "reason"?}. Without a kind it is right if its score is above 0.
// Error: what is amiss.
Result<Verdict> exchange_verdict(const nlohmann::json& answer);

Verdict failed_verdict(const std::string& reason);

}  // namespace raison
