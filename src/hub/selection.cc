#include "hub/selection.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json_depth.h"
#include "hub/model_id.h"

namespace raison {
namespace {

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "PREFIX-00002-of-00009.gguf": prefix, 2 and 9. Others: the name without ".gguf", 1 and 1.
struct SplitName {
  std::string prefix;
  int part = 1, parts = 1;
};
SplitName split_name(const std::string& path) {
  SplitName out;
  out.prefix = path.substr(0, path.size() - 5);
  const std::string& p = out.prefix;
  constexpr size_t kTail = 15;  // "-00002-of-00009"
  if (p.size() <= kTail) return out;
  const std::string_view tail = std::string_view(p).substr(p.size() - kTail);
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-") return out;
  for (size_t i : {1, 2, 3, 4, 5, 10, 11, 12, 13, 14})
    if (!is_digit(tail[i])) return out;
  const int part = std::stoi(std::string(tail.substr(1, 5))), parts = std::stoi(std::string(tail.substr(10, 5)));
  if (part < 1 || part > parts) return out;
  return {p.substr(0, p.size() - kTail), part, parts};
}

// The words between '-', '.' and '/' of a name; a quantisation is one of them.
std::vector<std::string_view> words_of(std::string_view name) {
  std::vector<std::string_view> words;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find_first_of("-./ ", begin), name.size());
    if (end > begin) words.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

// Q4_K_M, IQ1_S, TQ1_0, F16, BF16, F32, FP16, MXFP4, MXFP4_MOE, with what else '_' joins to it.
bool is_quant_word(std::string_view word) {
  const std::string w = lower_case(word);
  for (const char* type : {"f16", "bf16", "f32", "fp16", "fp32", "mxfp4"})
    if (w == type || w.rfind(std::string(type) + "_", 0) == 0) return true;
  size_t at = w.rfind("iq", 0) == 0 || w.rfind("tq", 0) == 0 ? 2 : w.rfind("q", 0) == 0 ? 1 : 0;
  return at > 0 && at < w.size() && is_digit(w[at]) && (at + 1 == w.size() || w[at + 1] == '_');
}

// The last quantisation among the words, or "".
std::string quant_in(std::string_view name) {
  std::string label;
  const auto words = words_of(name);
  for (size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i];
    // "model_Q4_K_M" holds it behind a '_'.
    while (!is_quant_word(word) && word.find('_') != std::string_view::npos) word = word.substr(word.find('_') + 1);
    if (!is_quant_word(word)) continue;
    const bool dynamic = i > 0 && lower_case(words[i - 1]) == "ud" && word.size() == words[i].size();
    label = (dynamic ? std::string(words[i - 1]) + "-" : "") + std::string(word);
  }
  return label;
}

std::string label_of(const std::string& prefix) {
  const std::string name = prefix.substr(prefix.rfind('/') + 1);  // npos + 1 is 0
  std::string label = quant_in(name);
  if (label.empty()) label = quant_in(prefix);  // some name the folder alone by it
  return label.empty() ? name : label;
}

// `word` in `path` between boundaries: no letter, digit or '_' before or after it; without regard to case.
bool holds_word(const std::string& path, const std::string& word) {
  const std::string p = lower_case(path), w = lower_case(word);
  for (size_t at = p.find(w); at != std::string::npos; at = p.find(w, at + 1)) {
    const size_t end = at + w.size();
    const auto inside = [](char c) { return is_alnum(c) || c == '_'; };
    if ((at == 0 || !inside(p[at - 1])) && (end == p.size() || !inside(p[end]))) return true;
  }
  return false;
}

std::string what_there_is(const std::vector<GgufGroup>& groups) {
  std::string out;
  constexpr size_t kMost = 40;
  for (size_t i = 0; i < groups.size() && i < kMost; ++i)
    out += fmt::format("{}{} ({})", out.empty() ? "" : ", ", plain_text(groups[i].label), short_bytes(groups[i].bytes()));
  if (groups.size() > kMost) out += fmt::format(", and {} more", groups.size() - kMost);
  return out;
}

Result<const GgufGroup*> choose_group(const RepoListing& listing, const std::vector<GgufGroup>& groups,
                                      const std::string& quant) {
  if (groups.empty()) {
    if (!quant.empty()) return error("{}: holds no GGUF file, so there is no {}", listing.repo, quant);
    return error("{}: holds neither safetensors with a config.json nor a GGUF file, so raison cannot run it", listing.repo);
  }
  const auto found = groups_named(groups, quant.empty() ? "Q4_K_M" : quant);
  const GgufGroup* chosen = found.size() == 1 ? found[0] : nullptr;
  if (!chosen && quant.empty() && groups.size() == 1) chosen = &groups[0];
  if (!chosen && found.size() > 1) {
    std::string names;
    for (const GgufGroup* g : found) names += (names.empty() ? "" : ", ") + plain_text(g->files.front().path);
    return error("{}: several files go by {}: {}; name one, as {}:FILE", listing.repo, quant.empty() ? "Q4_K_M" : quant, names,
                 listing.repo);
  }
  if (!chosen && quant.empty())
    return error("{}: name one of its quantisations, as {}:QUANT: {}", listing.repo, listing.repo, what_there_is(groups));
  if (!chosen) return error("{}: there is no {} here; there are {}", listing.repo, quant, what_there_is(groups));
  if (static_cast<int>(chosen->files.size()) != chosen->parts)
    return error("{}: of {} only {} of its {} parts are here", listing.repo, plain_text(chosen->label), chosen->files.size(),
                 chosen->parts);
  return chosen;
}

void take(const RepoListing& listing, const char* path, std::vector<RepoFile>* out) {
  if (const RepoFile* file = listing.find(path)) out->push_back(*file);
}

}  // namespace

int64_t GgufGroup::bytes() const {
  int64_t sum = 0;
  for (const RepoFile& file : files) sum += file.size;
  return sum;
}

std::string short_bytes(int64_t bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 999.5 && unit < 5) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.3g} {}", value, units[unit]);
}

std::vector<GgufGroup> gguf_groups(const RepoListing& listing) {
  std::map<std::pair<std::string, int>, GgufGroup> groups;  // (prefix, parts)
  for (const RepoFile& file : listing.files) {
    const std::string name = lower_case(file.path.substr(file.path.rfind('/') + 1));
    if (!file.path.ends_with(".gguf") || name.size() <= 5) continue;
    if (name.find("mmproj") != std::string::npos || name.find("imatrix") != std::string::npos) continue;
    const SplitName split = split_name(file.path);
    GgufGroup& group = groups[{split.prefix, split.parts}];
    group.parts = split.parts;
    group.label = label_of(split.prefix);
    group.files.push_back(file);  // the listing is sorted, and so are a split's parts
  }
  std::vector<GgufGroup> out;
  for (auto& [key, group] : groups) out.push_back(std::move(group));
  return out;
}

std::vector<const GgufGroup*> groups_named(const std::vector<GgufGroup>& groups, const std::string& quant) {
  const std::string wanted = lower_case(quant);
  const auto all = [&](auto fits) {
    std::vector<const GgufGroup*> out;
    for (const GgufGroup& g : groups)
      if (fits(g)) out.push_back(&g);
    return out;
  };
  // From the strictest reading to the loosest.
  auto found = all([&](const GgufGroup& g) {
    const std::string path = lower_case(g.files.front().path);
    return path == wanted || path.substr(path.rfind('/') + 1) == wanted;
  });
  if (found.empty()) found = all([&](const GgufGroup& g) { return lower_case(g.label) == wanted; });
  if (found.empty())
    found = all([&](const GgufGroup& g) { return holds_word(split_name(g.files.front().path).prefix, quant); });
  return found;
}

Result<Selection> select_files(const RepoListing& listing, const std::string& quant) {
  Selection out;
  out.sharded = listing.find(kShardIndex) != nullptr;
  const bool folder = listing.find("config.json") && (out.sharded || listing.find("model.safetensors"));
  if (quant.empty() && folder) {
    for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                             "chat_template.jinja", "special_tokens_map.json"})
      take(listing, name, &out.small);
    if (!listing.find("tokenizer.json"))
      for (const char* name : {"vocab.json", "merges.txt", "tokenizer.model", "tiktoken.model"})
        take(listing, name, &out.small);
    take(listing, kShardIndex, &out.small);
    if (!out.sharded) take(listing, "model.safetensors", &out.weights);
    return out;
  }
  out.format = Selection::Format::Gguf;
  out.sharded = false;
  const auto groups = gguf_groups(listing);
  RAISON_ASSIGN(const GgufGroup* chosen, choose_group(listing, groups, quant));
  out.weights = chosen->files;
  return out;
}

Status add_shards(const RepoListing& listing, std::string_view index, Selection* selection) {
  const auto bad = [&](const char* why) { return error("{}: {} {}", listing.repo, kShardIndex, why); };
  if (json_too_deep_at(index) != kShallow) return bad("is nested too deep");
  const auto json = nlohmann::json::parse(index, nullptr, false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object() || json["weight_map"].empty())
    return bad("names no weights");
  std::set<std::string> names;
  for (const auto& shard : json["weight_map"]) {
    if (!shard.is_string()) return bad("names a shard that is no text");
    names.insert(shard.get<std::string>());
  }
  for (const std::string& name : names) {
    const RepoFile* file = is_safe_repo_path(name) && name.ends_with(".safetensors") ? listing.find(name) : nullptr;
    if (!file) return error("{}: {} names the shard \"{}\", which is not there", listing.repo, kShardIndex, plain_text(name));
    selection->weights.push_back(*file);
  }
  return {};
}

}  // namespace raison
