// Building GGUF and safetensors bytes by hand, right ones and wrong ones.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace raison::testing {

class Bytes {
 public:
  template <class T>
  Bytes& put(T v) {
    text_.append(reinterpret_cast<const char*>(&v), sizeof v);
    return *this;
  }
  Bytes& u8(uint8_t v) { return put(v); }
  Bytes& u32(uint32_t v) { return put(v); }
  Bytes& u64(uint64_t v) { return put(v); }
  Bytes& raw(const std::string& s) {
    text_ += s;
    return *this;
  }
  Bytes& str(const std::string& s) { return u64(s.size()).raw(s); }
  Bytes& zeros(size_t n) {
    text_.append(n, '\0');
    return *this;
  }
  Bytes& align(size_t n) { return zeros((n - text_.size() % n) % n); }
  operator std::string() const { return text_; }  // NOLINT: conversion is the point

 private:
  std::string text_;
};

// GGUF's value types.
enum GgufTag : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

inline Bytes gguf_head(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
  return Bytes().raw("GGUF").u32(version).u64(tensors).u64(keys);
}

// Header with one tensor: `dims` innermost first.
inline Bytes& add_tensor(Bytes& b, const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
  b.str(name).u32(static_cast<uint32_t>(dims.size()));
  for (const uint64_t d : dims) b.u64(d);
  return b.u32(type).u64(offset);
}

inline std::string one_tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset,
                              size_t data = 64) {
  Bytes b = gguf_head(1, 0);
  return add_tensor(b, name, dims, type, offset).align(32).zeros(data);
}

// A part of a split model, as llama.cpp's splitter writes it: tensors of 16 F32 named in `names`; `no` from 0. Negative values
// leave the key out; an empty architecture too.
inline std::string gguf_part(int no, int count, int total, const std::vector<std::string>& names,
                             const std::string& architecture = "") {
  const uint64_t keys = (no >= 0) + (count >= 0) + (total >= 0) + !architecture.empty();
  Bytes b = gguf_head(names.size(), keys);
  if (!architecture.empty()) b.str("general.architecture").u32(kString).str(architecture);
  if (no >= 0) b.str("split.no").u32(kU16).put(static_cast<uint16_t>(no));
  if (count >= 0) b.str("split.count").u32(kU16).put(static_cast<uint16_t>(count));
  if (total >= 0) b.str("split.tensors.count").u32(kI32).put(total);
  for (size_t i = 0; i < names.size(); ++i) add_tensor(b, names[i], {16}, 0, 64 * i);
  return b.align(32).zeros(64 * names.size());
}

// safetensors: the header's length, the header, `data` bytes of zeros.
inline std::string safetensors_bytes(const std::string& header, size_t data = 0) {
  return Bytes().u64(header.size()).raw(header).zeros(data);
}

}  // namespace raison::testing
