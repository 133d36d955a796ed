// Speed of the matrix kernels and of attention, each beside this machine's own peaks and read bandwidth, measured in the same process
// seconds before (shared machines drift: a figure without its own ceiling says nothing). Float types, dx, dw and attention are held
// against the peak of FMA; matmul of block types against that of int8 products (kernels/peaks.h).
//
//   raison_bench_kernels [--isa ref|avx2|avx512] [--threads N] [--seconds S] [--only matmul|dx|dw|embedding|attention]
//                        [--type F32|Q8_0|Q4_K|...] [--shape NxKxROWS]
// All types if --shape is given; without it F32, F16, BF16, Q8_0, Q4_K and Q6_K.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "kernels/peaks.h"

namespace raison {
namespace {

// CPU time of this thread: with one thread, what other programs take from the core then does not count.
double thread_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
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
  const PeakMeter& meter;
  double (*now)();
  Peaks peaks;

  void measure_peaks() { peaks = meter.measure(options.seconds, now); }
  bool wants(const char* kernel) const { return options.only.empty() || options.only == kernel; }

  void report(const char* kernel, DType type, int64_t n, int64_t k, int64_t rows, double bytes,
              const std::function<void()>& f) {
    const double t = best_time(options.seconds, f, now);
    const double gops = 2e-9 * static_cast<double>(n * k * rows) / t, gbytes = 1e-9 * bytes / t;
    const bool int8 = is_block_type(type) && std::strcmp(kernel, "matmul") == 0;
    fmt::print(
        "{:<8} {:<7} {:>6} x {:<6} {:>5}  {:>10.1f} us {:>8.1f} GOPS {:>6.1f} % of {} {:>7.1f} GB/s {:>6.1f} % of reads\n",
        kernel, dtype_name(type), n, k, rows, t * 1e6, gops, 100e9 * gops / (int8 ? peaks.int8 : peaks.fp32),
        int8 ? "int8" : "FMA ", gbytes, 100e9 * gbytes / peaks.read);
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
  KvLayout layout;  // as many layers as are passed over before the first one's turn comes again
  int q_heads;
  int64_t rows, positions;
};

void bench_attention(const Bench& bench, const AttentionBench& a) {
  const KvLayout& layout = a.layout;
  const int64_t dim = layout.head_dim, v_dim = layout.v_dim(), heads = layout.kv_heads;
  const int64_t page_count = (a.positions + layout.page_size - 1) / layout.page_size;
  const auto cache_bytes = static_cast<double>(page_count * layout.page_bytes());
  const auto memory = Storage::allocate(static_cast<size_t>(page_count * layout.page_bytes()));  // as the engine's pages
  if (!memory.ok()) return;
  std::vector<uint8_t*> pages;
  for (int64_t p = 0; p < page_count; ++p) pages.push_back((*memory)->data() + p * layout.page_bytes());
  std::vector<int32_t> positions;
  for (int64_t p = 0; p < a.positions; ++p) positions.push_back(static_cast<int32_t>(p));
  const std::vector<uint8_t* const*> row_pages(positions.size(), pages.data());
  {
    const auto k = normals(a.positions * heads * dim, 5), v = normals(a.positions * heads * v_dim, 6);
    for (int l = 0; l < layout.layers; ++l)
      bench.table.kv_append(bench.pool, {layout, l, a.positions, positions.data(), row_pages.data(), k.data(), v.data()});
  }
  const auto q = normals(a.rows * a.q_heads * dim, 7);
  std::vector<float> out(static_cast<size_t>(a.rows * a.q_heads * v_dim));
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  const auto attend = [&] {
    for (int l = 0; l < layout.layers; ++l)
      bench.table.attention(bench.pool, {layout, l, a.q_heads, a.rows, positions.data() + a.positions - a.rows,
                                         row_pages.data(), scale, q.data(), out.data(), nullptr, nullptr});
  };
  const double t = best_time(bench.options.seconds, attend, bench.now) / layout.layers;
  double products = 0;
  for (int64_t r = 0; r < a.rows; ++r)
    products += static_cast<double>((a.positions - r) * a.q_heads) * static_cast<double>(dim + v_dim);
  const double flops = 2 * products / t, bytes = cache_bytes / layout.layers / t;
  fmt::print(
      "{:<12} {:<5} {:>4} heads, {:>4} rows of {:>5}  {:>10.1f} us {:>8.1f} GFLOPS {:>6.1f} % of FMA {:>6.1f} % of reads\n",
      a.name, dtype_name(layout.type), a.q_heads, a.rows, a.positions, t * 1e6, 1e-9 * flops, 100 * flops / bench.peaks.fp32,
      100 * bytes / bench.peaks.read);
  std::fflush(stdout);
}

// The cost of storing rows, rotation and all.
void bench_append(const Bench& bench, const KvLayout& layout) {
  constexpr int64_t kRows = 512;
  std::vector<uint8_t> memory(static_cast<size_t>(kRows / layout.page_size * layout.page_bytes()));
  std::vector<uint8_t*> pages;
  std::vector<int32_t> positions;
  for (int64_t p = 0; p < kRows; ++p) {
    positions.push_back(static_cast<int32_t>(p));
    if (p % layout.page_size == 0) pages.push_back(memory.data() + p / layout.page_size * layout.page_bytes());
  }
  const std::vector<uint8_t* const*> row_pages(positions.size(), pages.data());
  const auto k = normals(kRows * layout.kv_heads * layout.head_dim, 5),
             v = normals(kRows * layout.kv_heads * layout.v_dim(), 6);
  const double t = best_time(bench.options.seconds, [&] {
    bench.table.kv_append(bench.pool, {layout, 0, kRows, positions.data(), row_pages.data(), k.data(), v.data()});
  });
  fmt::print("{:<12} {:<5} {:>4} KV heads {:>20.3f} us a row\n", layout.latent ? "MLA append" : "GQA append",
             dtype_name(layout.type), layout.kv_heads, t * 1e6 / kRows);
}

void bench_attention_as(Bench& bench, DType type) {
  const auto grouped = [&](int layers) { return KvLayout{type, layers, 2, 128, 64}; };            // Qwen2-1.5B has 2 of 128
  const auto latent = [&](int layers) { return KvLayout{type, layers, 1, 576, 64, 512, true}; };  // DeepSeek-V2, V3
  bench.measure_peaks();
  fmt::print("# now: {:.1f} GFLOPS of FMA, {:.1f} GB/s of reads\n", 1e-9 * bench.peaks.fp32, 1e-9 * bench.peaks.read);
  bench_append(bench, grouped(1));
  bench_append(bench, latent(1));
  for (const auto& a : {AttentionBench{"GQA decode", grouped(30), 2, 1, 8192},
                        {"GQA decode", grouped(30), 8, 1, 8192},
                        {"GQA decode", grouped(30), 12, 1, 8192},
                        {"GQA decode", grouped(30), 16, 1, 8192},
                        {"GQA prefill", grouped(1), 12, 128, 512},
                        {"GQA prefill", grouped(1), 12, 128, 8192},
                        {"MLA decode", latent(8), 16, 1, 4096},
                        {"MLA decode", latent(1), 128, 1, 4096},
                        {"MLA prefill", latent(1), 16, 64, 4096},
                        {"MLA prefill", latent(1), 128, 8, 4096}})
    bench_attention(bench, a);
}

int run(const Options& options) {
  if (!options.isa.empty()) setenv("RAISON_ISA", options.isa.c_str(), 1);
  const auto table = select_kernels_from_environment();
  if (!table.ok()) {
    fmt::print(stderr, "{}\n", table.message());
    return 1;
  }
  ThreadPool pool(options.threads);
  fmt::print("{}, kernels {}, {} threads\n", cpu_name().described(), (*table)->name, pool.threads());
  const auto meter = PeakMeter::create(pool, **table);
  if (!meter.ok()) {
    fmt::print(stderr, "{}\n", meter.message());
    return 1;
  }
  Bench bench{options, **table, pool, *meter, options.threads == 1 ? thread_seconds : steady_seconds, {}};
  const auto shape = [&](DType type, int64_t n, int64_t k, const std::vector<int64_t>& rows) {
    bench.measure_peaks();
    fmt::print("# now: {:.1f} GFLOPS of FMA, {:.1f} GOPS of int8, {:.1f} GB/s of reads\n", 1e-9 * bench.peaks.fp32,
               1e-9 * bench.peaks.int8, 1e-9 * bench.peaks.read);
    bench.shape(type, n, k, rows);
  };
  int n, k, rows;
  const bool one = std::sscanf(options.one_shape.c_str(), "%dx%dx%d", &n, &k, &rows) == 3;
  for (const DType type : {DType::F32, DType::F16, DType::BF16, DType::I16, DType::I8})
    if (bench.wants("attention") && !one && (options.type.empty() || options.type == dtype_name(type)))
      bench_attention_as(bench, type);
  if (options.only == "attention") return 0;
  for (int t = 0; t <= static_cast<int>(DType::BOOL); ++t) {
    const auto type = static_cast<DType>(t);
    const bool common = type == DType::F32 || type == DType::F16 || type == DType::BF16 || type == DType::Q8_0 ||
                        type == DType::Q4_K || type == DType::Q6_K;
    if (!is_computable(type) || (options.type.empty() ? !one && !common : options.type != dtype_name(type))) continue;
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
