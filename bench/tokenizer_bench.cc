// Encoding speed of tokenizers on one core, in MB of UTF-8 a second.
//
//   raison_bench_tokenizer [--seconds S] [--megabytes N] [--text FILE]... [NAME | tokenizer.json | FILE.gguf]...
//
// NAME is one of the shared goldens' tokenizers; without any, all of them are measured. The text is, unless given, the goldens'
// own cases mixed: prose in many languages, code, CJK, numbers, symbols, in seeded order, each with a
// number and a word of its own.
#include <fmt/format.h>
#include <sys/resource.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/rng.h"
#include "tokenizer/helpers.h"

namespace raison {
namespace {

using tokenizer_test::exists;
using tokenizer_test::slurp;

double cpu_seconds() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

std::string cpu_name() {
  std::string model, family;
  for (const std::string& line : tokenizer_test::lines_of("/proc/cpuinfo")) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    if (line.rfind("model name", 0) == 0) model = line.substr(colon + 1);
    if (line.rfind("cpu family", 0) == 0) family = line.substr(colon + 1);
  }
  return fmt::format("{}, family{}", model, family);
}

// Kinds of text that are no text (one character a thousand times, bytes at random) are left out: nobody encodes megabytes of
// them.
bool ordinary(const std::string& kind) {
  return kind.rfind("repeat", 0) != 0 && kind.rfind("gen-repeat", 0) != 0 && kind.rfind("gen-long-word", 0) != 0 &&
         kind.rfind("gen-codepoints", 0) != 0 && kind.rfind("special", 0) != 0 && kind.rfind("gen-special", 0) != 0;
}

std::string mixed_text(size_t bytes) {
  std::vector<std::string> cases;
  for (const std::string& name : tokenizer_test::golden_names()) {
    for (const std::string& line : tokenizer_test::lines_of(testing::shared_dir() + "/goldens/tokenizers/" + name + ".jsonl")) {
      const auto c = nlohmann::json::parse(line);
      if (ordinary(c["cat"])) cases.push_back(c["text"]);
    }
  }
  const std::string words = testing::shared_dir() + "/refdata/tokenizers/goldens-kitoken/mixed_input.txt";
  if (exists(words)) {
    for (const std::string& line : tokenizer_test::lines_of(words)) cases.push_back(line);
  }
  std::string text;
  Rng rng(1);
  while (!cases.empty() && text.size() < bytes) {
    text += cases[rng.below(cases.size())];
    // A number and a word of its own keep the word cache from holding everything.
    text += fmt::format("\n{} {:x}ish ", rng.below(1000000), rng.below(100000));
  }
  return text;
}

Result<std::shared_ptr<Tokenizer>> open_tokenizer(const std::string& name) {
  if (name.size() > 5 && name.compare(name.size() - 5, 5, ".gguf") == 0)
    return Tokenizer::from_gguf(tokenizer_test::gguf_metadata(name), name);
  if (exists(name) && name.find(".json") != std::string::npos) return Tokenizer::from_hf_json(slurp(name), "", name);
  const std::string json = tokenizer_test::golden_tokenizer_json(name);
  return Tokenizer::from_hf_json(json, "", name);
}

}  // namespace
}  // namespace raison

int main(int argc, char** argv) {
  using namespace raison;
  double budget = 3;
  size_t megabytes = 10;
  std::string text;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const bool more = i + 1 < argc;
    if (a == "--seconds" && more) {
      budget = std::atof(argv[++i]);
    } else if (a == "--megabytes" && more) {
      megabytes = static_cast<size_t>(std::max(1, std::atoi(argv[++i])));
    } else if (a == "--text" && more) {
      text += slurp(argv[++i]);
    } else if (a.rfind("--", 0) == 0) {
      fmt::print(stderr, "usage: raison_bench_tokenizer [--seconds S] [--megabytes N] [--text FILE]... [TOKENIZER]...\n");
      return 2;
    } else {
      names.push_back(a);
    }
  }
  if (names.empty()) names = tokenizer_test::golden_names();
  if (text.empty()) text = mixed_text(megabytes * 1000000);
  if (text.empty() || names.empty()) {
    fmt::print(stderr, "no goldens (set RAISON_SHARED): name a tokenizer and a --text\n");
    return 1;
  }
  fmt::print("{}; one thread, CPU time; {:.1f} MB of text\n", cpu_name(), static_cast<double>(text.size()) / 1e6);
  fmt::print("{:<20} {:>10} {:>10} {:>12}\n", "tokenizer", "first MB/s", "best MB/s", "bytes/token");
  for (const std::string& name : names) {
    const auto tokenizer = open_tokenizer(name);
    if (!tokenizer.ok()) {
      fmt::print(stderr, "{}\n", tokenizer.message());
      return 1;
    }
    double first = 0, best = 1e30, spent = 0;
    size_t tokens = 0;
    while (first == 0 || spent < budget) {
      const double start = cpu_seconds();
      const auto ids = (*tokenizer)->encode(text, {false, true});
      const double took = cpu_seconds() - start;
      if (!ids.ok()) {
        fmt::print(stderr, "{}: {}\n", name, ids.message());
        return 1;
      }
      tokens = ids->size();
      if (first == 0) first = took;
      best = std::min(best, took);
      spent += took;
    }
    const double size = static_cast<double>(text.size());
    fmt::print("{:<20} {:>10.2f} {:>10.2f} {:>12.2f}\n", name, size / 1e6 / first, size / 1e6 / best,
               size / static_cast<double>(tokens));
  }
  return 0;
}
