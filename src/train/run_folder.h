// The folder of a training run: made so that a power cut does not lose it, and held by one run at a time.
#pragma once
#include <string>

#include "base/result.h"

namespace raison {

// Creates `path` and what is missing above it; the new entries are durable when it returns. Ok if it is there already.
Status create_folders(const std::string& path);

}  // namespace raison
