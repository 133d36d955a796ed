#include "tokenizer/chat_template.h"

#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/json_util.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

constexpr size_t kMaxSource = size_t{1} << 20;  // the largest published ones have some 50 KB
constexpr size_t kMaxMessage = 2000;

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm out{};
  localtime_r(&now, &out);
  return out;
}

// Messages of templates may hold newlines and whole conversations; an error is one line that can be read.
std::string one_line(std::string text) {
  const bool cut = text.size() > kMaxMessage;
  if (cut) text.resize(kMaxMessage);
  for (char& c : text) c = c == '\n' || c == '\r' ? ' ' : c;
  text = lossy_utf8(text);
  return cut ? text + " ..." : text;
}

class JinjaTemplate final : public ChatTemplate {
 public:
  JinjaTemplate(std::string source, std::string where, ChatTemplateOptions options, jinja::Block body)
      : source_(std::move(source)), where_(std::move(where)), options_(std::move(options)), body_(std::move(body)) {}

  Result<std::string> render(const nlohmann::ordered_json& variables) const override {
    if (!variables.is_object()) return error("{}: a chat template's variables must be an object", where_);
    try {
      jinja::Limits limits;
      limits.steps = options_.max_steps;
      limits.output_bytes = options_.max_output;
      jinja::Interpreter interpreter(limits, options_.lenient, options_.now ? options_.now : local_time);
      return interpreter.render(body_, variables);
    } catch (const jinja::Failure& failure) {
      if (failure.from_template) return Error(one_line(failure.what()));
      return error("{}: {}", where_, one_line(failure.what()));
    } catch (const std::exception& e) {  // out of memory
      return error("{}: rendering failed: {}", where_, one_line(e.what()));
    }
  }
  const std::string& source() const override { return source_; }

 private:
  std::string source_, where_;
  ChatTemplateOptions options_;
  jinja::Block body_;
};

}  // namespace

Result<std::shared_ptr<ChatTemplate>> ChatTemplate::parse(const std::string& source, const std::string& where,
                                                          ChatTemplateOptions options) {
  if (source.size() > kMaxSource)
    return error("{}: a chat template of {} bytes is too large ({} at most)", where, source.size(), kMaxSource);
  if (!is_valid_utf8(source)) return error("{}: the chat template is not valid UTF-8", where);
  try {
    jinja::Block body = jinja::parse_template(source, options.lenient);
    return std::shared_ptr<ChatTemplate>(std::make_shared<JinjaTemplate>(source, where, std::move(options), std::move(body)));
  } catch (const jinja::Failure& failure) {
    return error("{}: chat template: {}", where, one_line(failure.what()));
  } catch (const std::exception& e) { return error("{}: chat template: {}", where, one_line(e.what())); }
}

Result<std::string> chat_template_of_tokenizer_config(std::string_view tokenizer_config, const std::string& where) {
  RAISON_ASSIGN(const auto config, parse_json_object(tokenizer_config, where));
  const auto it = config.find("chat_template");
  if (it == config.end() || it->is_null()) return std::string();
  if (it->is_string()) return it->get<std::string>();
  if (!it->is_array()) return error("{}: chat_template must be a text or a list of {{name, template}}", where);
  std::string first;
  for (const auto& entry : *it) {
    if (!entry.is_object() || !entry.contains("template") || !entry["template"].is_string()) {
      return error("{}: an entry of chat_template without a text \"template\"", where);
    }
    const std::string text = entry["template"].get<std::string>();
    if (json_string(entry, "name") == "default") return text;
    if (first.empty()) first = text;
  }
  return first;
}

}  // namespace raison
