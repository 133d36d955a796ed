#include "hub/inventory.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.h"
#include "hub/file_lock.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kModelPrefix = "models--";
constexpr const char* kParts[] = {"refs", "snapshots", ".no_exist", "trees",
                                  "blobs"};  // in the order in which they are removed

// Names in a folder, sorted; none if it is not there.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) names.push_back(it->path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

bool is_real_folder(const fs::path& path) {
  std::error_code ec;
  return fs::symlink_status(path, ec).type() == fs::file_type::directory;
}

// "models--ORG--NAME" to "ORG/NAME"; "" for other names.
std::string repo_of(const std::string& folder) {
  if (folder.rfind(kModelPrefix, 0) != 0) return "";
  const std::string rest = folder.substr(kModelPrefix.size());
  const size_t at = rest.find("--");
  if (at == std::string::npos) return "";
  const auto id = parse_model_id(rest.substr(0, at) + "/" + rest.substr(at + 2));
  return id.ok() ? id->repo : "";
}

bool is_unfinished(const std::string& blob_name) { return !is_lower_hex(blob_name, 40) && !is_lower_hex(blob_name, 64); }

// What a blob takes from the disk: an unfinished one has holes, a link into a store of other repositories takes nothing.
int64_t bytes_on_disk(const fs::path& path) {
  struct stat st = {};
  if (::lstat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) return 0;
  return is_unfinished(path.filename()) ? std::min<int64_t>(st.st_size, int64_t{st.st_blocks} * 512) : int64_t{st.st_size};
}

// The blob in repo/blobs that a file of a snapshot links to, by name; "" if it is none.
std::string blob_of(const fs::path& repo_folder, const fs::path& link) {
  std::error_code ec;
  const fs::path target = fs::read_symlink(link, ec);
  if (ec) return "";
  const fs::path full = (link.parent_path() / target).lexically_normal();
  return full.parent_path() == (repo_folder / "blobs").lexically_normal() ? full.filename().string() : "";
}

// Every file or link below a folder.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code ec;
  for (fs::recursive_directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    if (!is_real_folder(it->path())) out.push_back(it->path());
  std::sort(out.begin(), out.end());
  return out;
}

// Commit -> the refs that name it, as REVISION.
std::map<std::string, std::vector<std::string>> refs_of(const HubCache& cache, const std::string& repo) {
  std::map<std::string, std::vector<std::string>> out;
  const fs::path folder = fs::path(cache.repo_folder(repo)) / "refs";
  for (const fs::path& path : files_below(folder)) {
    const std::string revision = path.lexically_relative(folder).generic_string();
    if (const auto commit = cache.commit_of(repo, revision)) out[*commit].push_back(revision);
  }
  return out;
}

void describe_weights(const HubCache& cache, const RepoListing& listing, CachedRevision* out) {
  std::string partial;
  if (listing.find("config.json") && (listing.find(kShardIndex) || listing.find("model.safetensors"))) {
    ModelId id;
    id.repo = out->repo;
    id.revision = out->commit;
    const HubCache::Lookup found = cache.find(id);
    if (found.state == HubCache::Lookup::State::Whole)
      out->weights.push_back("safetensors");
    else
      partial = found.why;
  }
  for (const GgufGroup& group : gguf_groups(listing)) {
    if (static_cast<int>(group.files.size()) == group.parts)
      out->weights.push_back(group.label);
    else
      partial = fmt::format("{}: {} of {} parts", group.label, group.files.size(), group.parts);
  }
  out->whole = !out->weights.empty() && partial.empty();
  out->why = !partial.empty() ? partial : out->weights.empty() ? "no weights that raison reads" : "";
}

CachedRevision describe_revision(const HubCache& cache, const std::string& repo, const std::string& commit) {
  CachedRevision out;
  out.repo = repo;
  out.commit = commit;
  out.path = cache.snapshot_folder(repo, commit);
  const RepoListing listing = cache.snapshot_listing(repo, commit);
  out.files = static_cast<int>(listing.files.size());
  std::set<std::pair<uint64_t, uint64_t>> seen;
  for (const RepoFile& file : listing.files) {
    struct stat st = {};
    if (::stat((out.path + "/" + file.path).c_str(), &st) != 0 || !seen.insert({st.st_dev, st.st_ino}).second) continue;
    out.bytes += st.st_size;
    out.last_modified = std::max<int64_t>(out.last_modified, st.st_mtime);
    out.last_used = std::max<int64_t>({out.last_used, st.st_atime, st.st_mtime});
  }
  describe_weights(cache, listing, &out);
  return out;
}

// A folder that we may remove things from: of the clients' layout, and nothing but it.
Status check_layout(const fs::path& folder) {
  const auto refuse = [&](const std::string& why) {
    return error("{}: not a cache folder of the hub's clients ({}); nothing is removed", folder.string(), why);
  };
  if (!is_real_folder(folder)) return refuse("no folder");
  bool known = false;
  for (const std::string& name : names_in(folder)) {
    if (std::find(std::begin(kParts), std::end(kParts), name) == std::end(kParts))
      return refuse("it holds " + plain_text(name));
    if (!is_real_folder(folder / name)) return refuse(name + " is no folder");
    known = known || name == "snapshots" || name == "blobs";
  }
  return known ? Status() : refuse("neither snapshots nor blobs in it");
}

int64_t bytes_below(const fs::path& folder) {
  int64_t sum = 0;
  for (const fs::path& path : files_below(folder)) sum += bytes_on_disk(path);
  return sum;
}

void remove_repo(const fs::path& folder, Removal* out) {
  for (const char* part : kParts)
    if (is_real_folder(folder / part)) out->paths.push_back(folder / part);
  out->paths.push_back(folder);
  out->bytes = bytes_below(folder / "blobs");
  for (const fs::path& path : files_below(folder / "snapshots")) out->bytes += bytes_on_disk(path);  // plain files
}

// The blobs that only files which go link to.
void remove_lone_blobs(const fs::path& folder, const std::set<fs::path>& going, Removal* out) {
  std::set<std::string> kept, lone;
  for (const fs::path& path : files_below(folder / "snapshots")) {
    const std::string blob = blob_of(folder, path);
    if (going.count(path) > 0 && blob.empty()) out->bytes += bytes_on_disk(path);  // a plain file
    if (!blob.empty()) (going.count(path) > 0 ? lone : kept).insert(blob);
  }
  for (const std::string& blob : lone) {
    if (kept.count(blob) > 0) continue;
    out->paths.push_back(folder / "blobs" / blob);
    out->bytes += bytes_on_disk(folder / "blobs" / blob);
  }
}

Result<Removal> plan_revision(const HubCache& cache, const ModelId& id, const fs::path& folder) {
  const auto commit = cache.commit_of(id.repo, id.revision);
  if (!commit || !is_real_folder(folder / "snapshots" / *commit))
    return error("{}: revision {} is not in the cache; `raison list` shows what is", id.repo, id.revision);
  Removal out;
  out.repo = id.repo;
  if (names_in(folder / "snapshots").size() == 1) {
    out.what = id.repo;
    remove_repo(folder, &out);
    return out;
  }
  out.what = id.repo + " at " + *commit;
  auto refs = refs_of(cache, id.repo);
  for (const std::string& revision : refs[*commit]) out.paths.push_back(folder / "refs" / revision);
  const fs::path snapshot = folder / "snapshots" / *commit;
  const auto files = files_below(snapshot);
  out.paths.push_back(snapshot);
  for (const fs::path& more : {folder / ".no_exist" / *commit, folder / "trees" / (*commit + ".json")})
    if (fs::exists(fs::symlink_status(more))) out.paths.push_back(more);
  remove_lone_blobs(folder, {files.begin(), files.end()}, &out);
  return out;
}

Result<Removal> plan_quant(const HubCache& cache, const ModelId& id, const fs::path& folder) {
  Removal out;
  out.repo = id.repo;
  out.what = id.text();
  std::set<fs::path> going;
  for (const std::string& commit : names_in(folder / "snapshots")) {
    if (id.revision_given && cache.commit_of(id.repo, id.revision) != commit) continue;
    const auto groups = gguf_groups(cache.snapshot_listing(id.repo, commit));
    for (const GgufGroup* group : groups_named(groups, id.quant))
      for (const RepoFile& file : group->files) going.insert(folder / "snapshots" / commit / file.path);
  }
  if (going.empty()) return error("{}: not in the cache; `raison list` shows what is", id.text());
  out.paths.assign(going.begin(), going.end());
  remove_lone_blobs(folder, going, &out);
  return out;
}

}  // namespace

std::vector<CachedRepo> list_cache(const HubCache& cache) {
  std::vector<CachedRepo> out;
  for (const std::string& name : names_in(cache.root())) {
    CachedRepo repo;
    repo.repo = repo_of(name);
    repo.folder = cache.root() + "/" + name;
    if (repo.repo.empty() || !is_real_folder(repo.folder)) continue;
    auto refs = refs_of(cache, repo.repo);
    for (const std::string& commit : names_in(repo.folder + "/snapshots")) {
      if (!is_real_folder(repo.folder + "/snapshots/" + commit)) continue;
      repo.revisions.push_back(describe_revision(cache, repo.repo, commit));
      repo.revisions.back().refs = refs[commit];
    }
    for (const std::string& blob : names_in(repo.folder + "/blobs")) {
      const int64_t bytes = bytes_on_disk(repo.folder + "/blobs/" + blob);
      repo.bytes += bytes;
      if (is_unfinished(blob)) repo.partial_bytes += bytes;
    }
    out.push_back(std::move(repo));
  }
  return out;
}

Result<Removal> plan_removal(const HubCache& cache, const ModelId& id) {
  const fs::path folder = cache.repo_folder(id.repo);
  std::error_code ec;
  if (!fs::exists(fs::symlink_status(folder, ec)))
    return error("{}: not in the cache {}; `raison list` shows what is", id.repo, cache.root());
  RAISON_RETURN_IF_ERROR(check_layout(folder));
  if (!id.quant.empty()) return plan_quant(cache, id, folder);
  if (id.revision_given) return plan_revision(cache, id, folder);
  Removal out;
  out.repo = out.what = id.repo;
  remove_repo(folder, &out);
  return out;
}

Status carry_out(const HubCache& cache, const Removal& removal) {
  // Whoever writes a blob of it holds one of these.
  const fs::path locks = fs::path(cache.lock_path(removal.repo, "x")).parent_path();
  std::vector<std::unique_ptr<FileLock>> held;
  for (const std::string& name : names_in(locks)) {
    RAISON_ASSIGN(auto lock, FileLock::try_take(locks / name));
    if (!lock) return error("{}: something is being downloaded into it; stop that first", removal.repo);
    held.push_back(std::move(lock));
  }
  std::error_code ec;
  for (const std::string& path : removal.paths) {
    fs::remove_all(path, ec);  // follows no link
    if (ec) return error("{}: cannot remove: {}", path, ec.message());
  }
  const std::string folder = cache.repo_folder(removal.repo);
  if (!fs::exists(folder, ec)) fs::remove_all(locks, ec);
  return fs::exists(cache.root(), ec) ? sync_directory(cache.root()) : Status();
}

}  // namespace raison
