// Marks of several tokens, history messages against the goldens, and models out of the ordinary: the bundled one, templates
// that heed no add_generation_prompt, marks that nobody knows, no template at all.
#include <algorithm>

#include "tokenizer/think_helpers.h"

namespace raison::think_test {
namespace {

using enum ThinkStart;
using Sequences = std::vector<std::vector<TokenId>>;

struct MarkHit {
  size_t at = 0, size = 0;  // in tokens; size 0: none
};

MarkHit first_mark(const std::vector<TokenId>& ids, const Sequences& marks) {
  for (size_t at = 0; at < ids.size(); ++at) {
    for (const auto& mark : marks) {
      if (mark.size() <= ids.size() - at && std::equal(mark.begin(), mark.end(), ids.begin() + static_cast<std::ptrdiff_t>(at)))
        return {at, mark.size()};
    }
  }
  return {};
}

std::string pieces(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, size_t begin, size_t end) {
  std::string text;
  for (size_t i = begin; i < end; ++i) text += tokenizer.piece(ids[i]);
  return text;
}

// Splits a reply's tokens at the format's marks: {thought, answer}, or nothing if a mark was not seen.
std::optional<std::pair<std::string, std::string>> split_reply(const Tokenizer& tokenizer, const ThinkFormat& format,
                                                               const std::string& reply) {
  std::vector<TokenId> ids = *tokenizer.encode(reply, {false, true});
  const MarkHit open = first_mark(ids, format.open);
  if (open.size == 0) return std::nullopt;
  const auto sequence = [&](const MarkHit& hit) {
    return std::vector<TokenId>(ids.begin() + static_cast<std::ptrdiff_t>(hit.at),
                                ids.begin() + static_cast<std::ptrdiff_t>(hit.at + hit.size));
  };
  const std::string after_open = mark_overhang(tokenizer, format.open_mark, sequence(open)).after;
  const size_t begin = open.at + open.size;
  MarkHit close = first_mark({ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.end()}, format.close);
  if (close.size == 0) return std::nullopt;
  close.at += begin;
  const MarkOverhang beside = mark_overhang(tokenizer, format.close_mark, sequence(close));
  return std::pair{after_open + pieces(tokenizer, ids, begin, close.at) + beside.before,
                   beside.after + pieces(tokenizer, ids, close.at + close.size, ids.size())};
}

ThinkFormat format_of(const ChatTemplate* chat_template, const Tokenizer& tokenizer) {
  auto format = think_format(chat_template, tokenizer);
  EXPECT_TRUE(format.ok()) << format.message();
  EXPECT_TRUE(format.ok() && format->has_value());
  return format.ok() && *format ? **format : ThinkFormat{};
}

void expect_replies_split(const Tokenizer& tokenizer, const ThinkFormat& format) {
  for (const char* end : {"so 4", "so four.",  "so four!",  "right?",   "f(x)",      "(it is [4])", "{4}",    "**4**",
                          "`4`",  "```",       "$4$",       "\"4\"",    "it's '4'",  "a < b",       "a > b",  "5%",
                          "...",  "4;",        "4:",        "-",        "=",         "4.\n",        "4.\n\n", "\n",
                          " ",    "so\n\n4\n", "$$x = 4$$", "<b>4</b>", "if (x) {}", "vier.\r\n",   "四。",   "é"}) {
    for (const char* start : {"4", "\n", "\n\n", " 4", "\n<response>4</response>", "<response>4</response>", "**4**", "# 4",
                              "$4$", "\\(4\\)", ".", ", and", "-4", "\"4\"", "四"}) {
      for (const char* first : {"Let me see", "\nLet me see", "\n\nLet", "*Hm* "}) {
        const std::string thought = std::string(first) + end;
        const auto got = split_reply(tokenizer, format, format.open_mark + thought + format.close_mark + start);
        ASSERT_TRUE(got) << thought << "|" << start;
        EXPECT_EQ(got->first, thought);
        EXPECT_EQ(got->second, start);
      }
    }
  }
}

TEST(ThinkMarks, SeveralTokensInEveryDress) {
  const std::string path = raison::testing::shared_dir() + "/refdata/templates";
  if (!has_templates()) GTEST_SKIP() << raison::testing::missing(path);
  // Granite's marks are plain text to Qwen2's real vocabulary, R1's to V3's.
  for (const auto& [name, tokenizer_name] : {std::pair{"ibm-granite-granite-3.3-2B-Instruct", "qwen2"},
                                             std::pair{"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-v3"}}) {
    SCOPED_TRACE(name);
    const auto tokenizer = real_tokenizer(tokenizer_name);
    const auto chat_template = parse_template(template_source(name));
    ASSERT_TRUE(tokenizer && chat_template);
    ASSERT_FALSE(tokenizer->id_of("<think>"));
    const ThinkFormat format = format_of(chat_template.get(), *tokenizer);
    EXPECT_GT(format.close.size(), 20u);
    EXPECT_LT(format.close.size(), 20000u);
    for (const auto& marks : {format.open, format.close}) {
      // No sequence is the beginning of another.
      Sequences sorted = marks;
      std::sort(sorted.begin(), sorted.end());
      for (size_t i = 1; i < sorted.size(); ++i) {
        const auto& [a, b] = std::pair{sorted[i - 1], sorted[i]};
        EXPECT_FALSE(a.size() <= b.size() && std::equal(a.begin(), a.end(), b.begin()));
      }
    }
    expect_replies_split(*tokenizer, format);
  }
}

TEST(ThinkMarks, SmallVocabulary) {
  const auto tokenizer = small_tokenizer({});
  const auto chat_template = parse_template("{{ messages[0].content }}{% if add_generation_prompt %}<think>{% endif %}");
  const ThinkFormat format = format_of(chat_template.get(), *tokenizer);
  EXPECT_EQ(format.open.front().size(), 3u);  // "<", "think", ">"
  const auto id = [&](const char* text) { return *tokenizer->id_of(text); };
  const std::vector<TokenId> grown = {id(".</"), id("think"), id(">.")};
  EXPECT_EQ(std::count(format.close.begin(), format.close.end(), grown), 1);
  const MarkOverhang beside = mark_overhang(*tokenizer, "</think>", grown);
  EXPECT_EQ(beside.before, ".");
  EXPECT_EQ(beside.after, ".");
  expect_replies_split(*tokenizer, format);
}

TEST(ThinkMarks, GptOssEndsAThoughtByTheAnswersHeader) {
  if (!has_templates()) GTEST_SKIP() << raison::testing::missing(raison::testing::shared_dir() + "/refdata/templates");
  const auto tokenizer = small_tokenizer({"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"});
  const auto chat_template = parse_template(template_source("openai-gpt-oss-120b"));
  const ThinkFormat format = format_of(chat_template.get(), *tokenizer);
  ASSERT_EQ(format.open.size(), 1u);
  ASSERT_EQ(format.close.size(), 2u);  // the whole header, and one without what goes before the channel
  EXPECT_EQ(format.close[0], format.forced_close);
  EXPECT_EQ(tokenizer->decode(format.close[1]), "<|channel|>final<|message|>");
  const std::string thought = "Hm.<|end|><|start|>assistant<|channel|>analysis<|message|>Still.";
  const auto got = split_reply(*tokenizer, format, format.open_text + thought + format.close_text + "Four.<|return|>");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->first, thought);
  EXPECT_EQ(got->second, "Four.<|return|>");
}

// Turns of the goldens that hold their thought in a field, said by history_message(): the renderings stay what they are.
TEST(ThinkHistory, MessagesRenderAsTheGoldens) {
  const std::string goldens = raison::testing::shared_dir() + "/goldens/templates/";
  if (!has_templates() || !tokenizer_test::exists(goldens + "index.json"))
    GTEST_SKIP() << raison::testing::missing(goldens + "index.json");
  const auto tokenizer = small_tokenizer({"<think>", "</think>", "[THINK]", "[/THINK]"});
  size_t turns = 0, templates = 0;
  for (const std::string name :
       {"GLM-4.6", "Kimi-K2-Thinking", "MiniMax-M2", "Qwen-Qwen3-0.6B", "Qwen3.5-4B", "HuggingFaceTB-SmolLM3-3B",
        "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "llama-cpp-deepseek-r1",
        "deepseek-ai-DeepSeek-V3.1", "deepseek-ai-DeepSeek-V3.2", "deepseek-ai-DeepSeek-V4", "openai-gpt-oss-120b",
        "extra/trl-qwen3", "extra/trl-qwen3_training", "extra/fastllm-deepseekv31"}) {
    SCOPED_TRACE(name);
    const auto chat_template = parse_template(template_source(name));
    const ThinkFormat format = format_of(chat_template.get(), *tokenizer);
    std::string file = name;
    if (const size_t slash = file.find('/'); slash != std::string::npos) file.replace(slash, 1, "--");
    const auto golden = ordered_json::parse(tokenizer_test::slurp(goldens + file + ".json"));
    const size_t before = turns;
    for (const auto& c : golden.is_array() ? golden : golden["cases"]) {
      const char* output = c.contains("lenient_output") ? "lenient_output" : "output";
      if (!c.contains(output) || c.contains("continue_final_message")) continue;
      ordered_json input = c["input"];
      size_t replaced = 0;
      for (ordered_json& turn : input["messages"]) {
        const char* field = format.family == "gpt-oss" ? "thinking" : "reasoning_content";
        const auto text_of = [&](const char* key) { return turn.contains(key) && turn[key].is_string(); };
        if (turn["role"] != "assistant" || !text_of(field) || !text_of("content")) continue;
        if (turn["content"].get<std::string>().find(format.close_mark) != std::string::npos) continue;
        const ordered_json said = history_message(format, turn[field].get<std::string>(), turn["content"].get<std::string>());
        turn.erase(field);
        turn.update(said);
        ++replaced;
      }
      if (replaced == 0) continue;
      turns += replaced;
      const auto text = chat_template->render(input);
      ASSERT_TRUE(text.ok()) << text.message();
      EXPECT_EQ(*text, c[output].get<std::string>()) << c["input"].dump();
    }
    templates += turns > before;
  }
  EXPECT_EQ(templates, 16u);
}

TEST(ThinkFormat, BundledModel) {
  const std::string folder = RAISON_SOURCE_DIR "/models/countdown-base/";
  auto tokenizer = Tokenizer::from_hf_json(tokenizer_test::slurp(folder + "tokenizer.json"),
                                           tokenizer_test::slurp(folder + "tokenizer_config.json"), folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  const auto chat_template = parse_template(tokenizer_test::slurp(folder + "chat_template.jinja"));
  const ThinkFormat format = format_of(chat_template.get(), **tokenizer);
  const TokenId open = *(*tokenizer)->id_of("<think>"), close = *(*tokenizer)->id_of("</think>");
  EXPECT_EQ(format.open, (Sequences{{open}}));
  EXPECT_EQ(format.close, (Sequences{{close}}));
  EXPECT_EQ(format.forced_close, (std::vector<TokenId>{close}));
  const ordered_json messages = ordered_json::array({message("user", "4 5 7 -> 8")});
  const auto on = think_prompt(*chat_template, &format, variables_of(**tokenizer, messages), {});
  ASSERT_TRUE(on.ok());
  EXPECT_EQ(on->text, "<bos> 4 5 7 -> 8 <think>");
  EXPECT_EQ(on->start, Thinking);
  const auto off = think_prompt(*chat_template, &format, variables_of(**tokenizer, messages), {false, "", false});
  ASSERT_TRUE(off.ok());
  EXPECT_EQ(off->start, Answering);
  EXPECT_EQ((*tokenizer)->encode(off->text, {false, true})->back(), close);

  // The finished conversation: the same tokens, and the thought of the last turn is shown.
  ordered_json finished = messages;
  finished.push_back(history_message(format, "| 7 + 5 = 12 12 - 4 = 8 yes", "( 7 + 5 ) - 4"));
  EXPECT_EQ(format.kept, ThoughtsKept::LastTurn);
  EXPECT_EQ(*(*tokenizer)->encode(rendered(*chat_template, variables_of(**tokenizer, finished), false), {false, true}),
            *(*tokenizer)
                 ->encode("<bos> 4 5 7 -> 8 <think> | 7 + 5 = 12 12 - 4 = 8 yes </think> ( 7 + 5 ) - 4 <eos>", {false, true}));

  // Without its template: by the vocabulary, from a prompt as it stands.
  const ThinkFormat bare = format_of(nullptr, **tokenizer);
  EXPECT_EQ(bare.open, format.open);
  EXPECT_EQ(bare.close, format.close);
  EXPECT_EQ(bare.forced_close, format.forced_close);
  EXPECT_EQ(think_start_after_raw(bare, "<bos> 4 5 7 -> 8 <think>"), Thinking);
  EXPECT_EQ(think_start_after_raw(bare, "<bos> 4 5 7 -> 8"), Undecided);
  EXPECT_EQ(think_start_after_raw(bare, "<bos> 4 5 7 -> 8 <think> | no </think> ("), Answering);
}

TEST(ThinkFormat, NoTemplate) {
  EXPECT_FALSE(think_format(nullptr, *small_tokenizer({"<|im_end|>"}))->has_value());
  EXPECT_FALSE(think_format(nullptr, *small_tokenizer({"<think>"}))->has_value());
  const auto tokenizer = small_tokenizer({"[THINK]", "[/THINK]"});
  const ThinkFormat format = format_of(nullptr, *tokenizer);
  EXPECT_EQ(format.open, (Sequences{{*tokenizer->id_of("[THINK]")}}));
  EXPECT_EQ(tokenizer->decode(format.forced_close), "\n[/THINK]\n\n");
}

// The goldens' small models have R1's template.
TEST(ThinkFormat, GoldenModels) {
  const std::string folder = raison::testing::shared_dir() + "/goldens/qwen3/";
  if (!tokenizer_test::exists(folder + "tokenizer.json")) GTEST_SKIP() << raison::testing::missing(folder + "tokenizer.json");
  auto tokenizer = Tokenizer::from_hf_json(tokenizer_test::slurp(folder + "tokenizer.json"),
                                           tokenizer_test::slurp(folder + "tokenizer_config.json"), folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.message();
  const auto chat_template = parse_template(tokenizer_test::slurp(folder + "chat_template.jinja"));
  const ThinkFormat format = format_of(chat_template.get(), **tokenizer);
  EXPECT_EQ(format.history, ThinkHistory::Dropped);
  EXPECT_EQ(format.header, "<|assistant|>");
  EXPECT_EQ(format.close_text, "\n</think>\n\n");
}

TEST(ThinkFormat, MarksThatNobodyKnows) {
  const auto tokenizer = small_tokenizer({"<<T", "T>>"});
  const auto chat_template = parse_template(
      "{% for m in messages %}{% if m.role == 'user' %}U:{{ m.content }}\n{% else %}A:"
      "{% if m.reasoning_content %}<<T {{ m.reasoning_content }} T>> {% endif %}{{ m.content }}\n{% endif %}{% endfor %}"
      "{% if add_generation_prompt %}A:{% endif %}");
  const ThinkFormat format = format_of(chat_template.get(), *tokenizer);
  EXPECT_EQ(format.open_mark, "<<T");
  EXPECT_EQ(format.close_mark, "T>>");
  EXPECT_EQ(format.open_text, "<<T ");
  EXPECT_EQ(format.close_text, " T>> ");
  EXPECT_EQ(format.history, ThinkHistory::Field);
  EXPECT_EQ(format.kept, ThoughtsKept::Always);
  EXPECT_EQ(format.header, "A:");
  const auto off = think_prompt(*chat_template, &format, variables_of(*tokenizer, ordered_json::array({message("user", "Hi")})),
                                {false, "", false});
  ASSERT_TRUE(off.ok());
  EXPECT_EQ(off->text, "U:Hi\nA:<<T  T>> ");
}

// Older templates append the assistant's header whether asked or not.
TEST(ThinkPrompt, TemplateThatHeedsNoGenerationPrompt) {
  const auto tokenizer = small_tokenizer({"<think>", "</think>"});
  const auto chat_template =
      parse_template("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]{{ '<think>\n' }}");
  const ThinkFormat format = format_of(chat_template.get(), *tokenizer);
  EXPECT_EQ(format.header, "[assistant]");
  for (const char* text : {"Hi", "</think>", "<think>", "a</think>\n", "RAISONMESSAGE</think>"}) {
    for (const char* system : {"Be brief.", "</think>", "<think></think>"}) {
      const auto messages = ordered_json::array({message("system", system), message("user", text)});
      const auto prompt = think_prompt(*chat_template, &format, variables_of(*tokenizer, messages), {});
      ASSERT_TRUE(prompt.ok());
      EXPECT_EQ(prompt->start, Thinking);
      EXPECT_EQ(prompt->generation, "[assistant]<think>\n");
    }
  }
}

TEST(ThinkPrompt, WordsInMessagesThatSwitch) {
  if (!has_templates()) GTEST_SKIP() << raison::testing::missing(raison::testing::shared_dir() + "/refdata/templates");
  const auto tokenizer = small_tokenizer({"<think>", "</think>"});
  const auto start = [&](const char* name, const char* system, const ThinkOptions& options) {
    const auto chat_template = parse_template(template_source(name));
    const ThinkFormat format = format_of(chat_template.get(), *tokenizer);
    const auto messages = ordered_json::array({message("system", system), message("user", "Hi")});
    const auto prompt = think_prompt(*chat_template, &format, variables_of(*tokenizer, messages), options);
    EXPECT_TRUE(prompt.ok()) << prompt.message();
    return std::pair{prompt->start, prompt->generation};
  };
  const std::string im = "<|im_start|>assistant\n", closed = im + "<think>\n\n</think>\n";
  // SmolLM3's template looks for the words in the system message; who asked for no thought gets none.
  EXPECT_EQ(start("HuggingFaceTB-SmolLM3-3B", "Brief.", {}), (std::pair{Undecided, im}));
  EXPECT_EQ(start("HuggingFaceTB-SmolLM3-3B", "Brief. /no_think", {}), (std::pair{Answering, closed}));
  EXPECT_EQ(start("HuggingFaceTB-SmolLM3-3B", "Brief. /think", {false, "", false}), (std::pair{Answering, closed}));
  // Qwen3's leaves such a word to the model, which then writes an empty thought itself.
  EXPECT_EQ(start("Qwen-Qwen3-0.6B", "Brief. /no_think", {}), (std::pair{Undecided, im}));
}

// A template in which nothing but its own system message tells of thoughts (Phi-4-reasoning's kind).
TEST(ThinkFormat, ToldBySystemMessageAlone) {
  const auto tokenizer = small_tokenizer({"<think>", "</think>"});
  const auto chat_template = parse_template(
      "S:Think as <think> {Thought} </think> {Solution}.\n{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}"
      "{% if add_generation_prompt %}assistant:{% endif %}");
  const ThinkFormat format = format_of(chat_template.get(), *tokenizer);
  EXPECT_EQ(format.history, ThinkHistory::Stripped);
  const auto messages = ordered_json::array({message("user", "Hi")});
  const auto prompt = think_prompt(*chat_template, &format, variables_of(*tokenizer, messages), {});
  ASSERT_TRUE(prompt.ok());
  EXPECT_EQ(prompt->start, Undecided);
  EXPECT_EQ(history_message(format, "Hm.", "Yes."), message("assistant", "Yes."));
}

}  // namespace
}  // namespace raison::think_test
