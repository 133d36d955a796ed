#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer/utf8.h"

namespace raison {
namespace {

// White space as Unicode has it. PCRE2's own \s also takes U+180E, which lost that property in Unicode 6.3.
constexpr std::string_view kSpaceSet = "\\x09-\\x0d\\x{85}\\p{Z}";
constexpr std::string_view kWordSet = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}";

constexpr uint32_t kMatchLimit = 5'000'000;

// The end of the class that starts at pattern[at] == '[' (index after its ']'), or npos.
size_t class_end(std::string_view pattern, size_t at) {
  int depth = 0;
  for (size_t i = at; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
    } else if (pattern[i] == '[') {
      ++depth;
    } else if (pattern[i] == ']' && --depth == 0) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

std::string translate_class_body(std::string_view body) {
  std::string out;
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] == '\\' && i + 1 < body.size()) {
      const char c = body[++i];
      if (c == 's') {
        out += kSpaceSet;
      } else if (c == 'w') {
        out += kWordSet;
      } else {
        out.append({'\\', c});
      }
    } else if (body[i] == '[' && (i + 1 >= body.size() || body[i + 1] != ':')) {
      out += "\\[";  // a lone '[' in a class: PCRE2 and Oniguruma differ only in warnings
    } else {
      out += body[i];
    }
  }
  return out;
}

// "[A&&[^B]]" has no like in PCRE2 10: it becomes "(?:(?![B])[A])"; "[A&&[B]]" becomes "(?:(?=[B])[A])".
std::string translate_class(std::string_view text) {
  const size_t both = text.find("&&[");
  if (both != std::string_view::npos && class_end(text, both + 2) == text.size() - 1) {
    const std::string_view left = text.substr(1, both - 1), right = text.substr(both + 3, text.size() - both - 5);
    const bool negated = !right.empty() && right[0] == '^';
    return fmt::format("(?:({}[{}])[{}])", negated ? "?!" : "?=", translate_class_body(negated ? right.substr(1) : right),
                       translate_class_body(left));
  }
  return fmt::format("[{}]", translate_class_body(text.substr(1, text.size() - 2)));
}

// Per thread: a growing stack for JIT code and the limits every match runs under.
struct MatchContext {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, 16 * 1024 * 1024, nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);  // only the whole match is asked for
  MatchContext() {
    if (context == nullptr) return;
    pcre2_set_match_limit(context, kMatchLimit);
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchContext() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[160];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

std::string translate_oniguruma(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's') {
        out.append("[").append(kSpaceSet).append("]");
      } else if (next == 'S') {
        out.append("[^").append(kSpaceSet).append("]");
      } else if (next == 'w') {
        out.append("[").append(kWordSet).append("]");
      } else if (next == 'W') {
        out.append("[^").append(kWordSet).append("]");
      } else {
        out.append({'\\', next});
      }
    } else if (const size_t end = c == '[' ? class_end(pattern, i) : std::string_view::npos; end != std::string_view::npos) {
      out += translate_class(pattern.substr(i, end - i));
      i = end - 1;
    } else {
      out += c;
    }
  }
  return out;
}

Result<std::shared_ptr<const Regex>> Regex::compile(const std::string& pattern, const std::string& where) {
  if (!is_valid_utf8(pattern)) return error("{}: a regex is not valid UTF-8", where);
  if (pattern.size() > 64 * 1024) return error("{}: a regex of {} bytes is too long (64 KiB at most)", where, pattern.size());
  const std::string translated = translate_oniguruma(pattern);
  int code_error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), PCRE2_UTF | PCRE2_UCP,
                                   &code_error, &offset, nullptr);
  if (code == nullptr) {
    return error("{}: regex \"{}\": {} (at byte {} of its PCRE2 form)", where, pattern.substr(0, 80), pcre2_message(code_error),
                 offset);
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where there is no JIT, pcre2_match interprets
  return std::shared_ptr<const Regex>(new Regex(pattern, code));
}

Regex::~Regex() { pcre2_code_free(static_cast<pcre2_code*>(code_)); }

Status Regex::find_all(std::string_view text, std::vector<std::pair<size_t, size_t>>& matches) const {
  const auto* code = static_cast<const pcre2_code*>(code_);
  static thread_local MatchContext limits;
  static const char kEmpty = 0;
  if (limits.data == nullptr || limits.context == nullptr) return error("regex \"{}\": out of memory", pattern_.substr(0, 80));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.empty() ? &kEmpty : text.data());
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(limits.data);
  for (size_t at = 0; at <= text.size();) {
    const int rc = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, limits.data, limits.context);
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      return error("regex \"{}\" failed on a text of {} bytes: {}; split the text", pattern_.substr(0, 80), text.size(),
                   pcre2_message(rc));
    }
    if (span[1] < span[0]) return error("regex \"{}\": \\K in a look-around is not supported", pattern_.substr(0, 80));
    matches.emplace_back(span[0], span[1]);
    // An empty match must not be found again: step over one character.
    at = span[1];
    if (span[1] == span[0]) at += at < text.size() ? utf8_step(text, at).length : 1;
  }
  return {};
}

}  // namespace raison
