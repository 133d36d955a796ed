// What a record asks of code, and the program that finds out: for Python a harness around solution and tests.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace raison {

struct CodeTests {
  enum Kind {
    Asserts,  // `tests`, run one after the other behind the solution
    Pairs     // `pairs`: standard input, and what must be written for it
  };
  Kind kind = Asserts;
  std::vector<std::string> tests;
  std::vector<std::pair<std::string, std::string>> pairs;
  std::string entry_point, prompt;  // HumanEval's: the solution may go on where the prompt ends
};

// The record's "tests" (a text or a list), "inputs" with "outputs", or "test" with "entry_point". Error: none of them, or of a wrong type.
Result<CodeTests> read_code_tests(const nlohmann::json& record);

// The whole source: code that defines the entry point behind the imports and helpers of the prompt, other code behind all of the prompt.
std::string whole_solution(const CodeTests& tests, std::string_view code);

// The harness reads from standard input a JSON object {"solution", "tests", "token"} and writes, as the last line of standard output,
// "TOKEN ok", "TOKEN solution: WHY" or "TOKEN test N: WHY". Only code that looks for the token on purpose can write that itself.
extern const char* const kPythonHarness;
std::string harness_input(const CodeTests& tests, const std::string& solution, const std::string& token);

// What the harness said: "" of "ok", else why not ("test 3 failed: AssertionError"); "no result" stands for silence.
std::string harness_result(std::string_view out, const std::string& token);

// Standard output against what is expected. "lines": white space at the ends of lines and blank lines at the end do not count; "tokens": only
// the words do; "exact": every byte.
bool same_output(std::string_view given, std::string_view expected, const std::string& compare);

}  // namespace raison
