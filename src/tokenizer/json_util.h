// Forgiving reads of JSON members: a missing member, or one of another kind, counts as the fallback. Strict checks are
// made where a wrong kind would change the result.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace raison {

inline std::string json_string(const nlohmann::json& node, const char* key, std::string fallback = "") {
  if (!node.is_object()) return fallback;
  const auto it = node.find(key);
  return it != node.end() && it->is_string() ? it->get<std::string>() : fallback;
}

inline bool json_bool(const nlohmann::json& node, const char* key, bool fallback) {
  if (!node.is_object()) return fallback;
  const auto it = node.find(key);
  return it != node.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

inline int64_t json_integer(const nlohmann::json& node, const char* key, int64_t fallback) {
  if (!node.is_object()) return fallback;
  const auto it = node.find(key);
  return it != node.end() && it->is_number_integer() ? it->get<int64_t>() : fallback;
}

// An object from text; errors are one line with the byte where parsing stopped.
Result<nlohmann::json> parse_json_object(std::string_view text, const std::string& where);

// A token's name as tokenizer_config.json gives it: "text", {"content": "text"}, or null ("").
inline std::string json_token_name(const nlohmann::json& config, const char* key) {
  if (!config.is_object()) return "";
  const auto it = config.find(key);
  if (it == config.end()) return "";
  return it->is_string() ? it->get<std::string>() : json_string(*it, "content");
}

}  // namespace raison
