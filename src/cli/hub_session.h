// Models of a hub, as the subcommands see them: found in its cache, or brought there with a progress bar.
#pragma once
#include <optional>
#include <string>

#include "base/result.h"
#include "hub/pull.h"

namespace raison::cli {

// The path of an ID's model in the cache. What is no ID comes back as it is: opening it says what is wrong.
Result<std::string> find_in_hub_cache(const std::string& argument);

// resolve_model(), but an ID that is not whole in the cache is downloaded. Empty: stopped by Ctrl+C (which was said).
Result<std::optional<std::string>> find_or_pull(const std::string& argument);

// Downloads with progress on stderr, Ctrl+C stops it and says that it can go on.
Result<PullResult> pull_visibly(const ModelId& id, const HubSettings& settings);

}  // namespace raison::cli
