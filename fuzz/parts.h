// Several inputs out of one: parts stand apart by a zero byte, which no text of these kinds holds.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace raison::fuzz {

class Parts {
 public:
  Parts(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  // The next part, "" when there is none left.
  std::string next() {
    const std::string_view part = rest_.substr(0, rest_.find('\0'));
    rest_.remove_prefix(part.size() < rest_.size() ? part.size() + 1 : rest_.size());
    return std::string(part);
  }

 private:
  std::string_view rest_;
};

}  // namespace raison::fuzz
