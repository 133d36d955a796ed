// EngineThread: an Engine on a thread of its own, for callers on any thread.
#pragma once
#include "engine/engine.h"

namespace raison {

class EngineThread {
 public:
  // Called on the engine's thread, between steps; what it does holds up every request. It may call submit, cancel and end_thinking.
  using OnEvent = std::function<void(const TokenEvent&)>;

  // model, exec and kernels must outlive it, and nobody else may use model and exec meanwhile but between pause() and resume().
  EngineThread(Model& model, Exec& exec, const KernelTable& kernels, EngineOptions options);
  // Cancels what runs; each request gets its last event before this returns.
  ~EngineThread();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  // Each request's events, the last of them with a finish, go to its own on_event. Errors: those of Engine::submit, at once.
  Result<uint64_t> submit(Request request, OnEvent on_event);
  void cancel(uint64_t request);        // a Cancelled event follows, unless another finish was faster
  void end_thinking(uint64_t request);  // with the next step
  // After pause() returns no step runs until resume(): the weights may be changed. Not from within on_event.
  void pause();
  void resume();
  EngineStats stats() const;  // as of the end of the latest step
  int64_t context() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace raison
