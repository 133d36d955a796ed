// Chat templates in a subset of Jinja2, rendered as transformers' apply_chat_template does (trim_blocks, lstrip_blocks,
// no autoescape), with step and size limits against hostile templates.
#pragma once
#include <ctime>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace raison {

struct ChatTemplateOptions {
  // Allows what transformers refuses and published templates need: lists and dicts that grow (append, pop, update),
  // the from_json filter, tojson of a generator.
  bool lenient = true;
  std::function<std::tm()> now;          // what strftime_now reads; empty = the local clock
  int64_t max_steps = 5'000'000;         // of one rendering
  size_t max_output = size_t{64} << 20;  // bytes
};

class ChatTemplate {
 public:
  // Parses; a syntax error is one line with the template's line number.
  static Result<std::shared_ptr<ChatTemplate>> parse(const std::string& source, const std::string& where,
                                                     ChatTemplateOptions options = {});
  virtual ~ChatTemplate() = default;
  // `variables`: an object (ordered): messages, add_generation_prompt, bos_token, eos_token, tools, and any others.
  // raise_exception('x') gives an error with x.
  virtual Result<std::string> render(const nlohmann::ordered_json& variables) const = 0;
  virtual const std::string& source() const = 0;
};

// The template of a tokenizer_config.json text ("chat_template": string, or list of {name, template}: "default" wins);
// empty string if there is none.
Result<std::string> chat_template_of_tokenizer_config(std::string_view tokenizer_config, const std::string& where);

}  // namespace raison
