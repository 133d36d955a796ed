#include "models/decoder.h"

#include <cstring>

namespace raison {

Tensor Decoder::forward(Context& outer, const ForwardBatch& batch) {
  // Held by the records of the tape, so they live as long as the backward needs them.
  const auto row_pages = std::make_shared<std::vector<uint8_t* const*>>(batch.row_pages());
  const auto adapters_of_rows = std::make_shared<const RowAdapters>(row_adapters(batch, adapters()));
  const RopeRows angles = rope_.rows(batch.positions, batch.rope_offset);
  Context ctx = outer;
  ctx.adapters = adapters_of_rows->groups.empty() ? nullptr : adapters_of_rows.get();
  if (ctx.tape) ctx.tape->record([row_pages, adapters_of_rows](Context&) {});
  Tensor x = embedding(ctx, *embedding_, batch.tokens);  // [T, hidden]
  for (int64_t l = 0; l < info_.layers; ++l) {
    const Arena::Mark mark = ctx.arena.mark();
    const Tensor y = checkpoint(ctx, x, [this, &batch, row_pages, angles, l](Context& c, const Tensor& in) {
      return block(c, l, in, batch, *row_pages, angles);
    });
    if (ctx.tape) {
      x = y;
      continue;
    }
    // Nobody looks back: every block works in the same memory.
    std::memcpy(x.data, y.data, static_cast<size_t>(x.size()) * sizeof(float));
    ctx.arena.rewind(mark);
  }
  if (static_cast<int64_t>(batch.output_rows.size()) != batch.rows()) x = select_rows(ctx, x, batch.output_rows);
  return final_norm_(ctx, x);  // [R, hidden]
}

Status Decoder::load_embedding(ParameterLoader& loader) {
  RAISON_ASSIGN(embedding_, loader.matrix(store_, "model.embed_tokens.weight", "token_embd.weight", info_.vocab, info_.hidden));
  return {};
}

Status Decoder::load_head(ParameterLoader& loader, double norm_eps, std::vector<std::string> known) {
  RAISON_RETURN_IF_ERROR(load_norm(loader, store_, "model.norm", "output_norm", info_.hidden, norm_eps, &final_norm_));
  head_ = embedding_;
  if (info_.tied_embeddings) {
    known.emplace_back("lm_head.weight");  // the embedding once more
  } else {
    RAISON_ASSIGN(head_, loader.matrix(store_, "lm_head.weight", "output.weight", info_.vocab, info_.hidden));
  }
  RAISON_RETURN_IF_ERROR(loader.finish(known));
  memory_ = loader.memory();
  return describe_weights(loader, store_, &info_);
}

Status Decoder::describe_decoder(GgufConfigWriter& out, double norm_eps, const RopeConfig& rope,
                                 const nlohmann::ordered_json& rope_scaling) const {
  out.count("block_count", info_.layers);
  out.count("context_length", info_.context_length);
  out.count("embedding_length", info_.hidden);
  out.count("feed_forward_length", info_.feed_forward);
  out.count("attention.head_count", info_.q_heads);
  out.count("vocab_size", info_.vocab);
  out.real("attention.layer_norm_rms_epsilon", norm_eps);
  return rope_to_gguf(rope, rope_scaling, &out);
}

const char* torch_dtype_name(DType type) {
  return type == DType::BF16 ? "bfloat16" : type == DType::F16 ? "float16" : "float32";
}

}  // namespace raison
