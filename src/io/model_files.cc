#include "io/model_files.h"

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>

#include "base/json_depth.h"
#include "io/json_keys.h"
#include "io/printable.h"

namespace raison {
namespace {
using nlohmann::json;

struct EmptySource final : TensorSource {
  std::vector<TensorInfo> none;
  const std::vector<TensorInfo>& tensors() const override { return none; }
  const TensorInfo* find(const std::string&) const override { return nullptr; }
};

bool is_directory(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}
bool is_file(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}
std::string if_file(const std::string& path) { return is_file(path) ? path : ""; }

// The first GGUF file of a folder by name, or nothing.
std::string first_gguf(const std::string& folder) {
  std::string first;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ec))
    if (entry.path().extension() == ".gguf" && (first.empty() || entry.path().filename().string() < first))
      first = entry.path().filename().string();
  return printable(first);
}

Result<std::vector<int64_t>> read_eos_ids(const json& j, const std::string& path) {
  std::vector<int64_t> ids;
  const ConfigReader r(j, path);
  if (!r.has("eos_token_id")) return ids;
  const json& e = j["eos_token_id"];
  for (const json& id : e.is_array() ? e : json::array({e})) {
    if (!id.is_number_integer()) return r.bad("eos_token_id", "is neither a token id nor a list of token ids");
    const json holder = {{"eos_token_id", id}};
    RAISON_ASSIGN(const int64_t v, ConfigReader(holder, path).integer("eos_token_id", -1, INT32_MAX));
    if (v >= 0) ids.push_back(v);
  }
  return ids;
}

Result<GenerationDefaults> read_generation(const std::string& path) {
  GenerationDefaults g;
  if (!is_file(path)) return g;
  RAISON_ASSIGN(const json j, read_json_file(path));
  if (!j.is_object()) return error("{}: is not a JSON object", path);
  const ConfigReader r(j, path);
  const auto number = [&](const char* key, double lo, double hi, std::optional<double>* out) -> Status {
    if (!r.has(key)) return {};
    RAISON_ASSIGN(*out, r.number(key, lo, hi));
    return {};
  };
  RAISON_RETURN_IF_ERROR(number("temperature", 0, 1e4, &g.temperature));
  RAISON_RETURN_IF_ERROR(number("top_p", 0, 1, &g.top_p));
  RAISON_RETURN_IF_ERROR(number("min_p", 0, 1, &g.min_p));
  RAISON_RETURN_IF_ERROR(number("typical_p", 0, 1, &g.typical_p));
  RAISON_RETURN_IF_ERROR(number("repetition_penalty", 1e-3, 1e3, &g.repetition_penalty));
  // -1 says "none" in some published files.
  const auto integer = [&](const char* key, std::optional<int64_t>* out) -> Status {
    if (!r.has(key)) return {};
    RAISON_ASSIGN(const int64_t v, r.integer(key, -1, int64_t{1} << 40));
    if (v >= 0) *out = v;
    return {};
  };
  RAISON_RETURN_IF_ERROR(integer("top_k", &g.top_k));
  RAISON_RETURN_IF_ERROR(integer("max_new_tokens", &g.max_new_tokens));
  RAISON_RETURN_IF_ERROR(integer("bos_token_id", &g.bos_id));
  RAISON_RETURN_IF_ERROR(integer("pad_token_id", &g.pad_id));
  if (r.has("do_sample")) {
    if (!j["do_sample"].is_boolean()) return r.bad("do_sample", "is neither true nor false");
    g.do_sample = j["do_sample"].get<bool>();
  }
  RAISON_ASSIGN(g.eos_ids, read_eos_ids(j, path));
  return g;
}

// nlohmann's "[json.exception.parse_error.101] parse error at line 1, column 2: ..." without its bracket.
std::string parse_reason(const json::exception& e) {
  const std::string why = e.what();
  const size_t at = why.find("] ");
  return printable(at == std::string::npos ? why : why.substr(at + 2), 200);
}

// GGUF files say 4294967295 for "no such token".
std::optional<int64_t> token_id(const Metadata& meta, const char* key) {
  const auto id = meta.integer(key);
  return id && *id >= 0 && *id <= INT32_MAX ? id : std::nullopt;
}

GenerationDefaults gguf_generation(const Metadata& meta) {
  GenerationDefaults g;
  g.bos_id = token_id(meta, "tokenizer.ggml.bos_token_id");
  g.pad_id = token_id(meta, "tokenizer.ggml.padding_token_id");
  if (const auto eos = token_id(meta, "tokenizer.ggml.eos_token_id")) g.eos_ids.push_back(*eos);
  const auto eot = token_id(meta, "tokenizer.ggml.eot_token_id");
  if (eot && (g.eos_ids.empty() || g.eos_ids[0] != *eot)) g.eos_ids.push_back(*eot);
  return g;
}
}  // namespace

Result<json> read_json_file(const std::string& path, bool unique_keys) {
  RAISON_ASSIGN(const std::string text, read_file(path, size_t{512} << 20));
  if (const size_t at = json_too_deep_at(text, 64); at != kShallow)
    return error("{}: nested over 64 deep at byte {}", path, at);
  try {
    json parsed = json::parse(text);
    if (!unique_keys) return parsed;
    if (const auto twice = key_given_twice(text)) return error("{}: \"{}\" occurs twice", path, printable(*twice));
    return parsed;
  } catch (const json::parse_error& e) {
    return error("{}: not valid JSON at byte {}: {}", path, e.byte, parse_reason(e));
  } catch (const json::exception& e) { return error("{}: not valid JSON: {}", path, parse_reason(e)); }
}

Result<ModelFiles> ModelFiles::open(const std::string& path, bool load_weights) {
  ModelFiles m;
  m.path = path;
  if (is_directory(path)) {
    m.format = Format::HfFolder;
    if (!is_file(path + "/config.json")) {
      const std::string gguf = first_gguf(path);
      return error("{}: no model here: config.json is missing{}", path,
                   gguf.empty() ? "" : "; is it " + gguf + " that you mean?");
    }
    RAISON_ASSIGN(m.config, read_json_file(path + "/config.json"));
    if (!m.config.is_object()) return error("{}/config.json: is not a JSON object", path);
    RAISON_ASSIGN(m.generation, read_generation(path + "/generation_config.json"));
    if (m.generation.eos_ids.empty()) {  // older folders say it there alone
      RAISON_ASSIGN(m.generation.eos_ids, read_eos_ids(m.config, path + "/config.json"));
    }
    m.tokenizer_json = if_file(path + "/tokenizer.json");
    m.tokenizer_config_json = if_file(path + "/tokenizer_config.json");
    m.chat_template_jinja = if_file(path + "/chat_template.jinja");
    if (load_weights) {
      RAISON_ASSIGN(m.tensors, ShardedSafetensors::open_folder(path));
    } else {
      m.tensors = std::make_shared<EmptySource>();
    }
    return m;
  }
  if (!is_file(path)) {
    std::error_code ec;
    if (std::filesystem::exists(path, ec)) return error("{}: is neither a folder nor a regular file", path);
    return error("{}: no such file or folder", path);
  }
  auto gguf = GgufFile::open(path);
  if (!gguf.ok()) return gguf.error();
  m.format = Format::Gguf;
  m.gguf = *gguf;
  m.tensors = *gguf;
  m.generation = gguf_generation(m.gguf->metadata());
  return m;
}

Error ConfigReader::bad(const std::string& key, const std::string& why) const {
  return error("{}: \"{}\" {}", where_, key, why);
}

bool ConfigReader::has(const std::string& key) const { return config_.contains(key) && !config_[key].is_null(); }

Result<int64_t> ConfigReader::integer(const std::string& key, int64_t lo, int64_t hi) const {
  if (!has(key)) return bad(key, "is missing");
  const nlohmann::json& v = config_[key];
  if (!v.is_number_integer()) return bad(key, "is not an integer");
  if (v.is_number_unsigned() && v.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return bad(key, "is too large");
  const auto i = v.get<int64_t>();
  if (i < lo || i > hi) return bad(key, fmt::format("is {}, outside {} .. {}", i, lo, hi));
  return i;
}

Result<int64_t> ConfigReader::integer_or(const std::string& key, int64_t fallback, int64_t lo, int64_t hi) const {
  if (!has(key)) return fallback;
  return integer(key, lo, hi);
}

Result<double> ConfigReader::number(const std::string& key, double lo, double hi) const {
  if (!has(key)) return bad(key, "is missing");
  if (!config_[key].is_number()) return bad(key, "is not a number");
  const auto d = config_[key].get<double>();
  if (!(d >= lo && d <= hi)) return bad(key, fmt::format("is {}, outside {} .. {}", d, lo, hi));
  return d;
}

Result<double> ConfigReader::number_or(const std::string& key, double fallback, double lo, double hi) const {
  if (!has(key)) return fallback;
  return number(key, lo, hi);
}

Result<bool> ConfigReader::boolean_or(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!config_[key].is_boolean()) return bad(key, "is neither true nor false");
  return config_[key].get<bool>();
}

Result<std::string> ConfigReader::string_or(const std::string& key, const std::string& fallback) const {
  if (!has(key)) return fallback;
  if (!config_[key].is_string()) return bad(key, "is not a string");
  return config_[key].get<std::string>();
}

}  // namespace raison
