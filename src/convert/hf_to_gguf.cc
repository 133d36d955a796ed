#include <algorithm>
#include <tuple>

#include "convert/convert.h"
#include "convert/model_config.h"
#include "convert/tensor_names.h"
#include "io/printable.h"

namespace raison {
namespace {

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Makes the list of tensors of gguf_tensors_of_hf.
class GgufTensorList {
 public:
  GgufTensorList(const ModelFiles& files, const Metadata& metadata, DType type)
      : files_(files), metadata_(metadata), type_(type), architecture_(*metadata.string("general.architecture")) {
    layers_ = number("block_count");
  }

  Result<std::vector<OutputTensor>> make(std::vector<std::string>* left_out) {
    for (const TensorInfo& t : files_.tensors->tensors()) RAISON_RETURN_IF_ERROR(take(t, left_out));
    RAISON_RETURN_IF_ERROR(finish_experts());
    RAISON_ASSIGN(std::vector<float> divisors, rope_divisors(ConfigReader(files_.config, files_.path + "/config.json")));
    if (!divisors.empty()) {
      const auto n = static_cast<int64_t>(divisors.size());
      add(TensorPlace{}, "rope_freqs.weight", rows_in_memory({n}, std::move(divisors)));
    }
    // The embedding, the layers, what comes after them.
    const auto rank = [](const Entry& e) {
      const bool last = e.place.layer < 0 && e.place.order > 0;
      return std::tuple(last, e.place.layer, e.place.order, e.number);
    };
    std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) { return rank(a) < rank(b); });
    std::vector<OutputTensor> out;
    for (Entry& e : entries_) {
      const TensorSpec spec{e.name, DType::F32, e.rows->shape()};
      out.push_back({e.name, is_mixed(spec) ? type_ : DType::F32, std::move(e.rows)});
    }
    return out;
  }

 private:
  struct Entry {
    TensorPlace place;
    size_t number;
    std::string name;
    RowSourcePtr rows;
  };
  struct Stack {
    TensorPlace place;
    std::vector<RowSourcePtr> parts;
  };

  int64_t number(const char* key) const { return metadata_.integer(architecture_ + "." + key).value_or(0); }
  Error bad(const TensorInfo& t, const std::string& why) const {
    return error("{}: tensor {} {}", files_.path, printable(t.name), why);
  }
  void add(const TensorPlace& place, const std::string& name, RowSourcePtr rows) {
    entries_.push_back({place, entries_.size(), name, std::move(rows)});
  }

  Status take(const TensorInfo& t, std::vector<std::string>* left_out) {
    if (ends_with(t.name, "_scale_inv")) {
      const std::string weight = t.name.substr(0, t.name.size() - 10);
      return files_.tensors->find(weight) != nullptr ? Status() : bad(t, "belongs to no weight");
    }
    if (ends_with(t.name, "inv_freq")) return {};  // a buffer, made from the config
    const auto place = place_of_hf(architecture_, t.name);
    if (place ? place->layer >= layers_ : beyond_layers(t.name)) {  // multi-token prediction
      left_out->push_back(t.name);
      return {};
    }
    if (!place) return bad(t, fmt::format("has no place in a GGUF of architecture {}", architecture_));
    if (std::string(place->gguf) == "output" && files_.config.value("tie_word_embeddings", false))
      return {};  // the embedding once more
    RAISON_ASSIGN(RowSourcePtr rows, rows_of(t, files_.tensors->find(t.name + "_scale_inv")));
    if (is_expert(*place)) return add_expert(t, *place, std::move(rows));
    if (std::string(place->gguf) == "attn_kv_b") return add_kv_b(t, *place, std::move(rows));
    if (architecture_ == "llama" && (std::string(place->gguf) == "attn_q" || std::string(place->gguf) == "attn_k")) {
      const int64_t heads = number(std::string(place->gguf) == "attn_q" ? "attention.head_count" : "attention.head_count_kv");
      if (t.shape[0] % (2 * heads) != 0) return bad(t, fmt::format("has {} rows for {} heads", t.shape[0], heads));
      rows = interleave(std::move(rows), heads);
    }
    add(*place, gguf_name(*place), std::move(rows));
    return {};
  }

  bool beyond_layers(const std::string& name) const {
    constexpr const char* prefix = "model.layers.";
    if (name.rfind(prefix, 0) != 0) return false;
    const std::string rest = name.substr(13);
    return !rest.empty() && rest[0] >= '0' && rest[0] <= '9' && rest.size() < 200 && std::atoll(rest.c_str()) >= layers_;
  }

  Status add_expert(const TensorInfo& t, const TensorPlace& place, RowSourcePtr rows) {
    const int64_t experts = number("expert_count");
    if (place.expert >= experts) return bad(t, fmt::format("is of an expert beyond the {} of config.json", experts));
    const std::string name = gguf_name(place);
    Stack& stack = stacks_[name];
    stack.place = place;
    stack.parts.resize(static_cast<size_t>(experts));
    for (const RowSourcePtr& other : stack.parts)
      if (other && other->shape() != rows->shape()) return bad(t, "has another shape than the other experts'");
    stack.parts[static_cast<size_t>(place.expert)] = std::move(rows);
    return {};
  }

  Status finish_experts() {
    for (auto& [name, s] : stacks_) {
      for (size_t e = 0; e < s.parts.size(); ++e) {
        s.place.expert = static_cast<int64_t>(e);
        if (!s.parts[e]) return error("{}: tensor {} is missing", files_.path, hf_name(s.place));
      }
      add(s.place, name, stack(std::move(s.parts)));
    }
    return {};
  }

  Status add_kv_b(const TensorInfo& t, const TensorPlace& place, RowSourcePtr rows) {
    const int64_t heads = number("attention.head_count"), v = number("attention.value_length_mla");
    const int64_t nope = number("attention.key_length_mla") - number("rope.dimension_count");
    if (t.shape.size() != 2 || t.shape[0] != heads * (nope + v))
      return bad(t, fmt::format("does not hold {} heads of {} + {} rows", heads, nope, v));
    const std::string front = fmt::format("blk.{}.", place.layer);
    add(place, front + "attn_k_b" + place.suffix, keys_of_kv_b(rows, heads, nope, v));
    add(place, front + "attn_v_b" + place.suffix, values_of_kv_b(rows, heads, nope, v));
    return {};
  }

  const ModelFiles& files_;
  const Metadata& metadata_;
  DType type_;
  std::string architecture_;
  int64_t layers_ = 0;
  std::vector<Entry> entries_;
  std::map<std::string, Stack> stacks_;
};

}  // namespace

Result<std::vector<OutputTensor>> gguf_tensors_of_hf(const ModelFiles& files, const Metadata& metadata, DType type,
                                                     std::vector<std::string>* left_out) {
  return GgufTensorList(files, metadata, type).make(left_out);
}

}  // namespace raison
