// The dense decoder family: Llama (Touvron et al. 2023, arXiv:2302.13971; Llama 3.x; R1-Distill-Llama) and Qwen2 (Yang et al.
// 2024, arXiv:2407.10671; R1-Distill-Qwen): pre-norm blocks of grouped-query attention and SwiGLU, rotary positions,
// optional biases, tied or untied embeddings.
#include <cmath>
#include <cstring>

#include "models/loading.h"
#include "models/registry.h"
#include "nn/layers.h"

namespace raison {
namespace {

struct DenseConfig {
  std::string architecture;
  int64_t vocab = 0, hidden = 0, feed_forward = 0, layers = 0, q_heads = 0, kv_heads = 0, head_dim = 0, context = 0;
  double norm_eps = 1e-6;
  RopeConfig rope;
  nlohmann::ordered_json rope_scaling;  // as HF writes it, null if none
  bool tied = false, qkv_bias = false, o_bias = false;
  int64_t bos = -1, eos = -1;
};

bool is_qwen2(const DenseConfig& c) { return c.architecture == "qwen2"; }

Status check_heads(const DenseConfig& c, const std::string& where) {
  if (c.q_heads % c.kv_heads != 0)
    return error("{}: {} attention heads are no multiple of {} key/value heads", where, c.q_heads, c.kv_heads);
  if (c.head_dim % 2 != 0) return error("{}: head_dim {} is odd; rotary positions need pairs", where, c.head_dim);
  return {};
}

Result<DenseConfig> config_from_hf(const nlohmann::json& json, const std::string& where, const std::string& architecture) {
  const ConfigReader r(json, where);
  DenseConfig c;
  c.architecture = architecture;
  RAISON_ASSIGN(c.vocab, r.integer("vocab_size", 1, 1 << 24));
  RAISON_ASSIGN(c.hidden, r.integer("hidden_size", 2, 1 << 20));
  RAISON_ASSIGN(c.feed_forward, r.integer("intermediate_size", 1, 1 << 22));
  RAISON_ASSIGN(c.layers, r.integer("num_hidden_layers", 1, 4096));
  RAISON_ASSIGN(c.q_heads, r.integer("num_attention_heads", 1, 4096));
  RAISON_ASSIGN(c.kv_heads, r.integer_or("num_key_value_heads", c.q_heads, 1, 4096));
  if (!r.has("head_dim") && c.hidden % c.q_heads != 0)
    return error("{}: hidden_size {} is no multiple of num_attention_heads {}", where, c.hidden, c.q_heads);
  RAISON_ASSIGN(c.head_dim, r.integer_or("head_dim", c.hidden / c.q_heads, 2, 4096));
  RAISON_ASSIGN(c.context, r.integer_or("max_position_embeddings", 2048, 1, 1 << 30));
  RAISON_ASSIGN(c.norm_eps, r.number_or("rms_norm_eps", 1e-6, 0.0, 1.0));
  RAISON_ASSIGN(c.tied, r.boolean_or("tie_word_embeddings", false));
  RAISON_ASSIGN(c.rope, rope_from_hf(r, static_cast<int>(c.head_dim)));
  c.rope_scaling = rope_scaling_json(json);
  RAISON_ASSIGN(const std::string act, r.string_or("hidden_act", "silu"));
  if (act != "silu") return error("{}: hidden_act \"{}\" is not supported; silu is", where, act.substr(0, 64));
  RAISON_ASSIGN(const bool attention_bias, r.boolean_or("attention_bias", false));
  RAISON_ASSIGN(const bool mlp_bias, r.boolean_or("mlp_bias", false));
  RAISON_ASSIGN(const bool sliding, r.boolean_or("use_sliding_window", false));
  if (mlp_bias) return error("{}: mlp_bias true is not supported", where);
  if (sliding) return error("{}: use_sliding_window true is not supported", where);
  if (r.has("layer_types"))
    for (const nlohmann::json& t : json["layer_types"])
      if (!t.is_string() || t.get<std::string>() != "full_attention")
        return error("{}: \"layer_types\" asks for other than full_attention, which is not supported", where);
  c.qkv_bias = is_qwen2(c) || attention_bias;
  c.o_bias = !is_qwen2(c) && attention_bias;
  c.bos = first_id(json, "bos_token_id");
  c.eos = first_id(json, "eos_token_id");
  RAISON_RETURN_IF_ERROR(check_heads(c, where));
  return c;
}

Result<DenseConfig> config_from_gguf(const GgufFile& file, const std::string& architecture) {
  const GgufKeys r(file.metadata(), file.path(), architecture);
  DenseConfig c;
  c.architecture = architecture;
  RAISON_ASSIGN(c.hidden, r.integer("embedding_length", 2, 1 << 20));
  RAISON_ASSIGN(c.feed_forward, r.integer("feed_forward_length", 1, 1 << 22));
  RAISON_ASSIGN(c.layers, r.integer("block_count", 1, 4096));
  RAISON_ASSIGN(c.q_heads, r.integer("attention.head_count", 1, 4096));
  RAISON_ASSIGN(c.kv_heads, r.integer_or("attention.head_count_kv", c.q_heads, 1, 4096));
  RAISON_ASSIGN(c.head_dim, r.integer_or("attention.key_length", c.hidden / c.q_heads, 2, 4096));
  RAISON_ASSIGN(c.context, r.integer_or("context_length", 2048, 1, 1 << 30));
  RAISON_ASSIGN(c.norm_eps, r.number_or("attention.layer_norm_rms_epsilon", 1e-6, 0.0, 1.0));
  RAISON_ASSIGN(const int64_t rot, r.integer_or("rope.dimension_count", c.head_dim, 2, 4096));
  if (rot != c.head_dim)
    return error("{}: rope.dimension_count {} with heads of {} is not supported; the two must be equal", file.path(), rot,
                 c.head_dim);
  RAISON_ASSIGN(const int64_t value_length, r.integer_or("attention.value_length", c.head_dim, 1, 4096));
  if (value_length != c.head_dim)
    return error("{}: attention.value_length {} differs from key_length {}, which is not supported", file.path(), value_length,
                 c.head_dim);
  RAISON_ASSIGN(const int64_t experts, r.integer_or("expert_count", 0, 0, 1 << 20));
  if (experts > 0) return error("{}: expert_count {}: a mixture of experts is not supported", file.path(), experts);
  RAISON_ASSIGN(const int64_t window, r.integer_or("attention.sliding_window", 0, 0, int64_t{1} << 40));
  if (window > 0 && window < c.context) return error("{}: attention.sliding_window {} is not supported", file.path(), window);
  c.rope.rot = static_cast<int>(rot);
  RAISON_ASSIGN(c.rope.theta, r.number_or("rope.freq_base", 10000.0, 1.0, 1e12));
  RAISON_RETURN_IF_ERROR(rope_scaling_from_gguf(r, &c.rope));
  if (c.rope.scaling == RopeConfig::Scaling::Linear) c.rope_scaling = {{"rope_type", "linear"}, {"factor", c.rope.factor}};
  if (const TensorInfo* freqs = file.find("rope_freqs.weight")) {
    RAISON_ASSIGN(const auto values, read_f32(*freqs));
    if (static_cast<int64_t>(values.size()) != rot / 2)
      return error("{}: rope_freqs.weight has {} values, {} were expected", file.path(), values.size(), rot / 2);
    for (const float v : values)
      if (!(v >= 1e-6f && v <= 1e6f))  // NaN too
        return error("{}: rope_freqs.weight holds {}; divisors of frequencies lie between 1e-6 and 1e6", file.path(), v);
    c.rope.divisors.assign(values.begin(), values.end());
  }
  const TensorInfo* embedding = file.find("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2) return error("{}: tensor token_embd.weight is missing", file.path());
  c.vocab = embedding->shape[0];
  c.tied = file.find("output.weight") == nullptr;
  c.qkv_bias = file.find("blk.0.attn_q.bias") != nullptr;
  c.o_bias = file.find("blk.0.attn_output.bias") != nullptr;
  c.bos = file.metadata().integer("tokenizer.ggml.bos_token_id").value_or(-1);
  c.eos = file.metadata().integer("tokenizer.ggml.eos_token_id").value_or(-1);
  RAISON_RETURN_IF_ERROR(check_heads(c, file.path()));
  return c;
}

Result<DenseConfig> config_of(const ModelFiles& files, const std::string& architecture) {
  if (files.format == ModelFiles::Format::Gguf) return config_from_gguf(*files.gguf, architecture);
  return config_from_hf(files.config, files.path + "/config.json", architecture);
}

ModelInfo info_of(const DenseConfig& c) {
  ModelInfo i;
  i.architecture = c.architecture;
  i.hf_class = is_qwen2(c) ? "Qwen2ForCausalLM" : "LlamaForCausalLM";
  i.layers = c.layers;
  i.hidden = c.hidden;
  i.vocab = c.vocab;
  i.context_length = c.context;
  i.q_heads = c.q_heads;
  i.kv_heads = c.kv_heads;
  i.head_dim = c.head_dim;
  i.feed_forward = c.feed_forward;
  i.tied_embeddings = c.tied;
  const int64_t q = c.q_heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const int64_t block =
      c.hidden * (2 * q + 2 * kv + 3 * c.feed_forward + 2) + (c.qkv_bias ? q + 2 * kv : 0) + (c.o_bias ? c.hidden : 0);
  i.parameters = c.vocab * c.hidden * (c.tied ? 1 : 2) + c.hidden + c.layers * block;
  return i;
}

struct Block {
  RmsNorm input_norm, post_norm;
  GroupedQueryAttention attention;
  SwiGlu mlp;
};

class DenseDecoder final : public Model {
 public:
  // `loader` makes each parameter, from files or zero.
  static Result<std::unique_ptr<Model>> build(const DenseConfig& c, ParameterLoader& loader) {
    auto m = std::unique_ptr<DenseDecoder>(new DenseDecoder(c));
    RAISON_RETURN_IF_ERROR(m->load(loader));
    m->info_.weight_bytes = m->store_.bytes();
    m->info_.weight_types = weight_types(m->store_);
    return std::unique_ptr<Model>(std::move(m));
  }

  const ModelInfo& info() const override { return info_; }
  ParameterStore& parameters() override { return store_; }
  const Parameter& head() const override { return *head_; }
  KvLayout kv_layout(DType type, int page_size) const override {
    return {type, static_cast<int>(c_.layers), static_cast<int>(c_.kv_heads), static_cast<int>(c_.head_dim), page_size};
  }

  Tensor forward(Context& ctx, const ForwardBatch& batch) override {
    // Held by the records of the tape, so they live as long as the backward needs them.
    const auto row_pages = std::make_shared<std::vector<uint8_t* const*>>(batch.row_pages());
    const RopeRows angles = rope_.rows(batch.positions, batch.rope_offset);
    if (ctx.tape) ctx.tape->record([row_pages](Context&) {});
    Tensor x = raison::embedding(ctx, *embedding_, batch.tokens);  // [T, hidden]
    for (size_t l = 0; l < blocks_.size(); ++l) {
      const Block& b = blocks_[l];
      x = checkpoint(ctx, x, [&b, &batch, row_pages, angles, l](Context& c, const Tensor& in) {
        const Tensor h = add(c, in, b.attention(c, static_cast<int>(l), batch, *row_pages, angles, b.input_norm(c, in)));
        return add(c, h, b.mlp(c, b.post_norm(c, h)));
      });
    }
    if (static_cast<int64_t>(batch.output_rows.size()) != batch.rows()) x = select_rows(ctx, x, batch.output_rows);
    return final_norm_(ctx, x);  // [R, hidden]
  }

  Status expressible_in_hf() const override {
    if (!c_.rope.divisors.empty())
      return error(
          "the rotary frequencies of this GGUF (rope_freqs.weight) have no place in a config.json; take the model's "
          "Hugging Face folder instead");
    const bool sayable = is_qwen2(c_) ? c_.qkv_bias && !c_.o_bias : c_.qkv_bias == c_.o_bias;
    if (!sayable) return error("this GGUF has other attention biases than a {} config.json can say", c_.architecture);
    return {};
  }

  nlohmann::ordered_json hf_config(DType type) const override {
    nlohmann::ordered_json j = {
        {"architectures", {info_.hf_class}},
        {"model_type", c_.architecture},
        {"vocab_size", c_.vocab},
        {"hidden_size", c_.hidden},
        {"intermediate_size", c_.feed_forward},
        {"num_hidden_layers", c_.layers},
        {"num_attention_heads", c_.q_heads},
        {"num_key_value_heads", c_.kv_heads},
        {"head_dim", c_.head_dim},
        {"hidden_act", "silu"},
        {"max_position_embeddings", c_.context},
        {"rms_norm_eps", c_.norm_eps},
        {"rope_theta", c_.rope.theta},
        {"tie_word_embeddings", c_.tied},
        {"torch_dtype", type == DType::BF16  ? "bfloat16"
                        : type == DType::F16 ? "float16"
                                             : "float32"},
    };
    if (!c_.rope_scaling.is_null()) j["rope_scaling"] = c_.rope_scaling;
    if (!is_qwen2(c_)) j["attention_bias"] = c_.o_bias;
    if (is_qwen2(c_)) j["use_sliding_window"] = false;
    if (c_.bos >= 0) j["bos_token_id"] = c_.bos;
    if (c_.eos >= 0) j["eos_token_id"] = c_.eos;
    return j;
  }

 private:
  explicit DenseDecoder(const DenseConfig& c) : c_(c), info_(info_of(c)), rope_(c.rope) {}

  Status load(ParameterLoader& loader) {
    const int64_t q = c_.q_heads * c_.head_dim, kv = c_.kv_heads * c_.head_dim;
    const auto eps = static_cast<float>(c_.norm_eps);
    // GGUF files of the llama architecture hold q and k with rotary pairs interleaved; they are put back on loading.
    const int q_order = is_qwen2(c_) ? 0 : static_cast<int>(c_.q_heads),
              k_order = is_qwen2(c_) ? 0 : static_cast<int>(c_.kv_heads);
    RAISON_ASSIGN(embedding_, loader.matrix(store_, "model.embed_tokens.weight", "token_embd.weight", c_.vocab, c_.hidden));
    blocks_.resize(static_cast<size_t>(c_.layers));
    for (int64_t l = 0; l < c_.layers; ++l) {
      Block& b = blocks_[static_cast<size_t>(l)];
      const std::string hf = fmt::format("model.layers.{}.", l), gguf = fmt::format("blk.{}.", l);
      const auto linear_of = [&](Linear* out, const char* hf_name, const char* gguf_name, int64_t rows, int64_t cols, bool bias,
                                 int interleaved_heads) -> Status {
        RAISON_ASSIGN(out->weight, loader.matrix(store_, hf + hf_name + ".weight", gguf + gguf_name + ".weight", rows, cols,
                                                 interleaved_heads));
        if (!bias) return {};
        RAISON_ASSIGN(out->bias,
                      loader.vector(store_, hf + hf_name + ".bias", gguf + gguf_name + ".bias", rows, interleaved_heads));
        return {};
      };
      RAISON_ASSIGN(b.input_norm.weight,
                    loader.vector(store_, hf + "input_layernorm.weight", gguf + "attn_norm.weight", c_.hidden));
      RAISON_RETURN_IF_ERROR(linear_of(&b.attention.q, "self_attn.q_proj", "attn_q", q, c_.hidden, c_.qkv_bias, q_order));
      RAISON_RETURN_IF_ERROR(linear_of(&b.attention.k, "self_attn.k_proj", "attn_k", kv, c_.hidden, c_.qkv_bias, k_order));
      RAISON_RETURN_IF_ERROR(linear_of(&b.attention.v, "self_attn.v_proj", "attn_v", kv, c_.hidden, c_.qkv_bias, 0));
      RAISON_RETURN_IF_ERROR(linear_of(&b.attention.o, "self_attn.o_proj", "attn_output", c_.hidden, q, c_.o_bias, 0));
      RAISON_ASSIGN(b.post_norm.weight,
                    loader.vector(store_, hf + "post_attention_layernorm.weight", gguf + "ffn_norm.weight", c_.hidden));
      RAISON_RETURN_IF_ERROR(linear_of(&b.mlp.gate, "mlp.gate_proj", "ffn_gate", c_.feed_forward, c_.hidden, false, 0));
      RAISON_RETURN_IF_ERROR(linear_of(&b.mlp.up, "mlp.up_proj", "ffn_up", c_.feed_forward, c_.hidden, false, 0));
      RAISON_RETURN_IF_ERROR(linear_of(&b.mlp.down, "mlp.down_proj", "ffn_down", c_.hidden, c_.feed_forward, false, 0));
      b.input_norm.eps = b.post_norm.eps = eps;
      b.attention.q_heads = static_cast<int>(c_.q_heads);
      b.attention.kv_heads = static_cast<int>(c_.kv_heads);
      b.attention.head_dim = static_cast<int>(c_.head_dim);
    }
    RAISON_ASSIGN(final_norm_.weight, loader.vector(store_, "model.norm.weight", "output_norm.weight", c_.hidden));
    final_norm_.eps = eps;
    head_ = embedding_;
    if (!c_.tied) { RAISON_ASSIGN(head_, loader.matrix(store_, "lm_head.weight", "output.weight", c_.vocab, c_.hidden)); }
    std::vector<std::string> known = {"rope_freqs.weight"};  // read with the config
    if (c_.tied) known.emplace_back("lm_head.weight");       // the embedding once more
    return loader.finish(known);
  }

  DenseConfig c_;
  ModelInfo info_;
  ParameterStore store_;
  RopeTable rope_;
  Parameter *embedding_ = nullptr, *head_ = nullptr;
  std::vector<Block> blocks_;
  RmsNorm final_norm_;
};

template <const char* kName>
Architecture dense_architecture(std::vector<std::string> model_types) {
  return {kName, std::move(model_types),
          [](const ModelFiles& files, const LoadOptions& options) -> Result<std::unique_ptr<Model>> {
            RAISON_ASSIGN(const DenseConfig c, config_of(files, kName));
            FileParameterLoader loader(files, options);
            return DenseDecoder::build(c, loader);
          },
          [](const nlohmann::json& config, const std::string& where) -> Result<std::unique_ptr<Model>> {
            RAISON_ASSIGN(const DenseConfig c, config_from_hf(config, where, kName));
            ZeroParameterLoader loader;
            return DenseDecoder::build(c, loader);
          },
          [](const ModelFiles& files) -> Result<ModelInfo> {
            RAISON_ASSIGN(const DenseConfig c, config_of(files, kName));
            return info_of(c);
          }};
}

constexpr char kLlama[] = "llama", kQwen2[] = "qwen2";
}  // namespace

Architecture llama_architecture() { return dense_architecture<kLlama>({"llama"}); }
Architecture qwen2_architecture() { return dense_architecture<kQwen2>({"qwen2"}); }

}  // namespace raison
