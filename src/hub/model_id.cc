#include "hub/model_id.h"

#include <algorithm>
#include <cstdint>

namespace raison {
namespace {

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

bool is_repo_part(std::string_view part) {
  if (part.empty() || part.size() > 96 || !is_word(part.front()) || !is_word(part.back())) return false;
  if (part.find("--") != std::string_view::npos || part.find("..") != std::string_view::npos) return false;
  return std::all_of(part.begin(), part.end(), [](char c) { return is_word(c) || c == '-' || c == '.'; });
}

bool is_revision(std::string_view revision) {
  return is_safe_repo_path(revision) && revision.size() <= 200 && revision.front() != '-' &&
         std::all_of(revision.begin(), revision.end(),
                     [](char c) { return is_word(c) || c == '-' || c == '.' || c == '/' || c == '+'; });
}

bool is_quant(std::string_view quant) {
  return !quant.empty() && quant.size() <= 200 && std::all_of(quant.begin(), quant.end(), [](char c) {
    return is_word(c) || c == '-' || c == '.' || c == '+' || c == '/';
  });
}

bool names_a_file(std::string_view name) {
  return name.ends_with(".gguf") || name.ends_with(".safetensors") || name.ends_with(".json") || name.ends_with(".toml");
}

}  // namespace

std::string ModelId::text() const {
  return repo + (revision == "main" ? "" : "@" + revision) + (quant.empty() ? "" : ":" + quant);
}

bool is_lower_hex(std::string_view text, size_t digits) {
  return text.size() == digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_commit_hash(std::string_view text) { return is_lower_hex(text, 40); }

bool is_safe_repo_path(std::string_view path) {
  if (path.empty() || path.size() > 1024) return false;
  for (size_t i = 0; i < path.size(); ++i) {
    const auto c = static_cast<uint8_t>(path[i]);
    if (c < 0x20 || c == 0x7f) return false;
    if (c == 0xC2 && i + 1 < path.size() && static_cast<uint8_t>(path[i + 1]) < 0xA0) return false;  // U+0080..U+009F
  }
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    begin = end + 1;
  }
  return true;
}

std::string plain_text(std::string_view text, size_t most) {
  std::string out;
  for (char c : text.substr(0, most)) out += (c >= 32 && c < 127) ? c : '?';
  if (text.size() > most) out += "...";
  return out;
}

Result<ModelId> parse_model_id(std::string_view text) {
  const auto bad = [&](const char* why) {
    return error("{}: not a model's ID: {}; it looks like ORG/NAME, ORG/NAME@REVISION or ORG/NAME:QUANT", plain_text(text),
                 why);
  };
  ModelId id;
  const size_t repo_end = std::min(text.find_first_of("@:"), text.size());
  const std::string_view repo = text.substr(0, repo_end);
  const size_t slash = repo.find('/');
  if (slash == std::string_view::npos) return bad("there is no '/' in it");
  if (!is_repo_part(repo.substr(0, slash)) || !is_repo_part(repo.substr(slash + 1)) || names_a_file(repo))
    return bad("no repository is called so");
  id.repo = repo;
  std::string_view rest = text.substr(repo_end);
  if (!rest.empty() && rest.front() == '@') {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::string_view revision = rest.substr(1, end - 1);
    if (!is_revision(revision)) return bad("no revision is called so");
    id.revision = revision;
    id.revision_given = true;
    rest = rest.substr(end);
  }
  if (!rest.empty()) {
    if (!is_quant(rest.substr(1))) return bad("no quantisation is called so");
    id.quant = rest.substr(1);
  }
  return id;
}

}  // namespace raison
