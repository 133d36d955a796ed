#include "autodiff/parameter.h"

#include <cstring>
#include <stdexcept>

namespace raison {

std::vector<float> Parameter::to_row_major() const {
  std::vector<float> out(static_cast<size_t>(element_count()));
  if (is_matrix()) {
    packed().unpack_f32(out.data());
  } else {
    out = vector;
  }
  return out;
}

std::vector<float> Parameter::to_row_major(const float* values) const {
  std::vector<float> out(static_cast<size_t>(element_count()));
  if (is_matrix()) {
    unpack_f32_panels(values, shape[0], shape[1], out.data());
  } else {
    std::memcpy(out.data(), values, out.size() * sizeof(float));
  }
  return out;
}

void Parameter::from_row_major(const float* row_major, float* values) const {
  if (is_matrix()) {
    pack_f32_panels(row_major, shape[0], shape[1], values);
  } else {
    std::memcpy(values, row_major, static_cast<size_t>(element_count()) * sizeof(float));
  }
}

Parameter& ParameterStore::add(Parameter p) {
  p.index = static_cast<int32_t>(parameters_.size());
  index_[p.name] = p.index;
  parameters_.push_back(std::make_unique<Parameter>(std::move(p)));
  return *parameters_.back();
}

Parameter* ParameterStore::find(const std::string& name) {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : parameters_[static_cast<size_t>(it->second)].get();
}
const Parameter* ParameterStore::find(const std::string& name) const { return const_cast<ParameterStore*>(this)->find(name); }

int64_t ParameterStore::element_count() const {
  int64_t n = 0;
  for (const auto& p : parameters_) n += p->element_count();
  return n;
}

int64_t ParameterStore::bytes() const {
  int64_t n = 0;
  for (const auto& p : parameters_)
    n += p->is_matrix() ? (p->source ? 0 : p->matrix.bytes()) : static_cast<int64_t>(p->vector.size()) * 4;
  return n;
}

GradientStore::GradientStore(const ParameterStore& store) : entries_(store.all().size()) {
  for (const auto& p : store.all()) {
    entries_[static_cast<size_t>(p->index)].parameter = p.get();
    if (!p->trainable) continue;
    entries_[static_cast<size_t>(p->index)].micro.resize(static_cast<size_t>(p->value_count()));
    entries_[static_cast<size_t>(p->index)].total.resize(static_cast<size_t>(p->value_count()));
  }
}

float* GradientStore::micro(const Parameter& p, bool* fresh) {
  // Indices of two stores overlap: an adapter that is trained and a base that is not frozen.
  if (static_cast<size_t>(p.index) >= entries_.size() || entries_[static_cast<size_t>(p.index)].parameter != &p)
    throw std::logic_error("gradient of a parameter of another store: " + p.name);
  Entry& e = entries_[static_cast<size_t>(p.index)];
  *fresh = e.fresh;
  e.fresh = false;
  return e.micro.data();
}

float* GradientStore::micro_zeroed(const Parameter& p) {
  bool fresh;
  float* g = micro(p, &fresh);
  if (fresh) std::memset(g, 0, entries_[static_cast<size_t>(p.index)].micro.size() * sizeof(float));
  return g;
}

void GradientStore::finish_micro_batch() {
  for (Entry& e : entries_) {
    if (e.fresh) continue;
    if (e.has_total) {
      for (size_t i = 0; i < e.micro.size(); ++i) e.total[i] += e.micro[i];
    } else {
      e.total.swap(e.micro);
      e.has_total = true;
    }
    e.fresh = true;
  }
}

void GradientStore::clear() {
  for (Entry& e : entries_) {
    e.has_total = false;
    e.fresh = true;
  }
}

}  // namespace raison
