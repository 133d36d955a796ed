// Brings a model into the hub cache.
#pragma once
#include <string>

#include "base/result.h"
#include "hub/cache.h"
#include "hub/download.h"
#include "hub/settings.h"

namespace raison {

struct PullResult {
  bool stopped = false;  // by events.stop; what has come is kept
  std::string path;      // the snapshot's folder, or the (first) GGUF file
  std::string commit;
  int files = 0;      // of the model
  int64_t bytes = 0;  // of them
  int new_files = 0;  // fetched now
};

// Asks the hub what `id` is, downloads what is needed and not here (configs and tokenizer first, weights last), links it into
// the snapshot and, last of all, writes the ref: an interrupted pull leaves no revision that names half a model. Nothing is
// fetched twice. HF_HUB_OFFLINE makes it an error unless the model is whole in the cache.
Result<PullResult> pull_model(const ModelId& id, const HubSettings& settings, const TransferLimits& limits,
                              const DownloadEvents& events);

}  // namespace raison
