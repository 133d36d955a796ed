// DType: element and block types of weights, caches and activations.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace raison {

// Block types are GGUF's (ggml-common.h); F8_* are OCP's 8-bit floats as safetensors names them (F8_E8M0: a power-of-two scale).
enum class DType : uint8_t {
  F32,
  F16,
  BF16,
  F64,
  F8_E4M3,
  F8_E5M2,
  F8_E8M0,  // floats
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  IQ4_NL,
  MXFP4,  // blocks of 32 values
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ4_XS,
  TQ1_0,
  TQ2_0,  // blocks of 256
  IQ1_S,
  IQ1_M,
  IQ2_XXS,
  IQ2_XS,
  IQ2_S,
  IQ3_XXS,
  IQ3_S,  // blocks of 256, by codebooks
  I8,
  I16,
  I32,
  I64,
  U8,
  U16,
  U32,
  U64,
  BOOL,
};

struct DTypeInfo {
  const char* name;    // as shown to the user and, for plain types, in safetensors
  int block_elements;  // elements in a block (1 for plain types)
  int block_bytes;     // bytes of a block as GGUF and safetensors store it
};

const DTypeInfo& dtype_info(DType type);
inline const char* dtype_name(DType type) { return dtype_info(type).name; }
// A type whose values come in blocks with scales of their own.
inline bool is_block_type(DType type) { return dtype_info(type).block_elements > 1; }
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

// E4M3 without infinities: bias 7, 0x7F and 0xFF NaN, largest 448. E5M2: bias 15. E8M0: 2^(e - 127), 255 NaN.
float f8_e4m3_to_f32(uint8_t code);
float f8_e5m2_to_f32(uint8_t code);
float f8_e8m0_to_f32(uint8_t code);

// Q8_0: 32 values, an f16 scale d and 32 signed bytes (34 bytes a block; GGUF's layout).
// d = amax/127, code = round half away from zero of x * (1/d), fp32 without FMA.
void quantize_q8_0(const float* x, uint8_t* blocks, int64_t elements);
// Row of any float or block type to fp32 (integers give zeros); elements a multiple of the type's block.
void dequantize_row(DType type, const uint8_t* row, float* out, int64_t elements);
// Row `row` of a matrix of E4M3 codes with one multiplier per 128 x 128 values: `codes` are the row's, `scales` the whole
// matrix's, row-major [ceil(rows/128), ceil(cols/128)] (DeepSeek's weight_scale_inv).
void dequantize_fp8_row(const uint8_t* codes, int64_t row, int64_t cols, const float* scales, float* out);

}  // namespace raison
