// StepCost: what one forward pass has to read and to multiply, counted from the model's matrices: the least that any program must do. Held
// against what a machine gives (kernels/peaks.h), it says how fast the pass could be, and what keeps it from being faster.
#pragma once
#include "kernels/peaks.h"
#include "models/model.h"

namespace raison {

struct StepCost {
  double weight_bytes = 0;  // packed weights that some row meets, each once
  double cache_bytes = 0;   // K and V up to each sequence's last position, each once
  double fp32_ops = 0;      // two a product: float weights, attention
  double int8_ops = 0;      // block types, which meet activations of int8
  bool estimated = false;   // which experts a batch meets depends on its tokens: counted as if each token drew its own by lot

  StepCost& operator+=(const StepCost& other);
  StepCost operator*(double factor) const;
  double bytes() const { return weight_bytes + cache_bytes; }
  double ops() const { return fp32_ops + int8_ops; }
};

// What `sequences` sequences do in a step: each computes `rows` rows from position `first` on, and the logits of its last one if `logits`.
struct StepShape {
  int64_t sequences = 1, rows = 1, first = 0;
  bool logits = true;
};

class StepCounter {
 public:
  StepCounter(const Model& model, const KvLayout& layout);
  StepCost count(const StepShape& shape) const;
  int64_t active_elements() const;  // of matrices and vectors that one token meets

 private:
  struct Weights {
    int64_t bytes = 0, fp32 = 0, int8 = 0;  // elements by the kind of their products
    int64_t vectors = 0;                    // elements that no product meets
    void add(const Parameter& p);
  };
  Weights always_, experts_, head_;  // met by every row; by the rows routed there; by rows whose logits are wanted
  double expert_share_ = 0;          // of a layer's experts that a token meets
  double position_bytes_ = 0;        // of the cache, all layers
  double position_ops_ = 0;          // of attention, for one row and one position that it sees
};

// The shortest time a machine with these peaks could take, and what sets it. Kinds of work whose peak is not known are left out.
struct CostBound {
  enum class Kind { None, Read, Fp32, Int8 };
  Kind kind = Kind::None;
  double seconds = 0;
};
CostBound bound_of(const StepCost& cost, const Peaks& peaks);
const char* bound_name(CostBound::Kind kind);  // "none", "read", "fp32", "int8"

}  // namespace raison
