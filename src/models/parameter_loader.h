// ParameterLoader: what an architecture asks for its parameters. What comes back depends on who is asked: the weights of a model's
// files, zeros, or nothing but the knowledge that the files hold them.
#pragma once
#include <unordered_set>

#include "models/model.h"
#include "models/weight_memory.h"

namespace raison {

// One parameter and the tensors that hold it in either format.
struct ParameterSpec {
  std::string hf, gguf;        // names; latent_kv's in GGUF is that of the joint tensor
  std::vector<int64_t> shape;  // [rows, cols] or [n], as HF's tensor
  int interleaved_heads = 0;
  int64_t expert = -1, experts = 0;        // GGUF's tensor is [experts, rows, cols]
  int64_t heads = 0, nope = 0, value = 0;  // latent_kv: rows = heads * (nope + value)

  bool is_expert() const { return expert >= 0; }
  bool is_latent() const { return heads > 0; }
  // latent_kv in two tensors: "attn_k_b" [heads, cols, nope], "attn_v_b" [heads, value, cols].
  std::string gguf_keys() const { return gguf_part("attn_k_b"); }
  std::string gguf_values() const { return gguf_part("attn_v_b"); }

 private:
  std::string gguf_part(const char* name) const;
};

// Makes parameters and puts them in a store. Names: HF's, and GGUF's.
class ParameterLoader {
 public:
  virtual ~ParameterLoader() = default;
  // interleaved_heads > 0: if it comes from a GGUF, the rows of each of that many heads stand with rotary pairs interleaved
  // and are put in HF's order (first halves, then second halves).
  Result<Parameter*> matrix(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t rows, int64_t cols,
                            int interleaved_heads = 0);
  Result<Parameter*> vector(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t n,
                            int interleaved_heads = 0);
  // Matrix `expert` of `experts`: HF has a tensor for each, GGUF one of [experts, rows, cols]. Packed on demand unless trained.
  Result<Parameter*> expert(ParameterStore& store, const std::string& hf, const std::string& gguf, int64_t expert,
                            int64_t experts, int64_t rows, int64_t cols);
  // Multi-head latent attention's [heads*(nope + value), rank]: HF's kv_b_proj.weight; in GGUF "<block>attn_kv_b.weight", or
  // "<block>attn_k_b.weight" [heads, rank, nope] beside "<block>attn_v_b.weight" [heads, value, rank]. It is multiplied from both
  // sides, so it is kept as floats: F32 unless it comes as F16 or BF16.
  Result<Parameter*> latent_kv(ParameterStore& store, const std::string& hf, const std::string& gguf_block, int64_t heads,
                               int64_t nope, int64_t value, int64_t rank);
  // After the last one. Error: the files hold a tensor that nobody took and that is not in `known` (names that the
  // architecture knows to be of no use; "x.*": all that begin with "x."): a model that computes without it would be another model.
  virtual Status finish(const std::vector<std::string>& known) const = 0;
  // How the experts' memory is bounded; null: they are resident.
  virtual std::shared_ptr<WeightMemory> memory() const { return nullptr; }

 protected:
  virtual Result<Parameter*> make(ParameterStore& store, ParameterSpec spec) = 0;
};

// Finds every parameter's tensors in a model's files, checks names and shapes and takes note of them; its parameters have no
// storage. So it is known what a model consists of, and whether all of it is there, before a weight is read.
class HeaderLoader : public ParameterLoader {
 public:
  explicit HeaderLoader(const ModelFiles& files) : files_(files) {}
  const std::vector<ParameterSpec>& specs() const { return specs_; }
  Status finish(const std::vector<std::string>& known) const override;

 protected:
  Result<Parameter*> make(ParameterStore& store, ParameterSpec spec) override;
  // The parameter's tensors: one, or latent_kv's keys and values. They are taken, scales of FP8 too.
  Result<std::vector<const TensorInfo*>> find(const ParameterSpec& spec);
  Error cannot_compute(const TensorInfo& t) const;
  bool is_gguf() const { return files_.format == ModelFiles::Format::Gguf; }
  const ModelFiles& files_;

 private:
  Status take(const std::string& name, const std::vector<int64_t>& shape, std::vector<const TensorInfo*>* out);
  Status take_scales(const TensorInfo& t);
  std::unordered_set<const TensorInfo*> taken_;
  std::vector<ParameterSpec> specs_;
};

// The weights.
class FileParameterLoader final : public HeaderLoader {
 public:
  FileParameterLoader(const ModelFiles& files, const LoadOptions& options)
      : HeaderLoader(files),
        options_(options),
        memory_(std::make_shared<WeightMemory>(options.weights_memory, !options.weights_memory_is_wish, files.path)) {}
  std::shared_ptr<WeightMemory> memory() const override { return memory_; }

 private:
  Result<Parameter*> make(ParameterStore&, ParameterSpec spec) override;
  Result<Parameter*> read_vector(ParameterStore&, const ParameterSpec& spec, const TensorInfo& t);
  Result<Parameter*> read_latent(ParameterStore&, const ParameterSpec& spec, const TensorInfo& k, const TensorInfo& v);
  // The tensor, or its slice `index` if it has a third dimension, with what it takes to pack it.
  Result<MatrixInFile> in_file(const TensorInfo& t, int64_t rows, int64_t cols, int64_t index = 0);
  Result<Parameter*> add(ParameterStore&, const std::string& hf, const TensorInfo& t, const MatrixInFile& m,
                         std::optional<DType> target);
  std::optional<DType> target() const { return options_.trainable ? DType::F32 : options_.repack; }
  std::optional<DType> latent_target(DType type) const;
  LoadOptions options_;
  std::shared_ptr<WeightMemory> memory_;
};

// Zero parameters, trainable.
class ZeroParameterLoader final : public ParameterLoader {
 public:
  Status finish(const std::vector<std::string>&) const override { return {}; }

 private:
  Result<Parameter*> make(ParameterStore&, ParameterSpec spec) override;
};

}  // namespace raison
