// Exec: where a kernel runs. Kernels are compiled once per instruction set and may share no inline code, so this
// interface is a plain function pointer with an argument: nothing from the standard library crosses it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace raison {

class Exec {
 public:
  // fn(arg, item, worker): worker in [0, threads()).
  using Fn = void (*)(void* arg, int64_t item, int worker);
  virtual ~Exec() = default;
  virtual int threads() const = 0;
  // Calls fn for every item in [0, items) exactly once, on any thread, and returns when all are done. Which thread runs
  // which item is not fixed, so results must not depend on it.
  virtual void run(int64_t items, Fn fn, void* arg) = 0;
  // A 64-byte-aligned buffer of at least `bytes`, owned by `worker` and `slot` (0..3), contents undefined; valid until the next request
  // for the same worker and slot. Slot contents survive between calls only within one kernel.
  virtual void* scratch(int worker, int slot, size_t bytes) = 0;
};

}  // namespace raison
