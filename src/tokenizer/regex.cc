#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

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

bool compiles(const std::string& pattern) {
  int code_error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                                   &code_error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

// The "\p{NAME}" or "\P{NAME}" at pattern[at], whose length goes to `length`; "" if there is none. A script's name alone means
// Script to Oniguruma, and Script_Extensions to PCRE2 (to which the ideographic comma is Han).
std::string translate_property(std::string_view pattern, size_t at, size_t* length) {
  if (pattern.size() < at + 4 || pattern[at] != '\\' || (pattern[at + 1] | 0x20) != 'p' || pattern[at + 2] != '{') return "";
  const size_t close = pattern.find('}', at);
  if (close == std::string_view::npos) return "";
  std::string_view name = pattern.substr(at + 3, close - at - 3);
  *length = close + 1 - at;
  const std::string_view negation = name.substr(0, 1) == "^" ? "^" : "";
  name.remove_prefix(negation.size());
  const bool is_name = name.size() > 2 && name.size() < 40 && std::all_of(name.begin(), name.end(), [](char c) {
                         return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
                       });
  if (!is_name || !compiles(fmt::format("\\p{{sc:{}}}", name))) return std::string(pattern.substr(at, *length));
  return fmt::format("\\{}{{{}sc:{}}}", pattern[at + 1], negation, name);
}

std::string translate_class_body(std::string_view body) {
  std::string out;
  for (size_t i = 0; i < body.size(); ++i) {
    size_t length = 0;
    if (const std::string property = translate_property(body, i, &length); !property.empty()) {
      out += property;
      i += length - 1;
    } else if (body[i] == '\\' && i + 1 < body.size()) {
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

// For a class that lists general categories alone ("\p{Lu}\p{M}"), the list of all the others; "" for any other class. The
// categories part the code points among them.
std::string other_categories(std::string_view body) {
  static const std::string_view all[] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl",
                                         "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
                                         "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"};
  bool listed[std::size(all)] = {};
  for (size_t at = 0; at < body.size();) {
    const size_t close = body.find('}', at);
    if (body.substr(at, 3) != "\\p{" || close == std::string_view::npos) return "";
    const std::string_view name = body.substr(at + 3, close - at - 3);
    bool known = false;
    for (size_t k = 0; k < std::size(all); ++k) {
      const bool named = !name.empty() && (name == all[k] || name == all[k].substr(0, 1));
      listed[k] = listed[k] || named;
      known = known || named;
    }
    if (!known) return "";
    at = close + 1;
  }
  std::string out;
  for (size_t k = 0; k < std::size(all); ++k) {
    if (!listed[k]) out += fmt::format("\\p{{{}}}", all[k]);
  }
  return out;
}

// "[A&&[^B]]" has no like in PCRE2 10. Where A is made of categories it becomes "[^CB]", C being all other categories: a plain
// class, whose repetition needs no stack. Else "(?:(?![B])[A])"; and "[A&&[B]]" becomes "(?:(?=[B])[A])".
std::string translate_class(std::string_view text) {
  const size_t both = text.find("&&[");
  if (both != std::string_view::npos && class_end(text, both + 2) == text.size() - 1) {
    const std::string_view left = text.substr(1, both - 1), right = text.substr(both + 3, text.size() - both - 5);
    const bool negated = !right.empty() && right[0] == '^';
    const std::string others = negated && !left.empty() ? other_categories(left) : "";
    if (!others.empty()) return fmt::format("[^{}{}]", others, translate_class_body(right.substr(1)));
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
    size_t length = 0;
    if (const std::string property = translate_property(pattern, i, &length); !property.empty()) {
      out += property;
      i += length - 1;
    } else if (c == '\\' && i + 1 < pattern.size()) {
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
    return error("{}: regex \"{}\": {} (at byte {} of its PCRE2 form)", where, shown(pattern, 80), pcre2_message(code_error),
                 offset);
  }
  // Where there is no JIT, pcre2_match interprets.
  const bool jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
  return std::shared_ptr<const Regex>(new Regex(pattern, code, jit));
}

Regex::~Regex() { pcre2_code_free(static_cast<pcre2_code*>(code_)); }

Status Regex::find_all(std::string_view text, std::vector<std::pair<size_t, size_t>>& matches) const {
  const auto* code = static_cast<const pcre2_code*>(code_);
  static thread_local MatchContext limits;
  static const char kEmpty = 0;
  if (limits.data == nullptr || limits.context == nullptr) return error("regex \"{}\": out of memory", shown(pattern_, 80));
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.empty() ? &kEmpty : text.data());
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(limits.data);
  for (size_t at = 0; at <= text.size();) {
    // The same match, but pcre2_match looks for the machine code each time and checks its arguments.
    const int rc = jit_ ? pcre2_jit_match(code, subject, text.size(), at, 0, limits.data, limits.context)
                        : pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, limits.data, limits.context);
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) {
      return error("regex \"{}\" failed on a text of {} bytes: {}; split the text", shown(pattern_, 80), text.size(),
                   pcre2_message(rc));
    }
    if (span[1] < span[0]) return error("regex \"{}\": \\K in a look-around is not supported", shown(pattern_, 80));
    matches.emplace_back(span[0], span[1]);
    // An empty match must not be found again: step over one character.
    at = span[1];
    if (span[1] == span[0]) at += at < text.size() ? utf8_step(text, at).length : 1;
  }
  return {};
}

}  // namespace raison
