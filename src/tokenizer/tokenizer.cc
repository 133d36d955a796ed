#include "tokenizer/tokenizer.h"

#include <charconv>
#include <map>
#include <set>

#include "tokenizer/json_util.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using json = nlohmann::json;

// Decodes what is complete; with `final` also the rest. Returns how many bytes were consumed.
size_t lossy_append(std::string_view bytes, bool final, std::string& out) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Utf8Step step = utf8_step(bytes, at);
    if (step.truncated && !final) break;
    if (step.valid) {
      out.append(bytes.substr(at, step.length));
    } else {
      append_utf8(out, 0xFFFD);
    }
    at += step.length;
  }
  return at;
}

Status read_vocab(json& model, PipelineSpec& spec, const std::string& where) {
  const auto vocab = model.find("vocab");
  if (vocab == model.end() || !vocab->is_object()) return error("{}: model.vocab must be an object (token: id)", where);
  spec.vocab.reserve(vocab->size());
  for (auto it = vocab->begin(); it != vocab->end(); ++it) {
    if (!it->is_number_integer() || *it < 0 || *it > (1 << 22)) {
      return error("{}: the id of vocabulary entry \"{}\" must be an integer in [0, {}]", where, shown(it.key()), 1 << 22);
    }
    spec.vocab.emplace(it.key(), it->get<TokenId>());
  }
  model.erase("vocab");
  return {};
}

Status read_merges(json& model, PipelineSpec& spec, const std::string& where) {
  const auto merges = model.find("merges");
  if (merges == model.end() || !merges->is_array()) return error("{}: model.merges must be a list", where);
  spec.merges.reserve(merges->size());
  for (const json& merge : *merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      spec.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      return error("{}: merge {} must be \"a b\" or [\"a\", \"b\"]", where, spec.merges.size());
    }
    spec.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  model.erase("merges");
  return {};
}

// transformers adds what tokenizer_config's added_tokens_decoder lists and tokenizer.json lacks.
Status add_listed_tokens(const json& config, PipelineSpec& spec, const std::string& where) {
  const auto listed = config.find("added_tokens_decoder");
  if (listed == config.end() || !listed->is_object()) return {};
  json& added = spec.skeleton["added_tokens"];
  if (added.is_null()) added = json::array();
  if (!added.is_array()) return {};  // refused later
  std::set<std::string> there;
  for (const json& token : added) there.insert(json_string(token, "content"));
  std::map<TokenId, json> missing;
  for (const auto& [key, entry] : listed->items()) {
    const std::string content = json_string(entry, "content");
    TokenId id = 0;
    const auto [end, ec] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (ec != std::errc() || end != key.data() + key.size() || content.empty()) {
      return error("{} (tokenizer_config): added_tokens_decoder holds \"{}\", which is no id of a token", where, shown(key));
    }
    if (!there.insert(content).second) continue;
    if (const auto known = spec.vocab.find(content); known != spec.vocab.end()) id = known->second;
    json token = entry;
    token["id"] = id;
    missing.emplace(id, std::move(token));
  }
  for (auto& [id, token] : missing) added.push_back(std::move(token));
  return {};
}

}  // namespace

std::string lossy_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  lossy_append(bytes, true, out);
  return out;
}

std::string Tokenizer::decode(const std::vector<TokenId>& ids, bool skip_special) const {
  StreamDecoder stream(*this, skip_special);
  std::string out;
  for (TokenId id : ids) out += stream.push(id);
  return out + stream.flush();
}

std::string StreamDecoder::push(TokenId id) {
  if (skip_special_ && tokenizer_.is_special(id)) return "";
  const std::string piece = tokenizer_.piece(id);
  if (piece.empty()) return "";
  std::string_view rest = piece;
  if (first_) {
    const std::string_view strip = tokenizer_.leading_strip();
    if (!strip.empty() && rest.substr(0, strip.size()) == strip) rest.remove_prefix(strip.size());
  } else {
    pending_ += tokenizer_.decode_joiner();
  }
  first_ = false;
  pending_ += rest;
  std::string out;
  pending_.erase(0, lossy_append(pending_, false, out));
  return out;
}

std::string StreamDecoder::flush() {
  std::string out;
  lossy_append(pending_, true, out);
  pending_.clear();
  return out;
}

Result<std::shared_ptr<Tokenizer>> Tokenizer::from_hf_json(std::string_view tokenizer_json, std::string_view tokenizer_config,
                                                           const std::string& where) {
  PipelineSpec spec;
  RAISON_ASSIGN(spec.skeleton, parse_json_object(tokenizer_json, where));
  json config = json::object();
  if (!tokenizer_config.empty()) {
    RAISON_ASSIGN(config, parse_json_object(tokenizer_config, where + " (tokenizer_config)"));
    spec.bos = json_token_name(config, "bos_token");
    spec.eos = json_token_name(config, "eos_token");
    spec.add_bos = json_bool(config, "add_bos_token", false);
    spec.add_eos = json_bool(config, "add_eos_token", false);
  }
  if (!spec.skeleton.contains("model") || !spec.skeleton["model"].is_object()) {
    return error("{}: no object \"model\": not a tokenizer.json", where);
  }
  json& model = spec.skeleton["model"];
  // Old files leave out the type of a BPE.
  const std::string type = json_string(model, "type", model.contains("merges") ? "BPE" : "");
  model["type"] = type;
  if (type != "BPE" && type != "WordLevel") {
    return error("{}: tokenizer model \"{}\" is not supported (BPE and WordLevel are)", where, shown(type));
  }
  RAISON_RETURN_IF_ERROR(read_vocab(model, spec, where));
  if (type == "BPE") RAISON_RETURN_IF_ERROR(read_merges(model, spec, where));
  RAISON_RETURN_IF_ERROR(add_listed_tokens(config, spec, where));
  return PipelineTokenizer::build(std::move(spec), where);
}

Result<std::shared_ptr<Tokenizer>> Tokenizer::from_gguf(const Metadata& metadata, const std::string& where) {
  const std::string model = metadata.string("tokenizer.ggml.model").value_or("");
  if (model.empty()) return error("{}: no tokenizer.ggml.model: the file holds no tokenizer", where);
  if (model == "llama") return sentencepiece_from_gguf(metadata, where);
  return bpe_from_gguf(metadata, where);
}

}  // namespace raison
