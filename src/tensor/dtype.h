// DType: element and block types of weights, caches and activations.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace raison {

enum class DType : uint8_t { F32, F16, BF16, Q8_0, F64, I8, I16, I32, I64, U8, U16, U32, U64, BOOL };

struct DTypeInfo {
  const char* name;    // as shown to the user and, for plain types, in safetensors
  int block_elements;  // elements in a block (1 for plain types)
  int block_bytes;     // bytes of a block as GGUF and safetensors store it
};

const DTypeInfo& dtype_info(DType type);
inline const char* dtype_name(DType type) { return dtype_info(type).name; }
std::optional<DType> dtype_from_name(std::string_view name);  // "F32", "Q8_0", ... (case-insensitive)

// Bytes of a row of `elements`; elements must be a multiple of the block (nullopt otherwise, or on overflow).
std::optional<uint64_t> row_bytes(DType type, uint64_t elements);

// Float conversions in integer code: the same bits on every CPU. Round to nearest, ties to even; NaN stays NaN.
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);           // overflow becomes infinity
uint16_t f32_to_f16_saturate(float f);  // overflow becomes +-65504 (caches: an infinity would poison masked rows)
float bf16_to_f32(uint16_t b);
uint16_t f32_to_bf16(float f);
uint16_t f32_to_bf16_saturate(float f);

// Q8_0: 32 values, an f16 scale d and 32 signed bytes (34 bytes a block; GGUF's layout).
// d = amax/127, code = round half away from zero of x * (1/d), fp32 without FMA.
void quantize_q8_0(const float* x, uint8_t* blocks, int64_t elements);
// Row of any float or block type to fp32.
void dequantize_row(DType type, const uint8_t* row, float* out, int64_t elements);

}  // namespace raison
