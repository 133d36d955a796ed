// Whole models there and back: HF folder -> GGUF -> HF folder.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "base/thread_pool.h"
#include "convert/convert.h"
#include "convert/goldens.h"
#include "convert/row_source.h"
#include "io/gguf_writer.h"
#include "io/tensor_read.h"
#include "testing/temp_dir.h"
#include "tokenizer/tokenizer.h"

namespace raison {
namespace {
namespace fs = std::filesystem;
using testing::TempDir;

const FileType& type_named(const std::string& name) { return **find_file_type(name); }

#define SKIP_WITHOUT_MODELS() \
  if (testing::model_folders().empty()) GTEST_SKIP() << testing::missing(testing::shared_dir() + "/goldens")

std::vector<float> values_of(const TensorSource& source, const TensorInfo& t) {
  const auto rows = rows_of(t, source.find(t.name + "_scale_inv"));
  EXPECT_TRUE(rows.ok()) << rows.message();
  std::vector<float> out(static_cast<size_t>((*rows)->rows() * (*rows)->cols()));
  (*rows)->read(0, (*rows)->rows(), out.data());
  return out;
}

// The keys of config.json that say what is computed; absent and null are the same.
nlohmann::json facts(const nlohmann::json& config) {
  nlohmann::json out = nlohmann::json::object();
  for (const char* key : {"hidden_size",
                          "intermediate_size",
                          "num_hidden_layers",
                          "num_attention_heads",
                          "num_key_value_heads",
                          "vocab_size",
                          "max_position_embeddings",
                          "rms_norm_eps",
                          "tie_word_embeddings",
                          "head_dim",
                          "num_experts",
                          "num_experts_per_tok",
                          "moe_intermediate_size",
                          "norm_topk_prob",
                          "n_routed_experts",
                          "n_shared_experts",
                          "first_k_dense_replace",
                          "q_lora_rank",
                          "kv_lora_rank",
                          "qk_nope_head_dim",
                          "qk_rope_head_dim",
                          "v_head_dim",
                          "n_group",
                          "topk_group",
                          "topk_method",
                          "scoring_func",
                          "routed_scaling_factor",
                          "bos_token_id",
                          "eos_token_id"})
    if (config.contains(key) && !config[key].is_null()) out[key] = config[key];
  const bool modern = config.contains("rope_parameters");
  nlohmann::json rope = nlohmann::json::object();
  if (config.contains("rope_scaling") && !config["rope_scaling"].is_null()) rope = config["rope_scaling"];
  if (modern) rope = config["rope_parameters"];
  out["theta"] = modern ? rope["rope_theta"] : config["rope_theta"];
  out["rope_type"] = rope.value("rope_type", rope.value("type", std::string("default")));
  for (const char* key : {"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "beta_fast",
                          "beta_slow", "mscale", "mscale_all_dim"})
    if (rope.contains(key)) out[key] = rope[key];
  return out;
}

class RoundTrip : public ::testing::Test {
 protected:
  ThreadPool pool_{2};
  TempDir dir_;
};

TEST_F(RoundTrip, EveryModelKeepsItsWeightsConfigAndTokens) {
  SKIP_WITHOUT_MODELS();
  for (const std::string& folder : testing::model_folders()) {
    SCOPED_TRACE(folder);
    const std::string name = fs::path(folder).filename(), gguf = dir_ / (name + ".gguf"), back = dir_ / name;
    const auto there = quantize_model(folder, gguf, type_named("F32"), false, pool_, nullptr);
    ASSERT_TRUE(there.ok()) << there.message();
    const auto here = convert_to_hf(gguf, back, DType::F32, pool_, nullptr);
    ASSERT_TRUE(here.ok()) << here.message();
    const auto before = ModelFiles::open(folder), after = ModelFiles::open(back);
    ASSERT_TRUE(before.ok() && after.ok());
    size_t compared = 0;
    for (const TensorInfo& t : before->tensors->tensors()) {
      if (t.name.find("_scale_inv") != std::string::npos) continue;
      if (std::count(there->left_out.begin(), there->left_out.end(), t.name)) continue;
      const TensorInfo* again = after->tensors->find(t.name);
      ASSERT_NE(again, nullptr) << t.name;
      EXPECT_EQ(again->shape, t.shape) << t.name;
      EXPECT_EQ(*read_f32(*again), values_of(*before->tensors, t)) << t.name;
      ++compared;
    }
    EXPECT_EQ(compared, after->tensors->tensors().size());
    EXPECT_EQ(facts(after->config), [&] {
      auto f = facts(before->config);
      if (!f.contains("head_dim") && after->config.contains("head_dim"))
        f["head_dim"] = f["hidden_size"].get<int64_t>() / f["num_attention_heads"].get<int64_t>();
      return f;
    }());
    EXPECT_EQ(after->generation.eos_ids, before->generation.eos_ids);
    EXPECT_EQ(after->generation.temperature, before->generation.temperature);
    EXPECT_EQ(after->generation.top_p, before->generation.top_p);
    EXPECT_EQ(read_file(after->chat_template_jinja).value(), read_file(before->chat_template_jinja).value());
    const auto tokenizer = [](const ModelFiles& f) {
      return Tokenizer::from_hf_json(read_file(f.tokenizer_json).value(), read_file(f.tokenizer_config_json).value(), f.path);
    };
    const auto old_tokens = tokenizer(*before), new_tokens = tokenizer(*after);
    ASSERT_TRUE(old_tokens.ok() && new_tokens.ok()) << new_tokens.message();
    const std::string text = "<|user|>The quick brown fox: 12345, caf\xC3\xA9!\n<|assistant|>";
    EXPECT_EQ(*(*new_tokens)->encode(text), *(*old_tokens)->encode(text));
  }
}

TEST_F(RoundTrip, SixteenBitWeightsComeBackToTheByte) {
  SKIP_WITHOUT_MODELS();
  for (const std::string& folder : testing::model_folders()) {
    SCOPED_TRACE(folder);
    const auto before = ModelFiles::open(folder);
    ASSERT_TRUE(before.ok());
    const std::string name = fs::path(folder).filename();
    ASSERT_TRUE(quantize_model(folder, dir_ / (name + ".gguf"), type_named("BF16"), false, pool_, nullptr).ok());
    ASSERT_TRUE(convert_to_hf(dir_ / (name + ".gguf"), dir_ / name, DType::BF16, pool_, nullptr).ok());
    const auto after = ModelFiles::open(dir_ / name);
    ASSERT_TRUE(after.ok()) << after.message();
    for (const TensorInfo& t : after->tensors->tensors()) {
      const TensorInfo* old = before->tensors->find(t.name);
      ASSERT_NE(old, nullptr) << t.name;
      if (old->type != DType::BF16) continue;  // FP8, and the router's fp32
      ASSERT_EQ(t.bytes, old->bytes);
      EXPECT_EQ(std::memcmp(t.data, old->data, t.bytes), 0) << t.name;
    }
  }
}

TEST_F(RoundTrip, ThreadsChangeNoByteAndTypesAreThoseOfTheMix) {
  SKIP_WITHOUT_MODELS();
  ThreadPool one(1), three(3);
  for (const std::string& folder : testing::model_folders())
    for (const char* type : {"Q4_K_M", "IQ4_NL"}) {
      SCOPED_TRACE(folder + " " + type);
      ASSERT_TRUE(quantize_model(folder, dir_ / "a.gguf", type_named(type), true, one, nullptr).ok());
      const auto done = quantize_model(folder, dir_ / "b.gguf", type_named(type), true, three, nullptr);
      ASSERT_TRUE(done.ok());
      const std::string bytes = read_file(dir_ / "a.gguf").value();
      EXPECT_EQ(bytes, read_file(dir_ / "b.gguf").value());
      EXPECT_EQ(done->bytes, bytes.size());
      const auto file = GgufFile::open(dir_ / "a.gguf");
      ASSERT_TRUE(file.ok()) << file.message();
      EXPECT_EQ((*file)->metadata().integer("general.file_type"), type_named(type).id);
      std::vector<TensorSpec> specs;
      for (const TensorInfo& t : (*file)->tensors()) specs.push_back({t.name, DType::F32, t.shape});
      const auto want = mixed_types(type_named(type), (*file)->metadata(), specs);
      for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ((*file)->tensors()[i].type, want[i]) << specs[i].name;
    }
}

TEST_F(RoundTrip, GgufToGgufKeepsMetadataAndCopiesEqualTypes) {
  const std::string stories = testing::shared_dir() + "/refdata/weights/stories260K/stories260K.gguf";
  if (!fs::exists(stories)) GTEST_SKIP() << testing::missing(stories);
  ASSERT_TRUE(quantize_model(stories, dir_ / "q8.gguf", type_named("Q8_0"), false, pool_, nullptr).ok());
  ASSERT_TRUE(quantize_model(dir_ / "q8.gguf", dir_ / "again.gguf", type_named("Q8_0"), false, pool_, nullptr).ok());
  EXPECT_EQ(read_file(dir_ / "q8.gguf").value(), read_file(dir_ / "again.gguf").value());
  const auto before = GgufFile::open(stories), after = GgufFile::open(dir_ / "q8.gguf");
  ASSERT_TRUE(before.ok() && after.ok());
  for (const auto& [key, value] : (*before)->metadata().values())
    if (key != "general.file_type" && key != "general.quantization_version") {
      const MetaValue* v = (*after)->metadata().find(key);
      ASSERT_NE(v, nullptr) << key;
      const auto number = (*before)->metadata().number(key);
      EXPECT_TRUE(*v == value || (number && number == (*after)->metadata().number(key))) << key;
    }
  for (const TensorInfo& t : (*before)->tensors()) EXPECT_EQ((*after)->find(t.name)->shape, t.shape);
}

// A small llama of our own making, of which a test may break a part.
struct SmallModel {
  nlohmann::json config = {{"model_type", "llama"},   {"vocab_size", 8},        {"hidden_size", 32},
                           {"intermediate_size", 32}, {"num_hidden_layers", 1}, {"num_attention_heads", 2},
                           {"rms_norm_eps", 1e-5},    {"rope_theta", 10000.0},  {"tie_word_embeddings", false}};
  std::map<std::string, std::vector<int64_t>> shapes;
  std::map<std::string, float> fill;
  SmallModel() {
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) shapes[name] = {8, 32};
    shapes["model.norm.weight"] = {32};
    for (const char* name : {"input_layernorm", "post_attention_layernorm"})
      shapes[std::string("model.layers.0.") + name + ".weight"] = {32};
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
                             "mlp.up_proj", "mlp.down_proj"})
      shapes[std::string("model.layers.0.") + name + ".weight"] = {32, 32};
  }
  void write(const TempDir& dir, const std::string& folder) const {
    fs::create_directories(dir / folder);
    dir.write(folder + "/config.json", config.dump());
    std::vector<std::vector<float>> values;
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, shape] : shapes) {
      int64_t n = 1;
      for (const int64_t d : shape) n *= d;
      values.emplace_back(static_cast<size_t>(n), 0.5f);
      if (fill.count(name)) values.back()[static_cast<size_t>(n) / 2] = fill.at(name);
    }
    size_t i = 0;
    for (const auto& [name, shape] : shapes) tensors.push_back({name, DType::F32, shape, values[i++].data()});
    ASSERT_TRUE(write_safetensors(dir / (folder + "/model.safetensors"), tensors).ok());
  }
};

TEST_F(RoundTrip, RefusesInOneLineAndWritesNothing) {
  int number = 0;
  const auto refused = [&](const SmallModel& model, const char* type, const std::string& says) {
    const std::string folder = "m" + std::to_string(number++);
    model.write(dir_, folder);
    const auto result = quantize_model(dir_ / folder, dir_ / (folder + ".gguf"), type_named(type), false, pool_, nullptr);
    ASSERT_FALSE(result.ok()) << says;
    EXPECT_NE(result.message().find(says), std::string::npos) << result.message();
    EXPECT_EQ(result.message().find('\n'), std::string::npos) << result.message();
    fs::remove_all(dir_ / folder);
    EXPECT_TRUE(fs::is_empty(dir_.path())) << says;
  };
  SmallModel good;
  SmallModel m = good;
  m.config["model_type"] = "mamba";
  refused(m, "F16", "architecture \"mamba\"");
  m = good;
  m.config.erase("num_hidden_layers");
  refused(m, "F16", "num_hidden_layers");
  m = good;
  m.config["rope_scaling"] = {{"rope_type", "longrope"}};
  refused(m, "F16", "longrope");
  m = good;
  m.config["vocab_size"] = 9;
  refused(m, "F16", "model.embed_tokens.weight is 8 x 32, its config asks for 9 x 32");
  m = good;
  m.shapes["model.layers.0.self_attn.strange.weight"] = {4};
  refused(m, "F16", "strange");
  m = good;
  m.shapes["model.layers.0.self_attn.k_proj.weight"] = {30, 32};
  refused(m, "F16", "k_proj.weight is 30 x 32");
  m = good;
  m.fill["lm_head.weight"] = std::nanf("");
  refused(m, "Q4_K_M", "output.weight holds NaN");
  m = good;
  m.fill["model.layers.0.mlp.up_proj.weight"] = 70000;
  refused(m, "F16", "beyond 65504");
  good.write(dir_, "good");
  EXPECT_TRUE(quantize_model(dir_ / "good", dir_ / "good.gguf", type_named("F16"), false, pool_, nullptr).ok());
  const std::string bytes = read_file(dir_ / "good.gguf").value();
  const auto says = [&](const Result<Converted>& r, const char* text) {
    ASSERT_FALSE(r.ok()) << text;
    EXPECT_NE(r.message().find(text), std::string::npos) << r.message();
    EXPECT_EQ(read_file(dir_ / "good.gguf").value(), bytes);
  };
  says(quantize_model(dir_ / "good", dir_ / "good.gguf", type_named("F32"), false, pool_, nullptr), "is there already");
  says(quantize_model(dir_ / "good.gguf", dir_ / "good.gguf", type_named("F32"), true, pool_, nullptr), "what is being read");
  says(quantize_model(dir_ / "good", dir_ / "good", type_named("F32"), true, pool_, nullptr), "is a folder");
  says(quantize_model(dir_ / "good", dir_ / "good.gguf", type_named("F32"), true, pool_,
                      [](uint64_t, uint64_t) { return false; }),
       "interrupted");
  says(convert_to_hf(dir_ / "good", dir_ / "x", DType::BF16, pool_, nullptr), "Hugging Face folder already");
  says(convert_to_hf(dir_ / "good.gguf", dir_ / "good", DType::BF16, pool_, nullptr), "is there already");
  says(convert_to_hf(dir_ / "good.gguf", dir_ / "x", DType::BF16, pool_, [](uint64_t, uint64_t) { return false; }),
       "interrupted");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path()), {}), 2);  // good, good.gguf
}

TEST_F(RoundTrip, CallsProgressUpToTheEnd) {
  SmallModel().write(dir_, "m");
  uint64_t last = 0, whole = 0;
  const auto done =
      quantize_model(dir_ / "m", dir_ / "m.gguf", type_named("F32"), false, pool_, [&](uint64_t d, uint64_t total) {
        EXPECT_GE(d, last);
        last = d;
        whole = total;
        return true;
      });
  ASSERT_TRUE(done.ok()) << done.message();
  EXPECT_EQ(whole, done->bytes);
  EXPECT_LE(last, whole);
  EXPECT_GT(last, whole / 2);
}

}  // namespace
}  // namespace raison
