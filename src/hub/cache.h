// The hub cache on disk, laid out as the hub's own clients do it, so that either uses what the other downloaded:
//   CACHE/models--ORG--NAME/blobs/ETAG               the bytes
//   CACHE/models--ORG--NAME/snapshots/COMMIT/PATH    relative symbolic links to them
//   CACHE/models--ORG--NAME/refs/REVISION            the commit a branch or tag stood at
//   CACHE/.locks/models--ORG--NAME/ETAG.lock         locked (flock) by whoever writes that blob
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/model_id.h"
#include "hub/selection.h"

namespace raison {

class HubCache {
 public:
  explicit HubCache(std::string root) : root_(std::move(root)) {}

  const std::string& root() const { return root_; }
  std::string repo_folder(const std::string& repo) const;
  std::string blob_path(const std::string& repo, const std::string& etag) const;
  std::string snapshot_folder(const std::string& repo, const std::string& commit) const;
  std::string lock_path(const std::string& repo, const std::string& etag) const;

  // The commit that a revision stands for here; nothing if it is not known.
  std::optional<std::string> commit_of(const std::string& repo, const std::string& revision) const;
  // The files of a snapshot that are there (links whose blob is missing are not), without hashes.
  RepoListing snapshot_listing(const std::string& repo, const std::string& commit) const;

  // A model that can be opened from here without the hub: every weight is there.
  struct Lookup {
    enum class State { Absent, Partial, Whole };
    State state = State::Absent;
    std::string path;        // Whole: the snapshot's folder, or the (first) GGUF file
    std::string why;         // Partial: what is wrong
    bool tokenizer = false;  // Whole: it brings its tokenizer; else it is worth asking the hub for more
  };
  Lookup find(const ModelId& id) const;

  // Links PATH of a snapshot to a blob that is in place; replaces what is there in one step.
  Status link(const std::string& repo, const std::string& commit, const RepoFile& file) const;
  // What is in place already: the blob, or a plain file in the snapshot, of this size.
  bool has(const std::string& repo, const std::string& commit, const RepoFile& file) const;
  Status write_ref(const std::string& repo, const std::string& revision, const std::string& commit) const;

 private:
  std::string root_;
};

}  // namespace raison
