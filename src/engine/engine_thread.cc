#include "engine/engine_thread.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace raison {

struct EngineThread::Impl {
  struct Command {
    enum class What { Submit, Cancel, EndThinking } what = What::Submit;
    uint64_t id = 0;  // ours
    Request request;
    OnEvent on_event;
  };
  struct Client {
    uint64_t id = 0;  // ours; the engine has its own
    OnEvent on_event;
  };

  Engine engine;  // the thread's alone, but for check() and context(), which read what never changes
  mutable std::mutex mutex;
  std::condition_variable wake, paused;
  std::vector<Command> commands;
  EngineStats stats;
  uint64_t next_id = 1;
  bool stop = false, stepping = false;
  int pauses = 0;
  // The thread's own.
  std::unordered_map<uint64_t, Client> clients;      // by the engine's ids
  std::unordered_map<uint64_t, uint64_t> engine_id;  // by ours
  std::thread thread;

  Impl(Model& m, Exec& e, const KernelTable& k, EngineOptions o) : engine(m, e, k, o) {}

  void send(Command c) {
    const std::lock_guard lock(mutex);
    commands.push_back(std::move(c));
    wake.notify_one();
  }

  // A copy of the client: on_event may outlive its entry.
  void deliver(const TokenEvent& event) {
    const auto at = clients.find(event.request);
    if (at == clients.end()) return;
    TokenEvent e = event;
    e.request = at->second.id;
    if (e.finish == FinishReason::None) return at->second.on_event(e);
    const Client client = std::move(at->second);
    clients.erase(at);
    engine_id.erase(client.id);
    client.on_event(e);
  }

  static TokenEvent ending(uint64_t id, FinishReason finish, std::string why) {
    TokenEvent e;
    e.request = id;
    e.finish = finish;
    e.error = std::move(why);
    return e;
  }

  void obey(Command& c) {
    if (c.what == Command::What::Submit) {
      auto id = engine.submit(std::move(c.request));
      if (!id.ok()) return c.on_event(ending(c.id, FinishReason::Error, id.message()));
      clients[*id] = {c.id, std::move(c.on_event)};
      engine_id[c.id] = *id;
      return;
    }
    const auto at = engine_id.find(c.id);
    if (at == engine_id.end()) return;
    if (c.what == Command::What::Cancel) {
      engine.cancel(at->second);
    } else {
      engine.end_thinking(at->second);
    }
  }

  void fail_all(FinishReason finish, const std::string& why) {
    const auto all = std::move(clients);
    clients.clear();
    engine_id.clear();
    std::vector<const Client*> order;
    for (const auto& [id, client] : all) order.push_back(&client);
    std::sort(order.begin(), order.end(), [](const Client* a, const Client* b) { return a->id < b->id; });
    for (const Client* client : order) client->on_event(ending(client->id, finish, why));
  }

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      stepping = false;
      stats = engine.stats();
      paused.notify_all();
      wake.wait(lock, [&] { return stop || (pauses == 0 && (!commands.empty() || !engine.idle())); });
      std::vector<Command> now = std::move(commands);
      commands.clear();
      const bool last = stop;
      stepping = true;
      lock.unlock();
      if (last) {
        for (Command& c : now)
          if (c.what == Command::What::Submit) c.on_event(ending(c.id, FinishReason::Cancelled, ""));
        fail_all(FinishReason::Cancelled, "");
        return;
      }
      for (Command& c : now) obey(c);
      if (!engine.idle())
        if (Status ok = engine.step([&](const TokenEvent& e) { deliver(e); }); !ok.ok())
          fail_all(FinishReason::Error, ok.message());
      lock.lock();
    }
  }
};

EngineThread::EngineThread(Model& model, Exec& exec, const KernelTable& kernels, EngineOptions options)
    : impl_(std::make_unique<Impl>(model, exec, kernels, options)) {
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

EngineThread::~EngineThread() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
    impl_->wake.notify_one();
  }
  impl_->thread.join();
}

Result<uint64_t> EngineThread::submit(Request request, OnEvent on_event) {
  RAISON_RETURN_IF_ERROR(impl_->engine.check(request));
  const std::lock_guard lock(impl_->mutex);
  const uint64_t id = impl_->next_id++;
  impl_->commands.push_back({Impl::Command::What::Submit, id, std::move(request), std::move(on_event)});
  impl_->wake.notify_one();
  return id;
}

void EngineThread::cancel(uint64_t request) { impl_->send({Impl::Command::What::Cancel, request, {}, {}}); }
void EngineThread::end_thinking(uint64_t request) { impl_->send({Impl::Command::What::EndThinking, request, {}, {}}); }

void EngineThread::pause() {
  std::unique_lock lock(impl_->mutex);
  ++impl_->pauses;
  impl_->paused.wait(lock, [&] { return !impl_->stepping; });
}

void EngineThread::resume() {
  const std::lock_guard lock(impl_->mutex);
  --impl_->pauses;
  impl_->wake.notify_one();
}

EngineStats EngineThread::stats() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->stats;
}

int64_t EngineThread::context() const { return impl_->engine.context(); }

}  // namespace raison
