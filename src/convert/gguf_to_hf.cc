#include <unordered_map>

#include "convert/convert.h"

namespace raison {

Result<std::vector<OutputTensor>> hf_tensors_of_gguf(const GgufFile& file, const std::vector<ParameterSpec>& specs, DType type,
                                                     std::vector<std::string>* left_out, const RowMap& map) {
  std::unordered_map<std::string, std::vector<const ParameterSpec*>> parameters;  // of a stack of experts many
  for (const ParameterSpec& spec : specs) {
    const bool split = spec.is_latent() && file.find(spec.gguf) == nullptr;
    parameters[split ? spec.gguf_keys() : spec.gguf].push_back(&spec);
    if (split) parameters[spec.gguf_values()];  // comes with the keys
  }
  std::vector<OutputTensor> out;
  for (const TensorInfo& t : file.tensors()) {
    const auto found = parameters.find(t.name);
    if (found == parameters.end()) {
      if (t.name.starts_with("blk.")) left_out->push_back(t.name);  // else it is in the config
      continue;
    }
    if (found->second.empty()) continue;
    RAISON_ASSIGN(const RowSourcePtr whole, rows_of(t, nullptr));
    for (const ParameterSpec* spec : found->second) {
      RowSourcePtr rows = whole;
      if (spec->is_expert()) rows = unstack(whole, spec->expert);
      if (spec->interleaved_heads > 0) rows = deinterleave(whole, spec->interleaved_heads);
      if (spec->is_latent() && t.name != spec->gguf) {
        RAISON_ASSIGN(RowSourcePtr values, rows_of(*file.find(spec->gguf_values()), nullptr));
        rows = join_kv_b(whole, std::move(values));
      }
      // The router's correction stays as exact as it is; checkpoints hold it in fp32.
      out.push_back(
          {spec->hf, spec->gguf.ends_with(".exp_probs_b.bias") ? DType::F32 : type, map_rows(map, *spec, std::move(rows))});
    }
  }
  return out;
}

}  // namespace raison
