// SerialExec: one worker of an Exec as an Exec of its own, so that a kernel can run inside an item of another run.
#pragma once
#include "base/exec.h"

namespace raison {

class SerialExec final : public Exec {
 public:
  SerialExec(Exec& outer, int worker) : outer_(outer), worker_(worker) {}
  int threads() const override { return 1; }
  void run(int64_t items, Fn fn, void* arg) override {
    for (int64_t i = 0; i < items; ++i) fn(arg, i, 0);
  }
  void* scratch(int, int slot, size_t bytes) override { return outer_.scratch(worker_, slot, bytes); }

 private:
  Exec& outer_;
  int worker_;
};

// f(item, exec): items on the threads of `exec`, each with an Exec of its own.
template <class F>
void parallel_serial(Exec& exec, int64_t items, F f) {
  struct Call {
    Exec& exec;
    F& f;
  } call{exec, f};
  exec.run(
      items,
      [](void* arg, int64_t item, int worker) {
        Call& c = *static_cast<Call*>(arg);
        SerialExec serial(c.exec, worker);
        c.f(item, serial);
      },
      &call);
}

}  // namespace raison
