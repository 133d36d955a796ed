#pragma once
#include <fmt/format.h>

#include <stdexcept>

namespace raison {
// A wrong shape inside an op is a programming error; models check user data before ops see it.
inline void check_shape(bool ok, const char* what) {
  if (!ok) throw std::logic_error(fmt::format("op: {}", what));
}
}  // namespace raison
