// Speed of the matrix kernels and of attention, each beside this machine's own peaks and read bandwidth, measured in the same process
// seconds before (shared machines drift: a figure without its own ceiling says nothing). Float types, dx, dw and attention are held
// against the peak of FMA; matmul of block types against that of int8 products: vpdpbusd on AVX-512, vpmaddubsw and vpaddw on AVX2.
//
//   raison_bench_kernels [--isa ref|avx2|avx512] [--threads N] [--seconds S] [--only matmul|dx|dw|embedding|attention]
//                        [--type F32|Q8_0|Q4_K|...] [--shape NxKxROWS]
// All types if --shape is given; without it F32, F16, BF16, Q8_0, Q4_K and Q6_K.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/kernel_table.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace raison {
namespace {

bool use_cpu_time = false;  // with one thread: what other programs take from the core then does not count

double now() {
  if (use_cpu_time) {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one call: the best of as many batches as fit into `budget` seconds.
double best_time(double budget, const std::function<void()>& f) {
  f();
  double begin = now();
  f();
  const double once = std::max(now() - begin, 1e-9);
  const int batch = std::max(1, static_cast<int>(2e-3 / once));  // batches of 2 ms or more: above the clock's grain
  double best = 1e30;
  const double end = now() + budget;
  do {
    begin = now();
    for (int i = 0; i < batch; ++i) f();
    best = std::min(best, (now() - begin) / batch);
  } while (now() < end);
  return best;
}

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  std::string line, model, family, number;
  while (std::getline(in, line) && !line.empty()) {
    const auto value = [&] { return line.substr(std::min(line.size(), line.find(':') + 2)); };
    if (line.rfind("model name", 0) == 0)
      model = value();
    else if (line.rfind("cpu family", 0) == 0)
      family = value();
    else if (line.rfind("model\t", 0) == 0)
      number = value();
  }
  return fmt::format("{} (family {}, model {})", model, family, number);
}

#if defined(__x86_64__)
// Twelve independent chains of FMAs hide the latency of any core; 2 flops x 8 or 16 lanes each. Named variables, as GCC
// keeps an array that asm writes in memory.
#define RAISON_CHAINS(X) X(a0) X(a1) X(a2) X(a3) X(a4) X(a5) X(a6) X(a7) X(a8) X(a9) X(a10) X(a11)
__attribute__((target("avx2,fma"))) void fma_chains_256(int64_t steps, float* sink) {
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
#define RAISON_DECLARE(a) __m256 a = y;
#define RAISON_FMA(a) __asm__ volatile("vfmadd213ps %2, %1, %0" : "+x"(a) : "x"(x), "x"(y));
#define RAISON_SINK(a) _mm256_storeu_ps(sink, a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_FMA) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_FMA
#undef RAISON_SINK
}
__attribute__((target("avx512f"))) void fma_chains_512(int64_t steps, float* sink) {
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
#define RAISON_DECLARE(a) __m512 a = y;
#define RAISON_FMA(a) __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
#define RAISON_SINK(a) _mm512_storeu_ps(sink, a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_FMA) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_FMA
#undef RAISON_SINK
}
// Twelve chains of products of bytes: summed in pairs to 16 bits and added there, and the one instruction that does more.
__attribute__((target("avx2"))) void int8_chains_256(int64_t steps, float* sink) {
  const __m256i x = _mm256_set1_epi8(1), y = _mm256_set1_epi8(1);
#define RAISON_DECLARE(a) __m256i a = y;
#define RAISON_DOT(a)                                                                                    \
  {                                                                                                      \
    __m256i p;                                                                                           \
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(a), "=&x"(p) : "x"(x), "x"(y)); \
  }
#define RAISON_SINK(a) _mm256_storeu_si256(reinterpret_cast<__m256i*>(sink), a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_DOT) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_DOT
#undef RAISON_SINK
}
__attribute__((target("avx512f"))) void int8_chains_512(int64_t steps, float* sink) {
  const __m512i x = _mm512_set1_epi32(0x01010101), y = x;
#define RAISON_DECLARE(a) __m512i a = y;
#define RAISON_DOT(a) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(a) : "v"(x), "v"(y));
#define RAISON_SINK(a) _mm512_storeu_si512(sink, a);
  RAISON_CHAINS(RAISON_DECLARE)
  for (int64_t s = 0; s < steps; ++s) { RAISON_CHAINS(RAISON_DOT) }
  RAISON_CHAINS(RAISON_SINK)
#undef RAISON_DECLARE
#undef RAISON_DOT
#undef RAISON_SINK
}
// Exclusive or of all 256-bit words, four streams at a time: reads at whatever the memory gives.
__attribute__((target("avx2"))) void read_all(const uint8_t* p, int64_t bytes, float* sink) {
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  const int64_t quarter = bytes / 4;
#define RAISON_WORD(offset) _mm256_load_si256(reinterpret_cast<const __m256i*>(p + (offset)))
  for (int64_t i = 0; i < quarter; i += 32) {
    a = _mm256_xor_si256(a, RAISON_WORD(i));
    b = _mm256_xor_si256(b, RAISON_WORD(i + quarter));
    c = _mm256_xor_si256(c, RAISON_WORD(i + 2 * quarter));
    d = _mm256_xor_si256(d, RAISON_WORD(i + 3 * quarter));
  }
#undef RAISON_WORD
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sink), _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d)));
}
#endif

struct Ceiling {
  double gflops = 0, int8 = 0, gbytes = 0;  // int8: billions of operations, two a product
};

// All threads at once, as the kernels run.
Ceiling measure_ceiling(ThreadPool& pool, const KernelTable& table, const std::vector<uint8_t>& memory, double budget) {
  Ceiling c;
#if defined(__x86_64__)
  if (!avx2_kernels()) return c;
  const bool wide = std::strcmp(table.name, "avx512") == 0;
  constexpr int64_t kSteps = 200000;
  struct Args {
    bool wide;
    const uint8_t* memory;
    int64_t part;
    float sinks[256][16];
  };
  static Args args;
  args.wide = wide;
  const int threads = pool.threads();
  double t = best_time(budget, [&] {
    pool.run(
        threads,
        [](void* a, int64_t i, int) {
          float* sink = static_cast<Args*>(a)->sinks[i];
          if (static_cast<Args*>(a)->wide)
            fma_chains_512(kSteps, sink);
          else
            fma_chains_256(kSteps, sink);
        },
        &args);
  });
  c.gflops = 1e-9 * 12 * kSteps * (wide ? 32 : 16) * threads / t;
  t = best_time(budget, [&] {
    pool.run(
        threads,
        [](void* a, int64_t i, int) {
          float* sink = static_cast<Args*>(a)->sinks[i];
          if (static_cast<Args*>(a)->wide)
            int8_chains_512(kSteps, sink);
          else
            int8_chains_256(kSteps, sink);
        },
        &args);
  });
  c.int8 = 1e-9 * 12 * kSteps * (wide ? 128 : 64) * threads / t;
  constexpr int64_t kParts = 32;  // so that whoever finishes first helps
  args.memory = reinterpret_cast<const uint8_t*>((reinterpret_cast<uintptr_t>(memory.data()) + 127) / 128 * 128);
  args.part = static_cast<int64_t>(memory.size() - 128) / kParts / 128 * 128;
  t = best_time(budget, [&] {
    pool.run(
        kParts,
        [](void* a, int64_t i, int) {
          const Args& r = *static_cast<Args*>(a);
          read_all(r.memory + i * r.part, r.part, static_cast<Args*>(a)->sinks[i]);
        },
        &args);
  });
  c.gbytes = 1e-9 * static_cast<double>(kParts * args.part) / t;
#else
  (void)pool, (void)table, (void)memory, (void)budget;
#endif
  return c;
}

std::vector<float> normals(int64_t n, uint64_t seed) {
  Rng rng(seed, 0);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = static_cast<float>(rng.normal());
  return out;
}

// Of block types and FP8 any bytes: no kernel's speed depends on them.
Result<PackedWeight> weight(DType type, int64_t n, int64_t k) {
  if (!is_block_type(type) && type != DType::F8_E4M3) return PackedWeight::pack_f32(type, n, k, normals(n * k, 1).data());
  const auto bytes = row_bytes(type, static_cast<uint64_t>(k));
  if (!bytes) return error("{} has blocks of {}", dtype_name(type), dtype_info(type).block_elements);
  std::vector<uint8_t> rows(static_cast<size_t>(n) * *bytes);
  Rng rng(1, 0);
  for (uint8_t& b : rows) b = static_cast<uint8_t>(rng.below(256));
  if (is_block_type(type)) return PackedWeight::pack(type, n, k, rows.data());
  const std::vector<float> scales(static_cast<size_t>((n + 127) / 128 * ((k + 127) / 128)), 0.01f);
  return PackedWeight::pack_fp8(n, k, rows.data(), scales.data());
}

struct Options {
  std::string isa, only, type, one_shape;
  int threads = ThreadPool::default_threads();
  double seconds = 0.15;
};

struct Bench {
  const Options& options;
  const KernelTable& table;
  ThreadPool& pool;
  Ceiling ceiling;

  bool wants(const char* kernel) const { return options.only.empty() || options.only == kernel; }

  void report(const char* kernel, DType type, int64_t n, int64_t k, int64_t rows, double bytes,
              const std::function<void()>& f) {
    const double t = best_time(options.seconds, f);
    const double gops = 2e-9 * static_cast<double>(n * k * rows) / t, gbytes = 1e-9 * bytes / t;
    const bool int8 = is_block_type(type) && std::strcmp(kernel, "matmul") == 0;
    fmt::print(
        "{:<8} {:<7} {:>6} x {:<6} {:>5}  {:>10.1f} us {:>8.1f} GOPS {:>6.1f} % of {} {:>7.1f} GB/s {:>6.1f} % of reads\n",
        kernel, dtype_name(type), n, k, rows, t * 1e6, gops, 100 * gops / (int8 ? ceiling.int8 : ceiling.gflops),
        int8 ? "int8" : "FMA ", gbytes, 100 * gbytes / ceiling.gbytes);
    std::fflush(stdout);
  }

  void shape(DType type, int64_t n, int64_t k, const std::vector<int64_t>& row_counts) {
    const int64_t most = *std::max_element(row_counts.begin(), row_counts.end());
    auto packed = weight(type, n, k);
    if (!packed.ok()) return fmt::print("{}\n", packed.message());
    const PackedView w = packed->view();
    const auto x = normals(most * k, 2), dy = normals(most * n, 3);
    std::vector<float> y(static_cast<size_t>(most * n)), dx(static_cast<size_t>(most * k));
    std::vector<float> dw(static_cast<size_t>(panel_count(n) * k * 16));
    std::vector<int32_t> ids(static_cast<size_t>(most));
    Rng rng(4, 0);
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(n)));
    const auto bytes = static_cast<double>(packed->bytes());
    for (const int64_t rows : row_counts) {
      if (wants("matmul"))
        report("matmul", type, n, k, rows, bytes, [&] { table.matmul(pool, w, x.data(), k, rows, y.data(), n); });
      if (wants("dx") && rows > 4)
        report("dx", type, n, k, rows, bytes, [&] { table.matmul_dx(pool, w, dy.data(), n, rows, dx.data(), k); });
      if (wants("dw") && rows > 4 && type == DType::F32)
        report("dw", type, n, k, rows, bytes,
               [&] { table.matmul_dw(pool, dy.data(), n, x.data(), k, rows, n, k, dw.data(), true); });
      if (wants("embedding") && rows > 4 && type == DType::F32) {
        report("emb", type, 0, k, rows, 4.0 * static_cast<double>(rows * k),
               [&] { table.embedding(pool, w, ids.data(), rows, dx.data(), k); });
        report("emb_dw", type, 0, k, rows, 4.0 * static_cast<double>(rows * k),
               [&] { table.embedding_dw(pool, ids.data(), x.data(), k, rows, k, dw.data()); });
      }
    }
  }
};

// Rows at the last positions of one sequence.
struct AttentionBench {
  const char* name;
  KvLayout layout;  // one layer
  int q_heads;
  int64_t rows, positions;
};

void bench_attention(const Bench& bench, const AttentionBench& a) {
  const KvLayout& layout = a.layout;
  const int64_t dim = layout.head_dim, v_dim = layout.v_dim(), heads = layout.kv_heads;
  const int64_t page_count = (a.positions + layout.page_size - 1) / layout.page_size;
  std::vector<uint8_t> memory(static_cast<size_t>(page_count * layout.page_bytes()) + 64);
  std::vector<uint8_t*> pages;
  for (int64_t p = 0; p < page_count; ++p) {
    const auto start = (reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64;
    pages.push_back(reinterpret_cast<uint8_t*>(start) + p * layout.page_bytes());
  }
  std::vector<int32_t> positions;
  for (int64_t p = 0; p < a.positions; ++p) positions.push_back(static_cast<int32_t>(p));
  const std::vector<uint8_t* const*> row_pages(positions.size(), pages.data());
  {
    const auto k = normals(a.positions * heads * dim, 5), v = normals(a.positions * heads * v_dim, 6);
    bench.table.kv_append(bench.pool, {layout, 0, a.positions, positions.data(), row_pages.data(), k.data(), v.data()});
  }
  const auto q = normals(a.rows * a.q_heads * dim, 7);
  std::vector<float> out(static_cast<size_t>(a.rows * a.q_heads * v_dim));
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  const double t = best_time(bench.options.seconds, [&] {
    bench.table.attention(bench.pool, {layout, 0, a.q_heads, a.rows, positions.data() + a.positions - a.rows, row_pages.data(),
                                       scale, q.data(), out.data(), nullptr, nullptr});
  });
  double products = 0;
  for (int64_t r = 0; r < a.rows; ++r)
    products += static_cast<double>((a.positions - r) * a.q_heads) * static_cast<double>(dim + v_dim);
  const double gflops = 2e-9 * products / t;
  fmt::print("{:<12} {:<5} {:>4} heads, {:>4} rows of {:>5}  {:>10.1f} us {:>8.1f} GFLOPS {:>6.1f} % of FMA, cache {:.1f} MB\n",
             a.name, dtype_name(layout.type), a.q_heads, a.rows, a.positions, t * 1e6, gflops,
             100 * gflops / bench.ceiling.gflops, 1e-6 * static_cast<double>(page_count * layout.page_bytes()));
  std::fflush(stdout);
}

int run(const Options& options) {
  if (!options.isa.empty()) setenv("RAISON_ISA", options.isa.c_str(), 1);
  const auto table = select_kernels_from_environment();
  if (!table.ok()) {
    fmt::print(stderr, "{}\n", table.message());
    return 1;
  }
  ThreadPool pool(options.threads);
  use_cpu_time = options.threads == 1;
  fmt::print("{}, kernels {}, {} threads\n", cpu_name(), (*table)->name, pool.threads());
  const std::vector<uint8_t> memory(256 << 20, 1);
  Bench bench{options, **table, pool, {}};
  const auto shape = [&](DType type, int64_t n, int64_t k, const std::vector<int64_t>& rows) {
    bench.ceiling = measure_ceiling(pool, **table, memory, options.seconds);
    fmt::print("# now: {:.1f} GFLOPS of FMA, {:.1f} GOPS of int8, {:.1f} GB/s of reads\n", bench.ceiling.gflops,
               bench.ceiling.int8, bench.ceiling.gbytes);
    bench.shape(type, n, k, rows);
  };
  int n, k, rows;
  const bool one = std::sscanf(options.one_shape.c_str(), "%dx%dx%d", &n, &k, &rows) == 3;
  for (int t = 0; t <= static_cast<int>(DType::BOOL); ++t) {
    const auto type = static_cast<DType>(t);
    const bool common = type == DType::F32 || type == DType::F16 || type == DType::BF16 || type == DType::Q8_0 ||
                        type == DType::Q4_K || type == DType::Q6_K;
    if (!is_computable(type) || (options.type.empty() ? !one && !common : options.type != dtype_name(type))) continue;
    if (bench.wants("attention") && !one && (type == DType::F32 || type == DType::F16 || type == DType::BF16)) {
      const KvLayout grouped{type, 1, 2, 128, 64}, latent{type, 1, 1, 576, 64, 512, true};  // Qwen2-1.5B; DeepSeek-V2, V3
      bench.ceiling = measure_ceiling(pool, **table, memory, options.seconds);
      fmt::print("# now: {:.1f} GFLOPS of FMA, {:.1f} GB/s of reads\n", bench.ceiling.gflops, bench.ceiling.gbytes);
      for (const auto& a : {AttentionBench{"GQA decode", grouped, 12, 1, 4096},
                            {"GQA prefill", grouped, 12, 128, 4096},
                            {"MLA decode", latent, 16, 1, 4096},
                            {"MLA decode", latent, 128, 1, 4096},
                            {"MLA prefill", latent, 16, 64, 4096},
                            {"MLA prefill", latent, 128, 8, 4096}})
        bench_attention(bench, a);
    }
    if (options.only == "attention") continue;
    if (one) {
      shape(type, n, k, {rows});
      continue;
    }
    if (dtype_info(type).block_elements < 256) {
      shape(type, 128, 128, {1, 8, 16, 128, 1000});  // a small model in training
      shape(type, 256, 128, {1000});
      shape(type, 128, 256, {1000});
      shape(type, 117, 128, {1000});
    }
    shape(type, 1536, 1536, {1, 2, 3, 4, 7, 8, 16, 32, 128, 512});
    shape(type, 1536, 8960, {1, 4, 16, 128});
    shape(type, 8960, 1536, {1, 4, 16, 128});
  }
  return 0;
}

}  // namespace
}  // namespace raison

int main(int argc, char** argv) {
  raison::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--isa")
      options.isa = argv[i + 1];
    else if (flag == "--only")
      options.only = argv[i + 1];
    else if (flag == "--type")
      options.type = argv[i + 1];
    else if (flag == "--shape")
      options.one_shape = argv[i + 1];
    else if (flag == "--threads")
      options.threads = std::max(1, std::atoi(argv[i + 1]));
    else if (flag == "--seconds")
      options.seconds = std::atof(argv[i + 1]);
    else
      return fmt::print(stderr, "{}: unknown; use --isa, --threads, --seconds, --only, --type, --shape\n", flag), 1;
  }
  return raison::run(options);
}
