// The verifier "math".
#include "verify/extract.h"
#include "verify/factories.h"
#include "verify/math.h"
#include "verify/math_answer.h"
#include "verify/option_reader.h"

namespace raison {
namespace {

// The gold of a record, as text.
Result<std::string> math_gold(const nlohmann::json& record) {
  if (!record.is_object()) return error("math: the record is no table with an answer");
  const auto found = record.find("answer");
  if (found == record.end()) {
    const auto solution = record.find("solution");
    if (solution == record.end() || !solution->is_string()) return error("math: the record has neither answer nor solution");
    if (last_boxed(solution->get_ref<const std::string&>())) return solution->get<std::string>();
    return error("math: the record has no answer, and its solution no \\boxed{{}}");
  }
  const nlohmann::json& answer = found->is_array() && found->size() == 1 ? found->front() : *found;
  if (answer.is_string()) return answer.get<std::string>();
  if (answer.is_number()) return answer.dump();
  return error("math: the record's answer must be a text or a number");
}

class MathVerifier final : public SingleVerifier {
 public:
  explicit MathVerifier(MathOptions options) : options_(options) {}
  const std::string& name() const override { return name_; }
  Status check(const Question& q) const override {
    const auto gold = math_gold(q.record);
    if (!gold.ok()) return gold.error();
    if (find_math_gold(*gold).empty()) return error("math: the record's answer is empty");
    return {};
  }

 protected:
  Verdict judge_one(const Question& q, const Reply& reply) const override {
    Verdict out;
    const auto gold = math_gold(q.record);
    if (!gold.ok()) {
      out.kind = Verdict::Failed;
      out.reason = gold.message();
      return out;
    }
    MathJudgement j = judge_math_answer(*gold, reply.answer, options_);
    out.kind = j.kind == MathJudgement::Same        ? Verdict::Right
               : j.kind == MathJudgement::Different ? Verdict::Wrong
                                                    : Verdict::Unparseable;
    out.score = out.right() ? 1 : 0;
    out.answer = std::move(j.answer);
    out.reason = std::move(j.reason);
    return out;
  }

 private:
  std::string name_ = "math";
  MathOptions options_;
};

}  // namespace

Result<std::unique_ptr<Verifier>> make_math_verifier(const nlohmann::json& options) {
  MathOptions read;
  OptionReader reader("math", options);
  reader.read("decimals", &read.decimals, 0, 30);
  RAISON_RETURN_IF_ERROR(reader.finish());
  return std::unique_ptr<Verifier>(std::make_unique<MathVerifier>(read));
}

}  // namespace raison
