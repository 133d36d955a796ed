#include "train/eval_data.h"

#include <algorithm>

#include "train/csv.h"
#include "train/data.h"
#include "verify/countdown.h"
#include "verify/extract.h"

namespace raison {
namespace {
using EvalJson = nlohmann::ordered_json;

constexpr const char* kExpressionSuffix =
    "Please reason step by step, and put your final expression, without an equals sign, within \\boxed{}.";

bool is_text(const EvalJson& record, const char* key) { return record.contains(key) && record[key].is_string(); }

const char* first_key(const EvalJson& record, std::initializer_list<const char*> keys) {
  for (const char* k : keys)
    if (record.contains(k)) return k;
  return nullptr;
}

const char* question_key(const EvalJson& record) {
  return first_key(record, {"messages", "question", "problem", "prompt", "Question", "Problem"});
}

EvalJson user_message(const std::string& text) { return EvalJson::array({{{"role", "user"}, {"content", text}}}); }

// The conversation under `key`, a text or a list of messages.
Result<EvalJson> conversation_in(const EvalJson& record, const char* key) {
  const EvalJson& value = record[key];
  if (value.is_string()) return user_message(value.get<std::string>());
  if (!value.is_array() || value.empty()) return error("\"{}\" is neither a text nor a list of messages", key);
  for (const EvalJson& m : value)
    if (!m.is_object() || !is_text(m, "role")) return error("every message of \"{}\" must be an object with a \"role\"", key);
  return value;
}

EvalJson* last_user_content(EvalJson* messages) {
  for (size_t i = messages->size(); i-- > 0;)
    if ((*messages)[i]["role"] == "user" && is_text((*messages)[i], "content")) return &(*messages)[i]["content"];
  return nullptr;
}

// "30,100,93" or "1 1 4 6".
std::optional<std::vector<int64_t>> number_list(const EvalJson& value) {
  if (!value.is_string()) return std::nullopt;
  std::string text = value.get<std::string>();
  std::replace(text.begin(), text.end(), ',', ' ');
  const auto parsed = parse_countdown_problem(text + " -> 0");
  if (!parsed.ok()) return std::nullopt;
  return parsed->numbers;
}

class EvalReader {
 public:
  explicit EvalReader(const EvalFile& file) : file_(file) {
    countdown_ = file.verifier == "countdown";
    for (const EvalPreset& p : eval_presets()) preset_ = preset_ || file.task == p.name;
  }

  Result<EvalQuestion> read(EvalJson record) const {
    if (!record.is_object()) return error("must be a JSON object");
    EvalQuestion out;
    bool ours = !countdown_ && (preset_ || file_.verifier == "math");  // is the task's suffix wanted?
    if (countdown_) {
      RAISON_RETURN_IF_ERROR(read_countdown(&record, &out.messages, &ours));
    } else {
      RAISON_ASSIGN(out.messages, words_of(record));
      if (preset_) RAISON_RETURN_IF_ERROR(set_answer(&record));
    }
    EvalJson* asked = last_user_content(&out.messages);
    if (asked) out.question.prompt = asked->get<std::string>();
    const std::string suffix = file_.suffix ? *file_.suffix : !ours ? "" : countdown_ ? kExpressionSuffix : kBoxedSuffix;
    if (!suffix.empty()) {
      if (!asked) return error("has no message of the user to set the suffix behind");
      *asked = out.question.prompt + "\n" + suffix;
    }
    if (!file_.system.empty()) {
      const EvalJson message = {{"role", "system"}, {"content", file_.system}};
      out.messages.insert(out.messages.begin(), message);
    }
    out.id = id_of(record);
    out.question.record = nlohmann::json(std::move(record));
    return out;
  }

 private:
  Result<EvalJson> words_of(const EvalJson& record) const {
    if (const char* body = first_key(record, {"Body", "body"}); body && file_.task == "svamp") {
      const char* question = first_key(record, {"Question", "question"});
      if (!question) return error("has no \"Question\"");
      for (const char* key : {body, question})
        if (!record[key].is_string()) return error("\"{}\" must be a text", key);
      return user_message(record[body].get<std::string>() + " " + record[question].get<std::string>());
    }
    const char* key = question_key(record);
    if (!key) return error("has none of \"question\", \"problem\", \"prompt\" and \"messages\"");
    return conversation_in(record, key);
  }

  Status set_answer(EvalJson* record) const {
    const char* key = first_key(*record, {"answer", "Answer"});
    if (!key && is_text(*record, "solution") && last_boxed((*record)["solution"].get_ref<const std::string&>())) return {};
    if (!key) return error("has no \"answer\"");
    EvalJson answer = (*record)[key];
    if (!answer.is_string() && !answer.is_number()) return error("\"{}\" must be a text or a number", key);
    if (answer.is_number_float()) answer = fmt::format("{}", answer.get<double>());  // 145.0: "145"
    if (file_.task == "gsm8k" && answer.is_string()) {
      std::string text = answer.get<std::string>();
      if (const size_t mark = text.rfind("####"); mark != std::string::npos) text = trim(text.substr(mark + 4));
      std::erase(text, ',');
      answer = text;
    }
    (*record)["answer"] = answer;
    return {};
  }

  // Leaves "nums" and "target" in the record. *ours: the words are made here.
  Status read_countdown(EvalJson* record, EvalJson* messages, bool* ours) const {
    RAISON_ASSIGN(const CountdownProblem p, countdown_in(*record));
    (*record)["nums"] = p.numbers;
    (*record)["target"] = p.target;
    const std::string bare = fmt::format("{} -> {}", fmt::join(p.numbers, " "), p.target);
    if (file_.bare_countdown) {
      *messages = user_message(bare);
      return {};
    }
    const char* key = question_key(*record);
    if (key && !(is_text(*record, key) && parse_countdown_problem((*record)[key].get_ref<const std::string&>()).ok())) {
      RAISON_ASSIGN(*messages, conversation_in(*record, key));
      return {};
    }
    *ours = true;
    *messages = user_message(
        fmt::format("Combine the numbers {}, each exactly once, by +, -, *, / and parentheses, so that the value is {}.",
                    fmt::join(p.numbers, ", "), p.target));
    return {};
  }

  Result<CountdownProblem> countdown_in(const EvalJson& record) const {
    CountdownProblem p;
    const char* list = first_key(record, {"nums", "numbers"});
    const char* texts = first_key(record, {"Puzzles", "puzzle", "input"});
    const EvalJson* target = nullptr;
    for (const char* k : {"target", "output"})
      if (!target && record.contains(k)) target = &record[k];
    if (list && record[list].is_array()) {
      for (const EvalJson& n : record[list]) {
        RAISON_ASSIGN(const int64_t number, whole_number(n, list));
        p.numbers.push_back(number);
      }
    } else if (list || texts) {
      const auto numbers = number_list(record[list ? list : texts]);
      if (!numbers) return error("\"{}\" must be numbers, such as \"30,100,93\"", list ? list : texts);
      p.numbers = *numbers;
    } else {
      const char* key = question_key(record);
      if (key && is_text(record, key))
        if (auto said = parse_countdown_problem(record[key].get_ref<const std::string&>()); said.ok()) return said;
      return error("has neither \"nums\" and \"target\" nor a question such as \"4 5 7 -> 8\"");
    }
    if (p.numbers.empty() || p.numbers.size() > 64) return error("must have 1 to 64 numbers");
    if (!target && file_.task != "game24") return error("has no \"target\"");
    p.target = 24;
    if (target) { RAISON_ASSIGN(p.target, whole_number(*target, "target")); }
    return p;
  }

  static Result<int64_t> whole_number(const EvalJson& value, const char* key) {
    constexpr int64_t kMost = 1'000'000'000'000'000;
    int64_t n = -1;
    if (value.is_number_integer()) {
      n = value.get<int64_t>();
    } else if (value.is_number_float() && value.get<double>() >= 0 && value.get<double>() < static_cast<double>(kMost)) {
      n = static_cast<int64_t>(value.get<double>());
      if (static_cast<double>(n) != value.get<double>()) n = -1;
    } else if (const auto list = number_list(value); list && list->size() == 1) {
      n = list->front();
    }
    if (n < 0 || n >= kMost) return error("\"{}\" must be of whole numbers from 0 to below 10^15", key);
    return n;
  }

  static nlohmann::json id_of(const EvalJson& record) {
    const char* key = first_key(record, {"id", "unique_id", "ID", "task_id", "idx", "Rank"});
    if (!key || !(record[key].is_string() || record[key].is_number())) return nullptr;
    return nlohmann::json(record[key]);
  }

  const EvalFile& file_;
  bool countdown_ = false, preset_ = false;
};

}  // namespace

const std::vector<EvalPreset>& eval_presets() {
  static const std::vector<EvalPreset> presets = {
      {"gsm8k", "math", 1, "grade school mathematics: question, answer with \"#### 42\""},
      {"math500", "math", 1, "MATH-500: problem, answer"},
      {"aime24", "math", 8, "AIME 2024: problem, answer"},
      {"svamp", "math", 1, "SVAMP: Body, Question, Answer"},
      {"game24", "countdown", 1, "24 from four numbers: the table 24.csv"},
      {"countdown", "countdown", 1, "nums, target; without a file the built-in problems"},
  };
  return presets;
}

const EvalPreset* find_eval_preset(const std::string& name) {
  for (const EvalPreset& p : eval_presets())
    if (name == p.name) return &p;
  return nullptr;
}

Result<std::vector<EvalQuestion>> read_eval_file(const EvalFile& file) {
  const EvalReader reader(file);
  std::vector<EvalQuestion> out;
  const auto take = [&](const EvalJson& record, int64_t line) -> Status {
    if (file.limit > 0 && static_cast<int64_t>(out.size()) >= file.limit) return {};
    RAISON_ASSIGN(EvalQuestion q, reader.read(record));
    q.where = fmt::format("{}:{}", file.path, line);
    if (q.id.is_null()) q.id = out.size();
    out.push_back(std::move(q));
    return {};
  };
  RAISON_RETURN_IF_ERROR(file.path.ends_with(".csv") ? read_csv(file.path, take) : read_json_lines(file.path, take));
  if (out.empty()) return error("{}: holds no questions", file.path);
  return out;
}

}  // namespace raison
