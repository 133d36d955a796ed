// What a model is, in a user's words: from its shape, its tokenizer's markers and its weights' type, never from what it calls itself.
#pragma once
#include <string>
#include <utility>

#include "models/model.h"

namespace raison::cli {

// What the tokenizer and the template tell.
struct NameMarkers {
  bool r1_turns = false;         // DeepSeek's turn markers and think tokens
  bool chooses_thought = false;  // the template has a switch for thinking: DeepSeek-V3.1 and later
};

// {"DeepSeek-R1 671B, 37B active, FP8", remark}. `info` null: an architecture not known here. `weights`: the type that most of the
// weights have, as a user calls it, may be empty.
std::pair<std::string, std::string> honest_name(const std::string& architecture, const ModelInfo* info, int64_t parameters,
                                                const NameMarkers& markers, const std::string& weights);
// "FP8" for F8_E4M3, else the type's own name.
std::string weight_type_name(const std::string& type);

}  // namespace raison::cli
