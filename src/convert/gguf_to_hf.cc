#include "convert/convert.h"
#include "convert/tensor_names.h"
#include "io/printable.h"

namespace raison {
namespace {

class HfTensorList {
 public:
  HfTensorList(const GgufFile& file, const nlohmann::ordered_json& config, DType type)
      : file_(file), config_(config), type_(type), architecture_(file.metadata().string("general.architecture").value_or("")) {}

  Result<std::vector<OutputTensor>> make() {
    for (const TensorInfo& t : file_.tensors()) RAISON_RETURN_IF_ERROR(take(t));
    return std::move(out_);
  }

 private:
  Error bad(const TensorInfo& t, const std::string& why) const {
    return error("{}: tensor {} {}", file_.path(), printable(t.name), why);
  }
  void add(const TensorPlace& place, RowSourcePtr rows) {
    // The router's correction stays as exact as it is; checkpoints hold it in fp32.
    const DType type = std::string(place.gguf) == "exp_probs_b" ? DType::F32 : type_;
    out_.push_back({hf_name(place), type, std::move(rows)});
  }

  Status take(const TensorInfo& t) {
    if (t.name == "rope_freqs.weight") return {};  // in the config
    const bool keys = t.name.find(".attn_k_b.") != std::string::npos;
    if (architecture_ == "deepseek2" && (keys || t.name.find(".attn_v_b.") != std::string::npos))
      return keys ? take_latent(t) : Status();
    const auto place = place_of_gguf(architecture_, t.name);
    if (!place) return bad(t, fmt::format("has no place in a checkpoint of architecture {}", architecture_));
    RAISON_ASSIGN(RowSourcePtr rows, rows_of(t, nullptr));
    if (is_expert(*place)) return add_experts(t, *place, rows);
    if (architecture_ == "llama" && (std::string(place->gguf) == "attn_q" || std::string(place->gguf) == "attn_k")) {
      const auto heads =
          config_[std::string(place->gguf) == "attn_q" ? "num_attention_heads" : "num_key_value_heads"].get<int64_t>();
      if (heads < 1 || t.shape[0] % (2 * heads) != 0) return bad(t, fmt::format("has {} rows for {} heads", t.shape[0], heads));
      rows = deinterleave(std::move(rows), heads);
    }
    add(*place, std::move(rows));
    return {};
  }

  Status add_experts(const TensorInfo& t, TensorPlace place, const RowSourcePtr& rows) {
    if (t.shape.size() != 3) return bad(t, "does not have three dimensions");
    for (place.expert = 0; place.expert < t.shape[0]; ++place.expert) add(place, unstack(rows, place.expert));
    return {};
  }

  // attn_k_b [heads, rank, nope] and attn_v_b [heads, v, rank].
  Status take_latent(const TensorInfo& keys) {
    std::string name = keys.name;
    name.replace(name.find("attn_k_b"), 8, "attn_v_b");
    const TensorInfo* values = file_.find(name);
    if (values == nullptr) return error("{}: tensor {} is missing", file_.path(), printable(name));
    if (keys.shape.size() != 3 || values->shape.size() != 3 || keys.shape[0] != values->shape[0] ||
        keys.shape[1] != values->shape[2])
      return bad(keys, "does not fit attn_v_b");
    RAISON_ASSIGN(RowSourcePtr k, rows_of(keys, nullptr));
    RAISON_ASSIGN(RowSourcePtr v, rows_of(*values, nullptr));
    name.replace(name.find("attn_v_b"), 8, "attn_kv_b");
    const auto place = place_of_gguf(architecture_, name);
    if (!place) return bad(keys, "has no layer");
    add(*place, join_kv_b(std::move(k), std::move(v)));
    return {};
  }

  const GgufFile& file_;
  const nlohmann::ordered_json& config_;
  DType type_;
  std::string architecture_;
  std::vector<OutputTensor> out_;
};

}  // namespace

Result<std::vector<OutputTensor>> hf_tensors_of_gguf(const GgufFile& file, const nlohmann::ordered_json& config, DType type) {
  return HfTensorList(file, config, type).make();
}

}  // namespace raison
