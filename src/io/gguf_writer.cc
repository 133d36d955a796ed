#include "io/gguf_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_set>

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

// Bytes of a tensor, or why it cannot be written.
Result<uint64_t> gguf_tensor_bytes(const std::string& path, const TensorSpec& t) {
  const auto bad = [&](const char* why) { return error("{}: tensor {} {}", path, printable(t.name), why); };
  if (t.name.empty() || !valid_utf8(t.name)) return bad("has a name that is empty or not valid UTF-8");
  if (!ggml_type_id(t.type)) return error("{}: tensor {}: GGUF has no type {}", path, printable(t.name), dtype_name(t.type));
  if (t.shape.empty() || t.shape.size() > 4) return bad("must have 1 to 4 dimensions");
  if (std::count(t.shape.begin(), t.shape.end(), 0) > 0) return bad("has an impossible shape");
  return tensor_bytes(path, t);
}

Result<uint64_t> checked_alignment(const std::string& path, const Metadata& metadata) {
  if (!metadata.has("general.alignment")) return uint64_t{32};
  const auto a = metadata.integer("general.alignment");
  if (!a || *a < 8 || *a > (1 << 20) || (*a & (*a - 1)) != 0)
    return error("{}: general.alignment must be a power of two between 8 and 1048576", path);
  return static_cast<uint64_t>(*a);
}

uint64_t round_up(uint64_t n, uint64_t alignment) { return (n + alignment - 1) / alignment * alignment; }

bool is_split_key(const std::string& key) { return key == "split.no" || key == "split.count" || key == "split.tensors.count"; }

// Which part of how many, and the tensors of all parts.
struct Part {
  uint16_t no, count;
  int32_t tensors;
};

// As llama.cpp reads them, which insists on these widths.
void put_split_keys(const Part& part, Bytes* head) {
  head->put_string("split.no");
  head->put<uint32_t>(2);  // u16
  head->put(part.no);
  head->put_string("split.count");
  head->put<uint32_t>(2);
  head->put(part.count);
  head->put_string("split.tensors.count");
  head->put_tag(Tag::I32);
  head->put(part.tensors);
}

struct PlannedTensors {
  const std::vector<TensorSpec>& specs;
  std::vector<FilePlan::Piece> pieces;
};

// The file of tensors [begin, end).
FilePlan plan_file(const std::string& path, const Metadata& metadata, const PlannedTensors& all, size_t begin, size_t end,
                   uint64_t alignment, const std::optional<Part>& part) {
  FilePlan plan{
      path, "", {all.pieces.begin() + static_cast<int64_t>(begin), all.pieces.begin() + static_cast<int64_t>(end)}, alignment};
  Bytes head;
  head.text = "GGUF";
  head.put<uint32_t>(3);
  head.put<uint64_t>(end - begin);
  uint64_t keys = part ? 3 : 0;
  for (const auto& [key, value] : metadata.values()) keys += !is_split_key(key);
  head.put(keys);
  for (const auto& [key, value] : metadata.values()) {
    if (is_split_key(key)) continue;
    head.put_string(key);
    std::visit(ValueWriter{head}, value);
  }
  if (part) put_split_keys(*part, &head);
  uint64_t at = 0;
  for (size_t i = begin; i < end; ++i) {
    const TensorSpec& t = all.specs[i];
    head.put_string(t.name);
    head.put(static_cast<uint32_t>(t.shape.size()));
    for (size_t d = t.shape.size(); d-- > 0;) head.put(static_cast<uint64_t>(t.shape[d]));  // GGUF: innermost first
    head.put(*ggml_type_id(t.type));
    head.put(at);
    at += round_up(all.pieces[i].bytes, alignment);
  }
  head.text.resize(round_up(head.text.size(), alignment), '\0');
  plan.header = std::move(head.text);
  return plan;
}

// What parts after the first say of the model.
Metadata metadata_of_later_parts(const Metadata& metadata) {
  Metadata out;
  if (const MetaValue* alignment = metadata.find("general.alignment")) out.set("general.alignment", *alignment);
  return out;
}
}  // namespace

Result<WritePlan> plan_gguf(const std::string& path, const Metadata& metadata, const std::vector<TensorSpec>& tensors,
                            uint64_t max_part_bytes) {
  RAISON_ASSIGN(const uint64_t alignment, checked_alignment(path, metadata));
  for (const auto& [key, value] : metadata.values())
    if (key.empty() || !valid_utf8(key)) return error("{}: a metadata key is empty or not valid UTF-8", path);
  PlannedTensors all{tensors, {}};
  std::unordered_set<std::string> names;
  uint64_t total = 0;
  for (const TensorSpec& t : tensors) {
    RAISON_ASSIGN(const uint64_t bytes, gguf_tensor_bytes(path, t));
    if (!names.insert(t.name).second) return error("{}: tensor {} is given twice", path, printable(t.name));
    if (__builtin_add_overflow(total, round_up(bytes, alignment), &total) || total > INT64_MAX)
      return error("{}: the tensors are too large together", path);
    all.pieces.push_back({t.name, bytes});
  }
  const auto ranges = ranges_within(all.pieces, max_part_bytes);
  WritePlan plan;
  if (ranges.size() == 1) {
    plan.files.push_back(plan_file(path, metadata, all, 0, tensors.size(), alignment, std::nullopt));
    return plan;
  }
  if (!path.ends_with(".gguf")) return error("{}: a model in parts needs a name that ends with .gguf", path);
  if (ranges.size() > UINT16_MAX)
    return error("{}: {} parts are more than {}; allow larger ones", path, ranges.size(), UINT16_MAX);
  const Metadata later = metadata_of_later_parts(metadata);
  for (size_t i = 0; i < ranges.size(); ++i) {
    const Part part{static_cast<uint16_t>(i), static_cast<uint16_t>(ranges.size()), static_cast<int32_t>(tensors.size())};
    plan.files.push_back(plan_file(gguf_part_path(path.substr(0, path.size() - 5), i + 1, ranges.size()),
                                   i == 0 ? metadata : later, all, ranges[i].first, ranges[i].second, alignment, part));
  }
  return plan;
}

Result<std::unique_ptr<GgufWriter>> GgufWriter::create(const std::string& path, const Metadata& metadata,
                                                       const std::vector<TensorSpec>& tensors, uint64_t max_part_bytes) {
  RAISON_ASSIGN(WritePlan plan, plan_gguf(path, metadata, tensors, max_part_bytes));
  std::unique_ptr<GgufWriter> writer(new GgufWriter(std::move(plan)));
  RAISON_RETURN_IF_ERROR(writer->begin());
  return writer;
}

Status write_gguf(const std::string& path, const Metadata& metadata, const std::vector<TensorToWrite>& tensors) {
  RAISON_ASSIGN(auto writer, GgufWriter::create(path, metadata, specs_of(tensors)));
  return write_all(*writer, tensors);
}

}  // namespace raison
