// The verifier "countdown": questions of data sets, whose numbers stand in the record or in the prompt.
#include "verify/countdown.h"
#include "verify/extract.h"
#include "verify/factories.h"
#include "verify/option_reader.h"

namespace raison {
namespace {

// A whole number of any JSON type that data sets write them in; -1: none.
int64_t whole(const nlohmann::json& v) {
  if (v.is_number_integer() && v.get<int64_t>() >= 0) return v.get<int64_t>();
  if (v.is_number_float() && v.get<double>() >= 0 && v.get<double>() < 1e15 &&
      v.get<double>() == static_cast<double>(static_cast<int64_t>(v.get<double>())))
    return static_cast<int64_t>(v.get<double>());
  return -1;
}

Result<CountdownProblem> problem_of(const Question& q) {
  const auto& r = q.record;
  const char* key = r.is_object() && r.contains("nums") ? "nums" : "numbers";
  if (!r.is_object() || !r.contains(key)) return parse_countdown_problem(q.prompt);
  CountdownProblem p;
  if (!r[key].is_array() || r[key].empty() || r[key].size() > 64) return error("{} must be a list of 1 to 64 numbers", key);
  for (const auto& n : r[key]) p.numbers.push_back(whole(n));
  p.target = r.contains("target") ? whole(r["target"]) : -1;
  for (const int64_t n : p.numbers)
    if (n < 0) return error("{} must be whole numbers", key);
  if (p.target < 0) return error("target is missing or no whole number");
  return p;
}

class CountdownVerifier final : public SingleVerifier {
 public:
  explicit CountdownVerifier(bool division) { options_.allow_division = division; }
  const std::string& name() const override { return name_; }
  Status check(const Question& q) const override {
    const auto p = problem_of(q);
    return p.ok() ? Status() : Status(p.error());
  }

 protected:
  Verdict judge_one(const Question& q, const Reply& reply) const override {
    const auto p = problem_of(q);
    Verdict out;
    if (!p.ok()) {
      out.kind = Verdict::Failed;
      out.reason = p.message();
      return out;
    }
    std::string_view text = trim(reply.answer);
    if (const auto tagged = last_tagged(text, "answer")) {
      text = trim(*tagged);
    } else if (const auto boxed = last_boxed(text)) {
      text = trim(*boxed);
    }
    // "2 * 4 = 8": the model says the target once more. More than one sign, or another value, is no answer.
    if (const size_t sign = text.find('='); sign != std::string_view::npos)
      if (trim(text.substr(sign + 1)) == std::to_string(p->target)) text = trim(text.substr(0, sign));
    const CountdownVerdict v = judge_countdown_expression(*p, text, options_);
    out.kind = v.right() ? Verdict::Right : v.kind == CountdownVerdict::Wrong ? Verdict::Wrong : Verdict::Unparseable;
    out.score = v.right() ? 1 : 0;
    out.answer = std::string(text.substr(0, options_.max_length));
    out.reason = v.reason;
    return out;
  }

 private:
  std::string name_ = "countdown";
  CountdownOptions options_;
};

}  // namespace

Result<std::unique_ptr<Verifier>> make_countdown_verifier(const nlohmann::json& options) {
  bool division = true;
  OptionReader reader("countdown", options);
  reader.read("division", &division);
  RAISON_RETURN_IF_ERROR(reader.finish());
  return std::unique_ptr<Verifier>(std::make_unique<CountdownVerifier>(division));
}

}  // namespace raison
