#include "tensor/kv_view.h"

namespace raison {
namespace {
bool rotatable(int width) { return width >= 4 && width <= 512 && (width & (width - 1)) == 0; }
}  // namespace

Result<KvLayout> checked(const KvLayout& layout) {
  if (layout.page_size < 16 || layout.page_size > kAttentionSplit || kAttentionSplit % layout.page_size != 0)
    return error("KV cache: pages of {} positions; take 16, 32, 64, 128 or 256", layout.page_size);
  switch (layout.type) {
    case DType::F32:
    case DType::F16:
    case DType::BF16: return layout;
    case DType::I8:
    case DType::I16: break;
    default:
      return error("KV cache: type {} can't hold keys and values; take f32, f16, bf16, i16 or i8", dtype_name(layout.type));
  }
  const char* name = layout.type == DType::I8 ? "i8" : "i16";
  for (const int width : {layout.key_codes(), layout.v_dim()})
    if (!rotatable(width))
      return error(
          "KV cache: type {} rotates rows, whose width must be a power of two from 4 to 512, but this model's {} {} wide; take "
          "f32, f16 or bf16",
          name, layout.latent ? "latents are" : "heads are", width);
  if (layout.latent && (layout.roped() < 2 || layout.roped() > 128 || layout.roped() % 2 != 0))
    return error("KV cache: type {} takes 2 to 128 rotary values, an even number, but this model has {}; take f32, f16 or bf16",
                 name, layout.roped());
  return layout;
}

}  // namespace raison
