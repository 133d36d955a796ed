// Names of tensors in Hugging Face checkpoints and in GGUF files, for the architectures that are converted: llama, qwen2, qwen3,
// qwen3moe, deepseek2 (GGUF's names). (llama.cpp, gguf-py/gguf/tensor_mapping.py)
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace raison {

// One tensor of a checkpoint, apart from the format's spelling.
struct TensorPlace {
  const char* hf =
      "";  // within its layer, without suffix: "self_attn.q_proj"; experts' without their number: "mlp.experts.up_proj"
  const char* gguf = "";  // "attn_q"
  int order = 0;          // within a layer
  int64_t layer = -1;     // -1: outside the layers
  int64_t expert = -1;    // in HF's names; GGUF has the experts of a layer in one tensor
  std::string suffix;     // ".weight", ".bias"
};

bool convertible_architecture(const std::string& architecture);
std::optional<TensorPlace> place_of_hf(const std::string& architecture, const std::string& name);
std::optional<TensorPlace> place_of_gguf(const std::string& architecture, const std::string& name);
std::string hf_name(const TensorPlace& place);    // experts: with place.expert
std::string gguf_name(const TensorPlace& place);  // experts: the whole stack

inline bool is_expert(const TensorPlace& place) { return std::string(place.hf).rfind("mlp.experts.", 0) == 0; }

}  // namespace raison
