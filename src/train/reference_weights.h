// ReferenceWeights: a frozen copy of the weights that are trained, for KL and preferences. To compute with it, it changes places with them: one model,
// one forward, and one more copy of what is trained.
#pragma once
#include <string>
#include <vector>

#include "autodiff/parameter.h"

namespace raison {

class ReferenceWeights {
 public:
  void take(const ParameterStore& store);  // the weights as they are now
  void drop() { values_ = {}; }
  bool held() const { return !values_.empty(); }
  int64_t bytes() const;
  Status write(const std::string& path, const ParameterStore& store) const;
  // Error: a file that does not hold these parameters; nothing was changed.
  Status read(const std::string& path, const ParameterStore& store);

  // While it lives, `store` computes with the reference; the version stays, for the weights come back.
  class InPlace {
   public:
    InPlace(ReferenceWeights& reference, ParameterStore& store) : reference_(reference), store_(store) { swap(); }
    ~InPlace() { swap(); }
    InPlace(const InPlace&) = delete;
    InPlace& operator=(const InPlace&) = delete;

   private:
    void swap();
    ReferenceWeights& reference_;
    ParameterStore& store_;
  };

 private:
  std::vector<std::vector<float>> values_;  // by Parameter::index, laid out like values(); empty where not trained
};

}  // namespace raison
