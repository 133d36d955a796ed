// Decoder: embedding, blocks, final norm, head. What a block does is the architecture's.
#pragma once
#include "models/loading.h"

namespace raison {

// A pre-norm layer: attention, then a SwiGLU or experts.
template <class Attention>
struct DecoderBlock {
  RmsNorm input_norm, post_norm;
  Attention attention;
  SwiGlu mlp;            // of a dense layer
  MixtureOfExperts moe;  // of a layer with experts

  Tensor operator()(Context& ctx, int layer, const Tensor& in, const ForwardBatch& batch,
                    const std::vector<uint8_t* const*>& row_pages, const RopeRows& angles) const {
    const Tensor h = add(ctx, in, attention(ctx, layer, batch, row_pages, angles, input_norm(ctx, in)));
    const Tensor x = post_norm(ctx, h);
    return add(ctx, h, moe.experts.empty() ? mlp(ctx, x) : moe(ctx, x));
  }
};

class Decoder : public Model {
 public:
  Decoder(ModelInfo info, const RopeConfig& rope) : info_(std::move(info)), rope_(rope) {}
  const ModelInfo& info() const override { return info_; }
  ParameterStore& parameters() override { return store_; }
  const Parameter& head() const override { return *head_; }
  const WeightMemory* weight_memory() const override { return memory_.get(); }
  Tensor forward(Context& ctx, const ForwardBatch& batch) override;

 protected:
  // Layer `layer` on x [T, hidden].
  virtual Tensor block(Context& ctx, int64_t layer, const Tensor& x, const ForwardBatch& batch,
                       const std::vector<uint8_t* const*>& row_pages, const RopeRows& angles) const = 0;
  Status load_embedding(ParameterLoader& loader);
  // Final norm and head; then checks that no tensor is left over but `known`.
  Status load_head(ParameterLoader& loader, double norm_eps, std::vector<std::string> known);

  // The keys of a GGUF that all decoders have.
  Status describe_decoder(GgufConfigWriter& out, double norm_eps, const RopeConfig& rope,
                          const nlohmann::ordered_json& rope_scaling) const;

  ModelInfo info_;
  ParameterStore store_;

 private:
  RopeTable rope_;
  std::shared_ptr<WeightMemory> memory_;
  Parameter *embedding_ = nullptr, *head_ = nullptr;
  RmsNorm final_norm_;
};

const char* torch_dtype_name(DType type);

}  // namespace raison
