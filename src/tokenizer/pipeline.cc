#include "tokenizer/pipeline.h"

#include <algorithm>

#include "tokenizer/json_util.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using json = nlohmann::json;

constexpr TokenId kMaxId = 1 << 22;  // ids index arrays: a hostile file must not ask for gigabytes

Result<TokenId> checked_id(const json& value, const std::string& what, const std::string& where) {
  if (!value.is_number_integer() || value < 0 || value > kMaxId) {
    return error("{}: the id of \"{}\" must be an integer in [0, {}]", where, shown(what), kMaxId);
  }
  return value.get<TokenId>();
}

}  // namespace

Result<std::shared_ptr<Tokenizer>> PipelineTokenizer::build(PipelineSpec spec, const std::string& where) {
  auto self = std::shared_ptr<PipelineTokenizer>(new PipelineTokenizer());
  self->spec_ = std::move(spec);
  const json& skeleton = self->spec_.skeleton;
  const auto node = [&](const char* key) { return skeleton.contains(key) ? skeleton[key] : json(); };
  RAISON_ASSIGN(self->normalizer_, Normalizer::from_json(node("normalizer"), where));
  RAISON_ASSIGN(self->pre_, PreTokenizer::from_json(node("pre_tokenizer"), where));
  self->byte_level_ = self->pre_.byte_level();
  RAISON_RETURN_IF_ERROR(self->load_vocab(where));
  RAISON_RETURN_IF_ERROR(self->load_added(where));
  RAISON_RETURN_IF_ERROR(self->load_model(where));
  RAISON_RETURN_IF_ERROR(self->load_decoder(node("decoder"), where));
  RAISON_RETURN_IF_ERROR(self->load_post_processor(node("post_processor"), where));
  RAISON_RETURN_IF_ERROR(self->load_specials(where));
  self->make_pieces();
  return std::shared_ptr<Tokenizer>(std::move(self));
}

Status PipelineTokenizer::load_vocab(const std::string& where) {
  if (spec_.vocab.empty()) return error("{}: model.vocab is empty or missing", where);
  TokenId largest = 0;
  for (const auto& [token, id] : spec_.vocab) largest = std::max(largest, id);
  contents_.resize(static_cast<size_t>(largest) + 1);
  flags_.resize(contents_.size(), Flag::Hole);
  for (const auto& [token, id] : spec_.vocab) {
    const auto i = static_cast<size_t>(id);
    if (flags_[i] != Flag::Hole)
      return error("{}: id {} is given to \"{}\" and to \"{}\"", where, id, shown(contents_[i]), shown(token));
    contents_[i] = token;
    flags_[i] = Flag::Vocab;
  }
  return {};
}

Status PipelineTokenizer::load_added(const std::string& where) {
  const auto list = spec_.skeleton.find("added_tokens");
  if (list == spec_.skeleton.end() || list->is_null()) return {};
  if (!list->is_array()) return error("{}: added_tokens must be a list", where);
  for (const json& entry : *list) {
    AddedToken token;
    token.content = json_string(entry, "content");
    if (token.content.empty()) return error("{}: an added token without content", where);
    RAISON_ASSIGN(token.id, checked_id(entry.value("id", json()), token.content, where));
    token.special = json_bool(entry, "special", false);
    token.normalized = json_bool(entry, "normalized", !token.special);
    token.lstrip = json_bool(entry, "lstrip", false);
    token.rstrip = json_bool(entry, "rstrip", false);
    token.single_word = json_bool(entry, "single_word", false);
    const auto i = static_cast<size_t>(token.id);
    if (i >= contents_.size()) {
      contents_.resize(i + 1);
      flags_.resize(i + 1, Flag::Hole);
    }
    if (flags_[i] != Flag::Hole && contents_[i] != token.content) {
      return error("{}: added token \"{}\" has id {}, which \"{}\" has already", where, shown(token.content), token.id,
                   shown(contents_[i]));
    }
    contents_[i] = token.content;
    flags_[i] = token.special ? Flag::Special : Flag::Added;
    added_ids_[token.content] = token.id;
    std::string looked_for = token.content;
    if (token.normalized && !normalizer_.empty()) RAISON_RETURN_IF_ERROR(normalizer_.apply(looked_for));
    (token.normalized ? normalized_added_ : raw_added_).add(token, looked_for);
    added_.push_back(std::move(token));
  }
  return {};
}

Status PipelineTokenizer::load_merges(const json& model, std::vector<BpeModel::Merge>& merges, const std::string& where) const {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!json_string(model, key).empty()) return error("{}: BPE with {} is not supported", where, key);
  }
  merges.reserve(spec_.merges.size());
  for (const auto& [left, right] : spec_.merges) {
    const auto l = spec_.vocab.find(left), r = spec_.vocab.find(right), merged = spec_.vocab.find(left + right);
    for (const auto& [it, name] : {std::pair{l, left}, std::pair{r, right}, std::pair{merged, left + right}}) {
      if (it == spec_.vocab.end()) {
        return error("{}: merge {} (\"{}\" + \"{}\") needs \"{}\", which is not in the vocabulary", where, merges.size(),
                     shown(left), shown(right), shown(name));
      }
    }
    merges.push_back({l->second, r->second, merged->second});
  }
  return {};
}

Status PipelineTokenizer::load_model(const std::string& where) {
  const json& model = spec_.skeleton["model"];
  unk_token_ = json_string(model, "unk_token");
  if (json_string(model, "type") == "WordLevel") {
    if (byte_level_) return error("{}: WordLevel with a ByteLevel pre_tokenizer is not supported", where);
    if (const auto it = spec_.vocab.find(unk_token_); it != spec_.vocab.end()) word_unk_ = it->second;
    return {};
  }
  BpeOptions options;
  options.byte_level = byte_level_;
  options.byte_fallback = json_bool(model, "byte_fallback", false);
  options.ignore_merges = json_bool(model, "ignore_merges", false);
  options.fuse_unk = json_bool(model, "fuse_unk", false);
  options.unk_token = unk_token_;
  if (const auto it = model.find("dropout"); it != model.end() && it->is_number() && *it != 0.0) {
    return error("{}: BPE with dropout is not supported; set model.dropout to null", where);
  }
  std::vector<BpeModel::Merge> merges;
  RAISON_RETURN_IF_ERROR(load_merges(model, merges, where));
  bpe_ = std::make_unique<BpeModel>(spec_.vocab, merges, std::move(options));
  return {};
}

Status PipelineTokenizer::load_template(const json& node, const std::string& where) {
  const auto single = node.find("single");
  if (single == node.end() || !single->is_array()) return error("{}: TemplateProcessing without a list \"single\"", where);
  bool after = false;
  std::vector<TokenId> prefix, suffix;
  for (const json& item : *single) {
    if (item.is_object() && item.contains("Sequence")) {
      after = true;
      continue;
    }
    const std::string name = item.is_object() && item.contains("SpecialToken") ? json_string(item["SpecialToken"], "id") : "";
    const json specials = node.value("special_tokens", json::object());
    const json* ids = nullptr;
    if (specials.is_object() && specials.contains(name) && specials[name].is_object() && specials[name].contains("ids")) {
      ids = &specials[name]["ids"];
    }
    if (ids == nullptr || !ids->is_array()) {
      return error("{}: TemplateProcessing uses \"{}\", which its special_tokens do not define", where, shown(name));
    }
    for (const json& id : *ids) {
      RAISON_ASSIGN(const TokenId value, checked_id(id, name, where));
      if (static_cast<size_t>(value) >= contents_.size() || flags_[static_cast<size_t>(value)] == Flag::Hole) {
        return error("{}: TemplateProcessing puts id {} (\"{}\"), which is no token", where, value, shown(name));
      }
      (after ? suffix : prefix).push_back(value);
    }
  }
  prefix_.insert(prefix_.begin(), prefix.begin(), prefix.end());
  suffix_.insert(suffix_.end(), suffix.begin(), suffix.end());
  return {};
}

Status PipelineTokenizer::load_post_processor(const json& node, const std::string& where) {
  if (node.is_null()) return {};
  const std::string type = json_string(node, "type");
  if (type == "ByteLevel") return {};  // changes offsets only
  if (type == "TemplateProcessing") return load_template(node, where);
  if (type == "Sequence") {
    const auto list = node.find("processors");
    if (list == node.end() || !list->is_array())
      return error("{}: post_processor Sequence without a list \"processors\"", where);
    for (const json& item : *list) {
      // One level: nobody nests them, and a hostile file must not recurse.
      if (json_string(item, "type") == "Sequence") return error("{}: nested post_processor Sequence is not supported", where);
      RAISON_RETURN_IF_ERROR(load_post_processor(item, where));
    }
    return {};
  }
  return error("{}: post_processor \"{}\" is not supported (ByteLevel, TemplateProcessing, Sequence are)", where, shown(type));
}

Status PipelineTokenizer::load_specials(const std::string& where) {
  if (!spec_.bos.empty()) bos_ = id_of(spec_.bos);
  if (!spec_.eos.empty()) eos_ = id_of(spec_.eos);
  if (spec_.add_bos && !bos_)
    return error("{}: add_bos_token is true, but bos_token \"{}\" is no token", where, shown(spec_.bos));
  if (spec_.add_eos && !eos_)
    return error("{}: add_eos_token is true, but eos_token \"{}\" is no token", where, shown(spec_.eos));
  const auto has = [](const std::vector<TokenId>& ids, TokenId id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  bool changed = false;
  if (spec_.add_bos && !has(prefix_, *bos_)) {
    prefix_.insert(prefix_.begin(), *bos_);
    changed = true;
  }
  if (spec_.add_eos && !has(suffix_, *eos_)) {
    suffix_.push_back(*eos_);
    changed = true;
  }
  if (!changed) return {};
  // So that to_hf_json() carries it too.
  json single = json::array(), pair = json::array(), specials = json::object();
  for (int sequence = 0; sequence < 2; ++sequence) {
    const auto put = [&](TokenId id) {
      const std::string& name = contents_[static_cast<size_t>(id)];
      const json item = {{"SpecialToken", {{"id", name}, {"type_id", sequence}}}};
      if (sequence == 0) single.push_back(item);
      pair.push_back(item);
      specials[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
    };
    for (TokenId id : prefix_) put(id);
    const json item = {{"Sequence", {{"id", sequence == 0 ? "A" : "B"}, {"type_id", sequence}}}};
    if (sequence == 0) single.push_back(item);
    pair.push_back(item);
    for (TokenId id : suffix_) put(id);
  }
  spec_.skeleton["post_processor"] = {
      {"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
  return {};
}

Status PipelineTokenizer::load_decode_step(const json& node, const std::string& where) {
  const std::string type = json_string(node, "type");
  if (type == "ByteLevel") {
    decode_steps_.push_back({DecodeStep::Kind::ByteLevel, "", ""});
  } else if (type == "ByteFallback") {
    decode_steps_.push_back({DecodeStep::Kind::ByteFallback, "", ""});
  } else if (type == "Replace") {
    RAISON_ASSIGN(const Pattern pattern, Pattern::from_json(node.value("pattern", json()), where));
    if (pattern.literal_text() == nullptr || pattern.literal_text()->empty()) {
      return error("{}: decoder Replace with a regex is not supported", where);
    }
    decode_steps_.push_back({DecodeStep::Kind::Replace, *pattern.literal_text(), json_string(node, "content")});
  } else if (type == "Metaspace") {
    decode_steps_.push_back({DecodeStep::Kind::Replace, json_string(node, "replacement", std::string(kMetaspace)), " "});
    const bool prefix =
        json_string(node, "prepend_scheme", json_bool(node, "add_prefix_space", true) ? "always" : "never") != "never";
    if (prefix) leading_strip_.assign(1, ' ');
  } else if (type == "Strip") {
    const std::string content = json_string(node, "content");
    const int64_t start = json_integer(node, "start", 0), stop = json_integer(node, "stop", 0);
    if (stop != 0 || start < 0 || start > 1 || content.empty()) {
      return error("{}: decoder Strip is supported with one character at the start only", where);
    }
    if (start == 1) leading_strip_ = content;
  } else if (type != "Fuse") {
    return error("{}: decoder \"{}\" is not supported (ByteLevel, ByteFallback, Replace, Fuse, Strip, Metaspace, Sequence are)",
                 where, shown(type));
  }
  return {};
}

Status PipelineTokenizer::load_decoder(const json& node, const std::string& where) {
  if (node.is_null()) {
    joiner_.assign(1, ' ');  // HF joins by spaces where there is no decoder
    return {};
  }
  if (json_string(node, "type") != "Sequence") return load_decode_step(node, where);
  const auto list = node.find("decoders");
  if (list == node.end() || !list->is_array()) return error("{}: decoder Sequence without a list \"decoders\"", where);
  for (const json& item : *list) RAISON_RETURN_IF_ERROR(load_decode_step(item, where));
  return {};
}

void PipelineTokenizer::make_pieces() {
  pieces_.resize(contents_.size());
  std::string bytes;
  for (size_t i = 0; i < contents_.size(); ++i) {
    std::string text = contents_[i];
    for (const DecodeStep& step : decode_steps_) {
      if (flags_[i] != Flag::Vocab) break;
      if (step.kind == DecodeStep::Kind::ByteLevel) {
        if (byte_level_to_bytes(text, &bytes)) text = bytes;
      } else if (step.kind == DecodeStep::Kind::Replace) {
        text = replace_all(text, step.from, step.to);
      } else if (const int byte = byte_token_value(text); byte >= 0) {
        text.assign(1, static_cast<char>(byte));
      }
    }
    pieces_[i] = std::move(text);
  }
}

std::string PipelineTokenizer::piece(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < pieces_.size() ? pieces_[static_cast<size_t>(id)] : "";
}

std::optional<TokenId> PipelineTokenizer::id_of(std::string_view token) const {
  if (const auto it = added_ids_.find(token); it != added_ids_.end()) return it->second;
  if (const auto it = spec_.vocab.find(token); it != spec_.vocab.end()) return it->second;
  return std::nullopt;
}

bool PipelineTokenizer::is_special(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < flags_.size() && flags_[static_cast<size_t>(id)] == Flag::Special;
}

Status PipelineTokenizer::encode_word(std::string_view word, std::vector<TokenId>& out) const {
  if (bpe_) return bpe_->encode(word, out);
  const auto it = spec_.vocab.find(word);
  if (it == spec_.vocab.end() && !word_unk_) {
    return error("the word \"{}\" is not in the vocabulary of {} words", shown(word), spec_.vocab.size());
  }
  out.push_back(it == spec_.vocab.end() ? *word_unk_ : it->second);
  return {};
}

Status PipelineTokenizer::encode_normalized(std::string text, bool at_start, std::vector<TokenId>& out) const {
  std::vector<PreTokenizer::Range> pieces;
  RAISON_RETURN_IF_ERROR(pre_.apply(text, at_start, pieces));
  for (const auto& [begin, end] : pieces) {
    RAISON_RETURN_IF_ERROR(encode_word(std::string_view(text).substr(begin, end - begin), out));
  }
  return {};
}

// A stretch between added tokens of the first kind: normalised, then searched for those of the second kind.
Status PipelineTokenizer::encode_segment(std::string_view segment, bool at_start, bool parse_added,
                                         std::vector<TokenId>& out) const {
  std::string text(segment);
  RAISON_RETURN_IF_ERROR(normalizer_.apply(text));
  if (!parse_added || normalized_added_.empty()) return encode_normalized(std::move(text), at_start, out);
  Status status;
  normalized_added_.scan(
      text,
      [&](size_t begin, size_t end) {
        if (status.ok()) status = encode_normalized(text.substr(begin, end - begin), at_start && begin == 0, out);
      },
      [&](TokenId id) { out.push_back(id); });
  return status;
}

Result<std::vector<TokenId>> PipelineTokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) text = repaired = lossy_utf8(text);
  if (text.size() > size_t{1} << 30) return error("a text of {} bytes is too long to tokenise; split it", text.size());
  std::vector<TokenId> out;
  if (options.add_special) out = prefix_;
  Status status;
  const auto plain = [&](size_t begin, size_t end) {
    if (status.ok()) status = encode_segment(text.substr(begin, end - begin), begin == 0, options.parse_special, out);
  };
  if (options.parse_special) {
    raw_added_.scan(text, plain, [&](TokenId id) { out.push_back(id); });
  } else if (!text.empty()) {
    plain(0, text.size());
  }
  if (!status.ok()) return status.error();
  if (options.add_special) out.insert(out.end(), suffix_.begin(), suffix_.end());
  return out;
}

Result<std::string> PipelineTokenizer::to_hf_json() const {
  json root = spec_.skeleton;
  json& model = root["model"];
  json vocab = json::object();
  for (const auto& [token, id] : spec_.vocab) vocab[token] = id;
  model["vocab"] = std::move(vocab);
  if (bpe_) {
    json merges = json::array();
    for (const auto& [left, right] : spec_.merges) merges.push_back({left, right});
    model["merges"] = std::move(merges);
  }
  return root.dump(1, ' ', false, json::error_handler_t::replace);
}

}  // namespace raison
