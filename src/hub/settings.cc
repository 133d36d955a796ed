#include "hub/settings.h"

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "hub/model_id.h"

namespace raison {
namespace {

constexpr const char* kHub = "https://huggingface.co";

std::string variable(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

std::string expand_home(const std::string& path) {
  if (path != "~" && path.rfind("~/", 0) != 0) return path;
  return variable("HOME") + path.substr(1);
}

std::string join(const std::string& folder, const char* name) {
  return folder.empty() || folder.back() == '/' ? folder + name : folder + "/" + name;
}

std::string without_space(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n"), end = text.find_last_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

bool is_true(std::string value) {
  for (char& c : value) c = static_cast<char>(toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

Result<std::string> find_token(const std::string& home) {
  std::string token = without_space(variable("HF_TOKEN")), where = "HF_TOKEN";
  if (token.empty()) {
    where = expand_home(variable("HF_TOKEN_PATH"));
    if (where.empty()) where = join(home, "token");
    const auto text = read_file(where, 65536);  // most have no such file
    if (text.ok()) token = without_space(*text);
  }
  // It becomes a header's line.
  if (std::any_of(token.begin(), token.end(), [](char c) { return c <= ' ' || c >= 127; }))
    return error("{}: this is no token: it holds spaces, line breaks or other characters no token has", where);
  return token;
}

}  // namespace

Result<HubSettings> hub_settings_from_environment() {
  HubSettings s;
  std::string home = expand_home(variable("HF_HOME"));
  if (home.empty()) {
    std::string caches = expand_home(variable("XDG_CACHE_HOME"));
    if (caches.empty() && !variable("HOME").empty()) caches = join(variable("HOME"), ".cache");
    if (!caches.empty()) home = join(caches, "huggingface");
  }
  s.cache = expand_home(variable("HF_HUB_CACHE"));
  if (s.cache.empty() && !home.empty()) s.cache = join(home, "hub");
  if (s.cache.empty()) return error("the hub's cache has no place: set HF_HOME (or HOME) to a folder");
  s.endpoint = without_space(variable("HF_ENDPOINT"));
  if (s.endpoint.empty()) s.endpoint = kHub;
  while (s.endpoint.back() == '/' && s.endpoint.size() > 1) s.endpoint.pop_back();
  const bool web = s.endpoint.rfind("https://", 0) == 0 || s.endpoint.rfind("http://", 0) == 0;
  if (!web || std::any_of(s.endpoint.begin(), s.endpoint.end(), [](char c) { return c <= ' ' || c >= 127; }))
    return error("HF_ENDPOINT={}: not an address; it looks like {}", plain_text(s.endpoint), kHub);
  RAISON_ASSIGN(s.token, find_token(home));
  s.offline = is_true(variable("HF_HUB_OFFLINE")) || is_true(variable("TRANSFORMERS_OFFLINE"));
  return s;
}

}  // namespace raison
