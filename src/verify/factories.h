// The verifiers by name: each file that has some gives a factory, verifier.cc lists them.
#pragma once
#include "verify/verifier.h"

namespace raison {

using VerifierFactory = Result<std::unique_ptr<Verifier>> (*)(const nlohmann::json& options);

Result<std::unique_ptr<Verifier>> make_countdown_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_math_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_choice_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_exact_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_regex_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_format_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_length_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_language_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_code_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_program_verifier(const nlohmann::json& options);
Result<std::unique_ptr<Verifier>> make_http_verifier(const nlohmann::json& options);

}  // namespace raison
