#include "io/gguf_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "io/printable.h"

namespace raison {
namespace {

// GGUF's value type ids.
enum class Tag : uint32_t { U32 = 4, I32 = 5, F32 = 6, Bool = 7, String = 8, Array = 9, U64 = 10, I64 = 11, F64 = 12 };

struct Bytes {
  std::string text;
  template <class T>
  void put(T v) {
    text.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  void put_string(const std::string& s) {
    put<uint64_t>(s.size());
    text += s;
  }
  void put_tag(Tag t) { put(static_cast<uint32_t>(t)); }
};

bool fits_i32(int64_t v) { return v >= INT32_MIN && v <= INT32_MAX; }
// NaN and infinities too; a double beyond fp32's range must not be converted at all.
bool fits_f32(double v) {
  if (!std::isfinite(v)) return true;
  return std::fabs(v) <= 3.4028234663852886e38 && static_cast<double>(static_cast<float>(v)) == v;
}

// Appends a value's type and bytes.
struct ValueWriter {
  Bytes& out;
  void operator()(bool v) const {
    out.put_tag(Tag::Bool);
    out.put<uint8_t>(v);
  }
  void operator()(uint64_t v) const {
    out.put_tag(v <= UINT32_MAX ? Tag::U32 : Tag::U64);
    v <= UINT32_MAX ? out.put(static_cast<uint32_t>(v)) : out.put(v);
  }
  void operator()(int64_t v) const {
    out.put_tag(fits_i32(v) ? Tag::I32 : Tag::I64);
    fits_i32(v) ? out.put(static_cast<int32_t>(v)) : out.put(v);
  }
  void operator()(double v) const {
    out.put_tag(fits_f32(v) ? Tag::F32 : Tag::F64);
    fits_f32(v) ? out.put(static_cast<float>(v)) : out.put(v);
  }
  void operator()(const std::string& v) const {
    out.put_tag(Tag::String);
    out.put_string(v);
  }
  void begin_array(Tag type, size_t n) const {
    out.put_tag(Tag::Array);
    out.put_tag(type);
    out.put<uint64_t>(n);
  }
  void operator()(const std::vector<bool>& v) const {
    begin_array(Tag::Bool, v.size());
    for (const bool b : v) out.put<uint8_t>(b);
  }
  void operator()(const std::vector<int64_t>& v) const {
    const bool narrow = std::all_of(v.begin(), v.end(), fits_i32);
    begin_array(narrow ? Tag::I32 : Tag::I64, v.size());
    for (const int64_t i : v) narrow ? out.put(static_cast<int32_t>(i)) : out.put(i);
  }
  void operator()(const std::vector<double>& v) const {
    const bool narrow = std::all_of(v.begin(), v.end(), fits_f32);
    begin_array(narrow ? Tag::F32 : Tag::F64, v.size());
    for (const double d : v) narrow ? out.put(static_cast<float>(d)) : out.put(d);
  }
  void operator()(const std::vector<std::string>& v) const {
    begin_array(Tag::String, v.size());
    for (const std::string& s : v) out.put_string(s);
  }
};

std::optional<uint32_t> ggml_id(DType type) {
  switch (type) {
    case DType::F32: return 0;
    case DType::F16: return 1;
    case DType::Q8_0: return 8;
    case DType::I8: return 24;
    case DType::I16: return 25;
    case DType::I32: return 26;
    case DType::I64: return 27;
    case DType::F64: return 28;
    case DType::BF16: return 30;
    default: return std::nullopt;
  }
}

// Bytes of a tensor, or why it cannot be written.
Result<uint64_t> checked_bytes(const std::string& path, const TensorToWrite& t) {
  const auto bad = [&](const char* why) { return error("{}: tensor {} {}", path, printable(t.name), why); };
  if (t.name.empty() || !valid_utf8(t.name)) return bad("has a name that is empty or not valid UTF-8");
  if (!ggml_id(t.type)) return error("{}: tensor {}: GGUF has no type {}", path, printable(t.name), dtype_name(t.type));
  if (t.shape.empty() || t.shape.size() > 4) return bad("must have 1 to 4 dimensions");
  uint64_t elements = 1;
  for (const int64_t d : t.shape)
    if (d < 1 || __builtin_mul_overflow(elements, static_cast<uint64_t>(d), &elements) || elements > INT64_MAX)
      return bad("has an impossible shape");
  if (t.shape.back() % dtype_info(t.type).block_elements != 0) return bad("has rows that are no multiple of its block");
  const auto bytes = row_bytes(t.type, elements);
  if (!bytes || *bytes > INT64_MAX) return bad("is too large");
  return *bytes;
}

Result<uint64_t> checked_alignment(const std::string& path, const Metadata& metadata) {
  if (!metadata.has("general.alignment")) return uint64_t{32};
  const auto a = metadata.integer("general.alignment");
  if (!a || *a < 8 || *a > (1 << 20) || (*a & (*a - 1)) != 0)
    return error("{}: general.alignment must be a power of two between 8 and 1048576", path);
  return static_cast<uint64_t>(*a);
}

uint64_t round_up(uint64_t n, uint64_t alignment) { return (n + alignment - 1) / alignment * alignment; }
}  // namespace

Status write_gguf(const std::string& path, const Metadata& metadata, const std::vector<TensorToWrite>& tensors) {
  RAISON_ASSIGN(const uint64_t alignment, checked_alignment(path, metadata));
  Bytes head;
  head.text = "GGUF";
  head.put<uint32_t>(3);
  head.put<uint64_t>(tensors.size());
  head.put<uint64_t>(metadata.values().size());
  for (const auto& [key, value] : metadata.values()) {
    if (key.empty() || !valid_utf8(key)) return error("{}: a metadata key is empty or not valid UTF-8", path);
    head.put_string(key);
    std::visit(ValueWriter{head}, value);
  }
  std::set<std::string> names;
  std::vector<uint64_t> sizes;
  uint64_t at = 0;
  for (const TensorToWrite& t : tensors) {
    RAISON_ASSIGN(const uint64_t bytes, checked_bytes(path, t));
    if (!names.insert(t.name).second) return error("{}: tensor {} is given twice", path, printable(t.name));
    head.put_string(t.name);
    head.put(static_cast<uint32_t>(t.shape.size()));
    for (size_t i = t.shape.size(); i-- > 0;) head.put(static_cast<uint64_t>(t.shape[i]));  // GGUF: innermost first
    head.put(*ggml_id(t.type));
    head.put(at);
    sizes.push_back(bytes);
    at += round_up(bytes, alignment);
  }
  head.text.resize(round_up(head.text.size(), alignment), '\0');
  RAISON_ASSIGN(auto file, AtomicFile::create(path));
  RAISON_RETURN_IF_ERROR(file->append(head.text.data(), head.text.size()));
  for (size_t i = 0; i < tensors.size(); ++i) {
    RAISON_RETURN_IF_ERROR(file->append(tensors[i].data, sizes[i]));
    const std::string padding(round_up(sizes[i], alignment) - sizes[i], '\0');
    RAISON_RETURN_IF_ERROR(file->append(padding.data(), padding.size()));
  }
  return file->commit();
}

}  // namespace raison
