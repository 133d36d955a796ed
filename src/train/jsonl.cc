// JSONL records to token sequences.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/file.h"
#include "base/json_depth.h"
#include "tokenizer/think_format.h"
#include "tokenizer/utf8.h"
#include "train/data.h"

namespace raison {
namespace {
using Json = nlohmann::ordered_json;

// Where in a token list two encodings of a text and of its beginning part ways.
size_t common_prefix(const std::vector<TokenId>& a, const std::vector<TokenId>& b) {
  size_t n = 0;
  while (n < a.size() && n < b.size() && a[n] == b[n]) ++n;
  return n;
}

class RecordReader {
 public:
  RecordReader(const TextCodec& codec, const DataRecipe& recipe) : codec_(codec), recipe_(recipe) {}

  // One record -> sequences (texts may give several).
  Status read(const Json& record, JsonlData* out) {
    RAISON_ASSIGN(const std::string format, format_of(record));
    RAISON_ASSIGN(TrainSequence s, sequence(record, format));
    cut(std::move(s), format == "text", out);
    return {};
  }

  Result<TrainSequence> whole(const Json& record) {
    RAISON_ASSIGN(const std::string format, format_of(record));
    return sequence(record, format);
  }

 private:
  Result<TrainSequence> sequence(const Json& record, const std::string& format) {
    TrainSequence s;
    if (format == "messages") {
      RAISON_RETURN_IF_ERROR(read_messages(record, &s));
    } else if (format == "prompt_completion") {
      RAISON_RETURN_IF_ERROR(read_prompt_completion(record, &s));
    } else if (format == "text") {
      RAISON_RETURN_IF_ERROR(read_text(record, &s));
    } else {
      RAISON_RETURN_IF_ERROR(read_tokens(record, &s));
    }
    RAISON_RETURN_IF_ERROR(apply_weights(record, format, &s));
    return s;
  }

  Result<std::string> format_of(const Json& record) const {
    if (!record.is_object()) return error("must be a JSON object");
    std::vector<std::string> found;
    if (record.contains("messages")) found.push_back("messages");
    if (record.contains("prompt") && record.contains("completion")) found.push_back("prompt_completion");
    if (record.contains("text")) found.push_back("text");
    if (record.contains("tokens")) found.push_back("tokens");
    if (recipe_.format != "auto") {
      if (std::find(found.begin(), found.end(), recipe_.format) != found.end()) return recipe_.format;
      return error("has no keys of the format {} that data.format asks for", recipe_.format);
    }
    if (found.empty()) return error("needs `messages`, `prompt` and `completion`, `text` or `tokens`");
    if (found.size() > 1) return error("has both {} and {}; say which with data.format", found[0], found[1]);
    return found[0];
  }

  static Result<std::string> text_of(const Json& record, const char* key) {
    const Json& v = record.at(key);
    if (!v.is_string()) return error("`{}` must be a string", key);
    return v.get<std::string>();
  }

  Result<std::vector<TokenId>> encode(const std::string& text, bool add_special) const {
    EncodeOptions options;
    options.add_special = add_special;
    return codec_.tokenizer->encode(text, options);
  }

  Status require_tokenizer() const {
    if (!codec_.tokenizer) return error("text needs a tokenizer, and this model has none");
    return {};
  }

  void append_eos(std::vector<int32_t>* tokens) const {
    const auto eos = codec_.tokenizer->eos();
    if (eos && (tokens->empty() || tokens->back() != *eos)) tokens->push_back(*eos);
  }

  Result<std::string> render(const Json& messages, const Json& record, bool generation_prompt) const {
    Json variables;
    variables["messages"] = messages;
    variables["add_generation_prompt"] = generation_prompt;
    const auto piece = [&](std::optional<TokenId> id) { return id ? codec_.tokenizer->piece(*id) : std::string(); };
    variables["bos_token"] = piece(codec_.tokenizer->bos());
    variables["eos_token"] = piece(codec_.tokenizer->eos());
    if (record.contains("tools")) variables["tools"] = record.at("tools");
    return codec_.chat_template->render(variables);
  }

  // A message's tokens are those that rendering it adds to the conversation before it (with the generation prompt): what the
  // model would have had to say there.
  Status read_messages(const Json& record, TrainSequence* s) const {
    RAISON_RETURN_IF_ERROR(require_tokenizer());
    const Json& messages = record.at("messages");
    if (!messages.is_array() || messages.empty()) return error("`messages` must be a list of at least one message");
    for (size_t i = 0; i < messages.size(); ++i) {
      const Json& m = messages[i];
      if (!m.is_object() || !m.contains("role") || !m["role"].is_string())
        return error("message {} must be an object with a string `role`", i + 1);
      if (!m.contains("content") || !(m["content"].is_string() || m["content"].is_null()))
        return error("message {} must have a string `content`", i + 1);
    }
    if (!codec_.chat_template) return error("`messages` need a chat template, and this model has none");
    RAISON_ASSIGN(const std::string text, render(messages, record, false));
    RAISON_ASSIGN(s->tokens, encode(text, false));
    s->weights.assign(s->tokens.size(), recipe_.loss == "all" ? 1.0f : 0.0f);
    if (recipe_.loss == "all") return {};
    for (size_t i = 0; i < messages.size(); ++i) {
      if (messages[i]["role"] != "assistant") continue;
      RAISON_RETURN_IF_ERROR(mark_message(record, text, i, s));
    }
    return {};
  }

  Status mark_message(const Json& record, const std::string& text, size_t i, TrainSequence* s) const {
    const Json& messages = record.at("messages");
    Json before = Json::array();
    for (size_t j = 0; j < i; ++j) before.push_back(messages[j]);
    Json with = before;
    with.push_back(messages[i]);
    RAISON_ASSIGN(const std::string whole, render(with, record, false));
    const std::string content = messages[i]["content"].is_string() ? trimmed(messages[i]["content"].get<std::string>()) : "";
    RAISON_ASSIGN(const std::optional<std::string> head, head_of(whole, content, before, record));
    if (!head || text.compare(0, whole.size(), whole) != 0)
      return error(
          "message {}: the chat template rewrites earlier turns, so what the model says cannot be told from what it is "
          "told; use `prompt` and `completion`",
          i + 1);
    if (whole.find(content) == std::string::npos)
      return error(
          "message {}: the chat template leaves out a part of the content (the thinking?); use `prompt` and `completion`",
          i + 1);
    RAISON_ASSIGN(const auto head_tokens, encode(*head, false));
    RAISON_ASSIGN(const auto whole_tokens, encode(whole, false));
    const size_t begin = common_prefix(s->tokens, head_tokens);
    const size_t end = end_of_turn(s->tokens, begin, common_prefix(s->tokens, whole_tokens));
    for (size_t t = begin; t < end; ++t) s->weights[t] = 1.0f;
    return {};
  }

  // What of `whole` the model is told before it says its message: the conversation so far and the generation prompt. Where the
  // prompt opens a thought ("<think>\n") which the finished turn has not, as in R1's template, only what both have counts. Empty
  // if the turns before are not the beginning of `whole`.
  Result<std::optional<std::string>> head_of(const std::string& whole, const std::string& content, const Json& before,
                                             const Json& record) const {
    RAISON_ASSIGN(const std::string prompt, render(before, record, true));
    if (whole.compare(0, prompt.size(), prompt) == 0) return std::optional<std::string>(prompt);
    RAISON_ASSIGN(const std::string told, render(before, record, false));
    size_t n = 0;
    while (n < whole.size() && n < prompt.size() && whole[n] == prompt[n]) ++n;
    if (n < told.size() || whole.compare(0, told.size(), told) != 0) return std::optional<std::string>();
    // The message itself may begin like the rest of the prompt ("<" of "<think>").
    for (size_t at = n; !content.empty() && at + 1 > told.size(); --at) {
      if (whole.compare(at, content.size(), content) == 0) {
        n = at;
        break;
      }
      if (at == 0) break;
    }
    while (n > 0 && n < whole.size() && (static_cast<unsigned char>(whole[n]) & 0xC0) == 0x80) --n;  // no half character
    return std::optional<std::string>(whole.substr(0, n));
  }

  // White space that the template writes after the token that ends a turn ("<|im_end|>\n") is never said by the model: it has
  // stopped by then.
  size_t end_of_turn(const std::vector<TokenId>& tokens, size_t begin, size_t end) const {
    size_t last = end;
    while (last > begin && trimmed(codec_.tokenizer->piece(tokens[last - 1])).empty()) --last;
    if (last == begin || last == end) return end;
    const TokenId id = tokens[last - 1];
    return codec_.tokenizer->is_special(id) || codec_.tokenizer->eos() == id ? last : end;
  }

  static std::string trimmed(const std::string& text) {
    const size_t b = text.find_first_not_of(" \t\r\n"), e = text.find_last_not_of(" \t\r\n");
    return b == std::string::npos ? "" : text.substr(b, e - b + 1);
  }

  Status read_prompt_completion(const Json& record, TrainSequence* s) const {
    RAISON_RETURN_IF_ERROR(require_tokenizer());
    if (record.at("prompt").is_array()) return read_turn(record, s);
    RAISON_ASSIGN(const std::string prompt, text_of(record, "prompt"));
    RAISON_ASSIGN(const std::string completion, text_of(record, "completion"));
    RAISON_ASSIGN(const auto head, encode(prompt, true));
    RAISON_ASSIGN(s->tokens, encode(prompt + completion, true));
    append_eos(&s->tokens);
    const size_t begin = recipe_.loss == "all" ? 0 : common_prefix(s->tokens, head);
    s->weights.assign(s->tokens.size(), 1.0f);
    std::fill(s->weights.begin(), s->weights.begin() + static_cast<std::ptrdiff_t>(begin), 0.0f);
    return {};
  }

  // `prompt` as messages: the chat template's text up to where the model goes on, then `completion` as it would have written it, its thought in
  // the marks of this model. Prompt and reply are tokenised apart, as when the model answers.
  Status read_turn(const Json& record, TrainSequence* s) const {
    if (!codec_.chat_template) return error("a `prompt` of messages needs a chat template, and this model has none");
    RAISON_ASSIGN(std::string completion, text_of(record, "completion"));
    RAISON_ASSIGN(const auto format, think_format(codec_.chat_template.get(), *codec_.tokenizer));
    Json variables = {{"messages", record.at("prompt")}};
    const auto piece = [&](std::optional<TokenId> id) { return id ? codec_.tokenizer->piece(*id) : std::string(); };
    variables["bos_token"] = piece(codec_.tokenizer->bos());
    variables["eos_token"] = piece(codec_.tokenizer->eos());
    if (record.contains("tools")) variables["tools"] = record.at("tools");
    RAISON_ASSIGN(const ThinkPrompt prompt,
                  think_prompt(*codec_.chat_template, format ? &*format : nullptr, std::move(variables), {}));
    if (format) completion = with_marks(*format, prompt.start, completion);
    RAISON_ASSIGN(s->tokens, encode(prompt.text, false));
    const size_t begin = recipe_.loss == "all" ? 0 : s->tokens.size();
    RAISON_ASSIGN(const auto reply, encode(completion, false));
    s->tokens.insert(s->tokens.end(), reply.begin(), reply.end());
    append_eos(&s->tokens);
    s->weights.assign(s->tokens.size(), 1.0f);
    std::fill(s->weights.begin(), s->weights.begin() + static_cast<std::ptrdiff_t>(begin), 0.0f);
    return {};
  }

  // A thought's open mark stands once: in the prompt, or at the beginning of the reply.
  static std::string with_marks(const ThinkFormat& f, ThinkStart start, const std::string& completion) {
    const size_t first = completion.find_first_not_of(" \t\r\n");
    const bool opens = first != std::string::npos && completion.compare(first, f.open_mark.size(), f.open_mark) == 0;
    if (start == ThinkStart::Thinking && opens) {
      const size_t rest = completion.find_first_not_of(" \t\r\n", first + f.open_mark.size());
      return rest == std::string::npos ? "" : completion.substr(rest);
    }
    if (start == ThinkStart::Undecided && !opens && completion.find(f.close_mark) != std::string::npos)
      return f.open_text + completion;
    return completion;
  }

  Status read_text(const Json& record, TrainSequence* s) const {
    RAISON_RETURN_IF_ERROR(require_tokenizer());
    RAISON_ASSIGN(const std::string text, text_of(record, "text"));
    RAISON_ASSIGN(s->tokens, encode(text, true));
    append_eos(&s->tokens);
    s->weights.assign(s->tokens.size(), 1.0f);
    return {};
  }

  Status read_tokens(const Json& record, TrainSequence* s) const {
    const Json& tokens = record.at("tokens");
    if (!tokens.is_array()) return error("`tokens` must be a list of token ids");
    for (const Json& t : tokens) {
      if (!t.is_number_integer() || t.get<int64_t>() < 0 || t.get<int64_t>() > INT32_MAX)
        return error("`tokens` must be a list of token ids");
      if (codec_.vocab > 0 && t.get<int64_t>() >= codec_.vocab)
        return error("`tokens` holds {}, outside of the model's vocabulary of {}", t.get<int64_t>(), codec_.vocab);
      s->tokens.push_back(t.get<int32_t>());
    }
    s->weights.assign(s->tokens.size(), 1.0f);
    return {};
  }

  static Result<float> weight_of(const Json& v, const char* key) {
    if (!v.is_number()) return error("`{}` must hold numbers", key);
    const double w = v.get<double>();
    if (!(w >= 0 && w <= 1e6)) return error("`{}` holds {}, must be within 0 .. 1e6", key, w);
    return static_cast<float>(w);
  }

  Status apply_weights(const Json& record, const std::string& format, TrainSequence* s) const {
    if (!s->weights.empty()) s->weights[0] = 0;  // nothing comes before it
    if (record.contains("weights")) {
      if (!recipe_.token_weights) return error("has `weights`; set data.token_weights = true to use them");
      const Json& weights = record.at("weights");
      if (!weights.is_array()) return error("`weights` must be a list of numbers");
      const bool all = format == "tokens";  // one for each token; else one for each that has a loss
      const auto want = all ? static_cast<int64_t>(s->tokens.size())
                            : std::count_if(s->weights.begin(), s->weights.end(), [](float w) { return w > 0; });
      if (static_cast<int64_t>(weights.size()) != want)
        return error("`weights` has {} numbers, {} tokens have a loss", weights.size(), want);
      size_t next = 0;
      for (size_t t = 0; t < s->tokens.size(); ++t) {
        if (!all && s->weights[t] <= 0) continue;
        RAISON_ASSIGN(s->weights[t], weight_of(weights[next++], "weights"));
      }
      if (!s->weights.empty()) s->weights[0] = 0;
    } else if (recipe_.token_weights) {
      return error("has no `weights`, which data.token_weights asks for");
    }
    if (!record.contains("weight")) return {};
    RAISON_ASSIGN(const float scale, weight_of(record.at("weight"), "weight"));
    for (float& w : s->weights) w *= scale;
    return {};
  }

  // Keeps sequences that have something to learn, none longer than max_length. Pieces of a text overlap by one token, so that
  // each token is predicted exactly once.
  void cut(TrainSequence s, bool split, JsonlData* out) const {
    const auto limit = static_cast<size_t>(recipe_.max_length);
    size_t begin = 0;
    bool kept = false;
    if (s.tokens.size() > limit && !split) ++out->truncated;
    do {
      const size_t end = std::min(s.tokens.size(), begin + limit);
      TrainSequence piece;
      piece.tokens.assign(s.tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                          s.tokens.begin() + static_cast<std::ptrdiff_t>(end));
      piece.weights.assign(s.weights.begin() + static_cast<std::ptrdiff_t>(begin),
                           s.weights.begin() + static_cast<std::ptrdiff_t>(end));
      if (!piece.weights.empty()) piece.weights[0] = 0;
      if (std::any_of(piece.weights.begin(), piece.weights.end(), [](float w) { return w > 0; })) {
        out->sequences.push_back(std::move(piece));
        kept = true;
      }
      begin = end == s.tokens.size() ? end : end - 1;
    } while (split && begin < s.tokens.size());
    if (!kept) ++out->dropped;
  }

  const TextCodec& codec_;
  const DataRecipe& recipe_;
};

Result<Json> parse_line(std::string_view line) {
  if (!is_valid_utf8(line)) return error("not valid UTF-8");
  if (json_too_deep_at(line) != kShallow) return error("JSON nested more than {} deep", kMaxJsonDepth);
  try {
    return Json::parse(line);
  } catch (const nlohmann::json::parse_error& e) {
    return error("not valid JSON at byte {}", e.byte);
  } catch (const std::exception&) { return error("not valid JSON"); }
}

}  // namespace

Status read_json_lines(const std::string& path, const std::function<Status(const Json&, int64_t)>& take) {
  RAISON_ASSIGN(const auto file, MappedFile::open(path));
  const std::string_view text(reinterpret_cast<const char*>(file->data()), file->size());
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto record = parse_line(line);
    if (!record.ok()) return error("{}:{}: {}", path, number, record.message());
    try {
      const Status read = take(*record, number);
      if (!read.ok()) return error("{}:{}: {}", path, number, read.message());
    } catch (const std::exception& e) { return error("{}:{}: {}", path, number, e.what()); }
  }
  return {};
}

Result<TrainSequence> read_record(const Json& record, const TextCodec& codec, const DataRecipe& recipe) {
  return RecordReader(codec, recipe).whole(record);
}

Result<JsonlData> read_jsonl(const std::string& path, const TextCodec& codec, const DataRecipe& recipe) {
  RecordReader reader(codec, recipe);
  JsonlData data;
  RAISON_RETURN_IF_ERROR(read_json_lines(path, [&](const Json& record, int64_t) { return reader.read(record, &data); }));
  if (data.sequences.empty()) return error("{}: holds no record to learn from", path);
  return data;
}

}  // namespace raison
