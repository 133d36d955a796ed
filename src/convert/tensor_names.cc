#include "convert/tensor_names.h"

#include <fmt/format.h>

#include <cstring>

namespace raison {
namespace {

// l: llama, 2: qwen2, 3: qwen3, m: qwen3moe, d: deepseek2
char letter_of(const std::string& architecture) {
  if (architecture == "llama") return 'l';
  if (architecture == "qwen2") return '2';
  if (architecture == "qwen3") return '3';
  if (architecture == "qwen3moe") return 'm';
  if (architecture == "deepseek2") return 'd';
  return 0;
}

struct NamePair {
  const char *hf, *gguf, *architectures;
  bool in_layer = true;
};
constexpr NamePair kNames[] = {
    {"model.embed_tokens", "token_embd", "l23md", false},
    {"model.norm", "output_norm", "l23md", false},
    {"lm_head", "output", "l23md", false},
    {"input_layernorm", "attn_norm", "l23md"},
    {"self_attn.q_proj", "attn_q", "l23md"},
    {"self_attn.k_proj", "attn_k", "l23m"},
    {"self_attn.v_proj", "attn_v", "l23m"},
    {"self_attn.q_norm", "attn_q_norm", "3m"},
    {"self_attn.k_norm", "attn_k_norm", "3m"},
    {"self_attn.q_a_proj", "attn_q_a", "d"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm", "d"},
    {"self_attn.q_b_proj", "attn_q_b", "d"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa", "d"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm", "d"},
    {"self_attn.kv_b_proj", "attn_kv_b", "d"},
    {"self_attn.o_proj", "attn_output", "l23md"},
    {"post_attention_layernorm", "ffn_norm", "l23md"},
    {"mlp.gate_proj", "ffn_gate", "l23md"},
    {"mlp.up_proj", "ffn_up", "l23md"},
    {"mlp.down_proj", "ffn_down", "l23md"},
    {"mlp.gate", "ffn_gate_inp", "md"},
    {"mlp.gate.e_score_correction_bias", "exp_probs_b", "d"},
    {"mlp.experts.gate_proj", "ffn_gate_exps", "md"},
    {"mlp.experts.up_proj", "ffn_up_exps", "md"},
    {"mlp.experts.down_proj", "ffn_down_exps", "md"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp", "d"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp", "d"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp", "d"},
};
constexpr const char* kRouterBias = "mlp.gate.e_score_correction_bias";  // no suffix in HF, ".bias" in GGUF

bool take(std::string& text, const char* prefix) {
  if (text.rfind(prefix, 0) != 0) return false;
  text.erase(0, std::strlen(prefix));
  return true;
}

// "12." at the front of the text.
std::optional<int64_t> take_number(std::string& text) {
  size_t n = 0;
  while (n < text.size() && n < 9 && text[n] >= '0' && text[n] <= '9') ++n;
  if (n == 0 || n == text.size() || text[n] != '.' || (n > 1 && text[0] == '0')) return std::nullopt;
  const int64_t value = std::stoll(text.substr(0, n));
  text.erase(0, n + 1);
  return value;
}

std::optional<TensorPlace> find_place(char architecture, const std::string& stem, bool hf, TensorPlace place) {
  if (architecture == 0) return std::nullopt;
  for (const NamePair& n : kNames) {
    if (stem != (hf ? n.hf : n.gguf) || n.in_layer != (place.layer >= 0)) continue;
    if (std::strchr(n.architectures, architecture) == nullptr) continue;
    place.hf = n.hf;
    place.gguf = n.gguf;
    place.order = static_cast<int>(&n - kNames);
    return place;
  }
  return std::nullopt;
}

// Takes ".weight" or ".bias" off the end.
bool take_suffix(std::string& text, std::string& suffix) {
  for (const char* s : {".weight", ".bias"}) {
    const size_t n = std::strlen(s);
    if (text.size() <= n || text.compare(text.size() - n, n, s) != 0) continue;
    suffix = s;
    text.erase(text.size() - n);
    return true;
  }
  return false;
}

}  // namespace

bool convertible_architecture(const std::string& architecture) { return letter_of(architecture) != 0; }

std::optional<TensorPlace> place_of_hf(const std::string& architecture, const std::string& name) {
  TensorPlace place;
  std::string stem = name;
  if (take(stem, "model.layers.")) {
    const auto layer = take_number(stem);
    if (!layer) return std::nullopt;
    place.layer = *layer;
    if (stem == kRouterBias) {
      place.suffix = ".bias";
      return find_place(letter_of(architecture), stem, true, place);
    }
    if (take(stem, "mlp.experts.")) {
      const auto expert = take_number(stem);
      if (!expert) return std::nullopt;
      place.expert = *expert;
      stem = "mlp.experts." + stem;
    }
  }
  if (!take_suffix(stem, place.suffix)) return std::nullopt;
  return find_place(letter_of(architecture), stem, true, place);
}

std::optional<TensorPlace> place_of_gguf(const std::string& architecture, const std::string& name) {
  TensorPlace place;
  std::string stem = name;
  if (take(stem, "blk.")) {
    const auto layer = take_number(stem);
    if (!layer) return std::nullopt;
    place.layer = *layer;
  }
  if (!take_suffix(stem, place.suffix)) return std::nullopt;
  return find_place(letter_of(architecture), stem, false, place);
}

std::string hf_name(const TensorPlace& p) {
  const std::string front = p.layer >= 0 ? fmt::format("model.layers.{}.", p.layer) : "";
  std::string stem = p.hf;
  if (stem == kRouterBias) return front + stem;
  if (is_expert(p)) stem = fmt::format("mlp.experts.{}.{}", p.expert, stem.substr(std::strlen("mlp.experts.")));
  return front + stem + p.suffix;
}

std::string gguf_name(const TensorPlace& p) {
  return (p.layer >= 0 ? fmt::format("blk.{}.", p.layer) : "") + p.gguf + p.suffix;
}

}  // namespace raison
