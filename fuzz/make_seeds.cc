// Writes seed corpora, FOLDER/fuzz_<name>/: small sound files of every kind the readers know.
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "io/gguf_writer.h"
#include "io/safetensors.h"

using namespace raison;

namespace {
const uint8_t kZeros[4096] = {};

Metadata vocabulary() {
  Metadata m;
  m.set("general.architecture", std::string("llama"));
  m.set("general.alignment", uint64_t{64});
  m.set("tokenizer.ggml.tokens", std::vector<std::string>{"<s>", "a", std::string("\xFF\0", 2)});
  m.set("tokenizer.ggml.scores", std::vector<double>{0, -1.5, 0.1});
  m.set("tokenizer.ggml.token_type", std::vector<int64_t>{3, 1, 6});
  m.set("flags", std::vector<bool>{true, false});
  m.set("wide", std::vector<int64_t>{int64_t{1} << 40});
  m.set("rope.scale", 0.1);
  m.set("flag", true);
  m.set("negative", int64_t{-5});
  m.set("large", uint64_t{18446744073709551615u});
  return m;
}

Status write_weights(const std::string& folder) {
  const std::vector<TensorToWrite> plain = {{"token_embd.weight", DType::F32, {4, 8}, kZeros},
                                            {"norm", DType::F16, {8}, kZeros},
                                            {"b", DType::BF16, {2, 1, 3}, kZeros}};
  std::vector<TensorToWrite> blocks = plain;
  blocks.push_back({"q", DType::Q8_0, {2, 64}, kZeros});
  std::vector<TensorToWrite> odd = plain;
  odd.push_back({"i", DType::I64, {}, kZeros});
  odd.push_back({"none", DType::BOOL, {0, 3}, kZeros});
  RAISON_RETURN_IF_ERROR(write_gguf(folder + "/fuzz_gguf/empty", {}, {}));
  RAISON_RETURN_IF_ERROR(write_gguf(folder + "/fuzz_gguf/vocabulary", vocabulary(), {}));
  RAISON_RETURN_IF_ERROR(write_gguf(folder + "/fuzz_gguf/tensors", {}, blocks));
  RAISON_RETURN_IF_ERROR(write_gguf(folder + "/fuzz_gguf/both", vocabulary(), blocks));
  RAISON_RETURN_IF_ERROR(write_safetensors(folder + "/fuzz_safetensors/empty", {}));
  RAISON_RETURN_IF_ERROR(write_safetensors(folder + "/fuzz_safetensors/plain", plain));
  return write_safetensors(folder + "/fuzz_safetensors/odd", odd, {{"format", "pt"}, {"text", "a\nb"}});
}

Status write_texts(const std::string& folder, const std::vector<std::string>& texts) {
  for (size_t i = 0; i < texts.size(); ++i)
    RAISON_RETURN_IF_ERROR(write_file_atomic(fmt::format("{}/{}", folder, i), texts[i]));
  return {};
}

// Each way of the language that chat templates take, a few to a seed.
const std::vector<std::string>& templates() {
  static const std::vector<std::string> seeds = {
      "{% for m in messages %}{{ '<|' + m['role'] + '|>' + (m.content if m.content is string else m.content[0].text) }}"
      "{% if not loop.last %}\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
      "{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- set messages = messages[1:] %}{%- endif "
      "%}\n"
      "{%- for tool in tools %}{{ tool | tojson(indent=2) }}{{ tool.function|items|list }}{% endfor %}",
      "{% set ns = namespace(a=0, s='') %}{% for m in messages %}{% set ns.a = ns.a + loop.index0 %}{% set ns.s = ns.s ~ "
      "m.role "
      "%}{% if loop.index > 3 %}{% break %}{% endif %}{% endfor %}{{ ns.a }} {{ ns.s|upper|replace('U', 'x')|trim }}",
      "{% macro show(x, y=2, z=none) %}{{ x }}{{ y }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ show(1, 3, 4, 5, k=6) }}"
      "{% call show('a') %}body{% endcall %}{% set b %}block{% endset %}{{ b }}{% filter upper %}x{{ n }}{% endfilter %}",
      "{% set l = [] %}{% for i in range(5) %}{% set _ = l.append({'i': i, 'j': -i}) %}{% endfor %}{{ "
      "l|map(attribute='i')|list }}"
      "{{ l|selectattr('j', 'lt', 0)|sort(attribute='j')|tojson }}{{ l.pop().i }}{{ l|groupby('i') }}{{ l|batch(2)|list }}",
      "{{ strftime_now('%d %b %Y') }}{{ ('{\"a\": [1, 2]}'|from_json).a }}{{ '%s %05.1f %x'|format('a', 2.5, 255) }}"
      "{{ '{0:>5}{k!r}'.format(1, k='v') }}{{ 7 // -2 }}{{ 7 % -2 }}{{ 2 ** 10 }}{{ 1e16 }}{{ x[::-1] }}",
      "{{ raise_exception('no ' ~ messages|length) }}",
      "{% generation %}{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}{% endgeneration %}{# note -#}  {% raw "
      "%}{{ }}{% "
      "endraw %}{% with a = 1, b = a %}{{ a }}{{ b is undefined }}{% endwith %}",
      "{% for c in 'a\xC3\xA9\xE4\xBD\xA0' recursive %}{{ loop.cycle('x', 'y') }}{{ c|title }}{% if loop.first %}{{ loop('bc') "
      "}}{% "
      "endif %}{% else %}none{% endfor %}{{ x|sum }}{{ x|join(', ') }}{{ x|first }}{{ {'k': 1, 'a': 2}|dictsort }}",
      std::string("{{ messages }}{{ deep.a[0] }}") + '\0' + R"({"messages": [], "deep": {"a": [[1, null, true, 0.5]]}})",
  };
  return seeds;
}

std::string tokenizer_file(const std::string& parts, const std::string& model) {
  return R"({"version": "1.0", "added_tokens": [{"id": 9, "content": "<s>", "special": true}, {"id": 10, "content": "</s>",
 "lstrip": true, "rstrip": true, "normalized": true}], )" +
         parts + R"(, "model": )" + model + "}";
}

std::vector<std::string> tokenizers() {
  const std::string bpe =
      R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "\u0120": 5, "<unk>": 6, "1": 7,
 "\u0120a": 8}, "merges": ["a b", ["ab", "c"], "\u0120 a"], "ignore_merges": true})";
  const std::string fallback = R"({"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
 "vocab": {"\u2581": 0, "a": 1, "<unk>": 2, "<0xC3>": 3, "<0xA9>": 4, "\u2581a": 5}, "merges": ["\u2581 a"]})";
  const std::string words = R"({"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 0, "abc": 1, "Hello": 2}})";
  const std::string split = R"("normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
 {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
 {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}, "decoder": {"type": "ByteLevel"})";
  const std::string metaspace = R"("normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
 {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}, "pre_tokenizer": null, "decoder": {"type": "Sequence",
 "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
 {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";
  const std::string around = R"("post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}},
 {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [9], "tokens": ["<s>"]}}})";
  const std::string config = R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": true,
 "chat_template": [{"name": "default", "template": "{{ 1 }}"}]})";
  const std::string kimi =
      R"("pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[\\p{Han}]+|[\\p{Lu}\\p{M}&&[^\\p{Han}]]*"},
 "behavior": "MergedWithNext", "invert": true})";
  return {
      tokenizer_file(split, bpe),
      tokenizer_file(split + ", " + around, bpe) + '\0' + config,
      tokenizer_file(metaspace, fallback) + '\0' + config + '\0' + "a \xC3\xA9 <s> b",
      tokenizer_file(R"("pre_tokenizer": {"type": "WhitespaceSplit"})", words) + '\0' + "{}" + '\0' + "Hello abc you",
      tokenizer_file(R"("pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "first"}, "decoder": {"type": "Metaspace"})",
                     fallback),
      tokenizer_file(R"("pre_tokenizer": {"type": "Punctuation", "behavior": "Contiguous"})", fallback),
      tokenizer_file(kimi, bpe),
      std::string("SGVs 5\nYQ== 0\nYg== 1\nYw== 2\nYWI= 3\nYWJj 4\nIA== 6\n") + '\0' +
          R"({"bos_token": "[BOS]", "added_tokens_decoder": {"7": {"content": "[BOS]", "special": true}}})"};
}

std::vector<std::string> configs() {
  const std::string sizes = R"("hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
 "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000.0)";
  const std::string experts = R"("moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts": 8, "num_experts_per_tok": 2,
 "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1, "norm_topk_prob": true, "scoring_func": "sigmoid",
 "topk_method": "noaux_tc", "routed_scaling_factor": 2.5, "decoder_sparse_step": 1, "mlp_only_layers": [], "moe_layer_freq": 1)";
  const std::string latent =
      R"("q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
 "num_nextn_predict_layers": 1, "rope_scaling": {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
 "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096})";
  const std::string generation =
      R"({"do_sample": true, "temperature": 0.6, "top_p": 0.95, "top_k": -1, "eos_token_id": [1, 2]})";
  const auto config = [](const std::string& type, const std::string& members) {
    return fmt::format(R"({{"model_type": "{}", {}}})", type, members);
  };
  std::vector<std::string> out = {
      config("llama", sizes + R"(, "tie_word_embeddings": true, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
 "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192})") +
          '\0' + generation,
      config("qwen2", sizes + R"(, "use_sliding_window": false, "sliding_window": 4096, "eos_token_id": 3)"),
      config("qwen3", sizes + R"(, "head_dim": 32, "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
 "original_max_position_embeddings": 1024})"),
      config("qwen3_moe", sizes + ", " + experts + R"(, "head_dim": 32)")};
  for (const char* type : {"deepseek_v2", "deepseek_v3", "kimi_k2"})
    out.push_back(config(type, sizes + ", " + experts + ", " + latent));
  out.push_back(
      config("deepseek_v3", sizes + ", " + experts + ", " + latent + R"(, "quantization_config": {"quant_method": "fp8",
 "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]})"));
  return out;
}

// A GGUF's metadata as a llama has it.
Status write_gguf_config(const std::string& path) {
  Metadata m;
  m.set("general.architecture", std::string("llama"));
  for (const auto& [key, value] :
       {std::pair{"context_length", 4096}, std::pair{"embedding_length", 64}, std::pair{"block_count", 2},
        std::pair{"feed_forward_length", 96}, std::pair{"attention.head_count", 4}, std::pair{"attention.head_count_kv", 2},
        std::pair{"rope.dimension_count", 16}, std::pair{"vocab_size", 512}}) {
    m.set(std::string("llama.") + key, static_cast<int64_t>(value));
  }
  m.set("llama.attention.layer_norm_rms_epsilon", 1e-6);
  m.set("llama.rope.freq_base", 10000.0);
  m.set("llama.rope.scaling.type", std::string("yarn"));
  m.set("llama.rope.scaling.factor", 4.0);
  return write_gguf(path, m, {});
}

// A gold and a reply, a zero byte between them.
std::vector<std::string> maths() {
  std::vector<std::string> out;
  for (const auto& [gold, reply] : std::vector<std::pair<const char*, const char*>>{
           {"42", "<think>43?</think> The answer is $42$."},
           {"\\frac{3}{4}", "So \\boxed{0.75}."},
           {"\\sqrt{3+2\\sqrt2}", "$1+\\sqrt{2}$"},
           {"x^2-1", "\\boxed{(x-1)(x+1)}"},
           {"(-\\infty,2)\\cup[3,\\infty)", "$x<2$ or $x \\ge 3$"},
           {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "$\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}$"},
           {"2 \\pm \\sqrt{5}", "\\boxed{2+\\sqrt5} and \\boxed{2-\\sqrt5}"},
           {"y = 2x+1", "\\boxed{2x - y + 1 = 0}"},
           {"\\sin 2x", "$2\\sin x\\cos x$"},
           {"e^{i\\pi}", "$-1$"},
           {"10^{10^{10}}", "\\boxed{10^{10^{10}}+1}"},
           {"52_8", "$52_{\\text{8}}$"},
           {"\\$1,234.50", "It costs $1,234.50 in all."},
           {"25\\%", "\\boxed{\\frac14}"},
           {"12\\text{ cm}^2", "12 square centimeters"},
           {"\\{1,2,3\\}", "$1$, $2$ and $3$"},
           {"|x-1|", "\\boxed{\\left|1-x\\right|}"},
           {"\\binom{5}{2}", "<answer>10</answer>"},
           {"#### 72", "#### 72"},
           {"\\text{Tuesday}", "Answer: (B) Tuesday"}})
    out.push_back(std::string(gold) + '\0' + reply);
  return out;
}

Status write_all(const std::string& folder) {
  RAISON_RETURN_IF_ERROR(write_weights(folder));
  RAISON_RETURN_IF_ERROR(write_texts(folder + "/fuzz_template", templates()));
  RAISON_RETURN_IF_ERROR(write_texts(folder + "/fuzz_tokenizer", tokenizers()));
  RAISON_RETURN_IF_ERROR(write_texts(folder + "/fuzz_config", configs()));
  RAISON_RETURN_IF_ERROR(write_texts(folder + "/fuzz_math", maths()));
  return write_gguf_config(folder + "/fuzz_config/gguf");
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  for (const char* name : {"fuzz_gguf", "fuzz_safetensors", "fuzz_template", "fuzz_tokenizer", "fuzz_config", "fuzz_math"}) {
    std::error_code failed;
    std::filesystem::create_directories(folder + "/" + name, failed);
  }
  const Status s = write_all(folder);
  if (!s.ok()) std::fprintf(stderr, "%s\n", s.message().c_str());
  return s.ok() ? 0 : 1;
}
