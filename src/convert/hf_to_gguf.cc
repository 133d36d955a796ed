#include <algorithm>
#include <functional>
#include <map>
#include <unordered_map>
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

// A parameter's rows in HF's layout, and the tensor that they come from (null: one that says nothing of the order).
struct ParameterRows {
  RowSourcePtr rows;
  const TensorInfo* tensor;
};
using FindRows = std::function<Result<ParameterRows>(const ParameterSpec&)>;

// Makes the list of a GGUF's tensors of rows in HF's layout.
class GgufTensorList {
 public:
  GgufTensorList(const std::vector<ParameterSpec>& specs, FindRows find)
      : specs_(specs), find_(std::move(find)), ranks_(ranks_of(specs)) {}

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
    RAISON_ASSIGN(ParameterRows found, find_(spec));
    auto& [rows, t] = found;
    if (spec.is_latent()) {
      add(spec.gguf_keys(), t, keys_of_kv_b(rows, spec.heads, spec.nope, spec.value), spec.gguf);
      add(spec.gguf_values(), t, values_of_kv_b(rows, spec.heads, spec.nope, spec.value), spec.gguf);
    } else if (spec.is_expert()) {
      std::vector<RowSourcePtr>& parts = stacks_[spec.gguf];
      parts.push_back(std::move(rows));
      if (static_cast<int64_t>(parts.size()) == spec.experts) add(spec.gguf, t, stack(std::move(parts)));
    } else {
      add(spec.gguf, t, spec.interleaved_heads > 0 ? interleave(std::move(rows), spec.interleaved_heads) : std::move(rows));
    }
    return {};
  }

  const std::vector<ParameterSpec>& specs_;
  FindRows find_;
  std::map<std::string, size_t> ranks_;
  std::vector<Entry> entries_;
  std::map<std::string, std::vector<RowSourcePtr>> stacks_;
};

void list_left_out(const TensorSource& source, const std::vector<ParameterSpec>& specs, std::vector<std::string>* left_out) {
  std::unordered_set<std::string> taken;
  for (const ParameterSpec& spec : specs) taken.insert(spec.hf);
  for (const TensorInfo& t : source.tensors())
    if (t.name.starts_with("model.layers.") && !taken.count(t.name) && !t.name.ends_with("_scale_inv") &&
        !t.name.ends_with("inv_freq"))
      left_out->push_back(t.name);
}

FindRows rows_in_folder(const TensorSource& source, const RowMap& map) {
  return [&source, &map](const ParameterSpec& spec) -> Result<ParameterRows> {
    const TensorInfo& t = *source.find(spec.hf);
    RAISON_ASSIGN(RowSourcePtr rows, rows_of(t, source.find(t.name + "_scale_inv")));
    return ParameterRows{map_rows(map, spec, std::move(rows)), &t};
  };
}

}  // namespace

Result<std::vector<OutputTensor>> gguf_tensors_of_hf(const ModelFiles& files, const std::vector<ParameterSpec>& specs,
                                                     std::vector<float> rope_freqs, DType type,
                                                     std::vector<std::string>* left_out, const RowMap& map) {
  list_left_out(*files.tensors, specs, left_out);
  return GgufTensorList(specs, rows_in_folder(*files.tensors, map)).make(std::move(rope_freqs), type);
}

Result<std::vector<OutputTensor>> hf_tensors_of_hf(const ModelFiles& files, const std::vector<ParameterSpec>& specs, DType type,
                                                   std::vector<std::string>* left_out, const RowMap& map) {
  list_left_out(*files.tensors, specs, left_out);
  const FindRows find = rows_in_folder(*files.tensors, map);
  std::vector<OutputTensor> out;
  for (const ParameterSpec& spec : specs) {
    RAISON_ASSIGN(ParameterRows found, find(spec));
    out.push_back({spec.hf, spec.hf.ends_with(".e_score_correction_bias") ? DType::F32 : type, std::move(found.rows)});
  }
  return out;
}

Result<std::vector<OutputTensor>> gguf_tensors_of_gguf(const GgufFile& file, const std::vector<ParameterSpec>& specs,
                                                       const RowMap& map) {
  std::unordered_set<std::string> changed;  // HF's names
  const RowMap watch = [&](const ParameterSpec& spec, RowSourcePtr rows) {
    RowSourcePtr mapped = map_rows(map, spec, rows);
    if (mapped != rows) changed.insert(spec.hf);
    return mapped;
  };
  std::vector<std::string> left_out;
  RAISON_ASSIGN(const auto in_hf, hf_tensors_of_gguf(file, specs, DType::F32, &left_out, watch));
  std::unordered_map<std::string, RowSourcePtr> rows;
  for (const OutputTensor& t : in_hf) rows[t.name] = any_rows(t.rows);
  const FindRows find = [&](const ParameterSpec& spec) { return Result<ParameterRows>({rows.at(spec.hf), nullptr}); };
  RAISON_ASSIGN(const auto back, GgufTensorList(specs, find).make({}, DType::F32));
  std::unordered_map<std::string, RowSourcePtr> made;  // by GGUF's names, those that are changed
  for (const OutputTensor& t : back) made[t.name] = t.rows;
  std::unordered_map<std::string, RowSourcePtr> replaced;
  for (const ParameterSpec& spec : specs) {
    if (!changed.count(spec.hf)) continue;
    const bool split = spec.is_latent() && !file.find(spec.gguf);
    if (split) {
      for (const std::string& name : {spec.gguf_keys(), spec.gguf_values()}) replaced[name] = made.at(name);
    } else {
      replaced[spec.gguf] = spec.is_latent() ? rows.at(spec.hf) : made.at(spec.gguf);
    }
  }
  std::vector<OutputTensor> out;
  for (const TensorInfo& t : file.tensors()) {
    if (!t.known_type) return error("{}: tensor {} is of type {}, which is not read", file.path(), t.name, t.type_name);
    const auto other = replaced.find(t.name);
    if (other != replaced.end()) {
      out.push_back({t.name, t.type, other->second});
      continue;
    }
    RAISON_ASSIGN(RowSourcePtr plain, rows_of(t, nullptr));
    out.push_back({t.name, t.type, std::move(plain)});
  }
  return out;
}

}  // namespace raison
