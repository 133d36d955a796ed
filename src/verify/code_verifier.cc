// The verifier "code": the code of an answer, run against the record's tests in the sandbox.
#include <sys/random.h>

#include <algorithm>
#include <mutex>

#include "base/thread_pool.h"
#include "verify/code_block.h"
#include "verify/code_program.h"
#include "verify/extract.h"
#include "verify/factories.h"
#include "verify/option_reader.h"
#include "verify/plain_text.h"
#include "verify/sandbox.h"

namespace raison {
namespace {

constexpr size_t kMostCode = 1 << 20;  // bytes of a solution
constexpr int64_t kMiB = int64_t{1} << 20;

struct CodeOptions {
  std::string language = "python";
  std::vector<std::string> command;  // with {file}; empty: the language's own
  std::vector<std::string> readable;
  std::string compare = "lines";
  bool fenced = true;
  int64_t parallel = 0;
  int64_t memory_mb = 1024, output_kb = 1024, disk_mb = 64;
  SandboxLimits limits;
};

struct CodeLanguage {
  const char* name;
  std::vector<std::string> labels;
  const char* file;
  std::vector<std::string> command;
  const char *needs, *package;  // the program that runs or translates it
};

const std::vector<CodeLanguage>& code_languages() {
  static const std::vector<CodeLanguage> languages = {
      {"python", {"python", "python3", "py"}, "solution.py", {"/usr/bin/python3", "{file}"}, "/usr/bin/python3", "python3"},
      {"cpp",
       {"cpp", "c++", "cc", "cxx"},
       "solution.cc",
       {"/bin/sh", "-c", "/usr/bin/g++ -std=c++17 -O2 -o /tmp/solution \"$0\" && exec /tmp/solution", "{file}"},
       "/usr/bin/g++",
       "g++"},
  };
  return languages;
}

std::string random_token() {
  unsigned char bytes[16] = {};
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return "";
  std::string out = "raison-";
  for (const unsigned char b : bytes) out += fmt::format("{:02x}", b);
  return out;
}

class CodeVerifier final : public Verifier {
 public:
  CodeVerifier(CodeOptions options, CodeLanguage language, std::unique_ptr<Sandbox> sandbox)
      : options_(std::move(options)), language_(std::move(language)), sandbox_(std::move(sandbox)) {}
  const std::string& name() const override { return name_; }
  Status check(const Question& question) const override {
    const auto tests = tests_of(question);
    return tests.ok() ? Status() : Status(tests.error());
  }
  Result<std::vector<Verdict>> judge(std::span<const Submission> submissions) override;

 private:
  Result<CodeTests> tests_of(const Question& question) const;
  Result<Verdict> judge_one(const Submission& submission) const;
  Result<std::string> run_asserts(const CodeTests& tests, const std::string& solution) const;
  Result<std::string> run_pairs(const CodeTests& tests, const std::string& solution) const;
  std::vector<std::string> command_for(const std::string& file) const;

  std::string name_ = "code";
  CodeOptions options_;
  CodeLanguage language_;
  std::unique_ptr<Sandbox> sandbox_;
};

Result<CodeTests> CodeVerifier::tests_of(const Question& question) const {
  RAISON_ASSIGN(CodeTests tests, read_code_tests(question.record));
  if (tests.kind == CodeTests::Asserts && language_.name != std::string("python"))
    return error("code: tests behind the solution are Python's; {} takes inputs and outputs", language_.name);
  return tests;
}

std::vector<std::string> CodeVerifier::command_for(const std::string& file) const {
  std::vector<std::string> command = options_.command.empty() ? language_.command : options_.command;
  for (std::string& part : command)
    for (size_t at = part.find("{file}"); at != std::string::npos; at = part.find("{file}", at + file.size()))
      part.replace(at, 6, file);
  return command;
}

// "" if all is right, else why not.
Result<std::string> CodeVerifier::run_asserts(const CodeTests& tests, const std::string& solution) const {
  const std::string token = random_token();
  if (token.empty()) return error("code: the system gives no random numbers");
  SandboxJob job;
  job.files = {{"harness.py", kPythonHarness}};
  job.command = command_for("/job/harness.py");
  job.input = harness_input(tests, solution, token);
  job.limits = options_.limits;
  RAISON_ASSIGN(const SandboxOutcome outcome, sandbox_->run(job));
  if (outcome.end != SandboxOutcome::Exited) return ending_text(outcome);
  const std::string result = harness_result(outcome.out, token);
  if (result != "no result" || outcome.code != 0) return result != "no result" ? result : ending_text(outcome);
  return std::string("the program ended before its tests did");
}

Result<std::string> CodeVerifier::run_pairs(const CodeTests& tests, const std::string& solution) const {
  SandboxJob job;
  job.files = {{language_.file, solution}};
  job.command = command_for(std::string("/job/") + language_.file);
  job.limits = options_.limits;
  for (size_t i = 0; i < tests.pairs.size(); ++i) {
    job.input = tests.pairs[i].first;
    RAISON_ASSIGN(const SandboxOutcome outcome, sandbox_->run(job));
    if (!outcome.done()) {
      const std::string said = one_line(last_line(outcome.err), 200);
      return fmt::format("test {} failed: {}{}{}", i + 1, ending_text(outcome), said.empty() ? "" : ": ", said);
    }
    if (!same_output(outcome.out, tests.pairs[i].second, options_.compare))
      return fmt::format("test {} failed: it wrote \"{}\", expected was \"{}\"", i + 1, one_line(outcome.out, 80),
                         one_line(tests.pairs[i].second, 80));
  }
  return std::string();
}

Result<Verdict> CodeVerifier::judge_one(const Submission& submission) const {
  Verdict out;
  if (!submission.reply->ended || !submission.reply->thought_ended) {
    out.kind = Verdict::Wrong;
    out.reason = "cut off";
    return out;
  }
  const auto tests = tests_of(*submission.question);
  if (!tests.ok()) {
    out.kind = Verdict::Failed;
    out.reason = tests.message();
    return out;
  }
  const std::string_view answer = submission.reply->answer;
  const auto code = options_.fenced ? last_code_block(answer, language_.labels) : std::optional(answer);
  if (!code || trim(*code).empty() || code->size() > kMostCode) {
    out.reason = !code || trim(*code).empty() ? "no code block" : "the code is longer than 1 MiB";
    return out;
  }
  const std::string solution = whole_solution(*tests, *code);
  RAISON_ASSIGN(out.reason, tests->kind == CodeTests::Asserts ? run_asserts(*tests, solution) : run_pairs(*tests, solution));
  out.answer = std::string(*code);
  out.kind = out.reason.empty() ? Verdict::Right : Verdict::Wrong;
  out.score = out.reason.empty() ? 1 : 0;
  return out;
}

Result<std::vector<Verdict>> CodeVerifier::judge(std::span<const Submission> submissions) {
  struct Shared {
    const CodeVerifier* self;
    std::span<const Submission> submissions;
    std::vector<Verdict> verdicts;
    std::mutex mutex;  // of fault
    std::string fault;
  } shared;
  shared.self = this;
  shared.submissions = submissions;
  shared.verdicts.resize(submissions.size());
  const auto most = static_cast<int64_t>(submissions.size());
  ThreadPool pool(static_cast<int>(std::clamp<int64_t>(options_.parallel, 1, std::max<int64_t>(most, 1))));
  pool.run(
      most,
      [](void* arg, int64_t item, int) {
        auto& s = *static_cast<Shared*>(arg);
        auto verdict = s.self->judge_one(s.submissions[static_cast<size_t>(item)]);
        const std::lock_guard lock(s.mutex);
        if (verdict.ok()) s.verdicts[static_cast<size_t>(item)] = std::move(*verdict);
        if (!verdict.ok() && s.fault.empty()) s.fault = verdict.message();
      },
      &shared);
  if (!shared.fault.empty()) return error("code: {}", shared.fault);
  return std::move(shared.verdicts);
}

Status read_code_options(const nlohmann::json& options, CodeOptions* o) {
  OptionReader reader("code", options);
  o->parallel = ThreadPool::default_threads();
  reader.read("language", &o->language);
  reader.read("command", &o->command);
  reader.read("readable", &o->readable);
  reader.read("compare", &o->compare);
  reader.read("fenced", &o->fenced);
  reader.read("parallel", &o->parallel, 1, 256);
  reader.read("timeout", &o->limits.seconds, 0.1, 3600);
  reader.read("cpu_seconds", &o->limits.cpu_seconds, 0, 3600);
  reader.read("memory_mb", &o->memory_mb, 16, 1 << 20);
  reader.read("processes", &o->limits.processes, 1, 4096);
  reader.read("output_kb", &o->output_kb, 1, 1 << 20);
  reader.read("disk_mb", &o->disk_mb, 1, 1 << 20);
  RAISON_RETURN_IF_ERROR(reader.finish());
  o->limits.memory_bytes = o->memory_mb * kMiB;
  o->limits.output_bytes = o->output_kb * 1024;
  o->limits.disk_bytes = o->disk_mb * kMiB;
  if (o->compare != "lines" && o->compare != "tokens" && o->compare != "exact")
    return error("code: compare must be lines, tokens or exact");
  return {};
}

// A language that is not known is what the fence's label says, and needs a command.
Result<CodeLanguage> language_for(const CodeOptions& o) {
  for (const CodeLanguage& l : code_languages()) {
    if (o.language != l.name) continue;
    if (o.command.empty() && find_executable(l.needs, {}).empty())
      return error("code: {} is missing: install the Debian package {}, or give a command", l.needs, l.package);
    return l;
  }
  if (o.command.empty())
    return error("code: language {} needs a command, e.g. [\"/usr/bin/perl\", \"{{file}}\"]", one_line(o.language, 40));
  return CodeLanguage{"the command", {o.language}, "solution", {}, "", ""};
}

}  // namespace

Result<std::unique_ptr<Verifier>> make_code_verifier(const nlohmann::json& options) {
  CodeOptions o;
  RAISON_RETURN_IF_ERROR(read_code_options(options, &o));
  RAISON_ASSIGN(CodeLanguage language, language_for(o));
  RAISON_ASSIGN(auto sandbox, Sandbox::create(o.readable));
  return std::unique_ptr<Verifier>(std::make_unique<CodeVerifier>(std::move(o), std::move(language), std::move(sandbox)));
}

}  // namespace raison
