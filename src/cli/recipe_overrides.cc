#include "cli/recipe_overrides.h"

#include <toml++/toml.h>

#include <sstream>

namespace raison::cli {
namespace {

std::string first_line(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

// VALUE as TOML reads it; what is no TOML value is a string, so that --set out=runs/a needs no quotes.
toml::table value_table(const std::string& value) {
  try {
    return toml::parse("v = " + value);
  } catch (const toml::parse_error&) {
    toml::table table;
    table.insert("v", value);
    return table;
  }
}

Status put_value(toml::table* root, const std::string& setting) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) return error("--set needs KEY=VALUE, not \"{}\"", setting);
  toml::table* at = root;
  std::string key = setting.substr(0, equals);
  for (size_t dot; (dot = key.find('.')) != std::string::npos; key = key.substr(dot + 1)) {
    const std::string section = key.substr(0, dot);
    if (!at->contains(section)) at->insert(section, toml::table{});
    at = (*at)[section].as_table();
    if (!at) return error("--set {}: {} is no section of the recipe", setting, section);
  }
  if (key.empty()) return error("--set needs KEY=VALUE, not \"{}\"", setting);
  const toml::table value = value_table(setting.substr(equals + 1));
  value.get("v")->visit([&](const auto& node) { at->insert_or_assign(key, node); });
  return {};
}

}  // namespace

Result<std::string> override_recipe(const std::string& toml_text, const std::vector<std::string>& settings,
                                    const std::string& where) {
  if (settings.empty()) return toml_text;
  try {
    toml::table root = toml::parse(toml_text, where);
    for (const std::string& setting : settings) RAISON_RETURN_IF_ERROR(put_value(&root, setting));
    std::ostringstream out;
    out << root;
    return out.str();
  } catch (const toml::parse_error& e) {
    return error("{}:{}: not valid TOML: {}", where, e.source().begin.line, first_line(e.description()));
  }
}

}  // namespace raison::cli
