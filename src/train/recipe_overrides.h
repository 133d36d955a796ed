// --set KEY=VALUE over a recipe file.
#pragma once
#include <toml++/toml.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace raison {

// Puts each "section.key=value" into the recipe; values are TOML, or plain text taken as a string. One-line errors.
Status override_recipe(toml::table* root, const std::vector<std::string>& settings);

}  // namespace raison
