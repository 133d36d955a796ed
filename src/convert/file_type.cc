#include "convert/file_type.h"

#include <cstdio>

namespace raison {
namespace {

constexpr FileType kFileTypes[] = {
    {"F32", 0, DType::F32},        {"F16", 1, DType::F16},        {"BF16", 32, DType::BF16},   {"Q8_0", 7, DType::Q8_0},
    {"Q4_0", 2, DType::Q4_0},      {"Q4_1", 3, DType::Q4_1},      {"Q5_0", 8, DType::Q5_0},    {"Q5_1", 9, DType::Q5_1},
    {"IQ4_NL", 25, DType::IQ4_NL}, {"IQ4_XS", 30, DType::IQ4_XS}, {"MXFP4", 38, DType::MXFP4}, {"TQ1_0", 36, DType::TQ1_0},
    {"TQ2_0", 37, DType::TQ2_0},   {"Q2_K", 10, DType::Q2_K},     {"Q3_K_S", 11, DType::Q3_K}, {"Q3_K_M", 12, DType::Q3_K},
    {"Q3_K_L", 13, DType::Q3_K},   {"Q4_K_S", 14, DType::Q4_K},   {"Q4_K_M", 15, DType::Q4_K}, {"Q5_K_S", 16, DType::Q5_K},
    {"Q5_K_M", 17, DType::Q5_K},   {"Q6_K", 18, DType::Q6_K},
};

bool same_name(const std::string& a, const char* b) {
  size_t i = 0;
  for (; i < a.size() && b[i] != 0; ++i)
    if ((a[i] >= 'a' && a[i] <= 'z' ? a[i] - 32 : a[i]) != b[i]) return false;
  return i == a.size() && b[i] == 0;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// What the rules ask of a model.
struct Shape {
  int64_t layers = 0, experts = 0, gqa = 1;
  bool has_output = false, is_70b = false;
};

Shape shape_of(const Metadata& m, const std::vector<TensorSpec>& tensors) {
  const std::string arch = m.string("general.architecture").value_or("");
  const auto number = [&](const char* key, int64_t fallback) { return m.integer(arch + "." + key).value_or(fallback); };
  Shape s;
  s.layers = number("block_count", 0);
  s.experts = number("expert_count", 0);
  const int64_t heads = number("attention.head_count", 1), kv_heads = number("attention.head_count_kv", heads);
  s.gqa = kv_heads > 0 ? heads / kv_heads : 1;
  s.is_70b = s.layers == 80 && heads != kv_heads && (arch == "llama" || arch == "qwen2");
  for (const TensorSpec& t : tensors) s.has_output = s.has_output || t.name == "output.weight";
  return s;
}

// The first and last eighth of the layers, and every third between.
bool use_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

class Mix {
 public:
  Mix(const FileType& type, const Shape& shape) : name_(type.name), base_(type.base), shape_(shape) {}

  DType type_of(const TensorSpec& t) const {
    int layer = -1;
    std::sscanf(t.name.c_str(), "blk.%d.", &layer);
    const bool quantised = is_block_type(base_);
    return fallback(quantised ? wanted(t, layer) : base_, t.shape.back());
  }

 private:
  bool is(const char* name) const { return name_ == name; }
  bool any(std::initializer_list<const char*> names) const {
    for (const char* n : names)
      if (name_ == n) return true;
    return false;
  }

  DType wanted(const TensorSpec& t, int64_t layer) const {
    const bool embedding = t.name == "token_embd.weight", tied = embedding && !shape_.has_output;
    if (t.name == "output.weight" || tied) {
      if (is("MXFP4") || is("Q8_0") || t.shape.back() % dtype_info(base_).block_elements != 0) return DType::Q8_0;
      return DType::Q6_K;
    }
    if (is("MXFP4"))
      return shape_.experts > 0 ? (t.shape.size() > 2 ? DType::MXFP4 : DType::Q8_0) : embedding ? DType::Q8_0 : DType::MXFP4;
    if (embedding) return any({"TQ1_0", "TQ2_0"}) ? DType::Q4_K : base_;
    if (contains(t.name, "attn_v.weight")) return of_values(layer);
    if (contains(t.name, "attn_k.weight")) return shape_.experts == 8 ? DType::Q8_0 : base_;
    if (contains(t.name, "ffn_down")) return of_down(layer);
    if (contains(t.name, "attn_output.weight")) return of_output();
    return base_;
  }

  DType of_values(int64_t layer) const {
    DType type = base_;
    if (is("Q2_K")) type = shape_.gqa >= 4 ? DType::Q4_K : DType::Q3_K;
    if (is("Q3_K_M")) type = layer < 2 ? DType::Q5_K : DType::Q4_K;
    if (is("Q3_K_L")) type = DType::Q5_K;
    if (any({"IQ4_NL", "IQ4_XS"}) && shape_.gqa >= 4) type = DType::Q5_K;
    if (any({"Q4_K_M", "Q5_K_M"}) && use_more_bits(layer, shape_.layers)) type = DType::Q6_K;
    if (is("Q4_K_S") && layer < 4) type = DType::Q5_K;
    if (shape_.is_70b && (type == DType::Q3_K || type == DType::Q4_K)) type = DType::Q5_K;
    return shape_.experts == 8 ? DType::Q8_0 : type;
  }

  DType of_down(int64_t layer) const {
    const bool first = layer < shape_.layers / 8;
    if (is("Q2_K")) return DType::Q3_K;
    if (is("Q3_K_M")) return layer < shape_.layers / 16 ? DType::Q5_K : DType::Q4_K;
    if (is("Q3_K_L")) return DType::Q5_K;
    if (any({"Q4_K_M", "Q5_K_M"}) && use_more_bits(layer, shape_.layers)) return DType::Q6_K;
    if (any({"IQ4_NL", "IQ4_XS", "Q4_K_S"}) && first) return DType::Q5_K;
    return base_;
  }

  DType of_output() const {
    if (shape_.experts == 8)
      return any({"Q2_K", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ4_XS"}) ? DType::Q5_K : base_;
    if (is("Q2_K")) return DType::Q3_K;
    if (is("Q3_K_M")) return DType::Q4_K;
    if (is("Q3_K_L")) return DType::Q5_K;
    return base_;
  }

  // For rows that hold no whole blocks.
  static DType fallback(DType type, int64_t cols) {
    const auto fits = [cols](DType t) { return cols % dtype_info(t).block_elements == 0; };
    if (fits(type)) return type;
    switch (type) {
      case DType::TQ1_0:
      case DType::TQ2_0:
      case DType::Q2_K:
      case DType::Q3_K: type = DType::Q4_0; break;
      case DType::IQ4_XS: type = DType::IQ4_NL; break;
      case DType::Q4_K: type = DType::Q5_0; break;
      case DType::Q5_K: type = DType::Q5_1; break;
      case DType::Q6_K: type = DType::Q8_0; break;
      default: break;
    }
    return fits(type) ? type : DType::F16;
  }

  std::string name_;
  DType base_;
  Shape shape_;
};

}  // namespace

std::string file_type_names() {
  std::string out;
  for (const FileType& t : kFileTypes) out += (out.empty() ? "" : ", ") + std::string(t.name);
  return out;
}

Result<const FileType*> find_file_type(const std::string& name) {
  for (const FileType& t : kFileTypes)
    if (same_name(name, t.name)) return &t;
  for (const char* searched : {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M"})
    if (same_name(name, searched))
      return error(
          "--type {}: cannot be made without an importance matrix, which raison does not compute; Q2_K and Q3_K_S are near",
          searched);
  return error("--type {}: is not known; known: {}", name.substr(0, 32), file_type_names());
}

bool is_mixed(const TensorSpec& t) {
  if (t.shape.size() < 2 || t.name.size() < 7 || t.name.compare(t.name.size() - 7, 7, ".weight") != 0) return false;
  return !contains(t.name, "_norm.weight") && !contains(t.name, "ffn_gate_inp.weight");
}

std::vector<DType> mixed_types(const FileType& type, const Metadata& metadata, const std::vector<TensorSpec>& tensors) {
  const Mix mix(type, shape_of(metadata, tensors));
  std::vector<DType> out;
  for (const TensorSpec& t : tensors) out.push_back(is_mixed(t) ? mix.type_of(t) : t.type);
  return out;
}

}  // namespace raison
