// DeepSeek-R1 in its full shape, in files that hold headers and holes: names, shapes, types and sizes are the real ones, no disk
// is used for the data, and every weight reads as zero.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/gguf_writer.h"
#include "io/safetensors_writer.h"
#include "testing/shared_data.h"

namespace raison::testing {

inline std::string r1_map_path() { return shared_dir() + "/refdata/tensor-names/DeepSeek-V3.1-Terminus.tensors.bf16.map"; }
inline std::string r1_config_path() { return shared_dir() + "/refdata/configs/hf/deepseek-ai--DeepSeek-R1_config.json"; }
inline std::string r1_tokenizer_path() { return shared_dir() + "/refdata/tokenizers/deepseek-r1/tokenizer.json.gz"; }

inline std::string gunzipped(const std::string& path) {
  FILE* pipe = popen(("gzip -dc '" + path + "'").c_str(), "r");
  std::string out;
  char buffer[1 << 16];
  for (size_t n; pipe != nullptr && (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  if (pipe != nullptr) pclose(pipe);
  return out;
}

// Whether it is the file system that refused: the one reason for a test to skip. Any other failure is one.
inline bool no_sparse_files(const std::string& message) { return message.starts_with("NO SPARSE FILES"); }

// "" if all that R1's full shape is made of is there, else what a skipped test says of the first thing missing.
inline std::string missing_r1_data() {
  for (const std::string& path : {r1_map_path(), r1_config_path(), r1_tokenizer_path()})
    if (!std::ifstream(path)) return missing(path);
  return "";
}

// The plan's files with holes for data. Error: the file system refuses files of that size.
inline Status write_sparse(const WritePlan& plan) {
  for (const FilePlan& f : plan.files) {
    const int fd = ::open(f.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return error("{}: {}", f.path, std::strerror(errno));
    const bool sound = ::write(fd, f.header.data(), f.header.size()) == static_cast<ssize_t>(f.header.size()) &&
                       ::ftruncate(fd, static_cast<off_t>(f.bytes())) == 0;
    const std::string why = sound ? "" : std::strerror(errno);
    ::close(fd);
    if (!sound) return error("NO SPARSE FILES: {}: {} bytes: {}", f.path, f.bytes(), why);
  }
  if (!plan.index_path.empty()) std::ofstream(plan.index_path, std::ios::binary) << plan.index;
  return {};
}

// The tensors of a bf16 GGUF: lines FILE:HASH:NAME:shape=(INNERMOST, ..., OUTERMOST):dtype=TYPE:...
inline std::vector<TensorSpec> r1_gguf_tensors() {
  std::vector<TensorSpec> out;
  std::ifstream in(r1_map_path());
  for (std::string line; std::getline(in, line);) {
    std::vector<std::string> fields;
    for (size_t at = 0; at != std::string::npos;) {
      const size_t end = line.find(':', at);
      fields.push_back(line.substr(at, end == std::string::npos ? end : end - at));
      at = end == std::string::npos ? end : end + 1;
    }
    TensorSpec t{fields.at(2), *dtype_from_name(fields.at(4).substr(6)), {}};
    for (const char* p = fields[3].c_str(); *p != '\0';) {
      char* end = nullptr;
      const int64_t n = std::strtoll(p, &end, 10);
      if (end != p) t.shape.insert(t.shape.begin(), n);
      p = end != p ? end : p + 1;
    }
    out.push_back(std::move(t));
  }
  return out;
}

// The tokenizer's keys, as llama.cpp's converter writes them.
inline void add_r1_vocabulary(Metadata* m) {
  const auto j = nlohmann::json::parse(gunzipped(r1_tokenizer_path()));
  const int64_t rows = 129280;
  std::vector<std::string> tokens(rows), merges;
  std::vector<int64_t> types(rows, 5);  // unused
  for (int64_t i = 0; i < rows; ++i) tokens[static_cast<size_t>(i)] = "[PAD" + std::to_string(i) + "]";
  const auto put = [&](const std::string& text, size_t id, int64_t type) {
    tokens.at(id) = text;
    types.at(id) = type;
  };
  for (const auto& [text, id] : j["model"]["vocab"].items()) put(text, id.get<size_t>(), 1);
  for (const auto& a : j["added_tokens"])
    put(a["content"].get<std::string>(), a["id"].get<size_t>(), a["special"].get<bool>() ? 3 : 4);
  for (const auto& merge : j["model"]["merges"]) merges.push_back(merge.get<std::string>());
  m->set("tokenizer.ggml.model", std::string("gpt2"));
  m->set("tokenizer.ggml.pre", std::string("deepseek-v3"));
  m->set("tokenizer.ggml.tokens", std::move(tokens));
  m->set("tokenizer.ggml.token_type", std::move(types));
  m->set("tokenizer.ggml.merges", std::move(merges));
  m->set("tokenizer.ggml.bos_token_id", uint64_t{0});
  m->set("tokenizer.ggml.eos_token_id", uint64_t{1});
  m->set("tokenizer.ggml.padding_token_id", uint64_t{1});
  m->set("tokenizer.ggml.add_bos_token", true);
  m->set("tokenizer.ggml.add_eos_token", false);
}

// R1's config in GGUF's keys.
inline Metadata r1_gguf_metadata() {
  const auto c = nlohmann::json::parse(std::ifstream(r1_config_path()));
  const auto n = [&](const char* key) { return c.at(key).get<uint64_t>(); };
  Metadata m;
  m.set("general.architecture", std::string("deepseek2"));
  m.set("general.name", std::string("DeepSeek R1"));
  m.set("general.file_type", uint64_t{32});  // mostly BF16
  const auto set = [&](const char* key, MetaValue value) { m.set(std::string("deepseek2.") + key, std::move(value)); };
  set("block_count", n("num_hidden_layers"));
  set("context_length", n("max_position_embeddings"));
  set("embedding_length", n("hidden_size"));
  set("feed_forward_length", n("intermediate_size"));
  set("attention.head_count", n("num_attention_heads"));
  set("attention.head_count_kv", uint64_t{1});  // one latent for all heads
  set("rope.freq_base", c.at("rope_theta").get<double>());
  set("attention.layer_norm_rms_epsilon", static_cast<double>(static_cast<float>(c.at("rms_norm_eps").get<double>())));
  set("expert_used_count", n("num_experts_per_tok"));
  set("leading_dense_block_count", n("first_k_dense_replace"));
  set("vocab_size", n("vocab_size"));
  set("attention.q_lora_rank", n("q_lora_rank"));
  set("attention.kv_lora_rank", n("kv_lora_rank"));
  set("attention.key_length", n("kv_lora_rank") + n("qk_rope_head_dim"));
  set("attention.value_length", n("kv_lora_rank"));
  set("attention.key_length_mla", n("qk_nope_head_dim") + n("qk_rope_head_dim"));
  set("attention.value_length_mla", n("v_head_dim"));
  set("expert_feed_forward_length", n("moe_intermediate_size"));
  set("expert_count", n("n_routed_experts"));
  set("expert_shared_count", n("n_shared_experts"));
  set("expert_weights_scale", c.at("routed_scaling_factor").get<double>());
  set("expert_weights_norm", true);
  set("expert_gating_func", uint64_t{2});  // sigmoid
  set("rope.dimension_count", n("qk_rope_head_dim"));
  const auto& yarn = c.at("rope_scaling");
  set("rope.scaling.type", std::string("yarn"));
  set("rope.scaling.factor", yarn.at("factor").get<double>());
  set("rope.scaling.original_context_length", yarn.at("original_max_position_embeddings").get<uint64_t>());
  set("rope.scaling.yarn_log_multiplier", static_cast<double>(0.1f));
  add_r1_vocabulary(&m);
  return m;
}

// The tensors of an FP8 checkpoint of the DeepSeek-V3 architecture: matrices in F8_E4M3 with one F32 factor
// (weight_scale_inv) per block of 128 x 128, embeddings, norms and the routers in BF16, the layers of multi-token prediction
// after the others.
class DeepseekFp8Tensors {
 public:
  explicit DeepseekFp8Tensors(const nlohmann::json& config) : c_(config) {
    const int64_t hidden = n("hidden_size"), vocabulary = n("vocab_size"), layers = n("num_hidden_layers");
    add("model.embed_tokens.weight", DType::BF16, {vocabulary, hidden});
    for (int64_t l = 0; l < layers + n("num_nextn_predict_layers"); ++l) {
      const std::string at = "model.layers." + std::to_string(l) + ".";
      attention(at + "self_attn.");
      add(at + "input_layernorm.weight", DType::BF16, {hidden});
      add(at + "post_attention_layernorm.weight", DType::BF16, {hidden});
      l < n("first_k_dense_replace") ? mlp(at + "mlp.", n("intermediate_size")) : experts(at + "mlp.");
      if (l >= layers) prediction(at);
    }
    add("model.norm.weight", DType::BF16, {hidden});
    add("lm_head.weight", DType::BF16, {vocabulary, hidden});
  }
  std::vector<TensorSpec> take() { return std::move(out_); }

 private:
  int64_t n(const char* key) const { return c_.at(key).get<int64_t>(); }
  void add(const std::string& name, DType type, std::vector<int64_t> shape) { out_.push_back({name, type, std::move(shape)}); }
  void linear(const std::string& name, int64_t rows, int64_t columns) {
    add(name + ".weight", DType::F8_E4M3, {rows, columns});
    add(name + ".weight_scale_inv", DType::F32, {(rows + 127) / 128, (columns + 127) / 128});
  }
  void attention(const std::string& at) {
    const int64_t hidden = n("hidden_size"), heads = n("num_attention_heads"), q = n("q_lora_rank"), kv = n("kv_lora_rank");
    const int64_t nope = n("qk_nope_head_dim"), rope = n("qk_rope_head_dim"), v = n("v_head_dim");
    linear(at + "q_a_proj", q, hidden);
    add(at + "q_a_layernorm.weight", DType::BF16, {q});
    linear(at + "q_b_proj", heads * (nope + rope), q);
    linear(at + "kv_a_proj_with_mqa", kv + rope, hidden);
    add(at + "kv_a_layernorm.weight", DType::BF16, {kv});
    linear(at + "kv_b_proj", heads * (nope + v), kv);
    linear(at + "o_proj", hidden, heads * v);
  }
  void mlp(const std::string& at, int64_t width) {
    linear(at + "gate_proj", width, n("hidden_size"));
    linear(at + "up_proj", width, n("hidden_size"));
    linear(at + "down_proj", n("hidden_size"), width);
  }
  void experts(const std::string& at) {
    const int64_t count = n("n_routed_experts"), width = n("moe_intermediate_size");
    add(at + "gate.weight", DType::BF16, {count, n("hidden_size")});
    add(at + "gate.e_score_correction_bias", DType::F32, {count});
    for (int64_t e = 0; e < count; ++e) mlp(at + "experts." + std::to_string(e) + ".", width);
    mlp(at + "shared_experts.", width * n("n_shared_experts"));
  }
  void prediction(const std::string& at) {
    const int64_t hidden = n("hidden_size"), vocabulary = n("vocab_size");
    add(at + "embed_tokens.weight", DType::BF16, {vocabulary, hidden});
    add(at + "enorm.weight", DType::BF16, {hidden});
    add(at + "hnorm.weight", DType::BF16, {hidden});
    add(at + "eh_proj.weight", DType::BF16, {hidden, 2 * hidden});
    add(at + "shared_head.norm.weight", DType::BF16, {hidden});
    add(at + "shared_head.head.weight", DType::BF16, {vocabulary, hidden});
  }
  const nlohmann::json& c_;
  std::vector<TensorSpec> out_;
};

// R1's folder: config, tokenizer, index and `shards` shards of nearly the same size.
inline Status write_sparse_r1_folder(const std::string& folder, size_t shards = 163) {
  const auto config = nlohmann::json::parse(std::ifstream(r1_config_path()));
  const std::vector<TensorSpec> tensors = DeepseekFp8Tensors(config).take();
  std::vector<FilePlan::Piece> pieces;
  uint64_t total = 0;
  for (const TensorSpec& t : tensors) {
    RAISON_ASSIGN(const uint64_t bytes, tensor_bytes(folder, t));
    pieces.push_back({t.name, bytes});
    total += bytes;
  }
  uint64_t most = total / shards;
  while (ranges_within(pieces, most).size() > shards) most += most / 1000;
  RAISON_ASSIGN(const WritePlan plan, plan_sharded_safetensors(folder, tensors, most, {{"format", "pt"}}));
  RAISON_RETURN_IF_ERROR(write_sparse(plan));
  std::ofstream(folder + "/config.json") << config.dump(2);
  std::ofstream(folder + "/tokenizer.json") << gunzipped(r1_tokenizer_path());
  std::ofstream(folder + "/tokenizer_config.json")
      << std::ifstream(shared_dir() + "/refdata/tokenizers/deepseek-r1/tokenizer_config.json").rdbuf();
  return {};
}

// R1 as one bf16 GGUF, or in parts of at most max_part_bytes: the files, in order.
inline Result<std::vector<std::string>> write_sparse_r1_gguf(const std::string& path, uint64_t max_part_bytes = 0) {
  RAISON_ASSIGN(const WritePlan plan, plan_gguf(path, r1_gguf_metadata(), r1_gguf_tensors(), max_part_bytes));
  RAISON_RETURN_IF_ERROR(write_sparse(plan));
  std::vector<std::string> files;
  for (const FilePlan& f : plan.files) files.push_back(f.path);
  return files;
}

}  // namespace raison::testing
