// Merging an adapter into its base: W + scale·B·A, a row at a time.
#pragma once
#include "convert/peft.h"
#include "convert/row_source.h"
#include "models/parameter_loader.h"

namespace raison {

// What a parameter's rows become on their way, in HF's layout: the rows themselves, or others of the same shape.
using RowMap = std::function<RowSourcePtr(const ParameterSpec&, RowSourcePtr)>;
inline RowSourcePtr map_rows(const RowMap& map, const ParameterSpec& spec, RowSourcePtr rows) {
  return map ? map(spec, std::move(rows)) : rows;
}

// Rows of the base plus those of the update: the sum over r and the addition in double, rounded to fp32 once.
RowSourcePtr add_low_rank_rows(RowSourcePtr base, const LowRank& update);

// Merges what the adapter in `folder` says of `model`, whose parameters the specs name. Empty folder: an empty map. Errors: read_lora's.
Result<RowMap> merging(const std::string& folder, const Model& model);

}  // namespace raison
