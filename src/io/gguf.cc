#include "io/gguf.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "io/printable.h"

namespace raison {
namespace {

struct GgmlType {
  uint32_t id;
  const char* name;
  uint64_t block_elements, block_bytes;
};

// ggml's type ids, with the sizes of their blocks. The first four can be computed with here.
constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4},
    {1, "F16", 1, 2},
    {30, "BF16", 1, 2},
    {8, "Q8_0", 32, 34},
    {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},
    {7, "Q5_1", 32, 24},
    {9, "Q8_1", 32, 36},
    {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144},
    {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},
    {15, "Q8_K", 256, 292},
    {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98},
    {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},
    {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136},
    {24, "I8", 1, 1},
    {25, "I16", 1, 2},
    {26, "I32", 1, 4},
    {27, "I64", 1, 8},
    {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},
    {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},
    {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},
    // Withdrawn by ggml, still named: old 4-bit types and Q4_0/IQ4_NL interleaved for certain CPUs.
    {4, "Q4_2", 16, 10},
    {5, "Q4_3", 16, 12},
    {31, "Q4_0_4_4", 32, 18},
    {32, "Q4_0_4_8", 32, 18},
    {33, "Q4_0_8_8", 32, 18},
    {36, "IQ4_NL_4_4", 32, 18},
    {37, "IQ4_NL_4_8", 32, 18},
    {38, "IQ4_NL_8_8", 32, 18},
};

const GgmlType* find_type(uint32_t id) {
  for (const GgmlType& t : kTypes)
    if (t.id == id) return &t;
  return nullptr;
}

enum ValueType : uint32_t { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };
constexpr uint64_t kValueBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr uint64_t kMaxName = 1 << 16;
constexpr uint64_t kMaxArray = 1 << 24;  // sixteen times the largest vocabularies: a sparse file must not fill the memory
}  // namespace

std::optional<uint32_t> ggml_type_id(DType type) {
  for (const GgmlType& t : kTypes)
    if (dtype_name(type) == std::string_view(t.name)) return t.id;
  return std::nullopt;
}

class GgufParser {
 public:
  explicit GgufParser(std::shared_ptr<MappedFile> file) : file_(std::move(file)) {}

  Result<std::shared_ptr<GgufFile>> parse() {
    out_ = std::shared_ptr<GgufFile>(new GgufFile());
    out_->paths_ = {file_->path()};
    RAISON_RETURN_IF_ERROR(header());
    for (uint64_t i = 0; i < keys_; ++i) RAISON_RETURN_IF_ERROR(key_value());
    for (uint64_t i = 0; i < count_; ++i) RAISON_RETURN_IF_ERROR(tensor());
    RAISON_RETURN_IF_ERROR(place_tensors());
    return out_;
  }

 private:
  template <class... Args>
  Error bad(fmt::format_string<Args...> format, Args&&... args) const {
    return Error(fmt::format("{}: {}", file_->path(), fmt::format(format, std::forward<Args>(args)...)));
  }
  uint64_t left() const { return file_->size() - at_; }

  template <class T>
  Result<T> read(const char* what) {
    if (left() < sizeof(T)) return bad("truncated: the file ends at byte {} within {}", file_->size(), what);
    T v;
    std::memcpy(&v, file_->data() + at_, sizeof v);
    at_ += sizeof v;
    return v;
  }

  Result<std::string> text(const char* what, uint64_t most) {
    RAISON_ASSIGN(const uint64_t n, read<uint64_t>(what));
    if (n > left()) return bad("truncated or damaged: {} at byte {} claims {} bytes, {} are left", what, at_, n, left());
    if (n > most) return bad("{} at byte {} has {} bytes, more than {}", what, at_, n, most);
    std::string s(reinterpret_cast<const char*>(file_->data() + at_), n);
    at_ += n;
    return s;
  }

  Status header() {
    if (file_->size() < 4 || std::memcmp(file_->data(), "GGUF", 4) != 0)
      return bad("not a GGUF file (its first bytes are not \"GGUF\")");
    at_ = 4;
    RAISON_ASSIGN(out_->version_, read<uint32_t>("the version"));
    if (out_->version_ != 2 && out_->version_ != 3) {
      if ((out_->version_ & 0xFFFF) == 0) return bad("big-endian GGUF is not supported");
      return bad("GGUF version {} is not supported; 2 and 3 are", out_->version_);
    }
    RAISON_ASSIGN(count_, read<uint64_t>("the tensor count"));
    RAISON_ASSIGN(keys_, read<uint64_t>("the key count"));
    // The smallest key-value takes 13 bytes, the smallest tensor entry 24: larger counts cannot be true.
    if (keys_ > left() / 13) return bad("damaged: {} keys cannot fit in {} bytes", keys_, left());
    if (count_ > left() / 24) return bad("damaged: {} tensors cannot fit in {} bytes", count_, left());
    return {};
  }

  Status key_value() {
    RAISON_ASSIGN(const std::string key, text("a key", kMaxName));
    if (key.empty() || !valid_utf8(key)) return bad("the key before byte {} is empty or not valid UTF-8", at_);
    if (out_->metadata_.has(key)) return bad("key {} occurs twice", printable(key));
    RAISON_ASSIGN(const uint32_t type, read<uint32_t>("a value's type"));
    if (type == ARRAY) return array(key);
    RAISON_ASSIGN(MetaValue v, scalar(key, type));
    out_->metadata_.set(key, std::move(v));
    return {};
  }

  template <class T, class As>
  Result<MetaValue> number(const char* what) {
    RAISON_ASSIGN(const T v, read<T>(what));
    return MetaValue(static_cast<As>(v));
  }

  Result<MetaValue> scalar(const std::string& key, uint32_t type) {
    switch (type) {
      case U8: return number<uint8_t, uint64_t>("a value");
      case I8: return number<int8_t, int64_t>("a value");
      case U16: return number<uint16_t, uint64_t>("a value");
      case I16: return number<int16_t, int64_t>("a value");
      case U32: return number<uint32_t, uint64_t>("a value");
      case I32: return number<int32_t, int64_t>("a value");
      case F32: return number<float, double>("a value");
      case U64: return number<uint64_t, uint64_t>("a value");
      case I64: return number<int64_t, int64_t>("a value");
      case F64: return number<double, double>("a value");
      case BOOL: {
        RAISON_ASSIGN(const uint8_t v, read<uint8_t>("a value"));
        if (v > 1) return bad("key {} is a boolean of value {}", printable(key), v);
        return MetaValue(v == 1);
      }
      case STRING: {
        RAISON_ASSIGN(std::string s, text("a string", uint64_t{1} << 30));
        return MetaValue(std::move(s));
      }
      default: return bad("key {} has the unknown value type {}", printable(key), type);
    }
  }

  Status array(const std::string& key) {
    RAISON_ASSIGN(const uint32_t type, read<uint32_t>("an array's type"));
    RAISON_ASSIGN(const uint64_t n, read<uint64_t>("an array's length"));
    if (type == ARRAY) return bad("key {} is an array of arrays, which is not supported", printable(key));
    if (type > F64) return bad("key {} is an array of the unknown type {}", printable(key), type);
    const uint64_t least = type == STRING ? 8 : kValueBytes[type];
    if (n > left() / least)
      return bad("truncated or damaged: key {} claims {} values, {} bytes are left", printable(key), n, left());
    if (n > kMaxArray) return bad("key {} claims {} values, more than {}", printable(key), n, kMaxArray);
    switch (type) {
      case U8: return values<uint8_t, int64_t>(key, n);
      case I8: return values<int8_t, int64_t>(key, n);
      case U16: return values<uint16_t, int64_t>(key, n);
      case I16: return values<int16_t, int64_t>(key, n);
      case U32: return values<uint32_t, int64_t>(key, n);
      case I32: return values<int32_t, int64_t>(key, n);
      case F32: return values<float, double>(key, n);
      case U64: return values<uint64_t, int64_t>(key, n);
      case I64: return values<int64_t, int64_t>(key, n);
      case F64: return values<double, double>(key, n);
      case BOOL: return flags(key, n);
      default: return strings(key, n);
    }
  }

  // The caller has checked that n values of type T are there.
  template <class T, class As>
  Status values(const std::string& key, uint64_t n) {
    std::vector<As> out(n);
    for (As& to : out) {
      T v;
      std::memcpy(&v, file_->data() + at_, sizeof v);
      at_ += sizeof v;
      if constexpr (std::is_same_v<T, uint64_t>)
        if (v > static_cast<uint64_t>(INT64_MAX)) return bad("key {} holds {}, which is too large", printable(key), v);
      to = static_cast<As>(v);
    }
    out_->metadata_.set(key, std::move(out));
    return {};
  }

  Status flags(const std::string& key, uint64_t n) {
    std::vector<bool> out(n);
    for (uint64_t i = 0; i < n; ++i) {
      const uint8_t v = file_->data()[at_++];
      if (v > 1) return bad("key {} is a boolean of value {}", printable(key), v);
      out[i] = v == 1;
    }
    out_->metadata_.set(key, std::move(out));
    return {};
  }

  Status strings(const std::string& key, uint64_t n) {
    std::vector<std::string> out(n);
    for (std::string& s : out) { RAISON_ASSIGN(s, text("a string", uint64_t{1} << 30)); }
    out_->metadata_.set(key, std::move(out));
    return {};
  }

  Status tensor() {
    TensorInfo t;
    RAISON_ASSIGN(t.name, text("a tensor's name", kMaxName));
    if (t.name.empty() || !valid_utf8(t.name)) return bad("a tensor's name before byte {} is empty or not valid UTF-8", at_);
    if (!out_->index_.emplace(t.name, out_->tensors_.size()).second) return bad("tensor {} occurs twice", printable(t.name));
    RAISON_ASSIGN(const uint32_t dims, read<uint32_t>("a tensor's dimensions"));
    if (dims < 1 || dims > 4) return bad("tensor {} has {} dimensions; 1 to 4 are possible", printable(t.name), dims);
    uint64_t elements = 1;
    for (uint32_t i = 0; i < dims; ++i) {
      RAISON_ASSIGN(const uint64_t d, read<uint64_t>("a tensor's shape"));
      if (d == 0) return bad("tensor {} has a dimension of 0", printable(t.name));
      if (d > static_cast<uint64_t>(INT64_MAX) || __builtin_mul_overflow(elements, d, &elements) ||
          elements > static_cast<uint64_t>(INT64_MAX))
        return bad("tensor {} has an impossible shape (over 2^63 values)", printable(t.name));
      t.shape.push_back(static_cast<int64_t>(d));
    }
    RAISON_ASSIGN(const uint32_t id, read<uint32_t>("a tensor's type"));
    const GgmlType* type = find_type(id);
    if (!type) return bad("tensor {} has the unknown type {}", printable(t.name), id);
    t.type_name = type->name;
    const auto known = dtype_from_name(type->name);
    t.known_type = known.has_value();
    t.type = known.value_or(DType::U8);
    const auto row = static_cast<uint64_t>(t.shape[0]);
    if (row % type->block_elements != 0)
      return bad("tensor {} has rows of {} values, {} needs a multiple of {}", printable(t.name), row, type->name,
                 type->block_elements);
    if (__builtin_mul_overflow(elements / type->block_elements, type->block_bytes, &t.bytes))
      return bad("tensor {} has an impossible size", printable(t.name));
    std::reverse(t.shape.begin(), t.shape.end());
    RAISON_ASSIGN(t.offset, read<uint64_t>("a tensor's offset"));
    t.file = file_;
    out_->tensors_.push_back(std::move(t));
    return {};
  }

  Status place_tensors() {
    uint64_t alignment = 32;
    if (out_->metadata_.has("general.alignment")) {
      const auto a = out_->metadata_.integer("general.alignment");
      if (!a || *a < 8 || *a > (1 << 20) || (*a & (*a - 1)) != 0)
        return bad("general.alignment is no power of two between 8 and 1048576");
      alignment = static_cast<uint64_t>(*a);
    }
    const uint64_t data = (at_ + alignment - 1) / alignment * alignment;
    const uint64_t room = data <= file_->size() ? file_->size() - data : 0;
    std::vector<std::pair<uint64_t, uint64_t>> spans;
    for (TensorInfo& t : out_->tensors_) {
      if (t.offset % alignment != 0)
        return bad("tensor {} lies at offset {}, no multiple of {}", printable(t.name), t.offset, alignment);
      if (t.offset > room || t.bytes > room - t.offset)
        return bad("truncated: tensor {} needs bytes {} to {} of the data, the file holds {}", printable(t.name), t.offset,
                   t.offset + std::min(t.bytes, UINT64_MAX - t.offset), room);
      spans.emplace_back(t.offset, t.offset + t.bytes);
      t.offset += data;
      t.data = file_->data() + t.offset;
    }
    std::sort(spans.begin(), spans.end());
    for (size_t i = 1; i < spans.size(); ++i)
      if (spans[i].first < spans[i - 1].second)
        return bad("damaged: two tensors overlap at offset {} of the data", spans[i].first);
    return {};
  }

  std::shared_ptr<MappedFile> file_;
  std::shared_ptr<GgufFile> out_;
  uint64_t at_ = 0, count_ = 0, keys_ = 0;
};

Result<std::shared_ptr<GgufFile>> GgufFile::open_one(const std::string& path) {
  RAISON_ASSIGN(auto file, MappedFile::open(path));
  return GgufParser(std::move(file)).parse();
}

const TensorInfo* GgufFile::find(const std::string& name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace raison
