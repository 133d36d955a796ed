// A model from one format or type to another, streamed: the memory used is a few chunks of rows, whatever the model's size.
#pragma once
#include <map>

#include "convert/file_type.h"
#include "convert/merge.h"
#include "convert/stream.h"
#include "models/parameter_loader.h"

namespace raison {

// What was written.
struct Converted {
  std::vector<std::string> files;
  uint64_t bytes = 0;                // of all files
  uint64_t tensors = 0, values = 0;  // numbers of them
  std::map<DType, uint64_t> type_bytes;
  std::vector<std::string> left_out;  // tensors that were not taken along (a multi-token prediction layer)
};

// A HF folder or a GGUF (of several parts too) as one GGUF file of a file type. The file appears whole or not at all; one that is
// there is replaced only if `replace`. `adapter`: a folder of PEFT's that is merged into the weights on their way; empty: none.
Result<Converted> quantize_model(const std::string& in, const std::string& out, const FileType& type, bool replace, Exec& exec,
                                 const Progress& progress, const std::string& adapter = "");

// A GGUF as a HF folder of F32, F16 or BF16: config.json, generation_config.json, safetensors (in shards of 5 GB), tokenizer and
// chat template. The folder appears whole or not at all; it must not be there, or be empty. With an `adapter` a HF folder too.
Result<Converted> convert_to_hf(const std::string& in, const std::string& out, DType dtype, Exec& exec,
                                const Progress& progress, const std::string& adapter = "");

// The tensors of a HF folder as GGUF has them, in its order, types those of general rules (vectors, norms and routers F32, others
// `type`). `specs` as outline_model gives them. Names of tensors that are left out go to `left_out`. `map` (may be empty) has a say in
// every parameter's rows.
Result<std::vector<OutputTensor>> gguf_tensors_of_hf(const ModelFiles& files, const std::vector<ParameterSpec>& specs,
                                                     std::vector<float> rope_freqs, DType type,
                                                     std::vector<std::string>* left_out, const RowMap& map = {});
// And the tensors of a GGUF as HF has them.
Result<std::vector<OutputTensor>> hf_tensors_of_gguf(const GgufFile& file, const std::vector<ParameterSpec>& specs, DType type,
                                                     std::vector<std::string>* left_out, const RowMap& map = {});
// Of a HF folder, FP8 and all, as HF has them: what `map` changes, and the rest.
Result<std::vector<OutputTensor>> hf_tensors_of_hf(const ModelFiles& files, const std::vector<ParameterSpec>& specs, DType type,
                                                   std::vector<std::string>* left_out, const RowMap& map);
// Of a GGUF as they lie, but for those of parameters whose rows `map` changes.
Result<std::vector<OutputTensor>> gguf_tensors_of_gguf(const GgufFile& file, const std::vector<ParameterSpec>& specs,
                                                       const RowMap& map);

}  // namespace raison
