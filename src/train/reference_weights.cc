#include "train/reference_weights.h"

#include <algorithm>
#include <cstring>

#include "io/safetensors.h"

namespace raison {

void ReferenceWeights::take(const ParameterStore& store) {
  values_.resize(store.all().size());
  for (const auto& p : store.all())
    if (p->trainable) values_[static_cast<size_t>(p->index)].assign(p->values(), p->values() + p->value_count());
}

int64_t ReferenceWeights::bytes() const {
  int64_t n = 0;
  for (const auto& v : values_) n += static_cast<int64_t>(v.size() * sizeof(float));
  return n;
}

void ReferenceWeights::InPlace::swap() {
  for (const auto& p : store_.all()) {
    auto& mine = reference_.values_[static_cast<size_t>(p->index)];
    if (p->trainable) std::swap_ranges(mine.begin(), mine.end(), p->values());
  }
}

Status ReferenceWeights::write(const std::string& path, const ParameterStore& store) const {
  std::vector<std::vector<float>> rows;
  std::vector<TensorToWrite> tensors;
  for (const auto& p : store.all())
    if (p->trainable) rows.push_back(p->to_row_major(values_[static_cast<size_t>(p->index)].data()));
  size_t next = 0;
  for (const auto& p : store.all())
    if (p->trainable) tensors.push_back({p->name, DType::F32, p->shape, rows[next++].data()});
  return write_safetensors(path, tensors);
}

Status ReferenceWeights::read(const std::string& path, const ParameterStore& store) {
  RAISON_ASSIGN(const auto file, SafetensorsFile::open(path));
  std::vector<std::vector<float>> values(store.all().size());
  for (const auto& p : store.all()) {
    if (!p->trainable) continue;
    const TensorInfo* t = file->find(p->name);
    if (!t || !t->known_type || t->type != DType::F32 || t->shape != p->shape)
      return error("{}: {} is missing or of another shape; the checkpoint is of another model", path, p->name);
    std::vector<float> row(static_cast<size_t>(p->element_count()));
    std::memcpy(row.data(), t->data, row.size() * sizeof(float));
    auto& v = values[static_cast<size_t>(p->index)];
    v.assign(static_cast<size_t>(p->value_count()), 0.0f);
    p->from_row_major(row.data(), v.data());
  }
  values_ = std::move(values);
  return {};
}

}  // namespace raison
