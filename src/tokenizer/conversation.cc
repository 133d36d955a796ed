#include "tokenizer/conversation.h"

namespace raison {
namespace {

bool is_users(const nlohmann::ordered_json& message) {
  if (!message.is_object()) return false;
  const auto role = message.find("role");
  return role != message.end() && *role == "user";
}

}  // namespace

std::optional<nlohmann::ordered_json> without_oldest_turn(const nlohmann::ordered_json& messages) {
  size_t first = 0;
  while (first < messages.size() && !is_users(messages[first])) ++first;
  size_t second = first + 1;
  while (second < messages.size() && !is_users(messages[second])) ++second;
  if (second >= messages.size()) return std::nullopt;
  nlohmann::ordered_json kept = nlohmann::ordered_json::array();
  for (size_t i = 0; i < messages.size(); ++i)
    if (i < first || i >= second) kept.push_back(messages[i]);
  return kept;
}

}  // namespace raison
