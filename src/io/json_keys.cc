#include "io/json_keys.h"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

namespace raison {
namespace {

// Events of the parser; only objects and their keys matter. (The parser's callback would do too, but it walks through an
// object's members whenever one of them ends.)
class KeyWatch final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::optional<std::string> twice;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }
  bool start_object(std::size_t) override {
    open_.emplace_back();
    return true;
  }
  bool end_object() override {
    open_.pop_back();
    return true;
  }
  bool key(string_t& name) override {
    if (open_.back().insert(name).second) return true;
    twice = name;
    return false;
  }

 private:
  std::vector<std::unordered_set<std::string>> open_;
};
}  // namespace

std::optional<std::string> key_given_twice(std::string_view text) {
  KeyWatch watch;
  nlohmann::json::sax_parse(text.begin(), text.end(), &watch);
  return std::move(watch.twice);
}

}  // namespace raison
