// What must hold whatever the bytes: a refusal is one line, an accepted tensor lies within its file and can be read.
#pragma once
#include <cstdlib>

#include "io/tensor_read.h"

namespace raison::fuzz {

inline void require(bool holds) {
  if (!holds) std::abort();
}

inline void check_one_line(const std::string& message) {
  require(message.size() < 4096 && message.find('\n') == std::string::npos);
}
inline void check_refusal(const std::string& message) {
  require(!message.empty());
  check_one_line(message);
}

inline void check_tensors(const TensorSource& source) {
  for (const TensorInfo& t : source.tensors()) {
    require(source.find(t.name) == &t);
    require(t.offset <= t.file->size() && t.bytes <= t.file->size() - t.offset);
    require(t.data == t.file->data() + t.offset);
    // Touch both ends: the sanitizers cannot know the mapping's end, the kernel does.
    volatile uint8_t sink = 0;
    if (t.bytes > 0) sink = static_cast<uint8_t>(t.data[0] + t.data[t.bytes - 1]);
    (void)sink;
    if (const auto floats = read_f32(t); floats.ok()) {
      require(floats->size() == static_cast<size_t>(t.elements()));
    } else {
      check_refusal(floats.message());
    }
    if (const auto integers = read_i32(t); !integers.ok()) check_refusal(integers.message());
  }
}

}  // namespace raison::fuzz
