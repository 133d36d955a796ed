// raison perplexity: the mean negative log-likelihood of a text.
#include <algorithm>
#include <cmath>
#include <memory>

#include "base/file.h"
#include "base/math.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/session.h"

namespace raison::cli {
namespace {

struct PerplexityOptions {
  std::string model, file, cache_type, adapter;
  int64_t context = 0;
  int threads = 0;
  LoadOptions load;
};

constexpr int64_t kDefaultWindow = 512;

// -log softmax(row)[target] in double, with our own exp and log: the same figure on every CPU.
double negative_log_likelihood(const float* row, int64_t vocab, int32_t target) {
  const double top = *std::max_element(row, row + vocab);
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) sum += exp_f64(static_cast<double>(row[i]) - top);
  return log_f64(sum) - (static_cast<double>(row[target]) - top);
}

struct Sum {
  double nll = 0;
  int64_t tokens = 0;
  double mean() const { return nll / static_cast<double>(std::max<int64_t>(tokens, 1)); }
};

// Tokens [begin, end) as one sequence of its own, `bos` (if any) in front and not scored.
Result<Sum> score_window(LoadedModel& m, const std::vector<int32_t>& tokens, size_t begin, size_t end,
                         std::optional<int32_t> bos, DType cache) {
  const size_t lead = bos ? 1 : 0;
  std::vector<int32_t> window(end - begin + lead);
  if (bos) window[0] = *bos;
  std::copy_n(tokens.data() + begin, end - begin, window.data() + lead);
  const int64_t vocab = m.model->info().vocab;
  RAISON_ASSIGN(const std::vector<float> logits, compute_logits(*m.model, *m.pool, *m.kernels, cache, window, 0, 0, m.adapter));
  Sum sum;
  for (size_t i = 0; i + 1 < window.size(); ++i) {
    sum.nll += negative_log_likelihood(logits.data() + static_cast<int64_t>(i) * vocab, vocab, window[i + 1]);
    ++sum.tokens;
  }
  return sum;
}

Result<int> run_perplexity(const PerplexityOptions& options) {
  RAISON_ASSIGN(const std::string text, read_file(options.file, size_t{256} << 20));
  RAISON_ASSIGN(auto m, load_for_use(options.model, options.threads, true, options.load, options.adapter));
  const int64_t limit = m->model->info().context_length;
  if (options.context > limit) return error("--ctx {} is more than the model's context of {}", options.context, limit);
  const int64_t window = options.context > 0 ? options.context : std::min(kDefaultWindow, limit);
  RAISON_ASSIGN(std::vector<int32_t> tokens, m->text.tokenizer->encode(text, {true, false}));
  RAISON_RETURN_IF_ERROR([&]() -> Status {
    for (int32_t id : tokens)
      if (id >= m->model->info().vocab)
        return error("{}: the tokenizer gives id {}, beyond the model's vocabulary", options.model, id);
    return {};
  }());
  // A tokenizer that puts a BOS in front of a text has it in front of every window, unscored.
  std::optional<int32_t> bos;
  if (!tokens.empty() && m->text.tokenizer->bos() == std::optional<TokenId>(tokens[0])) { bos = tokens[0]; }
  const size_t first = bos ? 1 : 0, scored = tokens.size() - first;
  if (tokens.size() < 2) return error("{}: too short, at least two tokens are needed", options.file);
  const auto step = static_cast<size_t>(window - (bos ? 1 : 0));
  RAISON_ASSIGN(const DType cache, cache_type_for(*m->model, options.cache_type));
  put(fmt::format("{} tokens in windows of {}, each computed on its own{}; cache {}, kernels {}\n", scored, window,
                  bos ? ", a BOS before each" : ", its first token not scored", options.cache_type, m->kernels->name));
  Sum total;
  for (size_t begin = first; begin < tokens.size() && output_status().ok(); begin += step) {
    const size_t end = std::min(tokens.size(), begin + step);
    if (end - begin + first < 2) break;  // a single token without anything before it
    RAISON_ASSIGN(const Sum sum, score_window(*m, tokens, begin, end, bos, cache));
    total.nll += sum.nll;
    total.tokens += sum.tokens;
    put(fmt::format("window {:>4}: {:>5} scored, NLL {:.6f}, perplexity {:.4f}; so far {:.4f}\n", (begin - first) / step + 1,
                    sum.tokens, sum.mean(), std::exp(sum.mean()), std::exp(total.mean())));
  }
  put(fmt::format("NLL per token {:.6f}, perplexity {:.4f} over {} scored tokens\n", total.mean(), std::exp(total.mean()),
                  total.tokens));
  return 0;
}

}  // namespace

void add_perplexity(CLI::App& app, Action& action) {
  auto options = std::make_shared<PerplexityOptions>();
  CLI::App* command = app.add_subcommand("perplexity", "Measure how well a model predicts a text");
  command->add_option("MODEL", options->model, "Model folder, GGUF file or ID of the hub")->required();
  command->add_option("FILE", options->file, "The text, UTF-8")->required();
  command->add_option("--ctx", options->context, "Tokens in a window (default: 512, or the model's context if smaller)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24))
      ->type_name("N");
  add_cache_type_option(command, &options->cache_type, "f32");
  add_adapter_option(command, &options->adapter);
  add_weights_memory_option(command, &options->load.weights_memory);
  add_threads_option(command, &options->threads);
  command->footer(
      "Windows do not overlap; every token but a window's first is scored.\n\nExample:\n"
      "  raison perplexity model/ wiki.txt --ctx 1024");
  command->callback([options, &action] { action = [options] { return run_perplexity(*options); }; });
}

}  // namespace raison::cli
