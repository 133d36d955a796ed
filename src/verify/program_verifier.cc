// The verifier "program": a judge of the user's own, a program that reads and writes lines of JSON.
#include <map>
#include <mutex>

#include "verify/exchange.h"
#include "verify/factories.h"
#include "verify/line_program.h"
#include "verify/option_reader.h"
#include "verify/plain_text.h"
#include "verify/sandbox.h"

namespace raison {
namespace {

constexpr int kCrashesAllowed = 1;  // in a row; one more, and the program is taken to be broken

struct ProgramOptions {
  std::vector<std::string> command, readable;
  double timeout = 60;
  int64_t batch = 1;
  bool sandboxed = false;
  int64_t memory_mb = 1024;
};

class ProgramVerifier final : public Verifier {
 public:
  ProgramVerifier(ProgramOptions options, std::unique_ptr<Sandbox> sandbox)
      : options_(std::move(options)), sandbox_(std::move(sandbox)) {}
  const std::string& name() const override { return name_; }
  Status check(const Question&) const override { return {}; }
  Result<std::vector<Verdict>> judge(std::span<const Submission> submissions) override;

 private:
  Status start();
  Status judge_some(std::span<const Submission> some, Verdict* verdicts);
  std::string exchange(std::map<int64_t, size_t>* asked, Verdict* verdicts, bool* crashed);
  std::string fault_text(LineProgram::Event event, bool* crashed);

  std::string name_ = "program";
  ProgramOptions options_;
  std::unique_ptr<Sandbox> sandbox_;
  std::mutex mutex_;  // of all below: there is one program, and it is spoken to by one
  std::unique_ptr<LineProgram> program_;
  int64_t last_id_ = 0;
  int crashes_ = 0;  // since it last answered
};

Status ProgramVerifier::start() {
  // One that ended while nobody spoke to it owes nothing.
  if (program_ && program_->alive()) return {};
  program_.reset();
  SpawnPlan plan;
  plan.args = options_.command;
  plan.own_environment = true;
  std::vector<UniqueFd> held;
  if (sandbox_) {
    SandboxLimits limits;
    limits.memory_bytes = options_.memory_mb << 20;
    limits.cpu_seconds = 1e8;  // it lives as long as we do; a reply's time is `timeout`
    // It dies with the thread that started it; the next question then starts it again.
    RAISON_ASSIGN(plan, sandbox_->plan(options_.command, limits, &held));
  }
  auto started = LineProgram::start(std::move(plan), kMostExchange);
  if (!started.ok()) return error("program: {}", started.message());
  program_ = std::move(*started);
  return {};
}

std::string ProgramVerifier::fault_text(LineProgram::Event event, bool* crashed) {
  *crashed = event == LineProgram::Ended || event == LineProgram::ClosedInput;
  const std::string ending = program_->end_it();
  program_.reset();
  switch (event) {
    case LineProgram::TimedOut: return fmt::format("no answer within {} s ({})", options_.timeout, ending);
    case LineProgram::TooLong: return fmt::format("wrote a line of more than {} bytes ({})", kMostExchange, ending);
    case LineProgram::ClosedInput: return fmt::format("closed its input ({})", ending);
    default: return fmt::format("ended without an answer ({})", ending);
  }
}

// Reads answers until none is due. "": all came; else what went wrong, and `asked` holds what was not answered.
std::string ProgramVerifier::exchange(std::map<int64_t, size_t>* asked, Verdict* verdicts, bool* crashed) {
  const auto give_up = [&](const std::string& what) {
    const std::string ending = program_->end_it();
    program_.reset();
    return fmt::format("{} ({})", what, ending);
  };
  while (!asked->empty()) {
    std::string line;
    const auto event = program_->next_line(&line, options_.timeout);
    if (event != LineProgram::Line) return fault_text(event, crashed);
    const auto answer = parse_exchange(line);
    if (!answer.ok()) return give_up(answer.message());
    const auto it = asked->find(exchange_id(*answer));
    if (it == asked->end()) return give_up("answered an id that was not asked: \"" + one_line(line, 80) + "\"");
    const auto verdict = exchange_verdict(*answer);
    verdicts[it->second] = verdict.ok() ? *verdict : failed_verdict("program: " + verdict.message());
    asked->erase(it);
    crashes_ = 0;
  }
  return "";
}

Status ProgramVerifier::judge_some(std::span<const Submission> some, Verdict* verdicts) {
  RAISON_RETURN_IF_ERROR(start());
  std::map<int64_t, size_t> asked;
  for (size_t i = 0; i < some.size(); ++i) {
    asked[++last_id_] = i;
    program_->send(exchange_text(exchange_request(last_id_, some[i])));
  }
  bool crashed = false;
  const std::string fault = exchange(&asked, verdicts, &crashed);
  if (fault.empty()) return {};
  if (some.size() > 1) {  // which of them it was is not known: each is asked again alone
    for (const auto& [id, i] : asked) RAISON_RETURN_IF_ERROR(judge_some(some.subspan(i, 1), verdicts + i));
    return {};
  }
  verdicts[0] = failed_verdict("program: " + fault);
  crashes_ += crashed ? 1 : 0;
  if (crashes_ > kCrashesAllowed)
    return error("program: {} crashed twice in a row: it {}", one_line(options_.command[0], 100), fault);
  return {};
}

Result<std::vector<Verdict>> ProgramVerifier::judge(std::span<const Submission> submissions) {
  const std::lock_guard lock(mutex_);
  std::vector<Verdict> out(submissions.size());
  const auto batch = static_cast<size_t>(options_.batch);
  for (size_t at = 0; at < out.size(); at += batch)
    RAISON_RETURN_IF_ERROR(judge_some(submissions.subspan(at, std::min(batch, out.size() - at)), out.data() + at));
  return out;
}

}  // namespace

Result<std::unique_ptr<Verifier>> make_program_verifier(const nlohmann::json& options) {
  ProgramOptions o;
  OptionReader reader("program", options);
  reader.read("command", &o.command);
  reader.read("timeout", &o.timeout, 0.1, 86400);
  reader.read("batch", &o.batch, 1, 1024);
  reader.read("sandbox", &o.sandboxed);
  reader.read("readable", &o.readable);
  reader.read("memory_mb", &o.memory_mb, 16, 1 << 20);
  RAISON_RETURN_IF_ERROR(reader.finish());
  if (o.command.empty() || o.command[0].empty())
    return error("program: command must be given, e.g. [\"python3\", \"judge.py\"]");
  for (const std::string& part : o.command)
    if (part.find('\0') != std::string::npos) return error("program: command must not hold a zero byte");
  std::unique_ptr<Sandbox> sandbox;
  if (o.sandboxed) {
    RAISON_ASSIGN(sandbox, Sandbox::create(o.readable));
  } else {
    const std::string found = find_executable(o.command[0], path_folders());
    if (found.empty()) return error("program: {} is no program, here or in PATH", one_line(o.command[0], 200));
    o.command[0] = found;
  }
  return std::unique_ptr<Verifier>(std::make_unique<ProgramVerifier>(std::move(o), std::move(sandbox)));
}

}  // namespace raison
