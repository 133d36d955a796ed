// One reply judged, as tests of verifiers write it.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "verify/verifier.h"

namespace raison::testing {

inline std::unique_ptr<Verifier> verifier_of(const std::string& name, const nlohmann::json& options = nullptr) {
  auto made = make_verifier(name, options);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.message());
  return made.ok() ? std::move(*made) : nullptr;
}

inline Reply reply_of(const std::string& answer, const std::string& thought = "") {
  Reply reply;
  reply.thought = thought;
  reply.answer = answer;
  reply.text = thought.empty() ? answer : "<think>" + thought + "</think>" + answer;
  return reply;
}

inline Verdict verdict_on(Verifier* verifier, const nlohmann::json& record, const Reply& reply) {
  const Question question{"the question", record};
  const Submission submission{&question, &reply};
  if (verifier == nullptr) return {};
  const auto out = verifier->judge(std::span(&submission, 1));
  EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.message());
  return out.ok() && out->size() == 1 ? out->front() : Verdict();
}

inline Verdict verdict_on(const std::unique_ptr<Verifier>& verifier, const nlohmann::json& record, const std::string& answer) {
  return verdict_on(verifier.get(), record, reply_of(answer));
}

}  // namespace raison::testing
