#include <algorithm>
#include <map>
#include <unordered_set>

#include "convert/convert.h"

namespace raison {
namespace {

std::string stem(const std::string& name) { return name.substr(0, name.rfind('.')); }

// Where a tensor stands in the file, by its name without ".weight" or ".bias": in the order in which the model asks for them, but
// attention's output after all else of attention.
std::map<std::string, size_t> ranks_of(const std::vector<ParameterSpec>& specs) {
  std::map<std::string, size_t> ranks;
  std::vector<std::string> outputs;
  const auto place = [&](const std::string& name) { ranks.try_emplace(name, ranks.size()); };
  for (const ParameterSpec& spec : specs) {
    const std::string name = stem(spec.gguf);
    if (name.ends_with(".attn_output")) {
      outputs.push_back(name);
      continue;
    }
    if (name.find(".attn_") == std::string::npos)
      for (; !outputs.empty(); outputs.clear())
        for (const std::string& output : outputs) place(output);
    place(name);
    place("rope_freqs");  // after the first, the embedding
  }
  return ranks;
}

// Makes the list of tensors of gguf_tensors_of_hf.
class GgufTensorList {
 public:
  GgufTensorList(const ModelFiles& files, const std::vector<ParameterSpec>& specs)
      : source_(*files.tensors), specs_(specs), ranks_(ranks_of(specs)) {}

  Result<std::vector<OutputTensor>> make(std::vector<float> rope_freqs, DType type) {
    for (const ParameterSpec& spec : specs_) RAISON_RETURN_IF_ERROR(take(spec));
    if (const auto n = static_cast<int64_t>(rope_freqs.size()); n > 0)
      add("rope_freqs.weight", nullptr, rows_in_memory({n}, std::move(rope_freqs)));
    // A layer's bias and weight stand as they do in the folder.
    std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
      return a.rank != b.rank ? a.rank < b.rank : std::less<>()(a.source, b.source);
    });
    std::vector<OutputTensor> out;
    for (Entry& e : entries_) {
      const TensorSpec spec{e.name, DType::F32, e.rows->shape()};
      out.push_back({e.name, is_mixed(spec) ? type : DType::F32, std::move(e.rows)});
    }
    return out;
  }

 private:
  struct Entry {
    size_t rank;
    const TensorInfo* source;  // of an expert's stack the last
    std::string name;
    RowSourcePtr rows;
  };

  void add(const std::string& name, const TensorInfo* source, RowSourcePtr rows, const std::string& beside = "") {
    entries_.push_back({ranks_.at(stem(beside.empty() ? name : beside)), source, name, std::move(rows)});
  }

  Status take(const ParameterSpec& spec) {
    const TensorInfo& t = *source_.find(spec.hf);
    RAISON_ASSIGN(RowSourcePtr rows, rows_of(t, source_.find(t.name + "_scale_inv")));
    if (spec.is_latent()) {
      add(spec.gguf_keys(), &t, keys_of_kv_b(rows, spec.heads, spec.nope, spec.value), spec.gguf);
      add(spec.gguf_values(), &t, values_of_kv_b(rows, spec.heads, spec.nope, spec.value), spec.gguf);
    } else if (spec.is_expert()) {
      std::vector<RowSourcePtr>& parts = stacks_[spec.gguf];
      parts.push_back(std::move(rows));
      if (static_cast<int64_t>(parts.size()) == spec.experts) add(spec.gguf, &t, stack(std::move(parts)));
    } else {
      add(spec.gguf, &t, spec.interleaved_heads > 0 ? interleave(std::move(rows), spec.interleaved_heads) : std::move(rows));
    }
    return {};
  }

  const TensorSource& source_;
  const std::vector<ParameterSpec>& specs_;
  std::map<std::string, size_t> ranks_;
  std::vector<Entry> entries_;
  std::map<std::string, std::vector<RowSourcePtr>> stacks_;
};

}  // namespace

Result<std::vector<OutputTensor>> gguf_tensors_of_hf(const ModelFiles& files, const std::vector<ParameterSpec>& specs,
                                                     std::vector<float> rope_freqs, DType type,
                                                     std::vector<std::string>* left_out) {
  std::unordered_set<std::string> taken;
  for (const ParameterSpec& spec : specs) taken.insert(spec.hf);
  for (const TensorInfo& t : files.tensors->tensors())
    if (t.name.starts_with("model.layers.") && !taken.count(t.name) && !t.name.ends_with("_scale_inv") &&
        !t.name.ends_with("inv_freq"))
      left_out->push_back(t.name);
  return GgufTensorList(files, specs).make(std::move(rope_freqs), type);
}

}  // namespace raison
