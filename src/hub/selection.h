// Which files of a repository a model needs, and no others.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/repo_listing.h"

namespace raison {

// One GGUF model of a repository: a file, or all parts of a split one.
struct GgufGroup {
  std::string label;            // its quantisation as its name says it ("Q4_K_M", "UD-IQ1_S"), else the name without ".gguf"
  std::vector<RepoFile> files;  // parts in order
  int64_t bytes() const;
  int parts = 1;  // that its names promise; more than files.size() if some are missing
};

struct Selection {
  enum class Format { Safetensors, Gguf };
  Format format = Format::Safetensors;
  std::vector<RepoFile> small;    // configs, tokenizer, index
  std::vector<RepoFile> weights;  // of a sharded folder: empty until add_shards()
  bool sharded = false;           // `small` holds model.safetensors.index.json, which names the weights
};

constexpr const char* kShardIndex = "model.safetensors.index.json";

// A folder with config.json and safetensors is taken as such unless a quant is named; else the GGUF model named by `quant`:
// its label, a part of its path between boundaries ("q4_k_m" in "x-Q4_K_M.gguf", not in "x-Q4_K_M_L.gguf"), or a file's
// name, all without regard to case. Without a quant: Q4_K_M, or the only one there is. Errors list what there is.
Result<Selection> select_files(const RepoListing& listing, const std::string& quant);

// The GGUF models that `quant` names, by the strictest reading that fits any.
std::vector<const GgufGroup*> groups_named(const std::vector<GgufGroup>& groups, const std::string& quant);

// The shards that an index (its JSON text) names, into selection->weights.
Status add_shards(const RepoListing& listing, std::string_view index, Selection* selection);

// Every GGUF model of the repository; projectors (mmproj) and importance matrices are none.
std::vector<GgufGroup> gguf_groups(const RepoListing& listing);

// "1.5 GB": powers of 1000, as hubs give sizes.
std::string short_bytes(int64_t bytes);

}  // namespace raison
