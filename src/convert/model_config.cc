#include "convert/model_config.h"

#include <cmath>

#include "base/math.h"
#include "convert/tensor_names.h"
#include "io/deepseek_router.h"
#include "io/tensor_read.h"

namespace raison {
namespace {

using Json = nlohmann::ordered_json;

struct Architecture {
  const char *gguf, *model_type, *hf_class;
};
constexpr Architecture kArchitectures[] = {
    {"llama", "llama", "LlamaForCausalLM"},
    {"qwen2", "qwen2", "Qwen2ForCausalLM"},
    {"qwen3", "qwen3", "Qwen3ForCausalLM"},
    {"qwen3moe", "qwen3_moe", "Qwen3MoeForCausalLM"},
    {"deepseek2", "deepseek_v2", "DeepseekV2ForCausalLM"},
    {"deepseek2", "deepseek_v3", "DeepseekV3ForCausalLM"},
    {"deepseek2", "kimi_k2", "DeepseekV3ForCausalLM"},
};

// Whole numbers that both formats have. A '!' means that it must be there. Letters as in `where`.
struct Count {
  const char *hf, *gguf;
  const char* where;  // c: common, m: qwen3moe, d: deepseek2
  bool needed;
};
constexpr Count kCounts[] = {
    {"num_hidden_layers", "block_count", "c", true},
    {"max_position_embeddings", "context_length", "c", false},
    {"hidden_size", "embedding_length", "c", true},
    {"intermediate_size", "feed_forward_length", "c", true},
    {"num_attention_heads", "attention.head_count", "c", true},
    {"vocab_size", "vocab_size", "c", true},
    {"num_experts", "expert_count", "m", true},
    {"num_experts_per_tok", "expert_used_count", "md", true},
    {"moe_intermediate_size", "expert_feed_forward_length", "md", true},
    {"n_routed_experts", "expert_count", "d", true},
    {"n_shared_experts", "expert_shared_count", "d", false},
    {"first_k_dense_replace", "leading_dense_block_count", "d", true},
    {"q_lora_rank", "attention.q_lora_rank", "d", false},
    {"kv_lora_rank", "attention.kv_lora_rank", "d", true},
    {"n_group", "expert_group_count", "d", false},
    {"topk_group", "expert_group_used_count", "d", false},
};
bool applies(const Count& c, const std::string& architecture) {
  const std::string where = c.where;
  return where == "c" || (architecture == "qwen3moe" && where.find('m') != std::string::npos) ||
         (architecture == "deepseek2" && where.find('d') != std::string::npos);
}

constexpr int64_t kMost = int64_t{1} << 40;
constexpr double kPi = 3.14159265358979323846;

// Reals are f32 in GGUF.
void set_real(Metadata* m, const std::string& key, double v) { m->set(key, double{static_cast<float>(v)}); }
void set_count(Metadata* m, const std::string& key, int64_t v) { m->set(key, static_cast<uint64_t>(v)); }

// A real of f32 as people write it.
double plain(double v) { return std::stod(fmt::format("{}", static_cast<float>(v))); }

struct RopeBlock {
  std::string type = "default";
  double theta = 10000;
  nlohmann::json values = nlohmann::json::object();
  std::string where;
  ConfigReader reader() const { return {values, where}; }
};

Result<RopeBlock> rope_block(const ConfigReader& r) {
  RopeBlock b;
  RAISON_ASSIGN(b.theta, r.number_or("rope_theta", 10000.0, 1.0, 1e12));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!r.has(key)) continue;
    if (!r.json()[key].is_object()) return r.bad(key, "is no object");
    b.values = r.json()[key];
    b.where = r.where() + ": " + key;
    const ConfigReader inner = b.reader();
    RAISON_ASSIGN(b.theta, inner.number_or("rope_theta", b.theta, 1.0, 1e12));
    RAISON_ASSIGN(const std::string old_name, inner.string_or("type", "default"));
    RAISON_ASSIGN(b.type, inner.string_or("rope_type", old_name));
  }
  return b;
}

double yarn_magnitude(double factor) { return 1 + 0.1 * log_f64(factor); }

Status add_yarn(const RopeBlock& rope, const ConfigReader& config, const std::string& p, bool latent, Metadata* m) {
  const ConfigReader r = rope.reader();
  RAISON_ASSIGN(const double factor, r.number("factor", 1.0, 1e6));
  RAISON_ASSIGN(const int64_t context, config.integer_or("max_position_embeddings", 2048, 1, kMost));
  RAISON_ASSIGN(const int64_t original, r.integer_or("original_max_position_embeddings", context, 1, kMost));
  m->set(p + "rope.scaling.type", std::string("yarn"));
  set_real(m, p + "rope.scaling.factor", factor);
  set_count(m, p + "rope.scaling.original_context_length", original);
  for (const auto& [hf, gguf] : {std::pair{"beta_fast", "yarn_beta_fast"}, std::pair{"beta_slow", "yarn_beta_slow"}}) {
    if (!r.has(hf)) continue;
    RAISON_ASSIGN(const double beta, r.number(hf, 0.0, 1e6));
    set_real(m, p + "rope.scaling." + gguf, beta);
  }
  if (latent) {
    RAISON_ASSIGN(const double all, r.number_or("mscale_all_dim", 0.0, 0.0, 100.0));
    RAISON_ASSIGN(const double scale, r.number_or("mscale", 1.0, 0.0, 100.0));
    if (scale != all) return r.bad("mscale", "differs from mscale_all_dim, which GGUF cannot say");
    set_real(m, p + "rope.scaling.yarn_log_multiplier", 0.1 * all);
  } else if (r.has("attention_factor")) {
    // GGUF's is a factor on YaRN's own 1 + 0.1 ln(factor). (attn_factor is a key that transformers does not read.)
    RAISON_ASSIGN(const double attention, r.number("attention_factor", 1e-6, 1e6));
    set_real(m, p + "rope.scaling.attn_factor", attention / yarn_magnitude(factor));
  }
  return {};
}

Status add_rope(const ConfigReader& config, const std::string& p, bool latent, Metadata* m) {
  RAISON_ASSIGN(const RopeBlock rope, rope_block(config));
  set_real(m, p + "rope.freq_base", rope.theta);
  if (rope.type == "default" || rope.type == "llama3") return {};  // the latter: rope_freqs.weight
  if (rope.type == "yarn") return add_yarn(rope, config, p, latent, m);
  if (rope.type == "linear") {
    RAISON_ASSIGN(const double factor, rope.reader().number("factor", 1e-3, 1e6));
    m->set(p + "rope.scaling.type", std::string("linear"));
    set_real(m, p + "rope.scaling.factor", factor);
    return {};
  }
  return config.bad("rope_scaling", "asks for \"" + rope.type.substr(0, 32) + "\", which GGUF has no word for here");
}

Status add_heads(const ConfigReader& r, const std::string& p, Metadata* m) {
  RAISON_ASSIGN(const int64_t heads, r.integer("num_attention_heads", 1, 1 << 20));
  RAISON_ASSIGN(const int64_t kv_heads, r.integer_or("num_key_value_heads", heads, 1, 1 << 20));
  RAISON_ASSIGN(const int64_t hidden, r.integer("hidden_size", 1, kMost));
  RAISON_ASSIGN(const int64_t head_dim, r.integer_or("head_dim", hidden / heads, 2, 1 << 20));
  set_count(m, p + "attention.head_count_kv", kv_heads);
  set_count(m, p + "attention.key_length", head_dim);
  set_count(m, p + "attention.value_length", head_dim);
  set_count(m, p + "rope.dimension_count", head_dim);
  return {};
}

// A config that is silent means what its class in the reference takes: V3 has a sigmoid router with groups, V2 a greedy one.
Status add_router(const ConfigReader& r, const std::string& p, Metadata* m) {
  RAISON_ASSIGN(const std::string type, r.string_or("model_type", ""));
  const bool v3 = type != "deepseek_v2";
  RAISON_ASSIGN(const double scale, r.number_or("routed_scaling_factor", v3 ? 2.5 : 1.0, 0.0, 1e6));
  set_real(m, p + "expert_weights_scale", scale);
  RAISON_ASSIGN(const bool norm, r.boolean_or("norm_topk_prob", v3));
  m->set(p + "expert_weights_norm", norm);
  RAISON_ASSIGN(const std::string scoring, r.string_or("scoring_func", v3 ? "sigmoid" : "softmax"));
  if (scoring != "softmax" && scoring != "sigmoid") return r.bad("scoring_func", "is neither softmax nor sigmoid");
  m->set(p + "expert_gating_func", uint64_t{scoring == "sigmoid" ? 2u : 1u});
  RAISON_ASSIGN(const std::string method, r.string_or("topk_method", v3 ? "noaux_tc" : "greedy"));
  const bool grouped = method != "greedy";  // a greedy router does not look at n_group
  RAISON_ASSIGN(const int64_t groups, r.integer_or("n_group", v3 ? 8 : 1, 1, 1 << 16));
  RAISON_ASSIGN(const int64_t top_groups, r.integer_or("topk_group", v3 ? 4 : 1, 1, 1 << 16));
  set_count(m, p + "expert_group_count", grouped ? groups : 1);
  set_count(m, p + "expert_group_used_count", grouped ? top_groups : 1);
  return {};
}

// MLA as llama.cpp computes it: one shared latent head; per-head widths under the _mla keys.
Status add_latent_heads(const ConfigReader& r, const std::string& p, Metadata* m) {
  RAISON_ASSIGN(const int64_t rank, r.integer("kv_lora_rank", 1, 1 << 20));
  RAISON_ASSIGN(const int64_t nope, r.integer("qk_nope_head_dim", 1, 1 << 20));
  RAISON_ASSIGN(const int64_t rope, r.integer("qk_rope_head_dim", 2, 1 << 20));
  RAISON_ASSIGN(const int64_t v, r.integer("v_head_dim", 1, 1 << 20));
  set_count(m, p + "attention.head_count_kv", 1);
  set_count(m, p + "attention.key_length", rank + rope);
  set_count(m, p + "attention.value_length", rank);
  set_count(m, p + "attention.key_length_mla", nope + rope);
  set_count(m, p + "attention.value_length_mla", v);
  set_count(m, p + "rope.dimension_count", rope);
  RAISON_RETURN_IF_ERROR(add_router(r, p, m));
  RAISON_ASSIGN(const int64_t frequency, r.integer_or("moe_layer_freq", 1, 1, 1 << 20));
  if (frequency != 1) return r.bad("moe_layer_freq", "is not 1, which GGUF cannot say");
  return {};
}

Status check_qwen3moe(const ConfigReader& r) {
  RAISON_ASSIGN(const bool norm, r.boolean_or("norm_topk_prob", false));
  if (!norm) return r.bad("norm_topk_prob", "is false; GGUF's qwen3moe always normalises");
  RAISON_ASSIGN(const int64_t step, r.integer_or("decoder_sparse_step", 1, 1, 1 << 20));
  const bool dense_layers = r.has("mlp_only_layers") && !r.json()["mlp_only_layers"].empty();
  if (step != 1 || dense_layers)
    return r.bad("mlp_only_layers", "or decoder_sparse_step names dense layers, which GGUF cannot say");
  return {};
}

// Frequencies divided by Llama 3's rule (docs/numerics.md, 5).
std::vector<float> llama3_divisors(double theta, int64_t dim, double factor, double low, double high, double original) {
  std::vector<float> out;
  for (int64_t i = 0; i < dim / 2; ++i) {
    const double frequency = 1 / pow_f64(theta, 2.0 * static_cast<double>(i) / static_cast<double>(dim));
    const double wavelength = 2 * kPi / frequency;
    double divisor = 1;
    if (wavelength > original / low) {
      divisor = factor;
    } else if (wavelength >= original / high) {
      const double t = (original / wavelength - low) / (high - low);
      divisor = 1 / ((1 - t) / factor + t);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

}  // namespace

Result<std::string> gguf_architecture(const ConfigReader& config) {
  RAISON_ASSIGN(const std::string type, config.string_or("model_type", ""));
  for (const Architecture& a : kArchitectures)
    if (type == a.model_type) return std::string(a.gguf);
  return error("{}: model_type \"{}\" is not converted; llama, qwen2, qwen3, qwen3_moe, deepseek_v2 and deepseek_v3 are",
               config.where(), type.substr(0, 64));
}

Result<Metadata> metadata_of_config(const ConfigReader& r) {
  RAISON_ASSIGN(const std::string architecture, gguf_architecture(r));
  const std::string p = architecture + ".";
  const bool latent = architecture == "deepseek2";
  Metadata m;
  m.set("general.architecture", architecture);
  for (const Count& c : kCounts) {
    if (!applies(c, architecture) || (!c.needed && !r.has(c.hf))) continue;
    RAISON_ASSIGN(const int64_t v, r.integer(c.hf, 0, kMost));
    set_count(&m, p + c.gguf, v);
  }
  if (latent && !r.has("n_shared_experts")) set_count(&m, p + "expert_shared_count", 0);
  RAISON_ASSIGN(const double eps, r.number_or("rms_norm_eps", 1e-6, 0.0, 1.0));
  set_real(&m, p + "attention.layer_norm_rms_epsilon", eps);
  RAISON_RETURN_IF_ERROR(latent ? add_latent_heads(r, p, &m) : add_heads(r, p, &m));
  RAISON_RETURN_IF_ERROR(add_rope(r, p, latent, &m));
  if (architecture == "qwen3moe") RAISON_RETURN_IF_ERROR(check_qwen3moe(r));
  RAISON_ASSIGN(const bool sliding, r.boolean_or("use_sliding_window", false));
  if (sliding) return r.bad("use_sliding_window", "is true, which is not supported");
  RAISON_ASSIGN(const std::string act, r.string_or("hidden_act", "silu"));
  if (act != "silu") return r.bad("hidden_act", "is not silu, which is not supported");
  return m;
}

Result<std::vector<float>> rope_divisors(const ConfigReader& config) {
  RAISON_ASSIGN(const RopeBlock rope, rope_block(config));
  if (rope.type != "llama3") return std::vector<float>();
  const ConfigReader r = rope.reader();
  RAISON_ASSIGN(const int64_t heads, config.integer("num_attention_heads", 1, 1 << 20));
  RAISON_ASSIGN(const int64_t hidden, config.integer("hidden_size", 1, kMost));
  RAISON_ASSIGN(const int64_t head_dim, config.integer_or("head_dim", hidden / heads, 2, 1 << 20));
  RAISON_ASSIGN(const double factor, r.number("factor", 1e-3, 1e6));
  RAISON_ASSIGN(const double low, r.number("low_freq_factor", 1e-6, 1e6));
  RAISON_ASSIGN(const double high, r.number("high_freq_factor", 1e-6, 1e6));
  RAISON_ASSIGN(const double original, r.number("original_max_position_embeddings", 1, 1e9));
  if (!(high > low)) return r.bad("high_freq_factor", "must be larger than low_freq_factor");
  return llama3_divisors(rope.theta, head_dim, factor, low, high, original);
}

namespace {

// config_of_gguf, part by part.
class ConfigWriter {
 public:
  ConfigWriter(const GgufFile& file, std::string architecture)
      : file_(file), m_(file.metadata()), architecture_(std::move(architecture)), p_(architecture_ + ".") {}

  Result<Json> write(DType dtype) {
    const bool latent = architecture_ == "deepseek2";
    if (latent) { RAISON_ASSIGN(router_, deepseek_router(file_)); }
    const bool sigmoid = router_.sigmoid;
    const Architecture* a = nullptr;
    for (const Architecture& known : kArchitectures)
      if (architecture_ == known.gguf && (!sigmoid || std::string(known.model_type) != "deepseek_v2") && a == nullptr)
        a = &known;
    j_ = {{"architectures", {a->hf_class}}, {"model_type", a->model_type}};
    const TensorInfo* embedding = file_.find("token_embd.weight");
    if (embedding == nullptr || embedding->shape.size() != 2)
      return error("{}: tensor token_embd.weight is missing", file_.path());
    for (const Count& c : kCounts) {
      if (!applies(c, architecture_)) continue;
      if (std::string(c.hf) == "vocab_size") {
        j_[c.hf] = embedding->shape[0];
      } else if (const auto v = integer(c.gguf)) {
        j_[c.hf] = *v;
      } else if (c.needed) {
        return missing(c.gguf);
      }
    }
    RAISON_RETURN_IF_ERROR(latent ? add_latent(sigmoid) : add_heads());
    j_["hidden_act"] = "silu";
    const auto eps = m_.number(p_ + "attention.layer_norm_rms_epsilon");
    if (!eps) return missing("attention.layer_norm_rms_epsilon");
    j_["rms_norm_eps"] = plain(*eps);
    RAISON_RETURN_IF_ERROR(add_rope(latent));
    j_["tie_word_embeddings"] = file_.find("output.weight") == nullptr;
    RAISON_RETURN_IF_ERROR(add_biases());
    if (architecture_ == "qwen3moe")
      j_.update({{"norm_topk_prob", true}, {"decoder_sparse_step", 1}, {"mlp_only_layers", Json::array()}});
    if (architecture_ != "llama" && !latent) j_["use_sliding_window"] = false;
    for (const char* end : {"bos", "eos"})
      if (const auto id = m_.integer(fmt::format("tokenizer.ggml.{}_token_id", end))) j_[fmt::format("{}_token_id", end)] = *id;
    j_["torch_dtype"] = dtype == DType::F16 ? "float16" : dtype == DType::BF16 ? "bfloat16" : "float32";
    return j_;
  }

 private:
  std::optional<int64_t> integer(const std::string& key) const { return m_.integer(p_ + key); }
  Error missing(const std::string& key) const { return error("{}: key {}{} is missing", file_.path(), p_, key); }

  Status add_heads() {
    const auto heads = integer("attention.head_count"), hidden = integer("embedding_length");
    if (!heads || *heads < 1 || !hidden) return missing("attention.head_count");
    j_["num_key_value_heads"] = integer("attention.head_count_kv").value_or(*heads);
    j_["head_dim"] = integer("attention.key_length").value_or(*hidden / *heads);
    return {};
  }

  Status add_latent(bool sigmoid) {
    const auto rope = integer("rope.dimension_count");
    const auto key =
        integer("attention.key_length_mla") ? integer("attention.key_length_mla") : integer("attention.key_length");
    const auto value =
        integer("attention.value_length_mla") ? integer("attention.value_length_mla") : integer("attention.value_length");
    if (!rope) return missing("rope.dimension_count");
    if (!key || *key <= *rope) return missing("attention.key_length_mla");
    if (!value) return missing("attention.value_length_mla");
    j_["num_key_value_heads"] = j_["num_attention_heads"];
    j_["qk_nope_head_dim"] = *key - *rope;
    j_["qk_rope_head_dim"] = *rope;
    j_["v_head_dim"] = *value;
    if (!j_.contains("q_lora_rank")) j_["q_lora_rank"] = nullptr;
    j_["n_group"] = router_.groups;
    j_["topk_group"] = router_.top_groups;
    j_["topk_method"] = router_.correction ? "noaux_tc" : router_.groups > 1 ? "group_limited_greedy" : "greedy";
    j_["scoring_func"] = sigmoid ? "sigmoid" : "softmax";
    j_["norm_topk_prob"] = m_.boolean(p_ + "expert_weights_norm").value_or(false);
    j_["routed_scaling_factor"] = plain(m_.number(p_ + "expert_weights_scale").value_or(1.0));
    j_["moe_layer_freq"] = 1;
    j_["num_nextn_predict_layers"] = 0;  // such layers are left out
    return {};
  }

  Status add_rope(bool latent) {
    j_["rope_theta"] = plain(m_.number(p_ + "rope.freq_base").value_or(10000.0));
    const std::string type = m_.string(p_ + "rope.scaling.type").value_or("none");
    const double factor = plain(m_.number(p_ + "rope.scaling.factor").value_or(1.0));
    if (type == "linear") {
      j_["rope_scaling"] = {{"rope_type", "linear"}, {"factor", factor}};
    } else if (type == "yarn") {
      Json y = {{latent ? "type" : "rope_type", "yarn"}, {"factor", factor}};
      if (const auto original = integer("rope.scaling.original_context_length"))
        y["original_max_position_embeddings"] = *original;
      for (const char* beta : {"beta_fast", "beta_slow"})
        if (const auto v = m_.number(p_ + "rope.scaling.yarn_" + beta)) y[beta] = plain(*v);
      const auto log = m_.number(p_ + "rope.scaling.yarn_log_multiplier");
      if (latent && log) y["mscale"] = y["mscale_all_dim"] = plain(plain(*log) * 10);
      if (const auto f = m_.number(p_ + "rope.scaling.attn_factor"); f && *f != 1)
        y["attention_factor"] = plain(plain(*f) * yarn_magnitude(factor));
      j_["rope_scaling"] = y;
    } else if (type != "none") {
      return error("{}: rope.scaling.type \"{}\" is not converted", file_.path(), type.substr(0, 32));
    }
    const TensorInfo* freqs = file_.find("rope_freqs.weight");
    return freqs == nullptr ? Status() : add_llama3(*freqs);
  }

  // Divisors are what became of Llama 3's four numbers; they are found again by trying the powers of two that models use.
  Status add_llama3(const TensorInfo& freqs) {
    RAISON_ASSIGN(const std::vector<float> divisors, read_f32(freqs));
    float factor = 1;
    for (const float d : divisors) factor = d > factor ? d : factor;
    if (factor == 1) return {};
    const double theta = j_["rope_theta"].get<double>();
    for (double original = 32; original <= (1 << 24); original *= 2)
      for (const double high : {4.0, 2.0, 8.0}) {
        const auto tried = llama3_divisors(theta, 2 * static_cast<int64_t>(divisors.size()), factor, 1, high, original);
        bool same = true;
        for (size_t i = 0; i < tried.size(); ++i) same = same && std::fabs(tried[i] - divisors[i]) <= 1e-5f * divisors[i];
        if (!same) continue;
        j_["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", plain(factor)},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", high},
                              {"original_max_position_embeddings", static_cast<int64_t>(original)}};
        return {};
      }
    return error("{}: its rotary frequencies (rope_freqs.weight) are none that a config.json can say", file_.path());
  }

  Status add_biases() {
    const bool q = file_.find("blk.0.attn_q.bias") != nullptr, o = file_.find("blk.0.attn_output.bias") != nullptr;
    const bool sayable = architecture_ == "qwen2" ? q && !o : architecture_ == "deepseek2" ? !q && !o : q == o;
    if (!sayable) return error("{}: it has other attention biases than a {} config.json can say", file_.path(), architecture_);
    if (architecture_ != "qwen2") j_["attention_bias"] = o;
    return {};
  }

  const GgufFile& file_;
  const Metadata& m_;
  std::string architecture_, p_;
  DeepseekRouter router_;
  Json j_;
};

}  // namespace

Result<Json> config_of_gguf(const GgufFile& file, DType dtype) {
  const std::string architecture = file.metadata().string("general.architecture").value_or("");
  if (!convertible_architecture(architecture))
    return error("{}: architecture \"{}\" is not converted; llama, qwen2, qwen3, qwen3moe and deepseek2 are", file.path(),
                 architecture.substr(0, 64));
  return ConfigWriter(file, architecture).write(dtype);
}

}  // namespace raison
