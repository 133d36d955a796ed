// Downloads blobs: several connections at once, large files in parts, resumed after a break, each hash compared before a blob
// gets its name.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/http.h"
#include "hub/repo_listing.h"

namespace raison {

struct DownloadJob {
  RepoFile file;
  std::string url;
  std::string blob_path;  // its folder exists
  std::string lock_path;
};

struct DownloadProgress {
  int64_t bytes = 0, total_bytes = 0;  // `bytes` counts what earlier runs left too
  int files = 0, total_files = 0;      // `files` are done
  std::string current;                 // a file that is under way
  bool checking = false;               // its hash is being computed, and nothing else is left
};

struct DownloadEvents {
  std::function<void(const DownloadProgress&)> progress;  // about ten times a second
  std::function<void(const RepoFile&)> file_done;
  std::function<void(const std::string&)> notice;  // one line: a retry, a wait for another process
  std::function<bool()> stop;                      // true: save and end
};

// True: all blobs are in place. False: stopped by events.stop. Errors are one line each, the first ends the download; what has
// come by then is kept and used by the next call, but for a file whose hash is wrong, which is removed. Jobs must differ in
// their blobs.
Result<bool> download_blobs(const std::string& repo, const std::vector<DownloadJob>& jobs, const HubSettings& settings,
                            const TransferLimits& limits, const DownloadEvents& events);

}  // namespace raison
