// Checkpoints of every architecture for tests, tiny and random: written as HF folders and as GGUF files, in any type of weights.
// Names and layouts are written down here once more, from the formats' published files, not taken from src/models.
#pragma once
#include <algorithm>
#include <map>

#include "io/gguf_writer.h"
#include "io/safetensors_writer.h"
#include "tensor/quantize.h"
#include "testing/models.h"
#include "testing/temp_dir.h"

namespace raison::testing {

struct TinyArchitecture {
  std::string name;
  nlohmann::json config;  // HF's
};

// Every kind of model the family has. width: of the hidden states and of most matrices; 256 or more for types in blocks of 256.
inline std::vector<TinyArchitecture> tiny_architectures(int64_t width = 32) {
  using nlohmann::json;
  const auto base = [&](const char* type) {
    json c = tiny_config(type);
    c["hidden_size"] = width;
    c["intermediate_size"] = 2 * width;
    c["head_dim"] = std::max<int64_t>(width / 4, 8);
    return c;
  };
  json llama = base("llama"), qwen2 = base("qwen2"), qwen3 = base("qwen3"), qwen3_moe = base("qwen3_moe");
  llama["rope_scaling"] = {{"rope_type", "llama3"},
                           {"factor", 8.0},
                           {"low_freq_factor", 1.0},
                           {"high_freq_factor", 4.0},
                           {"original_max_position_embeddings", 64}};
  qwen3["head_dim"] = 24;  // not hidden / heads
  qwen3["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 128}};
  qwen3_moe["num_experts"] = 6, qwen3_moe["num_experts_per_tok"] = 2, qwen3_moe["moe_intermediate_size"] = width;
  qwen3_moe["norm_topk_prob"] = true;

  const auto latent = [&](const char* type) {
    json c = base(type);
    c.erase("head_dim");
    c["num_key_value_heads"] = 4;
    c["q_lora_rank"] = nullptr;
    c["kv_lora_rank"] = width;
    c["qk_nope_head_dim"] = 20, c["qk_rope_head_dim"] = 8, c["v_head_dim"] = std::max<int64_t>(width / 4, 12);
    c["n_routed_experts"] = 8, c["n_shared_experts"] = 1, c["num_experts_per_tok"] = 3;
    c["moe_intermediate_size"] = width, c["first_k_dense_replace"] = 1, c["moe_layer_freq"] = 1;
    c["rope_scaling"] = {{"type", "yarn"},
                         {"factor", 40.0},
                         {"original_max_position_embeddings", 64},
                         {"mscale", 0.707},
                         {"mscale_all_dim", 0.707}};
    return c;
  };
  json v2_lite = latent("deepseek_v2"), v2 = latent("deepseek_v2"), v3 = latent("deepseek_v3"), k2 = latent("kimi_k2");
  v2_lite["topk_method"] = "greedy", v2_lite["n_group"] = 1, v2_lite["topk_group"] = 1, v2_lite["norm_topk_prob"] = false;
  v2["topk_method"] = "group_limited_greedy", v2["n_group"] = 4, v2["topk_group"] = 2, v2["norm_topk_prob"] = false;
  v2["routed_scaling_factor"] = 16.0, v2["q_lora_rank"] = width;
  v3["n_group"] = 4, v3["topk_group"] = 2, v3["norm_topk_prob"] = true, v3["routed_scaling_factor"] = 2.5;
  v3["q_lora_rank"] = width, v3["scoring_func"] = "sigmoid", v3["topk_method"] = "noaux_tc", v3["n_shared_experts"] = 2;
  v3["rope_scaling"]["mscale"] = 1.0, v3["rope_scaling"]["mscale_all_dim"] = 1.0;
  k2["n_group"] = 1, k2["topk_group"] = 1, k2["norm_topk_prob"] = true, k2["routed_scaling_factor"] = 2.827;
  if (width >= 256) {  // large enough as it is
    for (json* c : {&llama, &qwen2, &qwen3, &qwen3_moe}) (*c)["num_hidden_layers"] = 1;
    for (json* c : {&v2_lite, &v2, &v3, &k2}) (*c)["n_routed_experts"] = 4, (*c)["num_experts_per_tok"] = 2;
    for (json* c : {&v2, &v3}) (*c)["n_group"] = 2, (*c)["topk_group"] = 1;
    for (json* c : {&llama, &qwen2, &qwen3, &qwen3_moe, &v2_lite, &v2, &v3, &k2}) (*c)["intermediate_size"] = width;
    qwen3_moe["num_experts"] = 4;
  }
  k2["rope_theta"] = 50000.0, k2["rope_scaling"]["beta_fast"] = 1.0, k2["rope_scaling"]["beta_slow"] = 1.0;
  return {{"llama", llama},         {"qwen2", qwen2}, {"qwen3", qwen3},    {"qwen3_moe", qwen3_moe},
          {"deepseek_v2", v2_lite}, {"v2_group", v2}, {"deepseek_v3", v3}, {"kimi_k2", k2}};
}

inline nlohmann::json tiny_architecture(const std::string& name, int64_t width = 32) {
  for (const TinyArchitecture& a : tiny_architectures(width))
    if (a.name == name) return a.config;
  ADD_FAILURE() << "no architecture " << name;
  return {};
}

// ---- values ----

struct WrittenTensor {
  std::string name;
  DType type = DType::F32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
};

// The f16 fields of a block that scale its values, by ggml-common.h; IQ1_M's is cut in four.
inline std::vector<int> scale_fields(DType type) {
  switch (type) {
    case DType::Q4_K:
    case DType::Q5_K: return {0, 2};
    case DType::Q2_K: return {80, 82};
    case DType::Q3_K: return {108};
    case DType::Q6_K: return {208};
    default: return {0};
  }
}

inline void scale_block(DType type, uint8_t* block, uint16_t scale) {
  if (type == DType::IQ1_M) {
    for (int i = 0; i < 4; ++i) {
      uint8_t& high = block[49 + 2 * i];
      high = static_cast<uint8_t>((high & 0x0F) | (scale >> (4 * i) & 0x0F) << 4);
    }
    return;
  }
  for (const int at : scale_fields(type)) std::memcpy(block + at, &scale, 2);
}

// A row of random codes whose values have about the deviation asked for: of the types that nothing here quantises to.
inline void random_row(DType type, int64_t n, double deviation, Rng& rng, uint8_t* out) {
  const DTypeInfo& info = dtype_info(type);
  std::vector<float> values(static_cast<size_t>(info.block_elements));
  for (int64_t b = 0; b < n / info.block_elements; ++b, out += info.block_bytes) {
    for (int i = 0; i < info.block_bytes; ++i) out[i] = static_cast<uint8_t>(rng.below(256));
    scale_block(type, out, f32_to_f16(1.0f));
    dequantize_row(type, out, values.data(), info.block_elements);
    double squares = 0;
    for (const float v : values) squares += double{v} * double{v};
    const double now = std::sqrt(squares / info.block_elements);
    scale_block(type, out, f32_to_f16(static_cast<float>(deviation / std::max(now, 1e-3))));
  }
}

// The type, or F32 where rows are no whole blocks.
inline DType fitting(DType type, int64_t cols) { return cols % dtype_info(type).block_elements == 0 ? type : DType::F32; }

// Row-major values in a type that files hold; not F8_E4M3.
inline std::vector<uint8_t> encode(DType type, const std::vector<float>& values, int64_t cols, uint64_t seed = 1) {
  const auto stride = static_cast<size_t>(*row_bytes(type, static_cast<uint64_t>(cols)));
  std::vector<uint8_t> out(values.size() / static_cast<size_t>(cols) * stride);
  Rng rng(seed, 91);
  for (size_t r = 0; r * static_cast<size_t>(cols) < values.size(); ++r)
    if (can_quantize(type)) {
      quantize_row(type, values.data() + r * static_cast<size_t>(cols), out.data() + r * stride, cols);
    } else {
      random_row(type, cols, 1 / std::sqrt(static_cast<double>(cols)), rng, out.data() + r * stride);
    }
  return out;
}

// E4M3 codes and their scales, one per 128 x 128 values.
struct Fp8Matrix {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<int64_t> scale_shape;
};
inline Fp8Matrix encode_fp8(const std::vector<float>& values, int64_t rows, int64_t cols) {
  const int64_t down = (rows + 127) / 128, across = (cols + 127) / 128;
  Fp8Matrix m{std::vector<uint8_t>(values.size()), std::vector<float>(static_cast<size_t>(down * across)), {down, across}};
  const auto scale_at = [&](size_t i) {
    return static_cast<size_t>(static_cast<int64_t>(i) / cols / 128 * across + static_cast<int64_t>(i) % cols / 128);
  };
  for (size_t i = 0; i < values.size(); ++i)
    m.scales[scale_at(i)] = std::max(m.scales[scale_at(i)], std::fabs(values[i]) / 448);
  for (size_t i = 0; i < values.size(); ++i)
    m.codes[i] = f32_to_f8_e4m3(m.scales[scale_at(i)] > 0 ? values[i] / m.scales[scale_at(i)] : 0, true);
  return m;
}

// ---- a model to be written ----

struct TinyCheckpoint {
  nlohmann::json config;
  struct Value {
    std::vector<int64_t> shape;
    std::vector<float> values;
  };
  std::map<std::string, Value> tensors;  // HF's names

  TinyCheckpoint(const nlohmann::json& of, uint64_t seed) : config(of) {
    auto model = tiny_model(of, seed);
    if (!model) return;
    for (const auto& p : model->parameters().all()) tensors[p->name] = {p->shape, p->to_row_major()};
  }
};

// Every matrix rounded to `type`, so that files of that type and of wider ones hold the same values.
inline TinyCheckpoint rounded(TinyCheckpoint c, DType type) {
  for (auto& [name, t] : c.tensors) {
    if (t.shape.size() != 2) continue;
    std::vector<uint8_t> bytes(*row_bytes(type, t.values.size()));
    quantize_row(type, t.values.data(), bytes.data(), static_cast<int64_t>(t.values.size()));
    dequantize_row(type, bytes.data(), t.values.data(), static_cast<int64_t>(t.values.size()));
  }
  return c;
}

// A layer of multi-token prediction after the last one, which is kept aside.
inline void add_prediction_layer(TinyCheckpoint* c) {
  const auto layer = c->config["num_hidden_layers"].get<int64_t>();
  c->config["num_nextn_predict_layers"] = 1;
  const std::string at = "model.layers." + std::to_string(layer) + ".";
  c->tensors[at + "eh_proj.weight"] = {{3, 4}, std::vector<float>(12, 1)};
  c->tensors[at + "enorm.weight"] = {{4}, std::vector<float>(4, 1)};
  c->tensors[at + "input_layernorm.weight"] = {{4}, std::vector<float>(4, 1)};
  c->tensors[at + "mlp.experts.0.up_proj.weight"] = {{3, 4}, std::vector<float>(12, 1)};
}

inline std::vector<TensorToWrite> to_write(const std::vector<WrittenTensor>& tensors) {
  std::vector<TensorToWrite> out;
  for (const WrittenTensor& t : tensors) out.push_back({t.name, t.type, t.shape, t.bytes.data()});
  return out;
}

// ---- HF ----

// Matrices in `type` (F32, F16, BF16; F8_E4M3: those that published folders hold so, the others in BF16), vectors in F32.
inline std::vector<WrittenTensor> hf_tensors(const TinyCheckpoint& c, DType type) {
  std::vector<WrittenTensor> out;
  for (const auto& [name, t] : c.tensors) {
    const bool kept = name.find("embed_tokens") != name.npos || name.find("lm_head") != name.npos ||
                      name.find("mlp.gate.weight") != name.npos || name.find("eh_proj") != name.npos;
    if (t.shape.size() == 2 && type == DType::F8_E4M3 && !kept) {
      const Fp8Matrix m = encode_fp8(t.values, t.shape[0], t.shape[1]);
      out.push_back({name, DType::F8_E4M3, t.shape, m.codes});
      out.push_back({name + "_scale_inv", DType::F32, m.scale_shape, encode(DType::F32, m.scales, m.scale_shape[1])});
      continue;
    }
    const DType plain = t.shape.size() == 1 ? DType::F32 : type == DType::F8_E4M3 ? DType::BF16 : type;
    out.push_back({name, plain, t.shape, encode(plain, t.values, t.shape.back())});
  }
  return out;
}

inline nlohmann::json hf_config_of(const TinyCheckpoint& c, DType type) {
  nlohmann::json config = c.config;
  if (type == DType::F8_E4M3)
    config["quantization_config"] = {{"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {128, 128}}};
  return config;
}

inline Status write_hf(const std::string& folder, const nlohmann::json& config, const std::vector<WrittenTensor>& tensors) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/config.json") << config.dump(2);
  const auto list = to_write(tensors);
  RAISON_ASSIGN(auto writer, SafetensorsWriter::create(folder + "/model.safetensors", specs_of(list)));
  return write_all(*writer, list);
}

inline Status write_hf(const std::string& folder, const TinyCheckpoint& c, DType type) {
  return write_hf(folder, hf_config_of(c, type), hf_tensors(c, type));
}

// ---- GGUF ----

// HF's name without "model.layers.N." and ".weight" -> GGUF's.
inline std::string gguf_part(const std::string& hf) {
  static const std::map<std::string, std::string> parts = {
      {"input_layernorm", "attn_norm"},
      {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"self_attn.q_a_proj", "attn_q_a"},
      {"self_attn.q_a_layernorm", "attn_q_a_norm"},
      {"self_attn.q_b_proj", "attn_q_b"},
      {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
      {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
      {"self_attn.kv_b_proj", "attn_kv_b"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
      {"mlp.gate", "ffn_gate_inp"},
      {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
      {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
      {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
      {"eh_proj", "nextn.eh_proj"},
      {"enorm", "nextn.enorm"},
  };
  const auto it = parts.find(hf);
  return it == parts.end() ? "" : it->second;
}

// The rows of each head with its rotary pairs (i, i + half) side by side, as GGUF's llama has q and k.
inline std::vector<float> interleaved(const std::vector<float>& values, int64_t rows, int64_t heads) {
  const size_t cols = values.size() / static_cast<size_t>(rows), dim = static_cast<size_t>(rows / heads), half = dim / 2;
  std::vector<float> out(values.size());
  for (size_t h = 0; h < static_cast<size_t>(heads); ++h)
    for (size_t i = 0; i < half; ++i)
      for (const size_t side : {size_t{0}, size_t{1}})
        std::copy_n(values.begin() + static_cast<long>((h * dim + side * half + i) * cols), cols,
                    out.begin() + static_cast<long>((h * dim + 2 * i + side) * cols));
  return out;
}

inline Metadata gguf_metadata(const nlohmann::json& c) {
  const auto type = c["model_type"].get<std::string>();
  const bool latent = c.contains("kv_lora_rank");
  const std::string arch = latent ? "deepseek2" : type == "qwen3_moe" ? "qwen3moe" : type;
  Metadata m;
  m.set("general.architecture", arch);
  const auto integer = [&](const char* key, int64_t value) { m.set(arch + "." + key, value); };
  const auto real = [&](const char* key, double value) { m.set(arch + "." + key, value); };
  const auto n = [&](const char* key) { return c.at(key).get<int64_t>(); };
  const int64_t extra = c.value("num_nextn_predict_layers", 0);
  integer("block_count", n("num_hidden_layers") + extra);
  if (extra > 0) integer("nextn_predict_layers", extra);
  integer("embedding_length", n("hidden_size"));
  integer("feed_forward_length", n("intermediate_size"));
  integer("attention.head_count", n("num_attention_heads"));
  integer("context_length", n("max_position_embeddings"));
  real("attention.layer_norm_rms_epsilon", c.at("rms_norm_eps").get<double>());
  real("rope.freq_base", c.at("rope_theta").get<double>());
  if (!latent) {
    integer("attention.head_count_kv", n("num_key_value_heads"));
    integer("attention.key_length", n("head_dim"));
    integer("attention.value_length", n("head_dim"));
    if (type == "qwen3_moe") {
      integer("expert_count", n("num_experts"));
      integer("expert_used_count", n("num_experts_per_tok"));
      integer("expert_feed_forward_length", n("moe_intermediate_size"));
    }
  } else {
    integer("attention.kv_lora_rank", n("kv_lora_rank"));
    if (!c.at("q_lora_rank").is_null()) integer("attention.q_lora_rank", n("q_lora_rank"));
    integer("rope.dimension_count", n("qk_rope_head_dim"));
    integer("attention.key_length", n("qk_nope_head_dim") + n("qk_rope_head_dim"));
    integer("attention.value_length", n("v_head_dim"));
    integer("expert_count", n("n_routed_experts"));
    integer("expert_used_count", n("num_experts_per_tok"));
    integer("expert_shared_count", n("n_shared_experts"));
    integer("expert_feed_forward_length", n("moe_intermediate_size"));
    integer("leading_dense_block_count", n("first_k_dense_replace"));
    integer("expert_group_count", n("n_group"));
    integer("expert_group_used_count", n("topk_group"));
    integer("expert_gating_func", type == "deepseek_v2" ? 1 : 2);
    m.set(arch + ".expert_weights_norm", c.at("norm_topk_prob").get<bool>());
    real("expert_weights_scale", c.value("routed_scaling_factor", 1.0));
  }
  // Llama 3's scaling has no keys: its divisors are a tensor.
  if (c.contains("rope_scaling") && c["rope_scaling"].value("rope_type", std::string()) != "llama3") {
    const nlohmann::json& s = c["rope_scaling"];
    m.set(arch + ".rope.scaling.type", s.value("rope_type", s.value("type", std::string())));
    real("rope.scaling.factor", s.at("factor").get<double>());
    for (const char* key : {"beta_fast", "beta_slow"})
      if (s.contains(key)) real(("rope.scaling.yarn_" + std::string(key)).c_str(), s[key].get<double>());
    if (s.contains("original_max_position_embeddings"))
      integer("rope.scaling.original_context_length", s["original_max_position_embeddings"].get<int64_t>());
    if (s.contains("mscale_all_dim")) real("rope.scaling.yarn_log_multiplier", 0.1 * s["mscale_all_dim"].get<double>());
  }
  return m;
}

// By what Llama 3's scaling divides each frequency (Meta's apply_scaling): GGUF's rope_freqs.weight.
inline std::vector<float> llama3_divisors(const nlohmann::json& c) {
  const nlohmann::json& s = c.at("rope_scaling");
  const double factor = s.at("factor"), low = s.at("low_freq_factor"), high = s.at("high_freq_factor");
  const double original = s.at("original_max_position_embeddings"), theta = c.at("rope_theta");
  const auto dim = c.at("head_dim").get<int64_t>();
  std::vector<float> out;
  for (int64_t i = 0; i < dim / 2; ++i) {
    const double turns = original * std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim)) / (2 * M_PI);
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    out.push_back(static_cast<float>(1 / ((1 - kept) / factor + kept)));
  }
  return out;
}

// Latent attention's up-projection as newer files have it: keys transposed, values apart, a matrix per head.
inline std::vector<WrittenTensor> split_latent(const std::string& block, const TinyCheckpoint::Value& t,
                                               const nlohmann::json& c, DType type) {
  const auto n = [&](const char* key) { return c.at(key).get<int64_t>(); };
  const int64_t heads = n("num_attention_heads"), nope = n("qk_nope_head_dim"), value = n("v_head_dim"),
                rank = n("kv_lora_rank");
  std::vector<float> k, v;
  for (int64_t h = 0; h < heads; ++h) {
    const float* head = t.values.data() + h * (nope + value) * rank;
    for (int64_t j = 0; j < rank; ++j)
      for (int64_t i = 0; i < nope; ++i) k.push_back(head[i * rank + j]);
    v.insert(v.end(), head + nope * rank, head + (nope + value) * rank);
  }
  const DType k_type = fitting(type, nope), v_type = fitting(type, rank);
  return {{block + "attn_k_b.weight", k_type, {heads, rank, nope}, encode(k_type, k, nope)},
          {block + "attn_v_b.weight", v_type, {heads, value, rank}, encode(v_type, v, rank)}};
}

// Matrices in `type` where their rows are whole blocks of it, else in F32; routers and vectors in F32.
class GgufTensors {
 public:
  GgufTensors(const TinyCheckpoint& c, DType type, bool split) : c_(c), type_(type), split_(split) {
    for (const auto& [name, t] : c.tensors) add(name, t);
    for (auto& [name, s] : experts_) put(name, s.shape, s.values);
    if (!c.config.contains("rope_scaling") || c.config["rope_scaling"].value("rope_type", std::string()) != "llama3") return;
    const auto divisors = llama3_divisors(c.config);
    put("rope_freqs.weight", {static_cast<int64_t>(divisors.size())}, divisors);
  }
  std::vector<WrittenTensor> take() { return std::move(out_); }

 private:
  void put(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    const bool plain = shape.size() == 1 || name.find("ffn_gate_inp") != name.npos;
    const DType type = plain ? DType::F32 : fitting(type_, shape.back());
    out_.push_back({name, type, shape, encode(type, values, shape.back(), out_.size())});
  }
  void add(const std::string& name, const TinyCheckpoint::Value& t) {
    if (name == "model.embed_tokens.weight") return put("token_embd.weight", t.shape, t.values);
    if (name == "model.norm.weight") return put("output_norm.weight", t.shape, t.values);
    if (name == "lm_head.weight") return put("output.weight", t.shape, t.values);
    const size_t digits = std::strlen("model.layers."), dot = name.find('.', digits), end = name.rfind('.');
    const std::string block = "blk." + name.substr(digits, dot - digits) + ".", part = name.substr(dot + 1, end - dot - 1);
    if (name.ends_with("e_score_correction_bias")) return put(block + "exp_probs_b.bias", t.shape, t.values);
    if (part.starts_with("mlp.experts.")) return expert(block, part, t);
    if (split_ && part == "self_attn.kv_b_proj") {
      for (WrittenTensor& w : split_latent(block, t, c_.config, type_)) out_.push_back(std::move(w));
      return;
    }
    if (gguf_part(part).empty()) ADD_FAILURE() << "no GGUF name for " << name;
    const bool pairs = c_.config["model_type"] == "llama" && (part == "self_attn.q_proj" || part == "self_attn.k_proj");
    const char* heads = part == "self_attn.q_proj" ? "num_attention_heads" : "num_key_value_heads";
    put(block + gguf_part(part) + name.substr(end), t.shape,
        pairs ? interleaved(t.values, t.shape[0], c_.config[heads].get<int64_t>()) : t.values);
  }
  // mlp.experts.E.up_proj: part E of blk.N.ffn_up_exps.weight.
  void expert(const std::string& block, const std::string& part, const TinyCheckpoint::Value& t) {
    const size_t digits = std::strlen("mlp.experts."), dot = part.find('.', digits);
    const auto index = static_cast<size_t>(std::stoul(part.substr(digits, dot - digits)));
    const std::string kind = part.substr(dot + 1, part.rfind('_') - dot - 1);  // gate, up, down
    TinyCheckpoint::Value& all = experts_[block + "ffn_" + kind + "_exps.weight"];
    if (all.shape.empty()) all.shape = {0, t.shape[0], t.shape[1]};
    all.shape[0] = std::max(all.shape[0], static_cast<int64_t>(index) + 1);
    all.values.resize(static_cast<size_t>(all.shape[0]) * t.values.size());
    std::copy(t.values.begin(), t.values.end(), all.values.begin() + static_cast<long>(index * t.values.size()));
  }

  const TinyCheckpoint& c_;
  DType type_;
  bool split_;
  std::vector<WrittenTensor> out_;
  std::map<std::string, TinyCheckpoint::Value> experts_;
};

// split: attn_k_b and attn_v_b instead of attn_kv_b, and the widths of a head under *_mla, as newer files have them.
inline std::vector<WrittenTensor> gguf_tensors(const TinyCheckpoint& c, DType type, bool split = false) {
  return GgufTensors(c, type, split).take();
}
inline Metadata gguf_metadata(const TinyCheckpoint& c, bool split = false) {
  Metadata m = gguf_metadata(c.config);
  if (!split) return m;
  const auto n = [&](const char* key) { return c.config.at(key).get<int64_t>(); };
  m.set("deepseek2.attention.head_count_kv", int64_t{1});
  m.set("deepseek2.attention.key_length_mla", n("qk_nope_head_dim") + n("qk_rope_head_dim"));
  m.set("deepseek2.attention.value_length_mla", n("v_head_dim"));
  m.set("deepseek2.attention.key_length", n("kv_lora_rank") + n("qk_rope_head_dim"));
  m.set("deepseek2.attention.value_length", n("kv_lora_rank"));
  return m;
}

inline Status write_gguf_model(const std::string& path, const Metadata& metadata, const std::vector<WrittenTensor>& tensors) {
  return write_gguf(path, metadata, to_write(tensors));
}

// ---- loading ----

inline Result<std::unique_ptr<Model>> open_model(const std::string& path, const LoadOptions& options = {}) {
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(path));
  return load_model(files, options);
}

// Through a file that is gone when this returns: what is packed on demand is read from the mapping, which stays.
inline Result<std::unique_ptr<Model>> through_hf(const TinyCheckpoint& c, DType type, const LoadOptions& options = {}) {
  const TempDir dir;
  RAISON_RETURN_IF_ERROR(write_hf(dir / "m", c, type));
  return open_model(dir / "m", options);
}
inline Result<std::unique_ptr<Model>> through_gguf(const TinyCheckpoint& c, DType type, bool split = false,
                                                   const LoadOptions& options = {}) {
  const TempDir dir;
  RAISON_RETURN_IF_ERROR(write_gguf_model(dir / "m.gguf", gguf_metadata(c, split), gguf_tensors(c, type, split)));
  return open_model(dir / "m.gguf", options);
}

}  // namespace raison::testing
