#include "cli/sampling_options.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>

#include "cli/commands.h"

namespace raison::cli {
namespace {

using Reals = std::optional<double> SamplingOptions::*;
using Integers = std::optional<int64_t> SamplingOptions::*;
struct RealSetting {
  const char* name;
  Reals field;
  const char* help;
};
struct IntegerSetting {
  const char* name;
  Integers field;
  const char* help;
};

constexpr RealSetting kReals[] = {
    {"temp", &SamplingOptions::temp, "Temperature; 0 always takes the likeliest token"},
    {"top-p", &SamplingOptions::top_p, "Keep the likeliest tokens up to this share; 1 is off"},
    {"min-p", &SamplingOptions::min_p, "Drop tokens below this share of the likeliest; 0 is off"},
    {"typical-p", &SamplingOptions::typical_p, "Keep the most typical tokens up to this share; 1 is off"},
    {"repeat-penalty", &SamplingOptions::repeat_penalty, "Penalty on tokens of prompt and reply; 1 is off"},
    {"presence-penalty", &SamplingOptions::presence_penalty, "Taken from the logit of tokens already in the reply; 0 is off"},
    {"frequency-penalty", &SamplingOptions::frequency_penalty, "The same for each time a token was used; 0 is off"},
};
constexpr IntegerSetting kIntegers[] = {
    {"top-k", &SamplingOptions::top_k, "Keep this many likeliest tokens; 0 is off"},
    {"no-repeat-ngram", &SamplingOptions::no_repeat_ngram, "No sequence of this many tokens twice; 0 is off"},
    {"max-tokens", &SamplingOptions::max_tokens, "Tokens of a reply at most; 0: what the context holds"},
};

std::optional<double> parse_real(const std::string& text) {
  char* end = nullptr;
  const double value = strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value)) return std::nullopt;
  return value;
}

constexpr int64_t kMostTokens = int64_t{1} << 40;

uint64_t drawn_seed() {
  std::random_device device;  // only to pick a seed, which the stats line shows
  return device();
}

}  // namespace

void SamplingOptions::add_to(CLI::App* command) {
  const std::string group = "Sampling (defaults: the model's generation_config.json)";
  for (const RealSetting& s : kReals)
    command->add_option(std::string("--") + s.name, this->*s.field, s.help)->type_name("X")->group(group);
  for (const IntegerSetting& s : kIntegers)
    command->add_option(std::string("--") + s.name, this->*s.field, s.help)
        ->check(CLI::Range(int64_t{0}, kMostTokens))
        ->type_name("N")
        ->group(group);
  command->add_option("--seed", seed, "Seed of the random numbers (default: a new one each time, shown at the end)")
      ->check(whole_number())
      ->type_name("N")
      ->group(group);
  command->add_option("--stop", stop, "Text that ends the reply; may be given several times")
      ->type_name("TEXT")
      ->group(group)
      ->take_all()
      ->expected(1);
}

std::string SamplingOptions::names() {
  std::string out;
  for (const RealSetting& s : kReals) out += std::string(s.name) + " ";
  for (const IntegerSetting& s : kIntegers) out += std::string(s.name) + " ";
  return out + "seed stop";
}

Status SamplingOptions::set(const std::string& key, const std::string& value) {
  SamplingOptions changed = *this;
  bool found = false;
  for (const RealSetting& s : kReals)
    if (key == s.name) {
      const auto number = parse_real(value);
      if (!number) return error("{} needs a number, not \"{}\"", key, value);
      changed.*s.field = number;
      found = true;
    }
  const auto whole = parse_whole(value);
  for (const IntegerSetting& s : kIntegers)
    if (key == s.name) {
      if (!whole || *whole > static_cast<uint64_t>(kMostTokens))
        return error("{} needs a whole number from 0 to {}, not \"{}\"", key, kMostTokens, value);
      changed.*s.field = static_cast<int64_t>(*whole);
      found = true;
    }
  if (key == "seed") {
    if (!whole) return error("seed needs a whole number from 0 to {}, not \"{}\"", UINT64_MAX, value);
    changed.seed = whole;
    found = true;
  }
  if (key == "stop") {
    changed.stop = value.empty() ? std::vector<std::string>() : std::vector<std::string>{value};
    found = true;
  }
  if (!found) return error("no setting \"{}\"; there are: {}", key, names());
  if (auto checked = resolve_sampling(changed, {}); !checked.ok()) return checked.error();
  *this = changed;
  return {};
}

Result<ResolvedSampling> resolve_sampling(const SamplingOptions& options, const GenerationDefaults& defaults) {
  const bool silent = !defaults.do_sample && !defaults.temperature && !defaults.top_p && !defaults.top_k;
  const bool greedy = defaults.do_sample == std::optional<bool>(false);
  ResolvedSampling out;
  SamplingParams& p = out.params;
  const auto real = [](const std::optional<double>& said, const std::optional<double>& model, double otherwise) {
    return static_cast<float>(said ? *said : model.value_or(otherwise));
  };
  p.temperature = greedy && !options.temp ? 0.0f : real(options.temp, defaults.temperature, silent ? 0.6 : 1.0);
  p.top_p = real(options.top_p, defaults.top_p, silent ? 0.95 : 1.0);
  p.min_p = real(options.min_p, defaults.min_p, 0);
  p.typical_p = real(options.typical_p, defaults.typical_p, 1);
  p.repetition_penalty = real(options.repeat_penalty, defaults.repetition_penalty, 1);
  p.presence_penalty = real(options.presence_penalty, {}, 0);
  p.frequency_penalty = real(options.frequency_penalty, {}, 0);
  const auto bounded = [](int64_t n) { return static_cast<int>(std::min<int64_t>(n, INT32_MAX)); };  // beyond any vocabulary
  p.top_k = bounded(options.top_k ? *options.top_k : defaults.top_k.value_or(0));
  p.no_repeat_ngram = bounded(options.no_repeat_ngram.value_or(0));
  out.max_tokens = options.max_tokens ? *options.max_tokens : defaults.max_new_tokens.value_or(0);
  out.seed_drawn = !options.seed;
  p.seed = options.seed ? *options.seed : drawn_seed();
  RAISON_RETURN_IF_ERROR(p.validate());
  RAISON_RETURN_IF_ERROR(StopChecker::create(options.stop));
  return out;
}

std::string sampling_words(const ResolvedSampling& s) {
  const SamplingParams& p = s.params;
  std::string out = p.temperature == 0 ? "greedy" : fmt::format("temp {:g}", p.temperature);
  const auto add = [&](const char* name, double value, double off) {
    if (value != off) out += fmt::format(", {} {:g}", name, value);
  };
  if (p.temperature != 0) {
    add("top-k", static_cast<double>(p.top_k), 0);
    add("top-p", p.top_p, 1);
    add("min-p", p.min_p, 0);
    add("typical-p", p.typical_p, 1);
  }
  add("repeat-penalty", p.repetition_penalty, 1);
  add("presence-penalty", p.presence_penalty, 0);
  add("frequency-penalty", p.frequency_penalty, 0);
  add("no-repeat-ngram", static_cast<double>(p.no_repeat_ngram), 0);
  if (s.max_tokens > 0) out += fmt::format(", max-tokens {}", s.max_tokens);
  if (p.temperature != 0) out += s.seed_drawn ? ", seed new for each reply" : fmt::format(", seed {}", p.seed);
  return out;
}

}  // namespace raison::cli
