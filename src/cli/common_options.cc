#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/commands.h"

namespace raison::cli {
namespace {

constexpr size_t kMaxInput = size_t{256} << 20;

Result<std::string> read_stdin() {
  std::string text;
  char buffer[65536];
  while (true) {
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error("cannot read standard input: {}", strerror(errno));
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxInput) return error("standard input: more than 256 MiB of text; give less");
  }
}

}  // namespace

CLI::Option* add_threads_option(CLI::App* command, int* threads) {
  return command
      ->add_option("--threads", *threads,
                   fmt::format("Threads that compute (default: the {} this process may use)", ThreadPool::default_threads()))
      ->check(CLI::Range(1, 256))
      ->type_name("N");
}

namespace {
// "6G", "500M", "1.5" is none: bytes.
std::optional<int64_t> parse_size(const std::string& text) {
  const size_t digits = text.find_first_not_of("0123456789");
  const auto number = parse_whole(text.substr(0, digits));
  std::string unit = digits == std::string::npos ? "" : text.substr(digits);
  for (const char* end : {"iB", "B", "b"})
    if (unit.ends_with(end)) {
      unit.resize(unit.size() - std::strlen(end));
      break;
    }
  const std::string_view units = "KMGT";
  const size_t power = unit.empty() ? 0 : unit.size() == 1 ? units.find(static_cast<char>(toupper(unit[0]))) + 1 : 0;
  if (!number || *number == 0 || *number > (uint64_t{1} << 62 >> (10 * (power > 4 ? 4 : power))) ||
      (!unit.empty() && (power == 0 || power > 4)))
    return std::nullopt;
  return static_cast<int64_t>(*number) << (10 * power);
}

CLI::Option* add_size_option(CLI::App* command, const std::string& name, std::optional<int64_t>* bytes,
                             const std::string& help) {
  return command
      ->add_option_function<std::string>(
          name,
          [name, bytes](const std::string& text) {
            *bytes = parse_size(text);
            if (!*bytes) throw CLI::ValidationError(name, "must be a size such as 6G or 500M, not " + text);
          },
          help)
      ->type_name("SIZE");
}
}  // namespace

CLI::Option* add_weights_memory_option(CLI::App* command, std::optional<int64_t>* bytes) {
  return add_size_option(
      command, "--weights-memory", bytes,
      "Memory that packed weights may hold; experts are then packed, evicted and packed again on demand (default: what "
      "is free)");
}

CLI::Option* add_adapter_option(CLI::App* command, std::string* folder) {
  return command
      ->add_option("--adapter", *folder, "Compute with this LoRA adapter (a folder as PEFT and raison train write it)")
      ->type_name("DIR");
}

CLI::Option* add_cache_memory_option(CLI::App* command, std::optional<int64_t>* bytes) {
  return add_size_option(
      command, "--cache-memory", bytes,
      "Memory that the KV cache may hold, beginnings kept for later included (default: half of what is free)");
}

CLI::Option* add_cache_type_option(CLI::App* command, std::string* type, const std::string& fallback) {
  *type = fallback;
  const std::string by_model = "f16, or i16 for latent attention";
  return command
      ->add_option(
          "--cache-type", *type,
          fmt::format("Type of the KV cache: f32, f16, bf16, i16 or i8 (default: {})", fallback.empty() ? by_model : fallback))
      ->check(CLI::IsMember({"f32", "f16", "bf16", "i16", "i8"}))
      ->type_name("TYPE");
}

std::optional<uint64_t> parse_whole(std::string_view text) {
  uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

CLI::Validator whole_number() {
  return CLI::Validator(
      [](std::string& text) {
        return parse_whole(text) ? std::string() : fmt::format("{} is no whole number from 0 to {}", text, UINT64_MAX);
      },
      "");
}

CLI::Option* add_seed_option(CLI::App* command, uint64_t* seed, const std::string& help) {
  return command->add_option("--seed", *seed, help)->check(whole_number())->type_name("N");
}

CLI::Option* add_list_option(CLI::App* command, const std::string& name, std::vector<int64_t>* list, int64_t low, int64_t high,
                             const std::string& help) {
  return command->add_option(name, *list, help)->delimiter(',')->check(CLI::Range(low, high))->type_name("N,N,...");
}

Result<std::string> read_text(const TextInput& input) {
  if (input.has_text) return input.text;
  std::string text;
  if (!input.file.empty() && input.file != "-") {
    RAISON_ASSIGN(text, read_file(input.file, kMaxInput));
  } else {
    RAISON_ASSIGN(text, read_stdin());
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

}  // namespace raison::cli
