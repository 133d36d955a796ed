// A conversation as chat templates take it: messages [{role, content}, ...].
#pragma once
#include <nlohmann/json.hpp>
#include <optional>

namespace raison {

// Without its oldest turn: a user's message and all up to the next user's. What stands before the first of them (system messages) stays.
// nullopt: there is no turn but the last.
std::optional<nlohmann::ordered_json> without_oldest_turn(const nlohmann::ordered_json& messages);

}  // namespace raison
