#include "models/step_cost.h"

#include <cmath>

namespace raison {

StepCost& StepCost::operator+=(const StepCost& other) {
  weight_bytes += other.weight_bytes;
  cache_bytes += other.cache_bytes;
  fp32_ops += other.fp32_ops;
  int8_ops += other.int8_ops;
  estimated = estimated || other.estimated;
  return *this;
}

StepCost StepCost::operator*(double factor) const {
  return {weight_bytes * factor, cache_bytes * factor, fp32_ops * factor, int8_ops * factor, estimated};
}

void StepCounter::Weights::add(const Parameter& p) {
  if (!p.is_matrix()) {
    vectors += p.shape[0];
    bytes += p.shape[0] * static_cast<int64_t>(sizeof(float));
    return;
  }
  const DType type = p.matrix_type();
  (is_block_type(type) ? int8 : fp32) += p.shape[0] * p.shape[1];
  bytes += panel_count(p.shape[0]) * panel_bytes(type, p.shape[1]);
}

StepCounter::StepCounter(const Model& model, const KvLayout& layout) {
  const ModelInfo& info = model.info();
  for (const auto& p : model.parameters().all()) {
    if (p.get() == &model.head()) {
      head_.add(*p);
    } else if (p->name.find(".experts.") != std::string::npos) {
      experts_.add(*p);
    } else if (p->name != "model.embed_tokens.weight") {  // of which a token reads one row
      always_.add(*p);
    }
  }
  if (info.experts > 0) expert_share_ = static_cast<double>(info.experts_used) / static_cast<double>(info.experts);
  position_bytes_ = static_cast<double>(layout.page_bytes()) / layout.page_size;
  position_ops_ = 2.0 * layout.layers * static_cast<double>(info.q_heads * (layout.head_dim + layout.v_dim()));
}

int64_t StepCounter::active_elements() const {
  const auto elements = [](const Weights& w) { return w.fp32 + w.int8 + w.vectors; };
  return elements(always_) + elements(head_) + std::llround(expert_share_ * static_cast<double>(elements(experts_)));
}

StepCost StepCounter::count(const StepShape& shape) const {
  const double sequences = static_cast<double>(shape.sequences), rows = static_cast<double>(shape.rows);
  const double tokens = sequences * rows, outputs = shape.logits ? sequences : 0;
  const double end = static_cast<double>(shape.first) + rows;
  // Positions that the rows of one sequence see: first + 1, ..., first + rows.
  const double seen = rows * (static_cast<double>(shape.first) + (rows + 1) / 2);
  const double met = expert_share_ > 0 ? 1 - std::pow(1 - expert_share_, tokens) : 0;
  StepCost c;
  c.weight_bytes = static_cast<double>(always_.bytes) + met * static_cast<double>(experts_.bytes) +
                   (outputs > 0 ? static_cast<double>(head_.bytes) : 0);
  c.cache_bytes = sequences * end * position_bytes_;
  const auto ops = [&](int64_t always, int64_t experts, int64_t head) {
    return 2 * (tokens * (static_cast<double>(always) + expert_share_ * static_cast<double>(experts)) +
                outputs * static_cast<double>(head));
  };
  c.fp32_ops = ops(always_.fp32, experts_.fp32, head_.fp32) + sequences * seen * position_ops_;
  c.int8_ops = ops(always_.int8, experts_.int8, head_.int8);
  c.estimated = experts_.bytes > 0 && tokens > 1;
  return c;
}

CostBound bound_of(const StepCost& cost, const Peaks& peaks) {
  const auto seconds = [](double work, double peak) { return peak > 0 ? work / peak : 0; };
  const double read = seconds(cost.bytes(), peaks.read);
  const double fp32 = seconds(cost.fp32_ops, peaks.fp32), int8 = seconds(cost.int8_ops, peaks.int8);
  if (read <= 0 && fp32 + int8 <= 0) return {};
  if (read >= fp32 + int8) return {CostBound::Kind::Read, read};
  return {fp32 > int8 ? CostBound::Kind::Fp32 : CostBound::Kind::Int8, fp32 + int8};
}

const char* bound_name(CostBound::Kind kind) {
  switch (kind) {
    case CostBound::Kind::Read: return "read";
    case CostBound::Kind::Fp32: return "fp32";
    case CostBound::Kind::Int8: return "int8";
    case CostBound::Kind::None: break;
  }
  return "none";
}

}  // namespace raison
