#include "verify/code_program.h"

#include "verify/extract.h"
#include "verify/plain_text.h"

namespace raison {
namespace {

constexpr size_t kMostTests = 10000;

Result<std::vector<std::string>> test_texts(const nlohmann::json& value, const char* key) {
  std::vector<std::string> out;
  const auto list = value.is_array() ? value : nlohmann::json::array({value});
  if (list.empty() || list.size() > kMostTests) return error("{} must hold 1 to {} tests", key, kMostTests);
  for (const auto& item : list) {
    if (!item.is_string()) return error("{} must be a text or a list of texts", key);
    out.push_back(item.get<std::string>());
  }
  return out;
}

// One side of the pairs: a list whose items are texts, or lists of lines.
Result<std::vector<std::string>> pair_texts(const nlohmann::json& record, const char* key) {
  if (!record.contains(key) || !record[key].is_array()) return error("{} must be a list", key);
  std::vector<std::string> out;
  for (const auto& item : record[key]) {
    std::string text;
    for (const auto& line : item.is_array() ? item : nlohmann::json::array({item})) {
      if (!line.is_string()) return error("{} must be a list of texts", key);
      text += line.get<std::string>() + (item.is_array() ? "\n" : "");
    }
    out.push_back(std::move(text));
  }
  return out;
}

// Where "def NAME(" stands last at a line's beginning; npos: nowhere.
size_t definition_of(std::string_view source, const std::string& name) {
  for (size_t at = source.size(); !name.empty();) {
    at = source.rfind("def " + name, at);
    if (at == std::string_view::npos) break;
    const size_t behind = at + 4 + name.size();
    const bool ends = behind < source.size() && (source[behind] == '(' || source[behind] == ' ');
    if (ends && (at == 0 || source[at - 1] == '\n')) return at;
    if (at == 0) break;
    --at;
  }
  return std::string_view::npos;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    out.push_back(line.substr(0, line.find_last_not_of(" \t\r") + 1));
    at = end + 1;
  }
  while (!out.empty() && out.back().empty()) out.pop_back();
  return out;
}

std::vector<std::string_view> words_of(std::string_view text) {
  constexpr const char* kBlank = " \t\r\n\f\v";
  std::vector<std::string_view> out;
  for (size_t at = text.find_first_not_of(kBlank); at < text.size();) {
    const size_t end = std::min(text.find_first_of(kBlank, at), text.size());
    out.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(kBlank, end);
  }
  return out;
}

}  // namespace

// The solution is a module of its own, so that what looks for its module (dataclasses, pickle) finds it. os._exit ends threads that the
// solution left behind, and passes over what it registered for the end. Standard input is put away, or it could be read once more.
const char* const kPythonHarness = R"PY(import json, os, sys
def run():
    job = json.loads(sys.stdin.buffer.read().decode("utf-8", "surrogatepass"))
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    out, leave, compile_, exec_ = os.dup(1), os._exit, compile, exec
    def report(text):
        try:
            sys.stdout.flush()
        except BaseException:
            pass
        line = "\n" + job["token"] + " " + " ".join(text.split()) + "\n"
        os.write(out, line.encode("utf-8", "replace"))
        leave(0)
    def why(e):
        try:
            text = str(e)[:300]
        except BaseException:
            text = ""
        return type(e).__name__ + (": " + text if text else "")
    module = type(sys)("solution")
    sys.modules["solution"] = module
    space = module.__dict__
    try:
        exec_(compile_(job["solution"], "solution.py", "exec"), space)
    except BaseException as e:
        report("solution: " + why(e))
    for number, test in enumerate(job["tests"], 1):
        try:
            exec_(compile_(test, "test.py", "exec"), space)
        except BaseException as e:
            report("test %d: %s" % (number, why(e)))
    report("ok")
run()
)PY";

Result<CodeTests> read_code_tests(const nlohmann::json& record) {
  CodeTests out;
  if (!record.is_object()) return error("the record must be an object with tests, inputs and outputs, or test and entry_point");
  if (record.contains("tests")) {
    RAISON_ASSIGN(out.tests, test_texts(record["tests"], "tests"));
    return out;
  }
  if (record.contains("inputs")) {
    out.kind = CodeTests::Pairs;
    RAISON_ASSIGN(auto inputs, pair_texts(record, "inputs"));
    RAISON_ASSIGN(auto outputs, pair_texts(record, "outputs"));
    if (inputs.empty() || inputs.size() != outputs.size() || inputs.size() > kMostTests)
      return error("inputs and outputs must be equally many, 1 to {}", kMostTests);
    for (size_t i = 0; i < inputs.size(); ++i) out.pairs.emplace_back(std::move(inputs[i]), std::move(outputs[i]));
    return out;
  }
  if (!record.contains("test") || !record.contains("entry_point"))
    return error("the record has neither tests, nor inputs and outputs, nor test and entry_point");
  for (const char* key : {"test", "entry_point", "prompt"})
    if (record.contains(key) && !record[key].is_string()) return error("{} must be a text", key);
  out.entry_point = record["entry_point"].get<std::string>();
  if (record.contains("prompt")) out.prompt = record["prompt"].get<std::string>();
  const bool name = !out.entry_point.empty() && out.entry_point.find_first_of(" \t\r\n()'\"\\;") == std::string::npos;
  if (!name) return error("entry_point must be a function's name");
  out.tests.push_back(record["test"].get<std::string>() + "\ncheck(" + out.entry_point + ")\n");
  return out;
}

std::string whole_solution(const CodeTests& tests, std::string_view code) {
  if (tests.entry_point.empty()) return std::string(code);
  if (definition_of(code, tests.entry_point) == std::string_view::npos) return tests.prompt + std::string(code);
  const size_t head = definition_of(tests.prompt, tests.entry_point);
  return (head == std::string_view::npos ? std::string() : tests.prompt.substr(0, head)) + std::string(code);
}

std::string harness_input(const CodeTests& tests, const std::string& solution, const std::string& token) {
  const nlohmann::json job = {{"solution", solution}, {"tests", tests.tests}, {"token", token}};
  return job.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string harness_result(std::string_view out, const std::string& token) {
  const size_t at = out.rfind("\n" + token + " ");
  if (at == std::string_view::npos) return "no result";
  const std::string_view said = trim(out.substr(at + token.size() + 2));
  if (said == "ok") return "";
  const size_t colon = std::min(said.find(':'), said.size());
  return one_line(std::string(said.substr(0, colon)) + " failed" + std::string(said.substr(colon)), 300);
}

bool same_output(std::string_view given, std::string_view expected, const std::string& compare) {
  if (compare == "exact") return given == expected;
  if (compare == "tokens") return words_of(given) == words_of(expected);
  return lines_of(given) == lines_of(expected);
}

}  // namespace raison
