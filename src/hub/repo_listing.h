// The files of a repository at one commit, as the hub's API lists them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace raison {

struct RepoFile {
  std::string path;    // is_safe_repo_path()
  int64_t size = 0;    // bytes
  std::string sha256;  // of LFS files, else ""
  std::string git_id;  // git's blob id, of the others (of an LFS file it would be its pointer's)
  // The name in the cache's blobs/: what the hub gives as ETag. "" in listings of the cache itself.
  const std::string& etag() const { return sha256.empty() ? git_id : sha256; }
};

struct RepoListing {
  std::string repo;
  std::string commit;
  std::vector<RepoFile> files;  // by path, each path once
  const RepoFile* find(std::string_view path) const;
};

// The answer to GET /api/models/REPO/revision/REV?blobs=true. Everything in it is suspect: names that would leave the
// repository's folder, hashes and sizes that are none, are errors.
Result<RepoListing> parse_repo_listing(std::string_view json, const std::string& repo);

}  // namespace raison
