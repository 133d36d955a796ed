#include "tokenizer/json_util.h"

namespace raison {

bool json_depth_ok(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonDepth) return false;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return true;
}

Result<nlohmann::json> parse_json_object(std::string_view text, const std::string& where) {
  using json = nlohmann::json;
  bool too_deep = false;
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return !too_deep;
  };
  try {
    json root = json::parse(text, shallow);
    if (too_deep) return error("{}: JSON nested more than {} deep", where, kMaxJsonDepth);
    if (!root.is_object()) return error("{}: must be a JSON object, is {}", where, root.type_name());
    return root;
  } catch (const json::parse_error& e) {
    if (too_deep) return error("{}: JSON nested more than {} deep", where, kMaxJsonDepth);
    return error("{}: not valid JSON at byte {}", where, e.byte);
  } catch (const json::exception&) { return error("{}: not valid JSON", where); }
}

}  // namespace raison
