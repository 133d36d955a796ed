#include "hub/pull.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "hub/partial_blob.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

// The bytes of the disk that a blob's partial file already takes.
int64_t bytes_taken(const std::string& path) {
  struct stat st = {};
  return ::stat(path.c_str(), &st) == 0 ? int64_t{st.st_blocks} * 512 : 0;
}

Status check_room(const std::string& folder, const std::vector<DownloadJob>& jobs) {
  int64_t needed = 0;
  for (const DownloadJob& job : jobs)
    needed += std::max<int64_t>(0, job.file.size - bytes_taken(PartialBlob::data_path_of(job.blob_path)));
  struct statvfs disk = {};
  if (::statvfs(folder.c_str(), &disk) != 0) return {};
  const auto block = static_cast<double>(disk.f_frsize);
  const double room = static_cast<double>(disk.f_bavail) * block;
  if (static_cast<double>(needed) > room)
    return error("{}: not enough room: {} are needed, {} are free; free some, or set HF_HOME to a larger disk", folder,
                 short_bytes(needed), short_bytes(static_cast<int64_t>(room)));
  return {};
}

class Pull {
 public:
  Pull(const ModelId& id, const HubSettings& settings, const TransferLimits& limits, const DownloadEvents& events)
      : id_(id), settings_(settings), limits_(limits), events_(events), cache_(settings.cache) {}
  Result<PullResult> run();

 private:
  Result<bool> list_files();
  Result<bool> bring(const std::vector<RepoFile>& files);
  Status link_all(const std::vector<RepoFile>& files);
  Result<PullResult> from_cache() const;

  const ModelId& id_;
  const HubSettings& settings_;
  const TransferLimits& limits_;
  const DownloadEvents& events_;
  HubCache cache_;
  RepoListing listing_;
  PullResult result_;
  DownloadProgress before_;  // of earlier calls of bring()
};

// False if stopped.
Result<bool> Pull::list_files() {
  const std::string url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", settings_.endpoint, id_.repo,
                                      percent_encoded(id_.revision, false));
  RAISON_ASSIGN(const auto answer, get_text(url, {id_.repo, "revision " + id_.revision}, settings_, limits_, events_.stop));
  if (!answer) return false;
  RAISON_ASSIGN(listing_, parse_repo_listing(*answer, id_.repo));
  if (is_commit_hash(id_.revision) && listing_.commit != id_.revision)
    return error("{}: the hub answers with commit {} where {} was asked for", id_.repo, listing_.commit, id_.revision);
  return true;
}

// False if stopped.
Result<bool> Pull::bring(const std::vector<RepoFile>& files) {
  std::vector<DownloadJob> jobs;
  for (const RepoFile& file : files) {
    result_.bytes += file.size;
    ++result_.files;
    const bool twice = std::any_of(jobs.begin(), jobs.end(), [&](const DownloadJob& job) {
      return job.file.etag() == file.etag();  // one content under two names
    });
    if (twice || cache_.has(id_.repo, listing_.commit, file)) continue;
    jobs.push_back(
        {file,
         fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, id_.repo, listing_.commit, percent_encoded(file.path, true)),
         cache_.blob_path(id_.repo, file.etag()), cache_.lock_path(id_.repo, file.etag())});
  }
  if (jobs.empty()) return true;
  const std::string blobs = cache_.repo_folder(id_.repo) + "/blobs";
  std::error_code ec;
  fs::create_directories(blobs, ec);
  if (ec) return error("{}: cannot make this folder: {}; HF_HOME says where the cache is", blobs, ec.message());
  RAISON_RETURN_IF_ERROR(check_room(blobs, jobs));
  DownloadEvents events = events_;
  DownloadProgress last;
  events.progress = [&](const DownloadProgress& p) {
    last = p;
    last.bytes += before_.bytes;
    last.total_bytes += before_.total_bytes;
    last.files += before_.files;
    last.total_files += before_.total_files;
    if (events_.progress) events_.progress(last);
  };
  events.file_done = [&](const RepoFile& file) {
    ++result_.new_files;
    if (events_.file_done) events_.file_done(file);
  };
  RAISON_ASSIGN(const bool done, download_blobs(id_.repo, jobs, settings_, limits_, events));
  before_ = last;
  return done;
}

Status Pull::link_all(const std::vector<RepoFile>& files) {
  for (const RepoFile& file : files) RAISON_RETURN_IF_ERROR(cache_.link(id_.repo, listing_.commit, file));
  return {};
}

Result<PullResult> Pull::from_cache() const {
  const HubCache::Lookup found = cache_.find(id_);
  if (found.state != HubCache::Lookup::State::Whole)
    return error("{}: not whole in the cache {}, and HF_HUB_OFFLINE forbids to ask the hub", id_.text(), settings_.cache);
  PullResult result;
  result.path = found.path;
  return result;
}

Result<PullResult> Pull::run() {
  if (settings_.offline) return from_cache();
  const auto stopped = [this] {
    result_.stopped = true;
    return result_;
  };
  RAISON_ASSIGN(const bool listed, list_files());
  if (!listed) return stopped();
  RAISON_ASSIGN(Selection selection, select_files(listing_, id_.quant));
  RAISON_ASSIGN(const bool small_done, bring(selection.small));
  if (!small_done) return stopped();
  const std::string folder = cache_.snapshot_folder(id_.repo, listing_.commit);
  RAISON_RETURN_IF_ERROR(link_all(selection.small));
  if (selection.sharded) {
    RAISON_ASSIGN(const std::string index, read_file(folder + "/" + kShardIndex, size_t{256} << 20));
    RAISON_RETURN_IF_ERROR(add_shards(listing_, index, &selection));
  }
  RAISON_ASSIGN(const bool done, bring(selection.weights));
  if (!done) return stopped();
  RAISON_RETURN_IF_ERROR(link_all(selection.weights));
  RAISON_RETURN_IF_ERROR(cache_.write_ref(id_.repo, id_.revision, listing_.commit));
  result_.commit = listing_.commit;
  result_.path = selection.format == Selection::Format::Gguf ? folder + "/" + selection.weights.front().path : folder;
  return result_;
}

}  // namespace

Result<PullResult> pull_model(const ModelId& id, const HubSettings& settings, const TransferLimits& limits,
                              const DownloadEvents& events) {
  return Pull(id, settings, limits, events).run();
}

}  // namespace raison
