// Any bytes as a chat template and, behind a zero byte, the variables it is rendered with (JSON; a conversation otherwise).
#include "parts.h"
#include "properties.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/utf8.h"

using namespace raison;

namespace {

const nlohmann::ordered_json& conversation() {
  static const auto variables = nlohmann::ordered_json::parse(R"({
    "messages": [{"role": "system", "content": "Be brief."},
                 {"role": "user", "content": "What is 2 + 2? \u00e9\u4f60"},
                 {"role": "assistant", "content": "<think>easy</think>4", "reasoning_content": null,
                  "tool_calls": [{"type": "function", "id": "c1", "function": {"name": "f", "arguments": {"x": [1, 2.5, true]}}}]},
                 {"role": "tool", "content": "{\"a\": 1}", "tool_call_id": "c1"},
                 {"role": "user", "content": [{"type": "text", "text": "And 3?"}]}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
    "documents": null, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "x": [3, 1, 2], "n": -7})");
  return variables;
}

std::tm clock_of_the_test() {
  std::tm t{};
  t.tm_year = 125;
  t.tm_mday = 1;
  return t;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Parts parts(data, size);
  const std::string source = parts.next();
  nlohmann::ordered_json variables = nlohmann::ordered_json::parse(parts.next(), nullptr, false);
  if (!variables.is_object()) variables = conversation();
  for (const bool lenient : {true, false}) {
    ChatTemplateOptions options;
    options.lenient = lenient;
    options.now = clock_of_the_test;
    options.max_steps = 20000;
    options.max_output = 1 << 20;
    const auto parsed = ChatTemplate::parse(source, "t.jinja", options);
    if (!parsed.ok()) {
      fuzz::check_refusal(parsed.message());
      continue;
    }
    const auto first = (*parsed)->render(variables), second = (*parsed)->render(variables);
    fuzz::require(first.ok() == second.ok());
    if (!first.ok()) {
      fuzz::check_one_line(first.message());
      fuzz::require(first.message() == second.message());
      continue;
    }
    fuzz::require(*first == *second && first->size() <= options.max_output);
  }
  return 0;
}
