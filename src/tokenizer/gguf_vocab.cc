// Byte-level BPE (and what else fits a tokenizer.json) in GGUF metadata, both ways.
#include <algorithm>

#include "tokenizer/pipeline.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using json = nlohmann::json;

constexpr const char* kFullJsonKey = "tokenizer.huggingface.json";  // GGUF's own key for a whole tokenizer.json

json added_token_json(TokenId id, const std::string& content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

const PreType* find_pre_type(const std::string& name) {
  static const std::pair<const char*, const char*> aliases[] = {
      {"llama3", "llama-bpe"},        {"llama-v3", "llama-bpe"},     {"gpt2", "gpt-2"},
      {"deepseek-r1", "deepseek-v3"}, {"deepseek-r1-qwen", "qwen2"}, {"qwen3", "qwen2"}};
  const char* wanted = name.c_str();
  for (const auto& [alias, real] : aliases) wanted = name == alias ? real : wanted;
  for (const PreType& type : gguf_pre_types()) {
    if (std::string_view(type.name) == wanted) return &type;
  }
  return nullptr;
}

std::string pre_type_names() {
  std::string names;
  for (const PreType& type : gguf_pre_types()) names += (names.empty() ? "" : ", ") + std::string(type.name);
  return names;
}

Result<std::shared_ptr<Tokenizer>> from_full_json(const Metadata& metadata, const std::string& text, const std::string& where) {
  json config = json::object();
  const auto* tokens = metadata.strings("tokenizer.ggml.tokens");
  const auto name = [&](const char* key, const char* config_key) {
    const auto id = metadata.integer(key);
    if (tokens != nullptr && id && *id >= 0 && *id < static_cast<int64_t>(tokens->size())) {
      config[config_key] = (*tokens)[static_cast<size_t>(*id)];
    }
  };
  name("tokenizer.ggml.bos_token_id", "bos_token");
  name("tokenizer.ggml.eos_token_id", "eos_token");
  return Tokenizer::from_hf_json(text, config.dump(-1, ' ', false, json::error_handler_t::replace), where);
}

Status read_tokens(const Metadata& metadata, PipelineSpec& spec, const std::string& where) {
  const auto* tokens = metadata.strings("tokenizer.ggml.tokens");
  const auto* types = metadata.integers("tokenizer.ggml.token_type");
  if (tokens == nullptr || tokens->empty()) return error("{}: tokenizer.ggml.tokens is missing or empty", where);
  if (types != nullptr && types->size() != tokens->size()) {
    return error("{}: tokenizer.ggml.token_type has {} entries for {} tokens", where, types->size(), tokens->size());
  }
  json added = json::array();
  spec.vocab.reserve(tokens->size());
  for (size_t i = 0; i < tokens->size(); ++i) {
    const std::string& token = (*tokens)[i];
    if (!is_valid_utf8(token)) return error("{}: token {} is not valid UTF-8", where, i);
    const auto type = types != nullptr ? static_cast<GgufTokenType>((*types)[i]) : GgufTokenType::Normal;
    const bool special = type == GgufTokenType::Control || type == GgufTokenType::Unknown;
    if (special || type == GgufTokenType::UserDefined) {
      if (!token.empty()) added.push_back(added_token_json(static_cast<TokenId>(i), token, special));
    } else {
      spec.vocab.emplace(token, static_cast<TokenId>(i));  // of twins the first wins; the other can't be reached
    }
  }
  spec.skeleton["added_tokens"] = std::move(added);
  return {};
}

}  // namespace

// What the tokenizers of DeepSeek LLM and V2 take for a letter of a word: those that have case, less the small ones of Armenian and
// Georgian.
constexpr const char* kCasedLetters =
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-"
    "\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{"
    "3F7}-"
    "\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}"
    "\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}"
    "\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-"
    "\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}"
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-"
    "\\x{211D}\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-"
    "\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}"
    "\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}"
    "\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}"
    "\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}";

const std::vector<PreType>& gguf_pre_types() {
  static const std::string words = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)";
  static const std::string rest = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  // Kimi-K2's words: a change from small letters to capitals begins another; Han characters are a kind of their own.
  static const std::string capital = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])",
                           small = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])", before = R"([^\r\n\p{L}\p{N}]?)",
                           after = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)";
  // The regexes are those of the models' own tokenizer files.
  static const std::vector<PreType> types = {
      {"gpt-2", {}, true, false, false, false},
      {"llama-bpe", {words + R"(\p{N}{1,3})" + rest}, false, false, true, true},
      {"qwen2", {words + R"(\p{N})" + rest}, false, true, false, false},
      {"deepseek-v3",
       {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
        "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"},
       false,
       false,
       false,
       false},
      {"kimi-k2",
       {R"([\p{Han}]+|)" + before + capital + "*" + small + "+" + after + "|" + before + capital + "+" + small + "*" + after +
        R"(|\p{N}{1,3})" + rest},
       false,
       false,
       true,
       false},
      {"deepseek-llm",
       {"[\r\n]", fmt::format("\\s?[{}]+", kCasedLetters),
        R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)", R"(\s+$)",
        R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)", R"(\p{N})"},
       false,
       false,
       false,
       true},
      {"deepseek-coder",
       {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", R"(\p{N})"},
       false,
       false,
       false,
       false},
      {"default", {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Regex, R"(\p{N}+)", "[0-9][0-9][0-9]"}, false, false, false, false},
      {"smollm", {R"(\p{N})"}, true, false, false, false},
  };
  return types;
}

json pre_tokenizer_json(const PreType& type) {
  json steps = json::array();
  for (const std::string& regex : type.regexes) {
    steps.push_back({{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  steps.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", type.gpt2_regex}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

json byte_level_skeleton(const PreType& type) {
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"normalizer", type.nfc ? json{{"type", "NFC"}} : json()},
      {"pre_tokenizer", pre_tokenizer_json(type)},
      {"post_processor", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", type.ignore_merges}}}};
}

std::optional<TokenId> gguf_token_id(const Metadata& metadata, const std::string& key, int64_t fallback, size_t size) {
  const auto fits = [&](int64_t id) { return id >= 0 && id < static_cast<int64_t>(size); };
  const auto id = metadata.integer(key);
  if (id && fits(*id)) return static_cast<TokenId>(*id);
  if (fits(fallback)) return static_cast<TokenId>(fallback);
  return std::nullopt;
}

Result<std::shared_ptr<Tokenizer>> bpe_from_gguf(const Metadata& metadata, const std::string& where) {
  if (const auto full = metadata.string(kFullJsonKey)) return from_full_json(metadata, *full, where);
  const std::string model = *metadata.string("tokenizer.ggml.model");
  if (model != "gpt2")
    return error("{}: tokenizer.ggml.model \"{}\" is not supported (llama and gpt2 are)", where, shown(model));
  const std::string pre = metadata.string("tokenizer.ggml.pre").value_or("default");
  const PreType* type = find_pre_type(pre);
  if (type == nullptr)
    return error("{}: tokenizer.ggml.pre \"{}\" is not supported ({} are)", where, shown(pre), pre_type_names());
  PipelineSpec spec;
  spec.skeleton = byte_level_skeleton(*type);
  RAISON_RETURN_IF_ERROR(read_tokens(metadata, spec, where));
  const auto* merges = metadata.strings("tokenizer.ggml.merges");
  if (merges == nullptr) return error("{}: tokenizer.ggml.merges is missing", where);
  for (const std::string& merge : *merges) {
    const size_t space = merge.find(' ', 1);
    if (merge.empty() || space == std::string::npos) return error("{}: merge {} is not \"a b\"", where, spec.merges.size());
    std::string left = merge.substr(0, space), right = merge.substr(space + 1);
    // A merge of a token that the file marks as special is never used; HF leaves such pairs in.
    const bool usable = spec.vocab.count(left) && spec.vocab.count(right) && spec.vocab.count(left + right);
    if (usable) spec.merges.emplace_back(std::move(left), std::move(right));
  }
  const auto& tokens = *metadata.strings("tokenizer.ggml.tokens");
  if (const auto id = gguf_token_id(metadata, "tokenizer.ggml.bos_token_id", 11, tokens.size()))
    spec.bos = tokens[static_cast<size_t>(*id)];
  if (const auto id = gguf_token_id(metadata, "tokenizer.ggml.eos_token_id", 11, tokens.size()))
    spec.eos = tokens[static_cast<size_t>(*id)];
  spec.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token").value_or(type->add_bos);
  spec.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token").value_or(false);
  return PipelineTokenizer::build(std::move(spec), where);
}

// Whether the plain tokenizer.ggml.* keys say everything; then `pre` is the pre-tokeniser's name.
bool PipelineTokenizer::gguf_keys_suffice(std::string* pre) const {
  const json& model = spec_.skeleton["model"];
  if (!bpe_ || !byte_level_ || !joiner_.empty() || decode_steps_.size() != 1 || !leading_strip_.empty() ||
      !unk_token_.empty() || model.value("byte_fallback", json(false)) == true) {
    return false;
  }
  if (!prefix_.empty() && (prefix_.size() != 1 || !bos_ || prefix_[0] != *bos_)) return false;
  if (!suffix_.empty() && (suffix_.size() != 1 || !eos_ || suffix_[0] != *eos_)) return false;
  for (const AddedToken& token : added_) {
    if (token.lstrip || token.rstrip || token.single_word) return false;
  }
  const bool ignore_merges = model.value("ignore_merges", json(false)) == true;
  for (const PreType& type : gguf_pre_types()) {
    if (type.nfc != normalizer_.is_nfc() || (!type.nfc && !normalizer_.empty()) || type.ignore_merges != ignore_merges)
      continue;
    const auto known = PreTokenizer::from_json(pre_tokenizer_json(type), "");
    if (known.ok() && known->signature() == pre_.signature()) {
      *pre = type.name;
      return true;
    }
  }
  return false;
}

Result<Metadata> PipelineTokenizer::to_gguf() const {
  Metadata out;
  std::string pre = "default";
  const bool plain = gguf_keys_suffice(&pre);
  std::vector<std::string> tokens(contents_.size());
  std::vector<int64_t> types(contents_.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = flags_[i] == Flag::Hole ? fmt::format("[PAD{}]", i) : contents_[i];
    const GgufTokenType type = flags_[i] == Flag::Hole      ? GgufTokenType::Unused
                               : flags_[i] == Flag::Vocab   ? GgufTokenType::Normal
                               : flags_[i] == Flag::Special ? GgufTokenType::Control
                                                            : GgufTokenType::UserDefined;
    types[i] = static_cast<int64_t>(type);
  }
  out.set("tokenizer.ggml.model", std::string(bpe_ ? "gpt2" : "word_level"));
  out.set("tokenizer.ggml.pre", pre);
  out.set("tokenizer.ggml.tokens", std::move(tokens));
  out.set("tokenizer.ggml.token_type", std::move(types));
  if (bpe_) {
    std::vector<std::string> merges;
    for (const auto& [left, right] : spec_.merges) merges.push_back(left + " " + right);
    out.set("tokenizer.ggml.merges", std::move(merges));
  }
  if (bos_) out.set("tokenizer.ggml.bos_token_id", static_cast<int64_t>(*bos_));
  if (eos_) out.set("tokenizer.ggml.eos_token_id", static_cast<int64_t>(*eos_));
  out.set("tokenizer.ggml.add_bos_token", bos_ && std::find(prefix_.begin(), prefix_.end(), *bos_) != prefix_.end());
  out.set("tokenizer.ggml.add_eos_token", eos_ && std::find(suffix_.begin(), suffix_.end(), *eos_) != suffix_.end());
  if (!plain) {
    RAISON_ASSIGN(std::string text, to_hf_json());
    out.set(kFullJsonKey, std::move(text));
  }
  return out;
}

}  // namespace raison
