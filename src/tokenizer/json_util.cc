#include "tokenizer/json_util.h"

#include "base/json_depth.h"

namespace raison {

Result<nlohmann::json> parse_json_object(std::string_view text, const std::string& where) {
  using json = nlohmann::json;
  if (json_too_deep_at(text) != kShallow) return error("{}: JSON nested more than {} deep", where, kMaxJsonDepth);
  try {
    json root = json::parse(text);
    if (!root.is_object()) return error("{}: must be a JSON object, is {}", where, root.type_name());
    return root;
  } catch (const json::parse_error& e) {
    return error("{}: not valid JSON at byte {}", where, e.byte);
  } catch (const json::exception&) { return error("{}: not valid JSON", where); }
}

}  // namespace raison
