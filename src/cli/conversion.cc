#include "cli/conversion.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "cli/console.h"

namespace raison::cli {
namespace {
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// Without note()'s newline.
void put_bar(const std::string& text) { std::fputs(text.c_str(), stderr); }
}  // namespace

ProgressBar::ProgressBar() : begin_(Clock::now()), shown_(begin_) { catch_interrupts(); }

ProgressBar::~ProgressBar() {
  if (visible_) put_bar("\r\033[K");
}

Progress ProgressBar::callback() {
  return [this](uint64_t done, uint64_t total) {
    if (stderr_is_terminal() && seconds_since(shown_) > 0.1) show(done, total);
    return !interrupted();
  };
}

void ProgressBar::show(uint64_t done, uint64_t total) {
  shown_ = Clock::now();
  visible_ = true;
  const double part = total > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total)) : 0;
  const double rate = static_cast<double>(done) / std::max(1e-3, seconds_since(begin_));
  const double left = rate > 0 ? static_cast<double>(total - std::min(done, total)) / rate : 0;
  const auto filled = static_cast<size_t>(part * 30);
  put_bar(fmt::format("\r[{}{}] {:3.0f} %  {} of {}, {}/s, {:.0f} s left\033[K", std::string(filled, '#'),
                      std::string(30 - filled, '.'), part * 100, human_bytes(static_cast<double>(done)),
                      human_bytes(static_cast<double>(total)), human_bytes(rate), left));
}

std::string conversion_text(const Converted& c, const std::string& out) {
  std::string text =
      fmt::format("{}: {} in {}, {}, {:.2f} bits a value\n", out, counted(static_cast<long long>(c.tensors), "tensor"),
                  counted(static_cast<long long>(c.files.size()), "file"), human_bytes(static_cast<double>(c.bytes)),
                  c.values > 0 ? 8.0 * static_cast<double>(c.bytes) / static_cast<double>(c.values) : 0.0);
  std::vector<std::pair<uint64_t, DType>> types;
  for (const auto& [type, bytes] : c.type_bytes) types.emplace_back(bytes, type);
  std::sort(types.rbegin(), types.rend());
  for (const auto& [bytes, type] : types)
    text += fmt::format("  {:<7} {}\n", dtype_name(type), human_bytes(static_cast<double>(bytes)));
  if (!c.left_out.empty())
    text += fmt::format("  left out: {} of layers for multi-token prediction\n",
                        counted(static_cast<long long>(c.left_out.size()), "tensor"));
  return text;
}

Result<int> run_conversion(int threads, const std::string& out,
                           const std::function<Result<Converted>(Exec& exec, const Progress& progress)>& work) {
  ThreadPool pool(threads > 0 ? threads : ThreadPool::default_threads());
  Result<Converted> done = error("not run");
  {
    ProgressBar bar;
    done = work(pool, bar.callback());
  }
  if (!done.ok() && interrupted()) {
    note("interrupted; nothing was written");
    return 130;
  }
  if (!done.ok()) return done.error();
  put(conversion_text(*done, out));
  return 0;
}

}  // namespace raison::cli
