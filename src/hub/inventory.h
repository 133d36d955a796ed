// What lies in the hub cache, and how it is removed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/cache.h"

namespace raison {

// One revision of a model repository; or, with an empty commit, what broken downloads have left of one without a revision.
struct CachedRevision {
  std::string repo, commit;
  std::vector<std::string> refs;  // branches and tags that stand at it
  std::string path;               // the snapshot's folder
  int files = 0;
  int64_t bytes = 0;                         // each blob once; other revisions may share them
  int64_t last_used = 0, last_modified = 0;  // seconds since 1970, of the newest blob
  bool whole = false;                        // raison can open it: every weight is there
  std::vector<std::string> weights;          // "safetensors", or the labels of its GGUF models
  std::string why;                           // not whole: what is missing
};

struct CachedRepo {
  std::string repo;
  std::string folder;
  std::vector<CachedRevision> revisions;
  int64_t bytes = 0;          // on disk: every blob once, unfinished ones too
  int64_t partial_bytes = 0;  // of them, in unfinished ones
};

// Every models--ORG--NAME of the cache, by name; an absent cache is an empty list.
std::vector<CachedRepo> list_cache(const HubCache& cache);

struct Removal {
  std::string what;  // for people: "ORG/NAME", "ORG/NAME at COMMIT"
  std::string repo;
  int64_t bytes = 0;               // that will be free
  std::vector<std::string> paths;  // in the order in which they go: refs before snapshots before blobs
};
// What `raison rm ID` would remove: all of the repository; with @REVISION that revision and its refs; with :QUANT the files of that
// GGUF model; and of the blobs those that nothing else needs. Refused: a folder that is not laid out as the hub's clients do it.
Result<Removal> plan_removal(const HubCache& cache, const ModelId& id);
// Refused while something is being downloaded into the repository. Broken off, it leaves nothing that passes for whole.
Status carry_out(const HubCache& cache, const Removal& removal);

}  // namespace raison
