// MemoryPlan: what memory a run will need, reckoned before its first step, so that it does not end in the hundredth.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "train/model_setup.h"

namespace raison {

struct MemoryPlan {
  struct Item {
    std::string what;
    int64_t bytes = 0;
  };
  std::vector<Item> items;  // still to be allocated; the weights, which are loaded already, apart
  int64_t weights = 0;
  int64_t needed() const;    // sum of the items
  std::string line() const;  // "memory: weights 2.1 MB; about 48.2 MB more: gradients 4.1, ..."
};

// About what a run of this recipe will allocate.
MemoryPlan plan_memory(const Recipe& recipe, const TrainSetup& setup);

// Makes the recipe fit into `available` bytes by what changes no bit of the result: activations are recomputed, fewer sequences are drawn
// together. Tells what it did. Error: it does not fit, with what would help.
Status fit_memory(Recipe* recipe, const TrainSetup& setup, int64_t available, std::vector<std::string>* notices);

std::string bytes_text(int64_t bytes);  // "3.1 GB"

}  // namespace raison
