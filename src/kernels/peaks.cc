#include "kernels/peaks.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

namespace raison {
namespace isa {
extern const PeakLoops ref_peaks, avx2_peaks, avx512_peaks;
}  // namespace isa

namespace {

constexpr int64_t kSteps = 200000;
constexpr int64_t kParts = 32;  // of the memory, so that whoever finishes first helps

constexpr int64_t kLeastMemory = int64_t{256} << 20;

struct Sink {
  float values[16];
};

const PeakLoops& loops_of(const KernelTable& kernels) {
#if defined(__x86_64__) && !defined(RAISON_REF_ONLY) && !defined(RAISON_NO_AVX512)
  if (&kernels == avx512_kernels()) return isa::avx512_peaks;
#endif
#if defined(__x86_64__) && !defined(RAISON_REF_ONLY)
  if (avx2_kernels()) return isa::avx2_peaks;
#endif
  (void)kernels;
  return isa::ref_peaks;
}

// Operations a second of all threads; 0 without a loop.
double operations(Exec& exec, void (*loop)(int64_t, float*), int ops, double budget, double (*now)()) {
  if (!loop) return 0;
  struct Args {
    void (*loop)(int64_t, float*);
    std::vector<Sink> sinks;
  } args{loop, std::vector<Sink>(static_cast<size_t>(exec.threads()))};
  const double t = best_time(
      budget,
      [&] {
        exec.run(
            exec.threads(),
            [](void* a, int64_t item, int) {
              auto& r = *static_cast<Args*>(a);
              r.loop(kSteps, r.sinks[static_cast<size_t>(item)].values);
            },
            &args);
      },
      now);
  return static_cast<double>(kSteps) * ops * exec.threads() / t;
}

}  // namespace

Peaks best_of(const Peaks& a, const Peaks& b) {
  return {std::max(a.fp32, b.fp32), std::max(a.int8, b.int8), std::max(a.read, b.read)};
}

double steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double best_time(double budget, const std::function<void()>& f, double (*now)()) {
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

Result<PeakMeter> PeakMeter::create(Exec& exec, const KernelTable& kernels, int64_t bytes) {
  PeakMeter meter(exec, loops_of(kernels));
  if (bytes <= 0) bytes = std::max(kLeastMemory, 2 * static_cast<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE)));
  RAISON_ASSIGN(meter.memory_, Storage::allocate(static_cast<size_t>(bytes) / (kParts * 256) * (kParts * 256)));
  std::memset(meter.memory_->data(), 1, meter.memory_->bytes());  // or all pages would be one page of zeros
  return meter;
}

Peaks PeakMeter::measure(double budget, double (*now)()) const {
  Peaks p;
  p.fp32 = operations(*exec_, loops_->products, loops_->product_ops, budget, now);
  p.int8 = operations(*exec_, loops_->byte_products, loops_->byte_product_ops, budget, now);
  struct Args {
    const PeakLoops* loops;
    const uint8_t* memory;
    int64_t part;
    Sink sinks[kParts];
  } args{loops_, memory_->data(), static_cast<int64_t>(memory_->bytes()) / kParts, {}};
  const double t = best_time(
      budget,
      [&] {
        exec_->run(
            kParts,
            [](void* a, int64_t item, int) {
              auto& r = *static_cast<Args*>(a);
              r.loops->read(r.memory + item * r.part, r.part, r.sinks[item].values);
            },
            &args);
      },
      now);
  p.read = static_cast<double>(memory_->bytes()) / t;
  return p;
}

}  // namespace raison
