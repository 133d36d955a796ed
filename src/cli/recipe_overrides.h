// --set KEY=VALUE over a recipe file.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace raison::cli {

// The recipe's TOML with each "section.key=value" put in; values are TOML, or plain text taken as a string. One-line errors.
Result<std::string> override_recipe(const std::string& toml_text, const std::vector<std::string>& settings,
                                    const std::string& where);

}  // namespace raison::cli
