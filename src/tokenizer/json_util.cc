#include "tokenizer/json_util.h"

namespace raison {

Result<nlohmann::json> parse_json_object(std::string_view text, const std::string& where) {
  using json = nlohmann::json;
  constexpr int kMaxDepth = 256;  // printing JSON recurses, so depth is bounded on the way in
  bool too_deep = false;
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  try {
    json root = json::parse(text, shallow);
    if (too_deep) return error("{}: JSON nested more than {} deep", where, kMaxDepth);
    if (!root.is_object()) return error("{}: must be a JSON object, is {}", where, root.type_name());
    return root;
  } catch (const json::parse_error& e) {
    if (too_deep) return error("{}: JSON nested more than {} deep", where, kMaxDepth);
    return error("{}: not valid JSON at byte {}", where, e.byte);
  } catch (const json::exception&) { return error("{}: not valid JSON", where); }
}

}  // namespace raison
