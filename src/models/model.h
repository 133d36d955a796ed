// Model: forward(Context&, const ForwardBatch&); nothing else knows an architecture.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "autodiff/tape.h"
#include "io/model_files.h"
#include "nn/adapter.h"

namespace raison {

// Facts every architecture has.
struct ModelInfo {
  std::string architecture;  // "llama", "qwen2", "deepseek_v3": HF's model_type
  std::string hf_class;      // "LlamaForCausalLM"
  int64_t layers = 0, hidden = 0, vocab = 0, context_length = 0;
  int64_t q_heads = 0, kv_heads = 0, head_dim = 0, feed_forward = 0;
  int64_t experts = 0, experts_used = 0, shared_experts = 0;  // of a layer with experts; 0: none
  int64_t cache_values = 0;                                   // that a token puts into the cache, all layers
  int64_t parameters = 0;         // elements, tied embeddings counted once; without multi-token-prediction layers
  int64_t active_parameters = 0;  // that a token meets
  int64_t mtp_layers = 0;         // multi-token-prediction layers in the files, which are kept aside
  int64_t weight_bytes = 0;       // compute copies in memory, all experts packed
  int64_t expert_bytes = 0;       // that of them which is packed on demand
  bool tied_embeddings = false;
  std::string weight_types;  // "BF16", "Q8_0 + F32": what the matrices are kept as
};

struct LoadOptions {
  bool trainable = false;       // every parameter becomes F32 and gets a gradient
  std::optional<DType> repack;  // matrices are re-rounded to this type where their width allows (else kept as F32)
  // Bytes that packed weights may hold; experts are then evicted and packed again on demand. None: no bound.
  std::optional<int64_t> weights_memory;
  bool weights_memory_is_wish = false;  // resident weights may go beyond it
};

class WeightMemory;
struct ParameterSpec;

// What a GGUF says of a model beside its weights.
struct GgufConfig {
  Metadata metadata;              // general.architecture and "<architecture>.*"
  std::vector<float> rope_freqs;  // of the tensor rope_freqs.weight: divisors of rotary frequencies; empty: there is none
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  virtual ParameterStore& parameters() = 0;
  const ParameterStore& parameters() const { return const_cast<Model*>(this)->parameters(); }
  // Layout of a cache for this model. Error: a type or page size that the model can't use.
  virtual Result<KvLayout> kv_layout(DType type, int page_size) const = 0;
  // What serves answers best where the user says nothing: i16 for latent attention whose width allows it, else f16.
  DType default_cache_type() const;
  // Final hidden states (after the last norm) of batch.output_rows: [R, hidden]. Appends to the batch's pages. With a tape,
  // `batch` must outlive the backward. Throws std::bad_alloc only.
  virtual Tensor forward(Context& ctx, const ForwardBatch& batch) = 0;
  // Adapters that a batch's sequences may name (ForwardBatch::adapters), by id. To be added before the model is in use.
  const std::vector<std::shared_ptr<Adapter>>& adapters() const { return adapters_; }
  int32_t add_adapter(std::shared_ptr<Adapter> adapter);  // the id
  // Counts updates of parameters, the adapters' too: what was computed under another version is stale.
  uint64_t version() const;
  // The head's matrix [vocab, hidden] (the embedding table if tied): logits = hidden·headᵀ.
  virtual const Parameter& head() const = 0;
  // How the memory of experts is bounded and used; null where all weights are resident.
  virtual const WeightMemory* weight_memory() const { return nullptr; }
  // Error: a GGUF whose computation no config.json can describe; what hf_config() then says is another model.
  virtual Status expressible_in_hf() const = 0;
  // config.json of this model as transformers reads it, weights said to be of `type`.
  virtual nlohmann::ordered_json hf_config(DType type) const = 0;
  // The same as a GGUF says it. Error: what GGUF has no word for.
  virtual Result<GgufConfig> gguf_config() const = 0;

 private:
  std::vector<std::shared_ptr<Adapter>> adapters_;
};

// Everything about the batch that could make forward go wrong, checked against the model: token ids in range, positions
// ascending, adapters known, output rows in range, layout equal to the model's. One line, or ok.
Status check_batch(const Model& model, const ForwardBatch& batch);

// Loads a model as it lies on disk. Errors: architecture unknown (names it and those known), tensors missing, of wrong shape,
// of a type that can't be computed with, absurd config values.
Result<std::unique_ptr<Model>> load_model(const ModelFiles& files, const LoadOptions& options = {});

// A freshly initialised model from a HF config (for training from nothing); all parameters zero and trainable.
Result<std::unique_ptr<Model>> create_model(const nlohmann::json& config, const std::string& where);

// Builds the model from headers alone: its parameters have names and shapes, but no storage. Nothing can be computed with it; it says
// what it is (info, hf_config, gguf_config), and where its tensors lie (`specs`, may be null). Errors: load_model's, but for types.
Result<std::unique_ptr<Model>> outline_model(const ModelFiles& files, std::vector<ParameterSpec>* specs = nullptr);

// Reads only the config: what `inspect` shows before any weight is touched (weight_bytes 0).
Result<ModelInfo> describe_model(const ModelFiles& files);

}  // namespace raison
