// What goes wrong is one line on stderr, code 1 (an error) or 2 (a command line that makes no sense), and nothing on stdout.
#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"

namespace raison::testing {
namespace {

class BadInput : public Cli {
 protected:
  void expect_error(const std::vector<std::string>& args, int code, const std::string& word, const RunSettings& settings = {}) {
    const RunResult r = raison(args, settings);
    std::string line;
    for (const auto& a : args) line += a + " ";
    SCOPED_TRACE(line);
    EXPECT_EQ(r.code, code) << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_EQ(line_count(r.err), 1) << r.err;
    EXPECT_EQ(r.err.rfind("raison: error: ", 0), 0u) << r.err;
    EXPECT_NE(r.err.find(word), std::string::npos) << r.err;
    for (char c : r.err) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << r.err;
  }
};

TEST_F(BadInput, CommandLine) {
  expect_error({"--nonsense"}, 2, "--nonsense");
  expect_error({"nonsense"}, 2, "nonsense");
  expect_error({"run", "--threads", "0"}, 2, "--threads");
  expect_error({"run", "--threads", "-1"}, 2, "--threads");
  expect_error({"run", "--threads", "two"}, 2, "--threads");
  expect_error({"run", "--cache-type", "f64"}, 2, "--cache-type");
  expect_error({"run", "--max-tokens", "-5"}, 2, "--max-tokens");
  expect_error({"run", "--temp", "warm"}, 2, "--temp");
  expect_error({"run", "--seed", "-1"}, 2, "--seed");
  expect_error({"run", "-p"}, 2, "-p");
  expect_error({"run", "-p", "a", "-f", "b"}, 2, "--prompt");
  expect_error({"logits"}, 2, "MODEL");
  expect_error({"logits", stories()}, 2, "--tokens");
  expect_error({"logits", stories(), "--tokens", "1", "--chunk", "0"}, 2, "--chunk");
  expect_error({"logits", stories(), "--tokens", "1", "--position-offset", "67108865"}, 2, "--position-offset");
  expect_error({"tokenize", stories(), "--ids", "--json"}, 2, "--json");
  expect_error({"eval", stories(), "chess"}, 2, "chess");
  expect_error({"eval", stories(), "countdown", "--samples", "0"}, 2, "--samples");
  expect_error({"train", "distil", "r.toml"}, 2, "distil");
  expect_error({"perplexity", stories()}, 2, "FILE");
}

TEST_F(BadInput, Values) {
  expect_error({"run", stories(), "-p", "x", "--temp", "-1"}, 1, "temperature");
  expect_error({"run", stories(), "-p", "x", "--top-p", "2"}, 1, "top_p");
  expect_error({"run", stories(), "-p", "x", "--stop", ""}, 1, "stop");
  expect_error({"run", stories(), "-p", "x", "--ctx", "2049"}, 1, "2048");
  std::string long_text;
  for (int i = 0; i < 2100; ++i) long_text += "Lily ";
  expect_error({"run", stories(), "--raw", "-p", long_text}, 1, "context");
  expect_error({"logits", stories(), "--tokens", "1,x"}, 1, "\"x\"");
  expect_error({"logits", stories(), "--tokens", "-1"}, 1, "-1");
  expect_error({"logits", stories(), "--tokens", "512"}, 1, "vocabulary");
  expect_error({"logits", stories(), "--tokens", "99999999999"}, 1, "99999999999");
  expect_error({"logits", stories(), "--tokens", ","}, 1, "empty");
  expect_error({"logits", stories(), "--tokens", "1,2", "--position-offset", "67108864"}, 1, "67108864");
  expect_error({"logits", stories(), "--tokens", path("none.txt")}, 1, "none.txt");
  expect_error({"logits", stories(), "--tokens", "1", "--out", path("no/such/folder/l.safetensors")}, 1, "no/such");
  expect_error({"tokenize", stories(), "--decode", "1,2,600"}, 1, "600");
  expect_error({"perplexity", stories(), path("none.txt")}, 1, "none.txt");
  expect_error({"run", stories(), "-f", path("none.txt")}, 1, "none.txt");
  spill(path("empty.txt"), "");
  expect_error({"perplexity", stories(), path("empty.txt")}, 1, "too short");
  expect_error({"render", stories(), "-p", "x"}, 1, "no chat template");
  spill(path("m.json"), "{\"messages\": 3}");
  expect_error({"render", golden_model("qwen2"), "--messages", path("m.json")}, 1, "m.json");
  spill(path("m2.json"), "[{\"content\": \"no role\"}]");
  expect_error({"render", golden_model("qwen2"), "--messages", path("m2.json")}, 1, "role");
  spill(path("m3.json"), "[{]");
  expect_error({"render", golden_model("qwen2"), "--messages", path("m3.json")}, 1, "JSON");
}

TEST_F(BadInput, Models) {
  expect_error({"run", path("nowhere"), "-p", "x"}, 1, "nowhere");
  expect_error({"run", "no-such-model", "-p", "x"}, 1, "no-such-model");
  expect_error({"inspect", path("nowhere")}, 1, "nowhere");
  expect_error({"run", folder_, "-p", "x"}, 1, "config.json");
  expect_error({"inspect", folder_}, 1, "config.json");
  RunSettings bundled;
  bundled.env = {{"RAISON_MODELS", folder_}};
  expect_error({"run", "-p", "x"}, 1, "bundled", bundled);
  expect_error({"demo"}, 1, "bundled", bundled);

  const std::string whole = slurp(stories());
  for (size_t size : {size_t{3}, size_t{20}, size_t{500}, size_t{9000}, whole.size() / 2, whole.size() - 1}) {
    spill(path("cut.gguf"), whole.substr(0, size));
    expect_error({"run", path("cut.gguf"), "-p", "x"}, 1, "cut.gguf");
    expect_error({"inspect", path("cut.gguf")}, 1, "cut.gguf");
  }
  spill(path("text.gguf"), "this is no model, it is a text of some length, just to be sure");
  expect_error({"run", path("text.gguf"), "-p", "x"}, 1, "text.gguf");

  const auto copy = [&](const char* file) {
    std::filesystem::copy_file(golden_model("qwen2") + "/" + file, path(file),
                               std::filesystem::copy_options::overwrite_existing);
  };
  copy("config.json");
  expect_error({"run", folder_, "-p", "x"}, 1, "safetensors");
  copy("model.safetensors");
  expect_error({"run", folder_, "-p", "x"}, 1, "tokenizer.json");
  copy("tokenizer.json");
  copy("tokenizer_config.json");
  spill(path("chat_template.jinja"), "{% for m in messages %}{{ m.content }");
  expect_error({"run", folder_, "-p", "x"}, 1, "chat_template.jinja");
  spill(path("chat_template.jinja"), "{{ raise_exception('never alone') }}");
  expect_error({"run", folder_, "-p", "x"}, 1, "never alone");
  copy("chat_template.jinja");
  spill(path("config.json"), "{\"model_type\": \"mamba\", \"architectures\": [\"MambaForCausalLM\"]}");
  expect_error({"run", folder_, "-p", "x"}, 1, "mamba");
  spill(path("config.json"), "{");
  expect_error({"run", folder_, "-p", "x"}, 1, "config.json");
}

// Files of every format, damaged in ways that only their reader can notice.
TEST_F(BadInput, DamagedFiles) {
  const auto restore = [&] {
    std::filesystem::remove_all(folder_ + "/m");
    std::filesystem::copy(golden_model("qwen2"), folder_ + "/m", std::filesystem::copy_options::recursive);
  };
  restore();
  const std::string m = folder_ + "/m";
  const std::string weights = slurp(m + "/model.safetensors");
  const auto with = [&](const std::string& file, const std::string& bytes, const std::string& word) {
    restore();
    spill(m + "/" + file, bytes);
    expect_error({"run", m, "-p", "x", "--max-tokens", "1"}, 1, word);
  };
  const auto replaced = [&](const std::string& file, const std::string& from, const std::string& to, const std::string& word) {
    restore();
    std::string text = slurp(m + "/" + file);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << file << " has no " << from;
    spill(m + "/" + file, text.replace(at, from.size(), to));
    expect_error({"run", m, "-p", "x", "--max-tokens", "1"}, 1, word);
  };
  std::string huge = weights;
  for (int i = 0; i < 8; ++i) huge[static_cast<size_t>(i)] = static_cast<char>(0xff);
  with("model.safetensors", huge, "model.safetensors");
  with("model.safetensors", weights.substr(0, 4), "model.safetensors");
  with("model.safetensors", weights.substr(0, weights.size() - 2), "model.safetensors");
  with("model.safetensors", weights + "xx", "model.safetensors");
  replaced("model.safetensors", "\"BF16\"", "\"BF61\"", "model.safetensors");
  replaced("model.safetensors", "\"shape\"", "\"shope\"", "model.safetensors");
  replaced("model.safetensors", "q_proj.weight", "q_prej.weight", "q_pr");
  with("tokenizer.json", "{\"model\": 3}", "tokenizer.json");
  with("tokenizer.json", "[1, 2", "tokenizer.json");
  with("tokenizer.json", std::string(100000, '['), "tokenizer.json");
  replaced("tokenizer.json", "\"type\": \"BPE\"", "\"type\": \"Unigram\"", "Unigram");
  with("tokenizer_config.json", "\"text\"", "tokenizer_config");
  with("generation_config.json", "{\"temperature\": \"hot\"}", "temperature");
  with("generation_config.json", "{\"top_p\": 7}", "top_p");
  with("generation_config.json", "{\"eos_token_id\": \"end\"}", "eos_token_id");
  with("config.json", std::string(100000, '{'), "config.json");
  replaced("config.json", "\"hidden_size\": ", "\"hidden_size\": 9", "config");
  replaced("config.json", "\"num_attention_heads\": ", "\"num_attention_heads\": 7", "config");
  replaced("config.json", "\"model_type\": \"qwen2\"", "\"model_type\": 2", "model_type");

  std::string gguf = slurp(stories());
  const auto bad_gguf = [&](size_t at, const std::string& bytes) {
    spill(path("bad.gguf"), std::string(gguf).replace(at, bytes.size(), bytes));
    expect_error({"run", path("bad.gguf"), "-p", "x"}, 1, "bad.gguf");
  };
  bad_gguf(4, std::string("\x09\0\0\0", 4));                                    // version
  bad_gguf(8, std::string(8, '\xff'));                                          // tensors
  bad_gguf(16, std::string(8, '\xff'));                                         // keys
  bad_gguf(24, std::string(8, '\x7f'));                                         // length of the first key
  bad_gguf(gguf.find("llama.block_count") + 17, std::string("\x0d\0\0\0", 4));  // type of its value

  const std::string head = "kind = \"sft\"\nsteps = 1\nout = \"" + path("run") + "\"\n[model]\npath = \"" +
                           golden_model("qwen2") + "\"\n[data]\ntrain = \"" + path("d.jsonl") +
                           "\"\nformat = \"prompt_completion\"\n[batch]\ntokens = 256\n";
  spill(path("r.toml"), head);
  for (const char* line : {"{\"prompt\": 3, \"completion\": \"b\"}", "{\"prompt\": \"a\"", "[]", "{\"prompt\": \"a\"}", ""}) {
    spill(path("d.jsonl"), std::string(line) + "\n");
    expect_error({"train", "sft", path("r.toml")}, 1, "d.jsonl");
  }
}

// A tokenizer's end token may stand in config.json alone; it stops the reply all the same.
TEST_F(BadInput, EndTokenOfAnOlderFolder) {
  std::filesystem::copy(golden_model("qwen2"), folder_ + "/m", std::filesystem::copy_options::recursive);
  const std::string m = folder_ + "/m";
  const std::vector<std::string> args = {"run",          m,   "--raw",   "-p",        "Hello there", "--temp", "0",
                                         "--max-tokens", "5", "--top-k", "2147483648"};
  const RunResult free = raison(args);
  ASSERT_EQ(free.code, 0) << free.err;
  std::filesystem::remove(m + "/generation_config.json");
  std::filesystem::remove(m + "/tokenizer_config.json");
  auto config = nlohmann::json::parse(slurp(m + "/config.json"));
  std::vector<int> every(static_cast<size_t>(config["vocab_size"].get<int>()));
  for (size_t i = 0; i < every.size(); ++i) every[i] = static_cast<int>(i);
  config["eos_token_id"] = every;
  spill(m + "/config.json", config.dump());
  const RunResult r = raison(args);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("reply 1 token,"), std::string::npos) << r.err;
}

TEST_F(BadInput, Recipes) {
  expect_error({"train", "sft", path("none.toml")}, 1, "none.toml");
  spill(path("bad.toml"), "kind = [");
  expect_error({"train", "sft", path("bad.toml")}, 1, "bad.toml");
  spill(path("unknown.toml"), "kind = \"sft\"\nsteps = 1\nspeed = 3\n");
  expect_error({"train", "sft", path("unknown.toml")}, 1, "speed");
  spill(path("kind.toml"), "kind = \"pretrain\"\nsteps = 1\n");
  expect_error({"train", "sft", path("kind.toml"), "--set", "steps"}, 1, "KEY=VALUE");
  expect_error({"train", "sft", path("kind.toml"), "--set", "=3"}, 1, "KEY=VALUE");
  expect_error({"train", "sft", path("kind.toml"), "--set", "steps=many"}, 1, "steps");
  expect_error({"train", "sft", path("kind.toml"), "--set", "steps.more=1"}, 1, "steps");
}

}  // namespace
}  // namespace raison::testing
