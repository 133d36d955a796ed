#include "hub/cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

// Of a regular file, through links; -1 if there is none.
int64_t size_of(const std::string& path) {
  struct stat st = {};
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) ? static_cast<int64_t>(st.st_size) : -1;
}

Status make_folders(const std::string& path) {
  std::error_code ec;
  fs::create_directories(path, ec);
  if (ec) return error("{}: cannot make this folder: {}", path, ec.message());
  return {};
}

}  // namespace

std::string HubCache::repo_folder(const std::string& repo) const {
  const size_t slash = repo.find('/');
  return root_ + "/models--" + repo.substr(0, slash) + "--" + repo.substr(slash + 1);
}

std::string HubCache::blob_path(const std::string& repo, const std::string& etag) const {
  return repo_folder(repo) + "/blobs/" + etag;
}

std::string HubCache::snapshot_folder(const std::string& repo, const std::string& commit) const {
  return repo_folder(repo) + "/snapshots/" + commit;
}

std::string HubCache::lock_path(const std::string& repo, const std::string& etag) const {
  const std::string folder = repo_folder(repo);
  return root_ + "/.locks" + folder.substr(root_.size()) + "/" + etag + ".lock";
}

std::optional<std::string> HubCache::commit_of(const std::string& repo, const std::string& revision) const {
  if (is_commit_hash(revision)) return revision;
  const auto text = read_file(repo_folder(repo) + "/refs/" + revision, 4096);
  if (!text.ok()) return std::nullopt;
  const std::string commit = text->substr(0, text->find_last_not_of(" \r\n") + 1);
  return is_commit_hash(commit) ? std::optional(commit) : std::nullopt;
}

RepoListing HubCache::snapshot_listing(const std::string& repo, const std::string& commit) const {
  RepoListing listing;
  listing.repo = repo;
  listing.commit = commit;
  const fs::path folder = snapshot_folder(repo, commit);
  std::error_code ec;
  for (fs::recursive_directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    const int64_t size = size_of(it->path().string());
    if (size < 0) continue;
    RepoFile file;
    file.path = it->path().lexically_relative(folder).generic_string();
    file.size = size;
    listing.files.push_back(std::move(file));
  }
  std::sort(listing.files.begin(), listing.files.end(), [](const RepoFile& a, const RepoFile& b) { return a.path < b.path; });
  return listing;
}

HubCache::Lookup HubCache::find(const ModelId& id) const {
  Lookup out;
  const auto commit = commit_of(id.repo, id.revision);
  if (!commit) return out;
  const RepoListing listing = snapshot_listing(id.repo, *commit);
  if (listing.files.empty()) return out;
  out.state = Lookup::State::Partial;
  auto selection = select_files(listing, id.quant);
  if (!selection.ok()) {
    out.why = selection.message();
    return out;
  }
  const std::string folder = snapshot_folder(id.repo, *commit);
  if (selection->sharded) {
    const auto index = read_file(folder + "/" + kShardIndex, size_t{256} << 20);
    const Status complete = index.ok() ? add_shards(listing, *index, &*selection) : index.error();
    if (!complete.ok()) {
      out.why = complete.message();
      return out;
    }
  }
  out.state = Lookup::State::Whole;
  const bool gguf = selection->format == Selection::Format::Gguf;
  out.path = gguf ? folder + "/" + selection->weights.front().path : folder;
  out.tokenizer = gguf;
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tiktoken.model", "vocab.json"})
    out.tokenizer = out.tokenizer || listing.find(name);
  return out;
}

bool HubCache::has(const std::string& repo, const std::string& commit, const RepoFile& file) const {
  if (size_of(blob_path(repo, file.etag())) == file.size) return true;
  // Clients on file systems without links put the file itself there.
  const std::string path = snapshot_folder(repo, commit) + "/" + file.path;
  struct stat st = {};
  return ::lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && static_cast<int64_t>(st.st_size) == file.size;
}

Status HubCache::link(const std::string& repo, const std::string& commit, const RepoFile& file) const {
  const std::string path = snapshot_folder(repo, commit) + "/" + file.path;
  if (size_of(blob_path(repo, file.etag())) != file.size) {
    if (has(repo, commit, file)) return {};  // as a plain file
    return error("{}: there is no blob to link to", path);
  }
  std::string target = "../../blobs/" + file.etag();
  for (char c : file.path)
    if (c == '/') target = "../" + target;
  char now[4096];
  const ssize_t n = ::readlink(path.c_str(), now, sizeof now);
  if (n >= 0 && std::string_view(now, static_cast<size_t>(n)) == target) return {};
  const std::string folder = path.substr(0, path.find_last_of('/'));
  RAISON_RETURN_IF_ERROR(make_folders(folder));
  // A name of its own for each process and call, in the repository's folder: a snapshot must hold nothing but the model's files.
  static std::atomic<uint64_t> calls{0};
  const std::string temporary = fmt::format("{}/blobs/{}.{}.{}.link", repo_folder(repo), file.etag(), ::getpid(), ++calls);
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(temporary.c_str());
    return error("{}: cannot link to the blob: {}", path, strerror(why));
  }
  return sync_directory(folder);
}

Status HubCache::write_ref(const std::string& repo, const std::string& revision, const std::string& commit) const {
  if (revision == commit || commit_of(repo, revision) == commit) return {};
  const std::string path = repo_folder(repo) + "/refs/" + revision;
  RAISON_RETURN_IF_ERROR(make_folders(path.substr(0, path.find_last_of('/'))));
  return write_file_atomic(path, commit);
}

}  // namespace raison
