// raison generate: prompts as JSON lines in, samples as JSON lines out.
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "base/file.h"
#include "base/json_depth.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/hub_session.h"
#include "cli/live_block.h"
#include "cli/sample_file.h"
#include "cli/sampling_options.h"
#include "cli/thinking.h"
#include "engine/reply_text.h"
#include "train/data.h"
#include "train/hash.h"
#include "verify/verifier.h"

namespace raison::cli {
namespace {

using Json = nlohmann::ordered_json;

struct GenerateOptions {
  std::string model, prompts, out, system, cache_type, adapter;
  SamplingOptions sampling;
  ThinkingOptions thinking;
  int64_t samples = 1, context = 0, together = 256;
  std::optional<int64_t> cache_memory;
  bool raw = false, replace = false, text_only = false;
  std::string verifier, verifier_options, sft;
  int64_t sft_each = 1;
  int threads = 0;
  LoadOptions load;
};

struct PromptLine {
  Json input;
  ModelPrompt prompt;
  Json messages;      // null without a chat template
  Question question;  // for a verifier
};

const char* finish_name(FinishReason f) {
  switch (f) {
    case FinishReason::Stop: return "stop";
    case FinishReason::Length: return "length";
    case FinishReason::Cancelled: return "cancelled";
    case FinishReason::Error: return "error";
    case FinishReason::None: break;
  }
  return "none";
}
Json think_end_name(ThinkEnd e) {
  switch (e) {
    case ThinkEnd::None: return nullptr;
    case ThinkEnd::Model: return "model";
    case ThinkEnd::Budget: return "budget";
    case ThinkEnd::Loop: return "loop";
    case ThinkEnd::Caller: return "caller";
  }
  return nullptr;
}

// The conversation of a line: {"messages": [...]}, {"prompt": [...]} or {"prompt": "what the user says"}.
Result<Json> messages_of(const Json& line, const std::string& system, const std::string& where) {
  Json messages = Json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  const char* key = line.contains("messages") ? "messages" : "prompt";
  if (!line.contains(key)) return error("{}: has neither \"prompt\" nor \"messages\"", where);
  const Json& value = line[key];
  if (value.is_string()) {
    messages.push_back({{"role", "user"}, {"content", value}});
    return messages;
  }
  if (!value.is_array() || value.empty()) return error("{}: \"{}\" is neither a text nor a list of messages", where, key);
  for (const Json& m : value) {
    if (!m.is_object() || !m.contains("role") || !m["role"].is_string())
      return error("{}: every message of \"{}\" must be an object with a \"role\"", where, key);
    messages.push_back(m);
  }
  return messages;
}

std::string last_user_text(const Json& messages) {
  for (size_t i = messages.size(); i-- > 0;)
    if (messages[i]["role"] == "user" && messages[i].contains("content") && messages[i]["content"].is_string())
      return messages[i]["content"].get<std::string>();
  return "";
}

Result<std::vector<PromptLine>> read_prompts(const GenerateOptions& o, const TextSide& text, const Thinking& thinking) {
  TextInput input;
  input.file = o.prompts;
  RAISON_ASSIGN(const std::string all, read_text(input));
  std::vector<PromptLine> out;
  int64_t number = 0;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find('\n', begin), all.size());
    const std::string_view line = std::string_view(all).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", o.prompts, number);
    if (json_too_deep_at(line) != kShallow) return error("{}: JSON nested more than {} deep", where, kMaxJsonDepth);
    PromptLine p;
    p.input = Json::parse(line, nullptr, false);
    if (!p.input.is_object())
      return error("{}: no JSON object; each line should be {{\"prompt\": ...}} or {{\"messages\": [...]}}", where);
    const bool plain = o.raw || !text.chat_template;
    std::string last;
    Json messages;
    if (plain) {
      if (!p.input.contains("prompt") || !p.input["prompt"].is_string())
        return error("{}: without a chat template \"prompt\" must be a text", where);
      last = p.input["prompt"].get<std::string>();
    } else {
      RAISON_ASSIGN(messages, messages_of(p.input, o.system, where));
    }
    auto prompt = make_prompt(text, thinking, messages, last, plain, o.thinking);
    if (!prompt.ok()) return error("{}: {}", where, prompt.message());
    p.prompt = std::move(prompt).value();
    p.question = {last.empty() ? last_user_text(messages) : last, nlohmann::json::parse(p.input.dump())};
    p.messages = std::move(messages);
    out.push_back(std::move(p));
  }
  if (out.empty()) return error("{}: holds no prompts", o.prompts);
  return out;
}

// What rejection sampling keeps: of each prompt the first samples that are right and differ from one another, as records for `raison train sft`.
// Returns how many there are.
Result<int64_t> write_sft(const GenerateOptions& o, const std::vector<PromptLine>& prompts) {
  std::map<int64_t, std::set<std::string>> kept;
  std::string out;
  int64_t count = 0;
  RAISON_RETURN_IF_ERROR(read_json_lines(o.out, [&](const Json& j, int64_t) -> Status {
    if (j.value("verdict", "") != "right") return {};
    const auto index = j.at("index").get<int64_t>();
    auto& texts = kept[index];
    const std::string text = j.at("text").get<std::string>();
    if (static_cast<int64_t>(texts.size()) >= o.sft_each || !texts.insert(text).second) return {};
    const PromptLine& p = prompts.at(static_cast<size_t>(index));
    const Json line = {{"prompt", p.messages.is_null() ? Json(p.question.prompt) : p.messages}, {"completion", text}};
    out += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    ++count;
    return {};
  }));
  RAISON_RETURN_IF_ERROR(write_file_atomic(o.sft, out));
  return count;
}

// Error: a verifier that does not exist, or that can't judge some prompt.
Result<std::unique_ptr<Verifier>> verifier_for(const GenerateOptions& o, const std::vector<PromptLine>& prompts) {
  if (o.verifier.empty()) {
    if (!o.sft.empty()) return error("--sft keeps what is right, so it needs --verifier");
    return std::unique_ptr<Verifier>();
  }
  const auto settings = nlohmann::json::parse(o.verifier_options.empty() ? "{}" : o.verifier_options, nullptr, false);
  if (!settings.is_object()) return error("--verifier-options {}: no JSON object", quote_text(o.verifier_options));
  RAISON_ASSIGN(auto verifier, make_verifier(o.verifier, settings));
  for (size_t i = 0; i < prompts.size(); ++i)
    if (const Status ok = verifier->check(prompts[i].question); !ok.ok())
      return error("{}: prompt {}: {}: {}", o.prompts, i + 1, o.verifier, ok.message());
  return verifier;
}

double plain_float(float v) { return std::stod(fmt::format("{}", v)); }  // the shortest digits that name it

class GenerateRun {
 public:
  GenerateRun(const GenerateOptions& o, LoadedModel& m, const Thinking& thinking, std::vector<PromptLine> prompts, Request base,
              Verifier* verifier, SampleFile& file)
      : o_(o),
        m_(m),
        thinking_(thinking),
        prompts_(std::move(prompts)),
        base_(std::move(base)),
        verifier_(verifier),
        file_(file) {}

  // false: interrupted.
  Result<bool> run(Engine& engine) {
    const int64_t total = static_cast<int64_t>(prompts_.size()) * o_.samples;
    int64_t next = 0;
    const int64_t before = file_.count();
    begin_ = std::chrono::steady_clock::now();
    while (true) {
      while (next < total && static_cast<int64_t>(open_.size()) < 2 * o_.together)
        RAISON_RETURN_IF_ERROR(submit(engine, next++));
      if (open_.empty() && next == total) break;
      RAISON_RETURN_IF_ERROR(engine.step([&](const TokenEvent& e) { take(e, engine); }));
      if (!fault_.ok()) return fault_.error();
      progress(file_.count(), before, total);
      if (!interrupted() && output_status().ok()) continue;
      clear_progress();
      return false;
    }
    clear_progress();
    return true;
  }
  int64_t tokens() const { return tokens_; }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

  Request request_of(int64_t prompt, int64_t sample) const {
    Request r = base_;
    r.prompt = prompts_[static_cast<size_t>(prompt)].prompt.tokens;
    r.think_start = prompts_[static_cast<size_t>(prompt)].prompt.start;
    r.sampling.seed = hash_seed({base_.sampling.seed, static_cast<uint64_t>(prompt)});
    r.sample_index = static_cast<uint64_t>(sample);
    return r;
  }

 private:
  struct Open {
    SampleFile::Key key;
    Generation reply;
  };

  Status submit(Engine& engine, int64_t number) {
    const SampleFile::Key key = {number / o_.samples, number % o_.samples};
    if (file_.has(key)) return {};
    auto id = engine.submit(request_of(key.first, key.second));
    if (!id.ok()) return error("{}: prompt {}: {}", o_.prompts, key.first + 1, id.message());
    open_[*id].key = key;
    return {};
  }

  void take(const TokenEvent& e, Engine& engine) {
    const auto at = open_.find(e.request);
    if (at == open_.end()) return;
    Generation& g = at->second.reply;
    g.add(e);
    tokens_ += e.token >= 0 ? 1 : 0;
    if (e.finish == FinishReason::Error) fault_ = error("prompt {}: {}", at->second.key.first + 1, e.error);
    std::string stopped_at;
    const bool more = e.finish == FinishReason::None || e.finish == FinishReason::Length;
    if (more && !o_.sampling.stop.empty() && e.token >= 0) stopped_at = stop_string_in(g);
    if (e.finish == FinishReason::None && stopped_at.empty()) return;
    if (e.finish == FinishReason::None) engine.cancel(e.request);
    const Open done = std::move(at->second);
    open_.erase(at);
    if (!fault_.ok() || e.finish == FinishReason::Cancelled) return;
    const auto line = record(done, stopped_at);
    fault_ = line.ok() ? file_.add(done.key, *line) : Status(line.error());
  }

  // The stop string that the reply's latest tokens have completed: of several the one that ends first, then the longest. They are looked
  // at as text: a few more than could hold it.
  std::string stop_string_in(const Generation& g) const {
    size_t longest = 0;
    for (const std::string& s : o_.sampling.stop) longest = std::max(longest, s.size());
    const size_t n = std::min(g.tokens.size(), longest + 4);
    const std::vector<int32_t> tail(g.tokens.end() - static_cast<std::ptrdiff_t>(n), g.tokens.end());
    const std::string text = m_.text.tokenizer->decode(tail);
    std::string first;
    size_t first_end = std::string::npos;
    for (const std::string& s : o_.sampling.stop) {
      const size_t at = text.find(s);
      if (at == std::string::npos || at + s.size() > first_end) continue;
      if (at + s.size() < first_end || s.size() > first.size()) first = s;
      first_end = at + s.size();
    }
    return first;
  }

  // "verdict", "score", "extracted", "reason" of a finished sample.
  Status judge(const Open& done, const ReplyText& text, Json* j) const {
    const PromptLine& p = prompts_[static_cast<size_t>(done.key.first)];
    raison::Reply reply;
    reply.text = text.text;
    reply.thought = text.thought;
    reply.answer = text.answer;
    reply.ended = (*j)["finish_reason"] == "stop";
    reply.thought_ended = done.reply.kinds.empty() || done.reply.kinds.back() != TokenKind::Thought;
    reply.tokens = static_cast<int64_t>(done.reply.tokens.size());
    const Submission one{&p.question, &reply};
    RAISON_ASSIGN(const std::vector<Verdict> verdicts, verifier_->judge(std::span(&one, 1)));
    const Verdict& v = verdicts.at(0);
    (*j)["verdict"] = verdict_name(v.kind);
    (*j)["score"] = v.score;
    (*j)["extracted"] = v.answer;
    if (!v.reason.empty()) (*j)["reason"] = v.reason;
    return {};
  }

  Result<Json> record(const Open& done, const std::string& stopped_at) const {
    const Generation& g = done.reply;
    ReplyText text = reply_text(*m_.text.tokenizer, thinking_.format ? &*thinking_.format : nullptr, g);
    if (!stopped_at.empty())
      for (std::string* part : {&text.text, &text.thought, &text.answer})
        if (const size_t at = part->rfind(stopped_at); at != std::string::npos) part->resize(at);
    const PromptLine& p = prompts_[static_cast<size_t>(done.key.first)];
    Json j = {{"index", done.key.first}, {"sample", done.key.second}, {"input", p.input}, {"text", text.text}};
    if (thinking_.format) j["thinking"] = text.thought;
    j["answer"] = text.answer;
    j["finish_reason"] = stopped_at.empty() ? finish_name(g.finish) : "stop";
    j["prompt_tokens"] = p.prompt.tokens.size();
    j["completion_tokens"] = g.tokens.size();
    if (thinking_.format) {
      j["thinking_tokens"] = text.thought_tokens;
      j["think_end"] = think_end_name(g.think_end);
    }
    if (verifier_) RAISON_RETURN_IF_ERROR(judge(done, text, &j));
    if (o_.text_only) return j;
    j["tokens"] = g.tokens;
    Json logprobs = Json::array(), forced = Json::array();
    for (size_t i = 0; i < g.tokens.size(); ++i) {
      logprobs.push_back(plain_float(g.logprobs[i]));
      if (g.forced[i]) forced.push_back(i);
    }
    j["logprobs"] = std::move(logprobs);
    j["forced"] = std::move(forced);  // indices of tokens that were put in, not drawn
    return j;
  }

  void progress(int64_t done, int64_t before, int64_t total) {
    const double s = seconds(), made = static_cast<double>(done - before);
    const auto now = static_cast<int64_t>(s * 5);
    if (now == drawn_) return;
    drawn_ = now;
    constexpr int64_t kBar = 20;
    const auto filled = static_cast<size_t>(kBar * done / std::max<int64_t>(total, 1));
    std::string line = fmt::format("[{:<20}] {} of {} samples · {:.1f} tokens/s", std::string(filled, '#'), done, total,
                                   static_cast<double>(tokens_) / std::max(s, 1e-9));
    if (made > 0) line += fmt::format(" · {:.0f} s left", s / made * static_cast<double>(total - done));
    show_progress(line);
  }

  const GenerateOptions& o_;
  LoadedModel& m_;
  const Thinking& thinking_;
  std::vector<PromptLine> prompts_;
  Request base_;
  Verifier* verifier_;  // null: none
  SampleFile& file_;
  std::unordered_map<uint64_t, Open> open_;
  Status fault_;
  int64_t tokens_ = 0, drawn_ = -1;
  std::chrono::steady_clock::time_point begin_;
};

// All that the samples depend on.
Json settings_of(const GenerateOptions& o, const LoadedModel& m, const ResolvedSampling& s, const ThinkLimits& limits,
                 const std::vector<PromptLine>& prompts, DType cache) {
  uint64_t hash = 0;
  for (const PromptLine& p : prompts) {
    for (const int32_t t : p.prompt.tokens) hash = hash_seed({hash, static_cast<uint64_t>(t)});
    hash = hash_seed({hash, p.prompt.tokens.size()});
  }
  Json settings = {{"model", m.files.path},
                   {"prompts", fmt::format("{} lines, {:016x}", prompts.size(), hash)},
                   {"samples", o.samples},
                   {"sampling", sampling_words(s)},
                   {"seed", s.params.seed},
                   {"max_tokens", s.max_tokens},
                   {"stop", o.sampling.stop},
                   {"thinking", {limits.budget, limits.minimum, limits.marks, limits.satisfied_by, limits.loop_guard}},
                   {"cache_type", cache_type_name(cache)},
                   {"context", o.context},
                   {"text_only", o.text_only}};
  if (!o.verifier.empty()) {
    uint64_t golds = 0;  // the verdicts in the file are by these records
    for (const PromptLine& p : prompts) {
      const std::string record = p.input.dump(-1, ' ', false, Json::error_handler_t::replace);
      golds = hash_bytes(record.data(), record.size(), golds);
    }
    settings["verifier"] = fmt::format("{} {} {:016x}", o.verifier, o.verifier_options, golds);
  }
  if (m.adapter >= 0) {  // by its numbers: it may have been taught further
    uint64_t weights = 0;
    for (const auto& p : m.model->adapters()[static_cast<size_t>(m.adapter)]->parameters().all())
      weights = hash_bytes(p->values(), static_cast<size_t>(p->value_count()) * sizeof(float), weights);
    settings["adapter"] = fmt::format("{}, {:016x}", o.adapter, weights);
  }
  return settings;
}

// The file of right samples must not be another file of ours, and must be one that can be written: said before the work.
Status check_sft(const GenerateOptions& o) {
  if (o.sft.empty()) return {};
  std::error_code ec;
  const auto place = [&](const std::string& path) { return std::filesystem::weakly_canonical(path, ec); };
  for (const std::string* other : {&o.out, &o.prompts})
    if (place(*other) == place(o.sft))
      return error("--sft {}: is the file of {}; name another", o.sft, other == &o.out ? "all samples" : "prompts");
  if (std::filesystem::exists(o.sft, ec) && !o.replace)
    return error("{}: is there already; name another file, or --force to replace it", o.sft);
  const auto probe = AtomicFile::create(o.sft);
  return probe.ok() ? Status() : Status(probe.error());
}

Result<int> run_generate(GenerateOptions o) {
  RAISON_RETURN_IF_ERROR(check_sft(o));
  RAISON_RETURN_IF_ERROR(resolve_sampling(o.sampling, {}));  // before any file is read
  if (!o.sampling.seed) o.sampling.seed = 1;                 // a file that goes on must go on with the same
  RAISON_ASSIGN(const auto model, find_or_pull(o.model));
  if (!model) return 130;
  RAISON_ASSIGN(auto m, load_for_use(*model, o.threads, true, o.load, o.adapter));
  const int64_t limit = m->model->info().context_length;
  if (o.context > limit) return error("--ctx {} is more than the model's context of {}", o.context, limit);
  RAISON_ASSIGN(const Thinking thinking, thinking_of(m->text, m->model->info().vocab));
  RAISON_ASSIGN(const ResolvedSampling sampling, resolve_sampling(o.sampling, m->files.generation));
  Request base;
  base.sampling = sampling.params;
  base.max_tokens = sampling.max_tokens;
  base.stop_ids = m->text.stop_ids;
  base.think = thinking.rules;
  base.adapter = m->adapter;
  RAISON_ASSIGN(base.think_limits, think_limits(m->text, thinking, o.thinking));
  RAISON_ASSIGN(auto prompts, read_prompts(o, m->text, thinking));
  RAISON_ASSIGN(const auto verifier, verifier_for(o, prompts));
  RAISON_ASSIGN(const DType cache, cache_type_for(*m->model, o.cache_type));
  const Json settings = settings_of(o, *m, sampling, base.think_limits, prompts, cache);
  RAISON_ASSIGN(const auto file, SampleFile::open(o.out, settings, o.replace));
  EngineOptions engine_options;
  engine_options.cache_type = cache;
  engine_options.context = o.context;
  engine_options.max_sequences = static_cast<int>(o.together);
  engine_options.cache_bytes = o.cache_memory.value_or(0);
  Engine engine(*m->model, *m->pool, *m->kernels, engine_options);
  const auto count = static_cast<int64_t>(prompts.size());
  const int64_t kept = file->count();
  GenerateRun run(o, *m, thinking, prompts, std::move(base), verifier.get(), *file);
  for (int64_t p = 0; p < count; ++p)  // a prompt that can't be is found now, not after hours
    if (const Status ok = engine.check(run.request_of(p, 0)); !ok.ok())
      return error("{}: prompt {}: {}", o.prompts, p + 1, ok.message());
  if (kept > 0) note(fmt::format("{}: {} kept from before", file->partial(), counted(kept, "sample")));
  catch_interrupts(true);
  RAISON_ASSIGN(const bool whole, run.run(engine));
  if (!whole) {
    note(fmt::format("stopped: {} in {}; the same command goes on", counted(file->count(), "sample"), file->partial()));
    return 130;
  }
  RAISON_RETURN_IF_ERROR(file->finish());
  const EngineStats stats = engine.stats();
  note(fmt::format("{}: {} of {}, {} in {:.1f} s, {:.1f} tokens/s; {} prompt tokens computed, {} shared", o.out,
                   counted(count * o.samples, "sample"), counted(count, "prompt"), counted(run.tokens(), "token"),
                   run.seconds(), static_cast<double>(run.tokens()) / std::max(run.seconds(), 1e-9),
                   grouped(stats.prompt_tokens), grouped(stats.cached_tokens)));
  if (!o.sft.empty()) {
    RAISON_ASSIGN(const int64_t right, write_sft(o, prompts));
    note(fmt::format("{}: {} that are right, for raison train sft", o.sft, counted(right, "sample")));
  }
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "Draw samples for a file of prompts");
  command->add_option("MODEL", options->model, "Model folder, GGUF file or ID on the hub")->required();
  command
      ->add_option("PROMPTS", options->prompts,
                   "JSON lines, each with \"prompt\" (a text, or messages) or \"messages\"; - is standard input")
      ->required();
  command->add_option("-o,--out", options->out, "The file of samples to be written")->required()->type_name("FILE");
  command->add_option("-n,--samples", options->samples, "Samples of each prompt (default: 1)")
      ->check(CLI::Range(int64_t{1}, int64_t{65536}))
      ->type_name("N");
  command->add_flag("--force", options->replace, "Begin anew, whatever is there");
  command->add_flag("--text-only", options->text_only, "Leave out token ids and logprobs");
  command
      ->add_option("--verifier", options->verifier,
                   "Judge every sample: math, choice, code, ... (docs/verifiers.md); the prompts' lines hold what it needs")
      ->type_name("NAME");
  command->add_option("--verifier-options", options->verifier_options, "Its options, as JSON")->type_name("JSON");
  command
      ->add_option("--sft", options->sft,
                   "Rejection sampling: write right samples here too, as {prompt, completion} for raison train sft")
      ->type_name("FILE");
  command->add_option("--sft-each", options->sft_each, "So many of each prompt at most (default: 1)")
      ->check(CLI::Range(int64_t{1}, int64_t{65536}))
      ->type_name("N");
  command->add_option("--system", options->system, "System message of every prompt")->type_name("TEXT");
  command->add_flag("--raw", options->raw, "No chat template: continue the texts as they stand");
  command->add_option("--together", options->together, "Sequences computed together at most (default: 256)")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->type_name("N");
  command->add_option("--ctx", options->context, "Positions a sequence may use (default: the model's)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24))
      ->type_name("N");
  add_cache_type_option(command, &options->cache_type, "");
  add_cache_memory_option(command, &options->cache_memory);
  add_adapter_option(command, &options->adapter);
  add_weights_memory_option(command, &options->load.weights_memory);
  add_threads_option(command, &options->threads);
  options->thinking.add_to(command);
  options->sampling.add_to(command);
  command->footer(
      "Samples are kept in FILE.partial as they come; stopped or broken off, the same command goes on from there. FILE appears "
      "whole, its\n"
      "lines in order: index, sample, input (the prompt's line), text, thinking, answer, finish_reason, tokens, logprobs, ...\n"
      "The same seed (default here: 1) gives the same samples on any machine, however many are computed together.\n\n"
      "Example:\n  raison generate model/ prompts.jsonl -n 8 -o samples.jsonl --max-tokens 2000\n"
      "  raison generate model/ questions.jsonl -n 16 -o samples.jsonl --verifier math --sft sft.jsonl");
  command->callback([options, &action] { action = [options] { return run_generate(*options); }; });
}

}  // namespace raison::cli
