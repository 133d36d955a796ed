#include "hub/repo_listing.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json_depth.h"
#include "hub/model_id.h"

namespace raison {
namespace {
using nlohmann::json;

constexpr int64_t kMostBytes = int64_t{1} << 50;
constexpr size_t kMostFiles = 200000;

const std::string* string_in(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get_ptr<const std::string*>() : nullptr;
}

bool read_size(const json& object, int64_t* size) {
  const auto it = object.find("size");
  if (it == object.end() || !it->is_number_integer()) return false;
  if (it->is_number_unsigned() && it->get<uint64_t>() > static_cast<uint64_t>(kMostBytes)) return false;
  *size = it->get<int64_t>();
  return *size >= 0 && *size <= kMostBytes;
}

Result<RepoFile> read_sibling(const json& entry, const std::string& repo) {
  const std::string* path = entry.is_object() ? string_in(entry, "rfilename") : nullptr;
  if (!path) return error("{}: the hub lists a file without a name", repo);
  if (!is_safe_repo_path(*path))
    return error("{}: the hub lists a file named \"{}\", which is not safe to create; nothing is downloaded", repo,
                 plain_text(*path));
  RepoFile file;
  file.path = *path;
  const json* sized = &entry;
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
    const std::string* sha256 = string_in(*lfs, "sha256");
    if (!sha256) sha256 = string_in(*lfs, "oid");
    if (!sha256 || !is_lower_hex(*sha256, 64)) return error("{}: the hub gives no SHA-256 of {}", repo, plain_text(*path));
    file.sha256 = *sha256;
    sized = &*lfs;
  } else {
    const std::string* id = string_in(entry, "blobId");
    if (!id || !is_lower_hex(*id, 40)) return error("{}: the hub gives no hash of {}", repo, plain_text(*path));
    file.git_id = *id;
  }
  if (!read_size(*sized, &file.size)) return error("{}: the hub gives no size of {}", repo, plain_text(*path));
  return file;
}

}  // namespace

const RepoFile* RepoListing::find(std::string_view path) const {
  const auto it = std::lower_bound(files.begin(), files.end(), path,
                                   [](const RepoFile& file, std::string_view wanted) { return file.path < wanted; });
  return it != files.end() && it->path == path ? &*it : nullptr;
}

Result<RepoListing> parse_repo_listing(std::string_view text, const std::string& repo) {
  if (json_too_deep_at(text) != kShallow) return error("{}: the hub's answer is nested too deep", repo);
  const json answer = json::parse(text, nullptr, false);
  if (!answer.is_object()) return error("{}: the hub's answer is no JSON object; is HF_ENDPOINT a model hub?", repo);
  RepoListing listing;
  listing.repo = repo;
  const std::string* commit = string_in(answer, "sha");
  if (!commit || !is_commit_hash(*commit)) return error("{}: the hub's answer names no commit", repo);
  listing.commit = *commit;
  const auto siblings = answer.find("siblings");
  if (siblings == answer.end() || !siblings->is_array() || siblings->size() > kMostFiles)
    return error("{}: the hub's answer lists no files", repo);
  for (const json& entry : *siblings) {
    RAISON_ASSIGN(RepoFile file, read_sibling(entry, repo));
    listing.files.push_back(std::move(file));
  }
  const auto by_path = [](const RepoFile& a, const RepoFile& b) { return a.path < b.path; };
  std::sort(listing.files.begin(), listing.files.end(), by_path);
  for (size_t i = 1; i < listing.files.size(); ++i)
    if (listing.files[i].path == listing.files[i - 1].path)
      return error("{}: the hub lists {} twice", repo, plain_text(listing.files[i].path));
  return listing;
}

}  // namespace raison
