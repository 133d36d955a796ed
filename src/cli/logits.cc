// raison logits: the raw scores of every position, for whoever compares engines.
#include <algorithm>
#include <memory>
#include <numeric>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/session.h"
#include "cli/token_list.h"
#include "io/safetensors.h"

namespace raison::cli {
namespace {

constexpr int64_t kFarthestPosition = int64_t{1} << 26;  // beyond it sines and cosines are not promised (docs/numerics.md, 2)

struct LogitsOptions {
  std::string model, tokens, out, cache_type, adapter;
  int threads = 0;
  int64_t chunk = 0, position_offset = 0;
  bool exact = false;
  LoadOptions load;
};

std::string name_of(const LoadedModel& m, int32_t id) {
  return m.text.tokenizer ? quote_text(m.text.tokenizer->piece(id)) : std::string();
}

// The five best of one position, best first, ties to the lowest id.
std::string table_row(const LoadedModel& m, size_t at, int32_t token, const float* row, int64_t vocab) {
  std::vector<int32_t> order(static_cast<size_t>(vocab));
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min<int64_t>(5, vocab);
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](int32_t a, int32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
  std::string line = fmt::format("{:>5}  {:>6} {:<12}", at, token, name_of(m, token));
  for (int64_t i = 0; i < count; ++i) {
    const int32_t id = order[static_cast<size_t>(i)];
    line += fmt::format("  {} {} {:.4f}", id, name_of(m, id), row[id]);
  }
  return line + "\n";
}

Result<int> run_logits(const LogitsOptions& options) {
  RAISON_ASSIGN(const std::vector<int32_t> tokens, read_token_list(options.tokens));
  LoadOptions load = options.load;
  if (options.exact) load.repack = DType::F32;
  RAISON_ASSIGN(auto m, load_for_use(options.model, options.threads, false, load, options.adapter));
  const int64_t vocab = m->model->info().vocab;
  RAISON_RETURN_IF_ERROR(check_tokens(tokens, vocab));
  const int64_t context = m->model->info().context_length;
  if (context > 0 && static_cast<int64_t>(tokens.size()) > context)
    return error("{} tokens are more than the model's context of {}; give fewer", tokens.size(), context);
  if (options.position_offset + static_cast<int64_t>(tokens.size()) - 1 > kFarthestPosition)
    return error("--position-offset {}: {} tokens from there go beyond position {}", options.position_offset, tokens.size(),
                 kFarthestPosition);
  RAISON_ASSIGN(const DType cache, cache_type_for(*m->model, options.cache_type));
  RAISON_ASSIGN(const std::vector<float> logits, compute_logits(*m->model, *m->pool, *m->kernels, cache, tokens, options.chunk,
                                                                options.position_offset, m->adapter));
  if (!options.out.empty()) {
    const auto rows = static_cast<int64_t>(tokens.size());
    RAISON_RETURN_IF_ERROR(write_safetensors(
        options.out, {{"logits", DType::F32, {rows, vocab}, logits.data()}, {"tokens", DType::I32, {rows}, tokens.data()}},
        {{"model", m->files.path}, {"cache_type", options.cache_type}, {"adapter", options.adapter}}));
    put(fmt::format("{}: logits F32 [{}, {}], tokens I32 [{}]; cache {}, kernels {}\n", options.out, rows, vocab, rows,
                    options.cache_type, m->kernels->name));
    return 0;
  }
  std::string table = fmt::format("{:>5}  {:>6} {:<12}  next: id, text and logit of the five best\n", "pos", "token", "text");
  for (size_t i = 0; i < tokens.size(); ++i)
    table += table_row(*m, i, tokens[i], logits.data() + static_cast<int64_t>(i) * vocab, vocab);
  put(table);
  return 0;
}

}  // namespace

void add_logits(CLI::App& app, Action& action) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App* command = app.add_subcommand("logits", "Compute the logits of every position of a token list");
  command->add_option("MODEL", options->model, "Model folder, GGUF file or ID of the hub")->required();
  command->add_option("--tokens", options->tokens, "Ids \"1,2,3\", or a file (text, or safetensors with \"tokens\")")
      ->required()
      ->type_name("LIST|FILE");
  command->add_option("--out", options->out, "Write logits F32 [T, vocabulary] and tokens I32 [T] to this safetensors file")
      ->type_name("F.safetensors");
  add_cache_type_option(command, &options->cache_type, "f32");
  command->add_option("--chunk", options->chunk, "Tokens in one forward pass (default: all; the bits are the same)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("N");
  command->add_flag("--exact", options->exact, "Compute with the weights' values in fp32: no int8 activations, no rounding");
  add_adapter_option(command, &options->adapter);
  add_weights_memory_option(command, &options->load.weights_memory);
  command->add_option("--position-offset", options->position_offset, "Shift of all rotary positions (default: 0)")
      ->check(CLI::Range(int64_t{0}, kFarthestPosition))
      ->type_name("N");
  add_threads_option(command, &options->threads);
  command->footer(
      "Without --out a table shows the five best next tokens of each position.\n\nExamples:\n"
      "  raison logits model/ --tokens 1,403,407\n"
      "  raison logits model.gguf --tokens ids.txt --out logits.safetensors");
  command->callback([options, &action] { action = [options] { return run_logits(*options); }; });
}

}  // namespace raison::cli
