// What the architectures share when they read their files: parameters by either name, config keys of either format.
#pragma once
#include "models/parameter_loader.h"
#include "nn/layers.h"

namespace raison {

// A linear layer "<hf>.weight" (and ".bias"), in GGUF "<gguf>.weight".
Status load_linear(ParameterLoader&, ParameterStore&, const std::string& hf, const std::string& gguf, int64_t rows,
                   int64_t cols, bool bias, int interleaved_heads, Linear* out);
Status load_norm(ParameterLoader&, ParameterStore&, const std::string& hf, const std::string& gguf, int64_t dim, double eps,
                 RmsNorm* out);
// gate_proj, up_proj, down_proj under "<hf>."; ffn_gate, ffn_up, ffn_down with `suffix` ("", "_shexp") under "<gguf>".
Status load_swiglu(ParameterLoader&, ParameterStore&, const std::string& hf, const std::string& gguf, const std::string& suffix,
                   int64_t hidden, int64_t width, SwiGlu* out);
// "<hf>gate.weight" and "<hf>experts.N."; "<gguf>ffn_gate_inp.weight" and "<gguf>ffn_{gate,up,down}_exps.weight". `out->config` is set
// before; `correction` asks for "<hf>gate.e_score_correction_bias" ("<gguf>exp_probs_b.bias").
Status load_experts(ParameterLoader&, ParameterStore&, const std::string& hf, const std::string& gguf, int64_t hidden,
                    int64_t width, bool correction, MixtureOfExperts* out);
// Fills in what is known once all parameters are there, and checks the bound of the experts' memory.
Status describe_weights(const ParameterLoader&, const ParameterStore&, ModelInfo* info);

// GGUF keys "<architecture>.<key>", with the same bounds-checked readers as ConfigReader.
class GgufKeys {
 public:
  GgufKeys(const Metadata& metadata, std::string where, std::string architecture)
      : metadata_(metadata), where_(std::move(where)), prefix_(std::move(architecture) + ".") {}
  Result<int64_t> integer(const std::string& key, int64_t lo, int64_t hi) const;
  Result<int64_t> integer_or(const std::string& key, int64_t fallback, int64_t lo, int64_t hi) const;
  Result<double> number_or(const std::string& key, double fallback, double lo, double hi) const;
  std::optional<std::string> string(const std::string& key) const { return metadata_.string(prefix_ + key); }
  bool has(const std::string& key) const { return metadata_.has(prefix_ + key); }
  const std::string& where() const { return where_; }

 private:
  const Metadata& metadata_;
  std::string where_, prefix_;
};

// A real of a GGUF, which is an f32, as people write it: 0.95, not 0.949999988079071. So both formats of a model compute with the
// same numbers. What is no f32 is left as it is.
double decimal_of_f32(double v);

// Writes "<architecture>.<key>"; counts are unsigned, reals are rounded to f32.
class GgufConfigWriter {
 public:
  explicit GgufConfigWriter(const std::string& architecture);
  void count(const std::string& key, int64_t v);
  void real(const std::string& key, double v);
  void set(const std::string& key, MetaValue v) { out_.metadata.set(prefix_ + key, std::move(v)); }
  void set_rope_freqs(std::vector<float> divisors) { out_.rope_freqs = std::move(divisors); }
  GgufConfig take() { return std::move(out_); }

 private:
  std::string prefix_;
  GgufConfig out_;
};

// rope_theta and rope_scaling, old style (top level) and new (rope_parameters). Unknown kinds of scaling are an error.
Result<RopeConfig> rope_from_hf(const ConfigReader& config, int head_dim);
nlohmann::ordered_json rope_scaling_json(const nlohmann::json& config);  // null if none
// What config.json says of the scaling that was read of a GGUF; null if none. Betas that `keys` leave to their defaults stay unsaid.
// `type_key`: "rope_type", which DeepSeek's class calls "type".
nlohmann::ordered_json rope_scaling_json(const RopeConfig& rope, const GgufKeys& keys, const char* type_key);
Status rope_scaling_from_gguf(const GgufKeys& keys, RopeConfig* rope);
// Betas that `hf`, the config's rope_scaling, leaves to their defaults stay unsaid here too. Error: what GGUF has no word for.
Status rope_to_gguf(const RopeConfig& rope, const nlohmann::ordered_json& hf, GgufConfigWriter* out);
// The divisors of frequencies [rot/2] (GGUF's rope_freqs.weight) that Llama 3's scaling comes to.
std::vector<float> llama3_divisors(const RopeConfig& rope);
// The way back: its numbers are found by trying the powers of two that models use. Divisors of 1 are no scaling. None: divisors that
// no config.json can say.
std::optional<RopeConfig> llama3_of_divisors(const RopeConfig& rope);

// Error: experts of more values than can be counted.
Status check_expert_count(int64_t layers, int64_t experts, int64_t hidden, int64_t width, const std::string& where);

int64_t first_id(const nlohmann::json& config, const char* key);  // a number or the first of a list; -1 if absent
std::string weight_types(const ParameterStore& store);            // "BF16", "Q8_0 + F32"

}  // namespace raison
