// Loops that do one thing as fast as an instruction set can: what kernels are held against. Each set's lie with its kernels.
#pragma once
#include <cstdint>

namespace raison {

// `sink` [16]: what came out, so that no compiler leaves the work out.
struct PeakLoops {
  void (*products)(int64_t steps, float* sink);  // chains of fp32 FMAs (where there are none: of products and sums)
  void (*byte_products)(int64_t steps,
                        float* sink);  // chains of products of bytes, the way the kernels of block types multiply
  int product_ops, byte_product_ops;   // operations of a step, two a product
  void (*read)(const uint8_t* p, int64_t bytes, float* sink);  // p at a multiple of 64, bytes a multiple of 256
};

}  // namespace raison

// Twelve chains hide the latency of any core. Named variables, as GCC keeps an array that asm writes in memory.
#define RAISON_CHAINS(X) X(a0) X(a1) X(a2) X(a3) X(a4) X(a5) X(a6) X(a7) X(a8) X(a9) X(a10) X(a11)
