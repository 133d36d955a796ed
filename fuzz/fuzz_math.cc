// Any bytes as a gold and a reply, a zero byte between them: no crash, bounded time, the same verdict again; and what is found is the same as
// itself, or can't be read.
#include "parts.h"
#include "properties.h"
#include "verify/math.h"
#include "verify/verifier.h"

using namespace raison;

namespace {

void judge_as_choice(const std::string& gold, const std::string& reply) {
  static const auto verifier = make_verifier("choice");
  fuzz::require(verifier.ok());
  const Question question{"", {{"answer", gold}, {"choices", {"one", "two", gold, "four"}}}};
  Reply r;
  r.text = r.answer = reply;
  const Submission s{&question, &r};
  const auto out = (*verifier)->judge(std::span(&s, 1));
  fuzz::require(out.ok() && out->size() == 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Parts parts(data, size);
  const std::string gold = parts.next(), reply = parts.next();
  const MathJudgement first = judge_math_answer(gold, reply), again = judge_math_answer(gold, reply);
  fuzz::require(first.kind == again.kind && first.reason == again.reason && first.answer == again.answer);
  fuzz::check_one_line(first.reason);
  fuzz::require(first.kind == MathJudgement::Same || !first.reason.empty());
  (void)judge_math_answer(reply, gold, {.decimals = 2});
  judge_as_choice(gold, reply);
  return 0;
}
