// What the architectures share when they read their files: parameters by either name, config keys of either format.
#pragma once
#include <set>

#include "io/tensor_read.h"
#include "models/model.h"
#include "nn/rope_table.h"

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
  // After the last one. Error: the files hold a tensor that nobody took and that is not in `known` (names that the
  // architecture knows to be of no use): a model that computes without it would be another model.
  virtual Status finish(const std::vector<std::string>& known) const = 0;
};

class FileParameterLoader final : public ParameterLoader {
 public:
  FileParameterLoader(const ModelFiles& files, const LoadOptions& options) : files_(files), options_(options) {}
  Result<Parameter*> matrix(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t rows, int64_t cols,
                            int interleaved_heads) override;
  Result<Parameter*> vector(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t n,
                            int interleaved_heads) override;
  Status finish(const std::vector<std::string>& known) const override;

 private:
  Result<const TensorInfo*> find(const std::string& hf, const std::string& gguf, const std::vector<int64_t>& shape);
  // The multipliers of E4M3 codes, "<name>_scale_inv": one per 128 x 128 values, row-major.
  Result<std::vector<float>> fp8_scales(const TensorInfo& t, int64_t rows, int64_t cols);
  Error cannot_compute(const TensorInfo& t) const;
  bool is_gguf() const { return files_.format == ModelFiles::Format::Gguf; }
  const ModelFiles& files_;
  LoadOptions options_;
  std::set<std::string> taken_;
};

// Zero parameters, trainable.
class ZeroParameterLoader final : public ParameterLoader {
 public:
  Status finish(const std::vector<std::string>&) const override { return {}; }
  Result<Parameter*> matrix(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t rows, int64_t cols,
                            int interleaved_heads) override;
  Result<Parameter*> vector(ParameterStore&, const std::string& hf, const std::string& gguf, int64_t n,
                            int interleaved_heads) override;
};

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

int64_t first_id(const nlohmann::json& config, const char* key);  // a number or the first of a list; -1 if absent
std::string weight_types(const ParameterStore& store);            // "BF16", "Q8_0 + F32"

}  // namespace raison
