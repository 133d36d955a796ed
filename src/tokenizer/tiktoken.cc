// OpenAI's tiktoken files, as Kimi-K2 has one: "base64 rank" line by line. A word that is a token is taken whole; else of all
// neighbours the two whose joined bytes have the lowest rank are merged, leftmost first, until none is left.
#include <algorithm>
#include <charconv>
#include <map>
#include <unordered_map>

#include "tokenizer/json_util.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using json = nlohmann::json;
using Ranks = std::unordered_map<std::string, TokenId, StringHash, std::equal_to<>>;

constexpr TokenId kMostRanks = 1 << 22;
constexpr size_t kLongestToken = 4096;
constexpr TokenId kKimiReserved = 256;  // ids behind the ranks, named by tokenizer_config.json or <|reserved_token_ID|>

bool from_base64(std::string_view text, std::string* bytes) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  bytes->clear();
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  uint32_t held = 0;
  int bits = 0;
  for (char c : text) {
    const size_t digit = digits.find(c);
    if (digit == std::string_view::npos) return false;
    held = (held << 6) | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes->push_back(static_cast<char>((held >> bits) & 0xFF));
    }
  }
  return true;
}

// Tokens by rank. Ranks must be 0, 1, 2, ... without a gap, as they are ids.
Result<std::vector<std::string>> read_ranks(std::string_view text, const std::string& where) {
  std::vector<std::string> tokens;
  size_t line_number = 0, count = 0;
  std::vector<bool> given;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    std::string bytes;
    TokenId rank = -1;
    const std::string_view number = space == std::string_view::npos ? "" : line.substr(space + 1);
    const auto [stop, ec] = std::from_chars(number.data(), number.data() + number.size(), rank);
    if (ec != std::errc() || stop != number.data() + number.size() || rank < 0 || rank >= kMostRanks ||
        !from_base64(line.substr(0, space), &bytes) || bytes.empty() || bytes.size() > kLongestToken) {
      return error("{}: line {} is not \"base64 rank\"", where, line_number);
    }
    const auto at = static_cast<size_t>(rank);
    if (at >= tokens.size()) {
      tokens.resize(at + 1);
      given.resize(at + 1, false);
    }
    if (given[at]) return error("{}: line {} gives rank {} a second time", where, line_number, rank);
    given[at] = true;
    tokens[at] = std::move(bytes);
    ++count;
  }
  if (tokens.empty()) return error("{}: holds no tokens", where);
  if (count != tokens.size())
    return error("{}: {} tokens with ranks up to {}: some are missing", where, count, tokens.size() - 1);
  return tokens;
}

// How `token` comes apart just before it is merged itself: its bytes, merged as far as lower ranks go. Within a word nothing
// else can make it, since what would cross its ends has a lower rank there or none at all.
std::vector<std::string_view> parts_below(std::string_view token, TokenId own, const Ranks& ranks) {
  std::vector<std::string_view> parts;
  for (size_t i = 0; i < token.size(); ++i) parts.push_back(token.substr(i, 1));
  while (parts.size() > 2) {
    TokenId best = own;
    size_t at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto it = ranks.find(std::string_view(parts[i].data(), parts[i].size() + parts[i + 1].size()));
      if (it != ranks.end() && it->second < best) {
        best = it->second;
        at = i;
      }
    }
    if (best == own) break;
    parts[at] = std::string_view(parts[at].data(), parts[at].size() + parts[at + 1].size());
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
  return parts;
}

json added_entry(TokenId id, const std::string& content, const json& entry) {
  return {{"id", id},
          {"content", content},
          {"single_word", json_bool(entry, "single_word", false)},
          {"lstrip", json_bool(entry, "lstrip", false)},
          {"rstrip", json_bool(entry, "rstrip", false)},
          {"normalized", false},
          {"special", json_bool(entry, "special", true)}};
}

// The tokens behind the ranks.
Result<json> added_tokens(const json& config, TokenId ranks, bool kimi, const std::string& where) {
  std::map<TokenId, json> by_id;
  if (const auto listed = config.find("added_tokens_decoder"); listed != config.end() && listed->is_object()) {
    for (const auto& [key, entry] : listed->items()) {
      TokenId id = 0;
      const auto [end, ec] = std::from_chars(key.data(), key.data() + key.size(), id);
      const std::string content = json_string(entry, "content");
      if (ec != std::errc() || end != key.data() + key.size() || id < 0 || id > kMostRanks || content.empty()) {
        return error("{}: added_tokens_decoder holds \"{}\", which is no id of a token", where, shown(key));
      }
      by_id[id] = added_entry(id, content, entry);
    }
  }
  for (TokenId id = ranks; kimi && id < ranks + kKimiReserved; ++id) {
    if (by_id.count(id) == 0) by_id[id] = added_entry(id, fmt::format("<|reserved_token_{}|>", id), json::object());
  }
  json out = json::array();
  for (auto& [id, entry] : by_id) out.push_back(std::move(entry));
  return out;
}

}  // namespace

Result<std::shared_ptr<Tokenizer>> Tokenizer::from_tiktoken(std::string_view ranks_text, std::string_view tokenizer_config,
                                                            const std::string& where, std::string pre) {
  json config = json::object();
  if (!tokenizer_config.empty()) { RAISON_ASSIGN(config, parse_json_object(tokenizer_config, where + " (tokenizer_config)")); }
  if (pre.empty()) {
    const std::string name = json_string(config, "tokenizer_class");
    if (name != "TikTokenTokenizer") {
      return error("{}: which words tokenizer_class \"{}\" cuts a text into is not known; only Kimi's TikTokenTokenizer is",
                   where, shown(name));
    }
    pre = "kimi-k2";
  }
  const auto& types = gguf_pre_types();
  const auto type = std::find_if(types.begin(), types.end(), [&](const PreType& t) { return pre == t.name; });
  if (type == types.end()) return error("{}: pre-tokeniser \"{}\" is not known", where, shown(pre));
  RAISON_ASSIGN(const std::vector<std::string> tokens, read_ranks(ranks_text, where));
  Ranks ranks;
  ranks.reserve(tokens.size());
  PipelineSpec spec;
  spec.vocab.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (!ranks.emplace(tokens[i], id).second)
      return error("{}: ranks {} and {} are the same token", where, ranks.find(tokens[i])->second, i);
    spec.vocab.emplace(bytes_to_byte_level(tokens[i]), id);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].size() < 2) continue;
    const auto parts = parts_below(tokens[i], static_cast<TokenId>(i), ranks);
    if (parts.size() != 2 || ranks.count(parts[0]) == 0 || ranks.count(parts[1]) == 0) continue;  // only ever taken whole
    spec.merges.emplace_back(bytes_to_byte_level(parts[0]), bytes_to_byte_level(parts[1]));
  }
  spec.skeleton = byte_level_skeleton(*type);
  spec.skeleton["model"]["ignore_merges"] = true;
  RAISON_ASSIGN(spec.skeleton["added_tokens"],
                added_tokens(config, static_cast<TokenId>(tokens.size()), pre == "kimi-k2", where));
  spec.bos = json_token_name(config, "bos_token");
  spec.eos = json_token_name(config, "eos_token");
  spec.add_bos = json_bool(config, "add_bos_token", false);
  spec.add_eos = json_bool(config, "add_eos_token", false);
  return PipelineTokenizer::build(std::move(spec), where);
}

}  // namespace raison
