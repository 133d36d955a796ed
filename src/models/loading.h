// What the architectures share when they read their files: parameters by either name, config keys of either format.
#pragma once
#include <set>

#include "io/tensor_read.h"
#include "models/model.h"
#include "models/weight_memory.h"
#include "nn/layers.h"

namespace raison {

// Makes parameters and puts them in a store. Names: HF's, and GGUF's.
class ParameterLoader {
 public:
  virtual ~ParameterLoader() = default;
  // interleaved_heads > 0: if it comes from a GGUF, the rows of each of that many heads stand with rotary pairs interleaved
  // and are put in HF's order (first halves, then second halves).
  virtual Result<Parameter*> matrix(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t rows,
                                    int64_t cols, int interleaved_heads = 0) = 0;
  virtual Result<Parameter*> vector(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t n,
                                    int interleaved_heads = 0) = 0;
  // Matrix `expert` of `experts`: HF has a tensor for each, GGUF one of [experts, rows, cols]. Packed on demand unless trained.
  virtual Result<Parameter*> expert(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t expert,
                                    int64_t experts, int64_t rows, int64_t cols) = 0;
  // Multi-head latent attention's [heads*(nope + value), rank]: HF's kv_b_proj.weight; in GGUF "<block>attn_kv_b.weight", or
  // "<block>attn_k_b.weight" [heads, rank, nope] beside "<block>attn_v_b.weight" [heads, value, rank]. It is multiplied from both
  // sides, so it is kept as floats: F32 unless it comes as F16 or BF16.
  virtual Result<Parameter*> latent_kv(ParameterStore& store, const std::string& hf, const std::string& gguf_block,
                                       int64_t heads, int64_t nope, int64_t value, int64_t rank) = 0;
  // After the last one. Error: the files hold a tensor that nobody took and that is not in `known` (names that the
  // architecture knows to be of no use; "x.*": all that begin with "x."): a model that computes without it would be another model.
  virtual Status finish(const std::vector<std::string>& known) const = 0;
  // How the experts' memory is bounded; null: they are resident.
  virtual std::shared_ptr<WeightMemory> memory() const { return nullptr; }
};

class FileParameterLoader final : public ParameterLoader {
 public:
  FileParameterLoader(const ModelFiles& files, const LoadOptions& options)
      : files_(files),
        options_(options),
        memory_(std::make_shared<WeightMemory>(options.weights_memory, !options.weights_memory_is_wish)) {}
  Result<Parameter*> matrix(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t rows, int64_t cols,
                            int interleaved_heads) override;
  Result<Parameter*> vector(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t n,
                            int interleaved_heads) override;
  Result<Parameter*> expert(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t expert, int64_t experts,
                            int64_t rows, int64_t cols) override;
  Result<Parameter*> latent_kv(ParameterStore&, const std::string& hf, const std::string& gguf_block, int64_t heads,
                               int64_t nope, int64_t value, int64_t rank) override;
  Status finish(const std::vector<std::string>& known) const override;
  std::shared_ptr<WeightMemory> memory() const override { return memory_; }

 private:
  Result<const TensorInfo*> find(const std::string& hf, const std::string& gguf, const std::vector<int64_t>& shape);
  // The tensor, or its slice `index` if it has a third dimension, with what it takes to pack it.
  Result<MatrixInFile> in_file(const TensorInfo& t, int64_t rows, int64_t cols, int64_t index = 0);
  Result<std::vector<float>> fp8_scales(const TensorInfo& t, int64_t rows, int64_t cols);
  Result<Parameter*> add(ParameterStore&, const std::string& hf, const TensorInfo& t, const MatrixInFile& m,
                         std::optional<DType> target);
  std::optional<DType> target() const { return options_.trainable ? DType::F32 : options_.repack; }
  Error cannot_compute(const TensorInfo& t) const;
  bool is_gguf() const { return files_.format == ModelFiles::Format::Gguf; }
  const ModelFiles& files_;
  LoadOptions options_;
  std::set<std::string> taken_;
  std::shared_ptr<WeightMemory> memory_;
};

// Zero parameters, trainable.
class ZeroParameterLoader final : public ParameterLoader {
 public:
  Status finish(const std::vector<std::string>&) const override { return {}; }
  Result<Parameter*> matrix(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t rows, int64_t cols,
                            int interleaved_heads) override;
  Result<Parameter*> vector(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t n,
                            int interleaved_heads) override;
  Result<Parameter*> expert(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t expert, int64_t experts,
                            int64_t rows, int64_t cols) override;
  Result<Parameter*> latent_kv(ParameterStore&, const std::string& hf, const std::string& gguf_block, int64_t heads,
                               int64_t nope, int64_t value, int64_t rank) override;
};

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

// rope_theta and rope_scaling, old style (top level) and new (rope_parameters). Unknown kinds of scaling are an error.
Result<RopeConfig> rope_from_hf(const ConfigReader& config, int head_dim);
nlohmann::ordered_json rope_scaling_json(const nlohmann::json& config);  // null if none
Status rope_scaling_from_gguf(const GgufKeys& keys, RopeConfig* rope);

// Error: experts of more values than can be counted.
Status check_expert_count(int64_t layers, int64_t experts, int64_t hidden, int64_t width, const std::string& where);

int64_t first_id(const nlohmann::json& config, const char* key);  // a number or the first of a list; -1 if absent
std::string weight_types(const ParameterStore& store);            // "BF16", "Q8_0 + F32"

}  // namespace raison
