#include "cli/hub_session.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <filesystem>

#include "cli/console.h"
#include "cli/session.h"

namespace raison::cli {
namespace {
using Clock = std::chrono::steady_clock;

std::string duration(double seconds) {
  const auto s = static_cast<long long>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
}

// One line on a terminal, redrawn; elsewhere a line for each file, and one every half minute.
class DownloadLine {
 public:
  void show(const DownloadProgress& p) {
    const auto now = Clock::now();
    samples_.emplace_back(now, p.bytes);
    while (samples_.size() > 2 && now - samples_.front().first > std::chrono::seconds(5)) samples_.pop_front();
    if (stderr_is_terminal()) {
      write_raw("\r\033[K" + fitted(text(p)));
      open_ = true;
    } else if (now - last_line_ > std::chrono::seconds(30)) {
      last_line_ = now;
      note(text(p));
    }
  }
  void say(const std::string& line) {
    close();
    note(line);
  }
  void close() {
    if (open_) write_raw("\r\033[K");
    open_ = false;
  }

 private:
  std::string text(const DownloadProgress& p) const {
    if (p.checking) return fmt::format("checking {}", terminal_safe(p.current));
    const double seconds = std::chrono::duration<double>(samples_.back().first - samples_.front().first).count();
    const double speed = seconds > 0 ? static_cast<double>(samples_.back().second - samples_.front().second) / seconds : 0;
    const double share = p.total_bytes > 0 ? static_cast<double>(p.bytes) / static_cast<double>(p.total_bytes) : 1;
    constexpr int kWidth = 20;
    const int filled = static_cast<int>(share * kWidth);
    std::string line = fmt::format("[{:=<{}}{: <{}}] {:3.0f} %  {} of {}", "", filled, "", kWidth - filled,
                                   std::floor(share * 100), short_bytes(p.bytes), short_bytes(p.total_bytes));
    if (speed > 0) {
      line += fmt::format("  {}/s", short_bytes(static_cast<int64_t>(speed)));
      line += fmt::format("  {} left", duration(static_cast<double>(p.total_bytes - p.bytes) / speed));
    }
    return line + "  " + terminal_safe(p.current);
  }
  static std::string fitted(std::string line) {
    winsize size = {};
    const size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79u;
    if (line.size() > columns) line.resize(columns);
    return line;
  }
  static void write_raw(const std::string& text) {
    fwrite(text.data(), 1, text.size(), stderr);
    fflush(stderr);
  }
  bool open_ = false;
  Clock::time_point last_line_ = Clock::now();
  std::deque<std::pair<Clock::time_point, int64_t>> samples_;
};

}  // namespace

Result<PullResult> pull_visibly(const ModelId& id, const HubSettings& settings) {
  DownloadLine line;
  DownloadEvents events;
  events.progress = [&](const DownloadProgress& p) { line.show(p); };
  events.file_done = [&](const RepoFile& file) {
    line.say(fmt::format("{}  {}", terminal_safe(file.path), short_bytes(file.size)));
  };
  events.notice = [&](const std::string& text) { line.say("raison: note: " + terminal_safe(text)); };
  events.stop = [] { return interrupted(); };
  catch_interrupts();
  auto result = pull_model(id, settings, {}, events);
  line.close();
  if (result.ok() && result->stopped) note("raison: stopped; what has come is kept, and the same command goes on from there");
  return result;
}

Result<std::string> find_in_hub_cache(const std::string& argument) {
  const auto id = parse_model_id(argument);
  if (!id.ok()) return argument;
  RAISON_ASSIGN(const HubSettings settings, hub_settings_from_environment());
  const HubCache::Lookup found = HubCache(settings.cache).find(*id);
  if (found.state == HubCache::Lookup::State::Whole) return found.path;
  if (found.state == HubCache::Lookup::State::Partial)
    return error("{}: not whole in the hub cache ({}); run `raison pull {}` first", argument, found.why, id->text());
  return error("{}: no such file or folder, and no model of this ID in the hub cache; run `raison pull {}` first", argument,
               id->text());
}

Result<std::optional<std::string>> find_or_pull(const std::string& argument) {
  std::error_code ec;
  const auto id = parse_model_id(argument);
  if (argument.empty() || std::filesystem::exists(argument, ec) || !id.ok()) {
    RAISON_ASSIGN(std::string path, resolve_model(argument));
    return std::optional(std::move(path));
  }
  RAISON_ASSIGN(const HubSettings settings, hub_settings_from_environment());
  const HubCache::Lookup found = HubCache(settings.cache).find(*id);
  // Clients that fetch a model's files in any order may have been stopped between its weights and its tokenizer.
  const bool usable = found.state == HubCache::Lookup::State::Whole && (found.tokenizer || settings.offline);
  if (usable) return std::optional(found.path);
  RAISON_ASSIGN(PullResult pulled, pull_visibly(*id, settings));
  if (pulled.stopped) return std::optional<std::string>();
  return std::optional(std::move(pulled.path));
}

}  // namespace raison::cli
