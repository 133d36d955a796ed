#include "tokenizer/pre_tokenizer.h"

#include <utf8proc.h>

#include <cstdlib>

#include "tokenizer/json_util.h"
#include "tokenizer/utf8.h"

namespace raison {

const char kGpt2Regex[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

using json = nlohmann::json;

constexpr size_t kMaxSteps = 64;  // a Sequence holds a handful; nesting is flattened with this bound

// "Sequence" nodes nest; they are flattened without recursion, children in order.
Result<std::vector<const json*>> flatten(const json& root, const char* list, const std::string& where) {
  std::vector<const json*> stack{&root}, flat;
  size_t seen = 0;
  while (!stack.empty()) {
    const json* node = stack.back();
    stack.pop_back();
    if (++seen > 4 * kMaxSteps || flat.size() > kMaxSteps)
      return error("{}: more than {} steps in a Sequence", where, kMaxSteps);
    if (node->is_null()) continue;
    if (!node->is_object()) return error("{}: a {} entry must be an object", where, list);
    if (json_string(*node, "type") != "Sequence") {
      flat.push_back(node);
      continue;
    }
    const auto items = node->find(list);
    if (items == node->end() || !items->is_array()) return error("{}: Sequence without a list \"{}\"", where, list);
    for (auto it = items->rbegin(); it != items->rend(); ++it) stack.push_back(&*it);
  }
  return flat;
}

Status normalize_all(std::string_view text, int options, std::string& out) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                 static_cast<utf8proc_ssize_t>(text.size()), &mapped, static_cast<utf8proc_option_t>(options));
  if (size < 0) return error("Unicode normalisation failed: {}", utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
  std::free(mapped);
  return {};
}

// Blocks in which every code point is a starter that composition leaves alone (NFC_Quick_Check = Yes), so that a text of
// nothing else is in NFC already: most of what is ever encoded.
bool never_changes(char32_t c) {
  return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x2010 && c <= 0x205F) || (c >= 0x3001 && c <= 0x3029) ||
         (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FE) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xFF01 && c <= 0xFF60) || (c >= 0x1F300 && c <= 0x1FAFF);
}

// Compositions and decompositions leave ASCII alone, and nothing composes with an ASCII character that follows it: the text is
// done in stretches, each from one ASCII character up to the next that comes after something else.
Status unicode_normalize(std::string& text, int options) {
  const auto is_ascii = [&](size_t i) { return static_cast<signed char>(text[i]) >= 0; };
  const bool nfc = options == (UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  std::string out;
  size_t done = 0;  // text[0, done) is in `out`
  for (size_t at = 0; at < text.size();) {
    while (at < text.size() && is_ascii(at)) ++at;
    if (at == text.size()) break;
    const size_t begin = at > 0 ? at - 1 : 0;
    bool same = nfc;
    while (at < text.size() && !is_ascii(at)) {
      const Utf8Step step = utf8_step(text, at);
      same = same && never_changes(step.code);
      at += step.length;
    }
    if (same) continue;
    if (done == 0) out.reserve(text.size() + text.size() / 16);
    out.append(text, done, begin - done);
    RAISON_RETURN_IF_ERROR(normalize_all(std::string_view(text).substr(begin, at - begin), options, out));
    done = at;
  }
  if (done > 0) text = out.append(text, done);
  return {};
}

void strip(std::string& text, bool left, bool right) {
  size_t begin = text.size(), end = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text, i);
    if (!is_space(step.code)) {
      begin = std::min(begin, i);
      end = i + step.length;
    }
    i += step.length;
  }
  if (!right) end = text.size();
  if (!left) begin = 0;
  text = begin < end ? text.substr(begin, end - begin) : "";
}

}  // namespace

Pattern Pattern::literal(std::string text) {
  Pattern p;
  p.literal_ = std::move(text);
  return p;
}

Result<Pattern> Pattern::regex(const std::string& text, const std::string& where) {
  Pattern p;
  RAISON_ASSIGN(p.regex_, Regex::compile(text, where));
  return p;
}

Result<Pattern> Pattern::from_json(const json& pattern, const std::string& where) {
  if (pattern.is_object()) {
    if (const auto it = pattern.find("Regex"); it != pattern.end() && it->is_string())
      return regex(it->get<std::string>(), where);
    if (const auto it = pattern.find("String"); it != pattern.end() && it->is_string()) return literal(it->get<std::string>());
  }
  return error("{}: a pattern must be {{\"Regex\": text}} or {{\"String\": text}}", where);
}

Status Pattern::find_all(std::string_view text, std::vector<std::pair<size_t, size_t>>& matches) const {
  if (regex_) return regex_->find_all(text, matches);
  if (literal_.empty()) return {};
  for (size_t at = 0; (at = text.find(literal_, at)) != std::string_view::npos; at += literal_.size()) {
    matches.emplace_back(at, at + literal_.size());
  }
  return {};
}

Result<Normalizer> Normalizer::from_json(const json& node, const std::string& where) {
  Normalizer out;
  RAISON_ASSIGN(const auto nodes, flatten(node, "normalizers", where));
  for (const json* n : nodes) {
    const std::string type = json_string(*n, "type");
    Step step{};
    if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
      step.kind = type == "NFC" ? Kind::Nfc : type == "NFD" ? Kind::Nfd : type == "NFKC" ? Kind::Nfkc : Kind::Nfkd;
    } else if (type == "Prepend") {
      step.kind = Kind::Prepend;
      step.text = json_string(*n, "prepend");
    } else if (type == "Replace") {
      step.kind = Kind::Replace;
      step.text = json_string(*n, "content");
      RAISON_ASSIGN(step.pattern, Pattern::from_json(n->value("pattern", json()), where));
    } else if (type == "Strip") {
      step.kind = Kind::Strip;
      step.left = json_bool(*n, "strip_left", true);
      step.right = json_bool(*n, "strip_right", true);
    } else {
      return error("{}: normalizer \"{}\" is not supported (NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, Sequence are)",
                   where, shown(type));
    }
    out.steps_.push_back(std::move(step));
  }
  return out;
}

Status Normalizer::apply(std::string& text) const {
  constexpr int kCompose = UTF8PROC_STABLE | UTF8PROC_COMPOSE, kDecompose = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::Nfc: RAISON_RETURN_IF_ERROR(unicode_normalize(text, kCompose)); break;
      case Kind::Nfd: RAISON_RETURN_IF_ERROR(unicode_normalize(text, kDecompose)); break;
      case Kind::Nfkc: RAISON_RETURN_IF_ERROR(unicode_normalize(text, kCompose | UTF8PROC_COMPAT)); break;
      case Kind::Nfkd: RAISON_RETURN_IF_ERROR(unicode_normalize(text, kDecompose | UTF8PROC_COMPAT)); break;
      case Kind::Prepend:
        if (!text.empty()) text.insert(0, step.text);
        break;
      case Kind::Replace: {
        std::vector<std::pair<size_t, size_t>> matches;
        RAISON_RETURN_IF_ERROR(step.pattern.find_all(text, matches));
        std::string out;
        size_t done = 0;
        for (const auto& [begin, end] : matches) {
          out.append(text, done, begin - done).append(step.text);
          done = end;
        }
        text = out.append(text, done);
        break;
      }
      case Kind::Strip: strip(text, step.left, step.right); break;
    }
  }
  return {};
}

Result<PreTokenizer> PreTokenizer::from_json(const json& node, const std::string& where) {
  PreTokenizer out;
  RAISON_ASSIGN(const auto nodes, flatten(node, "pretokenizers", where));
  for (const json* n : nodes) {
    if (out.byte_level_) return error("{}: a pre_tokenizer after ByteLevel is not supported; ByteLevel must come last", where);
    RAISON_RETURN_IF_ERROR(out.add(*n, where));
  }
  return out;
}

Status PreTokenizer::add_split(Pattern pattern, Behaviour behaviour, bool invert) {
  Step step;
  step.pattern = std::move(pattern);
  step.behaviour = behaviour;
  step.invert = invert;
  steps_.push_back(std::move(step));
  return {};
}

Status PreTokenizer::add_byte_level(const json& node, const std::string& where) {
  if (json_bool(node, "add_prefix_space", true)) {
    Step step;
    step.kind = Step::Kind::PrefixSpace;
    steps_.push_back(step);
  }
  byte_level_ = true;
  if (!json_bool(node, "use_regex", true)) return {};
  RAISON_ASSIGN(auto pattern, Pattern::regex(kGpt2Regex, where));
  return add_split(std::move(pattern), Behaviour::Isolated);
}

Status PreTokenizer::add_metaspace(const json& node, const std::string& where) {
  Step step;
  step.kind = Step::Kind::Metaspace;
  step.replacement = json_string(node, "replacement", std::string(kMetaspace));
  // Older files say add_prefix_space (true) instead of prepend_scheme.
  const std::string scheme =
      json_string(node, "prepend_scheme", json_bool(node, "add_prefix_space", true) ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return error("{}: Metaspace prepend_scheme \"{}\" is none of always, first, never", where, shown(scheme));
  }
  if (utf8_length(step.replacement) != 1) return error("{}: Metaspace replacement must be one character", where);
  step.prepend = scheme == "always" ? Prepend::Always : scheme == "first" ? Prepend::First : Prepend::Never;
  const std::string mark = step.replacement;
  steps_.push_back(std::move(step));
  if (json_bool(node, "split", true)) return add_split(Pattern::literal(mark), Behaviour::MergedWithNext);
  return {};
}

Status PreTokenizer::add(const json& node, const std::string& where) {
  const std::string type = json_string(node, "type");
  const auto split_by = [&](const char* regex, Behaviour behaviour, bool invert = false) -> Status {
    RAISON_ASSIGN(auto pattern, Pattern::regex(regex, where));
    return add_split(std::move(pattern), behaviour, invert);
  };
  const auto named_behaviour = [&](Behaviour& out) {
    static const std::pair<const char*, Behaviour> names[] = {{"Removed", Behaviour::Removed},
                                                              {"Isolated", Behaviour::Isolated},
                                                              {"MergedWithPrevious", Behaviour::MergedWithPrevious},
                                                              {"MergedWithNext", Behaviour::MergedWithNext},
                                                              {"Contiguous", Behaviour::Contiguous}};
    for (const auto& [name, value] : names) {
      if (json_string(node, "behavior") == name) {
        out = value;
        return true;
      }
    }
    return false;
  };
  if (type == "ByteLevel") return add_byte_level(node, where);
  if (type == "Metaspace") return add_metaspace(node, where);
  if (type == "Whitespace") return split_by(R"(\w+|[^\w\s]+)", Behaviour::Removed, true);
  if (type == "WhitespaceSplit") return split_by(R"(\s+)", Behaviour::Removed);
  if (type == "Digits")
    return split_by(json_bool(node, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)", Behaviour::Isolated);
  if (type == "CharDelimiterSplit") return add_split(Pattern::literal(json_string(node, "delimiter")), Behaviour::Removed);
  if (type == "Split" || type == "Punctuation") {
    Behaviour behaviour = Behaviour::Isolated;
    if (!named_behaviour(behaviour) && type == "Split") {
      return error("{}: Split behavior \"{}\" is none of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous",
                   where, shown(json_string(node, "behavior")));
    }
    if (type == "Punctuation") return split_by(R"([\p{P}$+<=>^`|~])", behaviour);
    RAISON_ASSIGN(auto pattern, Pattern::from_json(node.value("pattern", json()), where));
    return add_split(std::move(pattern), behaviour, json_bool(node, "invert", false));
  }
  return error(
      "{}: pre_tokenizer \"{}\" is not supported (ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, Metaspace, "
      "Punctuation, "
      "CharDelimiterSplit, Sequence are)",
      where, shown(type));
}

// One piece of text cut at the matches of the step's pattern; appends the resulting ranges.
Status PreTokenizer::split(const Step& step, std::string_view text, std::vector<Range>& pieces) {
  static thread_local std::vector<Range> matches;
  matches.clear();
  RAISON_RETURN_IF_ERROR(step.pattern.find_all(text, matches));
  const size_t first = pieces.size();
  size_t done = 0;
  bool last_hit = false, pending = false;  // pending: a hit that waits for what follows (MergedWithNext)
  size_t pending_begin = 0;
  const auto put = [&](size_t begin, size_t end) {
    if (begin < end) pieces.emplace_back(begin, end);
  };
  const auto span = [&](size_t begin, size_t end, bool hit) {
    if (begin == end) return;
    switch (step.behaviour) {
      case Behaviour::Removed:
        if (!hit) put(begin, end);
        break;
      case Behaviour::Isolated: put(begin, end); break;
      case Behaviour::MergedWithPrevious:
        if (hit && !last_hit && pieces.size() > first) {
          pieces.back().second = end;
        } else {
          put(begin, end);
        }
        break;
      case Behaviour::MergedWithNext:
        if (hit) {
          if (pending) put(pending_begin, begin);
          pending = true;
          pending_begin = begin;
        } else {
          put(pending ? pending_begin : begin, end);
          pending = false;
        }
        break;
      case Behaviour::Contiguous:
        if (pieces.size() > first && last_hit == hit) {
          pieces.back().second = end;
        } else {
          put(begin, end);
        }
        break;
    }
    last_hit = hit;
  };
  for (const auto& [begin, end] : matches) {
    span(done, begin, step.invert);
    span(begin, end, !step.invert);
    done = end;
  }
  span(done, text.size(), step.invert);
  if (pending) put(pending_begin, text.size());
  return {};
}

// The steps that change the text: a space before each piece, or SentencePiece's visible spaces.
void PreTokenizer::rewrite(const Step& step, bool at_start, std::string& text, std::vector<Range>& pieces) {
  std::string out;
  out.reserve(text.size() + text.size() / 2 + 8);
  for (Range& piece : pieces) {
    const std::string_view old = std::string_view(text).substr(piece.first, piece.second - piece.first);
    const size_t begin = out.size();
    if (step.kind == Step::Kind::PrefixSpace) {
      if (old.substr(0, 1) != " ") out += ' ';
      out += old;
    } else {
      const std::string marked = replace_all(old, " ", step.replacement);
      const bool wanted = step.prepend == Prepend::Always || (step.prepend == Prepend::First && at_start && piece.first == 0);
      if (wanted && marked.compare(0, step.replacement.size(), step.replacement) != 0) out += step.replacement;
      out += marked;
    }
    piece = {begin, out.size()};
  }
  text = std::move(out);
}

Status PreTokenizer::apply(std::string& text, bool at_start, std::vector<Range>& pieces) const {
  pieces.clear();
  if (text.empty()) return {};
  pieces.emplace_back(0, text.size());
  std::vector<Range> next, cut;
  for (const Step& step : steps_) {
    if (step.kind != Step::Kind::Split) {
      rewrite(step, at_start, text, pieces);
      continue;
    }
    next.clear();
    for (const Range& piece : pieces) {
      cut.clear();
      RAISON_RETURN_IF_ERROR(split(step, std::string_view(text).substr(piece.first, piece.second - piece.first), cut));
      for (const Range& c : cut) next.emplace_back(piece.first + c.first, piece.first + c.second);
    }
    pieces.swap(next);
  }
  return {};
}

std::string PreTokenizer::signature() const {
  std::string out;
  for (const Step& step : steps_) {
    out +=
        fmt::format("{}:{}:{}:{}:{};", static_cast<int>(step.kind), step.pattern.signature(), static_cast<int>(step.behaviour),
                    step.invert, step.kind == Step::Kind::Metaspace ? static_cast<int>(step.prepend) : 0);
  }
  return out + (byte_level_ ? "bytes" : "");
}

}  // namespace raison
