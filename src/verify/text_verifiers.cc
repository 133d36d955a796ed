// The verifiers "exact" and "regex": answers compared as text.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "verify/extract.h"
#include "verify/factories.h"
#include "verify/option_reader.h"
#include "verify/plain_text.h"

namespace raison {
namespace {

constexpr size_t kShownAnswer = 1024;  // bytes of an answer that a verdict repeats

// Letters of ASCII lowered, and runs of white space made one space, unless they count.
std::string normal_form(std::string_view text, bool letters_count, bool spaces_count) {
  std::string out;
  for (const char c : trim(text)) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (blank && !spaces_count) {
      if (out.back() != ' ') out += ' ';
    } else {
      out += c >= 'A' && c <= 'Z' && !letters_count ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  return out;
}

// The accepted answers: a text, a number as JSON writes it, or a list of those.
Result<std::vector<std::string>> accepted_answers(const nlohmann::json& record) {
  if (!record.is_object() || !record.contains("answer")) return error("the record has no answer");
  const auto& answer = record["answer"];
  std::vector<std::string> out;
  for (const auto& item : answer.is_array() ? answer : nlohmann::json::array({answer})) {
    if (!item.is_string() && !item.is_number()) return error("answer must be a text, a number or a list of them");
    out.push_back(item.is_string() ? item.get<std::string>() : item.dump());
    if (trim(out.back()).empty()) return error("answer is empty");
  }
  if (out.empty()) return error("answer is an empty list");
  return out;
}

class ExactVerifier final : public SingleVerifier {
 public:
  ExactVerifier(bool letters_count, bool spaces_count) : letters_count_(letters_count), spaces_count_(spaces_count) {}
  const std::string& name() const override { return name_; }
  Status check(const Question& q) const override {
    const auto accepted = accepted_answers(q.record);
    return accepted.ok() ? Status() : Status(accepted.error());
  }

 protected:
  Verdict judge_one(const Question& q, const Reply& reply) const override {
    Verdict out;
    const auto accepted = accepted_answers(q.record);
    const std::string_view found = final_answer(reply.answer);
    out.answer = one_line(found, kShownAnswer);
    if (!accepted.ok()) {
      out.kind = Verdict::Failed;
      out.reason = accepted.message();
    } else if (found.empty()) {
      out.reason = "no answer";
    } else {
      out.kind = Verdict::Wrong;
      const std::string given = normal_form(found, letters_count_, spaces_count_);
      for (const std::string& a : *accepted)
        if (normal_form(a, letters_count_, spaces_count_) == given) out.kind = Verdict::Right;
      out.score = out.right() ? 1 : 0;
      if (!out.right()) out.reason = one_line("it is not " + accepted->front(), 120);
    }
    return out;
  }

 private:
  std::string name_ = "exact";
  bool letters_count_, spaces_count_;
};

struct PatternFree {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
using Pattern = std::unique_ptr<pcre2_code, PatternFree>;

constexpr size_t kMostPattern = 16384;
constexpr uint32_t kMatchLimit = 10000000, kDepthLimit = 20000, kHeapKiB = 65536;
constexpr int64_t kMatchWork = 20000000;  // about a second

// PCRE2's own limits count from anew at every place where a match may begin. An automatic callout before every item of the pattern counts
// through all of them: steps, and how far each went.
struct MatchWork {
  int64_t left = kMatchWork;
  size_t at = 0;
};

int count_work(pcre2_callout_block* block, void* data) {
  auto& work = *static_cast<MatchWork*>(data);
  const size_t now = block->current_position;
  work.left -= 1 + static_cast<int64_t>((now > work.at ? now - work.at : work.at - now) / 16);
  work.at = now;
  return work.left < 0 ? PCRE2_ERROR_MATCHLIMIT : 0;
}

Result<Pattern> compile_pattern(const std::string& pattern, bool full) {
  if (pattern.size() > kMostPattern) return error("the pattern is longer than {} bytes", kMostPattern);
  // \C could stop within a character, and a pattern that asks for no UTF check could make PCRE2 read nonsense.
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT;
  if (full) options |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
  int fault = 0;
  size_t at = 0;
  Pattern code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &fault, &at, nullptr));
  if (code) return code;
  PCRE2_UCHAR words[256] = {};
  pcre2_get_error_message(fault, words, sizeof words);
  return error("pattern \"{}\": {} (at byte {})", one_line(pattern, 80), reinterpret_cast<const char*>(words), at);
}

// True: it matches. Error: it needs more than the limits allow.
Result<bool> pattern_matches(const pcre2_code* code, std::string_view text) {
  const std::unique_ptr<pcre2_match_data, PatternFree> data(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, PatternFree> context(pcre2_match_context_create(nullptr));
  if (!data || !context) return error("out of memory");
  MatchWork work;
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_depth_limit(context.get(), kDepthLimit);
  pcre2_set_heap_limit(context.get(), kHeapKiB);
  pcre2_set_callout(context.get(), count_work, &work);
  const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(), context.get());
  if (found >= 0) return true;
  if (found == PCRE2_ERROR_NOMATCH) return false;
  PCRE2_UCHAR words[256] = {};
  pcre2_get_error_message(found, words, sizeof words);
  return error("the pattern takes too much work on this reply: {}", reinterpret_cast<const char*>(words));
}

class RegexVerifier final : public SingleVerifier {
 public:
  RegexVerifier(std::string pattern, bool whole_text, bool full)
      : pattern_(std::move(pattern)), whole_text_(whole_text), full_(full) {}
  const std::string& name() const override { return name_; }
  Status check(const Question& q) const override {
    const auto code = pattern_of(q.record);
    return code.ok() ? Status() : Status(code.error());
  }

 protected:
  Verdict judge_one(const Question& q, const Reply& reply) const override {
    Verdict out;
    const std::string_view text = whole_text_ ? std::string_view(reply.text) : final_answer(reply.answer);
    if (!whole_text_) out.answer = one_line(text, kShownAnswer);
    const auto code = pattern_of(q.record);
    const auto matches = code.ok() ? pattern_matches(code->get(), text) : Result<bool>(code.error());
    out.kind = !matches.ok() ? Verdict::Failed : *matches ? Verdict::Right : Verdict::Wrong;
    out.score = out.right() ? 1 : 0;
    if (!out.right()) out.reason = matches.ok() ? "the pattern does not match" : matches.message();
    return out;
  }

 private:
  Result<Pattern> pattern_of(const nlohmann::json& record) const {
    if (!record.is_object() || !record.contains("pattern")) {
      if (pattern_.empty()) return error("neither the record nor the options have a pattern");
      return compile_pattern(pattern_, full_);
    }
    if (!record["pattern"].is_string()) return error("pattern must be a text");
    return compile_pattern(record["pattern"].get<std::string>(), full_);
  }
  std::string name_ = "regex";
  std::string pattern_;
  bool whole_text_, full_;
};

}  // namespace

Result<std::unique_ptr<Verifier>> make_exact_verifier(const nlohmann::json& options) {
  bool letters_count = true, spaces_count = false;
  OptionReader reader("exact", options);
  reader.read("case", &letters_count);
  reader.read("spaces", &spaces_count);
  RAISON_RETURN_IF_ERROR(reader.finish());
  return std::unique_ptr<Verifier>(std::make_unique<ExactVerifier>(letters_count, spaces_count));
}

Result<std::unique_ptr<Verifier>> make_regex_verifier(const nlohmann::json& options) {
  std::string pattern, field = "answer";
  bool full = false;
  OptionReader reader("regex", options);
  reader.read("pattern", &pattern);
  reader.read("field", &field);
  reader.read("full", &full);
  RAISON_RETURN_IF_ERROR(reader.finish());
  if (field != "answer" && field != "text") return error("regex: field must be answer or text");
  if (!pattern.empty()) {
    const auto code = compile_pattern(pattern, full);
    if (!code.ok()) return error("regex: {}", code.message());
  }
  return std::unique_ptr<Verifier>(std::make_unique<RegexVerifier>(std::move(pattern), field == "text", full));
}

}  // namespace raison
