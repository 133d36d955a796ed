#include "train/recipe_overrides.h"

#include "tokenizer/utf8.h"
#include "train/toml_section.h"

namespace raison {
namespace {

// VALUE as TOML reads it; what is no TOML value is a string, so that --set out=runs/a needs no quotes.
toml::table value_table(const std::string& value) {
  const std::string line = "v = " + value;
  try {
    if (check_toml_depth(line, "").ok()) {
      toml::table table = toml::parse(line);
      if (table.size() == 1) return table;  // else there is a line end in it, and another key after that
    }
  } catch (const toml::parse_error&) {}
  toml::table table;
  table.insert("v", value);
  return table;
}

Status put_value(toml::table* root, const std::string& setting) {
  const std::string shown = setting.size() > 100 ? setting.substr(0, 60) + "..." : setting;
  if (!is_valid_utf8(setting)) return error("--set: not valid UTF-8");
  const size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) return error("--set needs KEY=VALUE, not \"{}\"", shown);
  toml::table* at = root;
  std::string key = setting.substr(0, equals);
  if (std::count(key.begin(), key.end(), '.') >= kMostKeyParts)
    return error("--set {}: the key has more than {} parts", shown, kMostKeyParts);
  for (size_t dot; (dot = key.find('.')) != std::string::npos; key = key.substr(dot + 1)) {
    const std::string section = key.substr(0, dot);
    if (!at->contains(section)) at->insert(section, toml::table{});
    at = (*at)[section].as_table();
    if (!at) return error("--set {}: {} is no section of the recipe", shown, section);
  }
  if (key.empty()) return error("--set needs KEY=VALUE, not \"{}\"", shown);
  const toml::table value = value_table(setting.substr(equals + 1));
  value.get("v")->visit([&](const auto& node) { at->insert_or_assign(key, node); });
  return {};
}

}  // namespace

Status override_recipe(toml::table* root, const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) RAISON_RETURN_IF_ERROR(put_value(root, setting));
  return {};
}

}  // namespace raison
