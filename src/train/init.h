// First values of a new model's parameters.
#pragma once
#include "models/model.h"
#include "train/recipe.h"

namespace raison {

// Draws every parameter from its own stream, keyed by (seed, parameter index), elements in row-major order: the values do not
// depend on threads, panels or the order of loading.
void initialise(Model& model, const InitRecipe& init, uint64_t seed);

}  // namespace raison
