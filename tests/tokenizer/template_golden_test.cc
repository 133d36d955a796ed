// Chat templates against transformers' renderings (goldens/templates): every published template, and unit cases of the
// language.
#include <gtest/gtest.h>

#include <map>

#include "testing/shared_data.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/helpers.h"

namespace raison {
namespace {

using nlohmann::ordered_json;
using tokenizer_test::exists;
using tokenizer_test::gunzip;
using tokenizer_test::slurp;

std::tm golden_clock() {
  std::tm t{};  // 2025-03-14T09:26:53, a Friday
  t.tm_year = 125;
  t.tm_mon = 2;
  t.tm_mday = 14;
  t.tm_hour = 9;
  t.tm_min = 26;
  t.tm_sec = 53;
  t.tm_wday = 5;
  t.tm_yday = 72;
  return t;
}

struct Rendering {
  bool ok = false;
  std::string text;  // the output or the error
};

Rendering render(const std::string& source, const ordered_json& variables, bool lenient,
                 const std::function<std::tm()>& clock = golden_clock) {
  ChatTemplateOptions options;
  options.lenient = lenient;
  options.now = clock;
  auto parsed = ChatTemplate::parse(source, "golden", options);
  if (!parsed.ok()) return {false, parsed.message()};
  auto out = (*parsed)->render(variables);
  return out.ok() ? Rendering{true, *out} : Rendering{false, out.message()};
}

// "" if `got` is what the case wants, else what is wrong.
std::string verdict(const ordered_json& c, const Rendering& got, const char* output_key) {
  const bool want_output = c.contains(output_key);
  if (want_output != got.ok) return got.ok ? "should have failed, gave: " + got.text : "failed: " + got.text;
  if (want_output)
    return got.text == c[output_key].get<std::string>() ? ""
                                                        : "gave: " + got.text + "\nwanted: " + c[output_key].get<std::string>();
  const auto& e = c["error"];
  if (got.text.find('\n') != std::string::npos) return "an error must be one line: " + got.text;
  std::string message = e.value("message", "");
  for (char& ch : message) ch = ch == '\n' ? ' ' : ch;
  if (e["kind"] == "raise_exception" && got.text != message) return "error was: " + got.text + "\nwanted: " + message;
  return "";
}

TEST(TemplateGolden, UnitCases) {
  const std::string path = raison::testing::shared_dir() + "/goldens/templates/unit.json";
  if (!exists(path)) GTEST_SKIP() << raison::testing::missing(path);
  size_t cases = 0;
  for (const auto& c : ordered_json::parse(slurp(path))) {
    ++cases;
    const std::string wrong = verdict(c, render(c["template"], c["context"], false), "output");
    EXPECT_EQ(wrong, "") << c["name"] << ": " << c["template"];
  }
  EXPECT_GT(cases, 0u);
}

// The template's source as index.json names it: a .jinja file, or "FILE#chat_template".
std::string source_of(const std::string& shared, const std::string& name) {
  const size_t hash = name.find('#');
  const std::string text = slurp(shared + "/refdata/" + name.substr(0, hash));
  return hash == std::string::npos ? text : *chat_template_of_tokenizer_config(text, name);
}

TEST(TemplateGolden, EveryTemplateRendersAsTransformersDoes) {
  const std::string shared = raison::testing::shared_dir(), goldens = shared + "/goldens/templates/";
  if (!exists(goldens + "index.json")) GTEST_SKIP() << raison::testing::missing(goldens + "index.json");
  size_t templates = 0, cases = 0, good = 0;
  const auto index = ordered_json::parse(slurp(goldens + "index.json"));
  for (const auto& entry : index["templates"]) {
    const std::string source = source_of(shared, entry["template"]);
    ASSERT_NE(source, "") << entry["template"];
    ++templates;
    const auto golden = ordered_json::parse(slurp(goldens + entry["file"].get<std::string>()));
    for (const auto& c : golden.is_array() ? golden : golden["cases"]) {
      if (c.contains("continue_final_message")) continue;  // that is apply_chat_template's work
      ++cases;
      std::string wrong =
          verdict(c, render(source, c["input"], true), c.contains("lenient_output") ? "lenient_output" : "output");
      // What transformers refuses must be refused by the strict dialect too.
      if (wrong.empty() && c.contains("lenient_output") && c.contains("error"))
        wrong = verdict(c, render(source, c["input"], false), "output");
      good += wrong.empty();
      EXPECT_EQ(wrong, "") << entry["file"] << " case " << cases << ": " << c["input"].dump().substr(0, 300);
      if (!wrong.empty()) break;  // one failure a template is enough to read
    }
  }
  EXPECT_EQ(templates, index["templates"].size());
  EXPECT_GT(templates, 0u);
  printf("%zu of %zu renderings of %zu templates\n", good, cases, templates);
}

// huggingface.js's own end-to-end cases, rendered at 2025-07-10T12:00Z.
TEST(TemplateGolden, HuggingFaceJsEndToEnd) {
  const std::string path = raison::testing::shared_dir() + "/refdata/templates/jinja-tests/chat_template_e2e.json";
  if (!exists(path)) GTEST_SKIP() << raison::testing::missing(path);
  const auto clock = [] {
    std::tm t{};
    t.tm_year = 125;
    t.tm_mon = 6;
    t.tm_mday = 10;
    t.tm_hour = 12;
    t.tm_wday = 4;
    t.tm_yday = 190;
    return t;
  };
  size_t cases = 0;
  for (const auto& c : ordered_json::parse(slurp(path))) {
    ++cases;
    const Rendering got = render(c["chat_template"], c["data"], true, clock);
    EXPECT_TRUE(got.ok) << c["group"] << " " << c["name"] << ": " << got.text;
    EXPECT_EQ(got.text, c["target"].get<std::string>()) << c["group"] << " " << c["name"];
  }
  EXPECT_GT(cases, 0u);
}

TEST(TemplateGolden, ModelFolders) {
  const std::string goldens = raison::testing::shared_dir() + "/goldens/";
  size_t found = 0;
  for (const std::string folder : {"deepseek_v2", "deepseek_v3", "kimi_k2", "llama", "qwen2", "qwen3", "qwen3_moe"}) {
    const std::string path = goldens + folder + "/chat_template.jinja";
    if (!exists(path)) continue;
    ++found;
    const Rendering got = render(slurp(path),
                                 {{"messages", {{{"role", "user"}, {"content", "Hi!"}}}},
                                  {"add_generation_prompt", true},
                                  {"bos_token", "<|bos|>"},
                                  {"eos_token", "<|eos|>"}},
                                 true);
    ASSERT_TRUE(got.ok) << got.text;
    EXPECT_NE(got.text.find("Hi!"), std::string::npos) << got.text;
  }
  if (found == 0) GTEST_SKIP() << raison::testing::missing(goldens + "*/chat_template.jinja");
}

}  // namespace
}  // namespace raison
