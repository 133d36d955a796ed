// How models think, found from every published template: marks, forced closes, switches, the state in which generation starts.
#include "tokenizer/think_format.h"

#include <algorithm>

#include "tokenizer/think_helpers.h"

namespace raison::think_test {
namespace {

using enum ThinkStart;
using enum ThinkHistory;
using enum ThoughtsKept;

struct Family {
  std::string chat_template;
  std::string tokenizer;             // a golden's; empty: a small one with `special`
  std::vector<std::string> special;  // its added tokens
  std::string family, open_text, close_text;
  std::string generation_on, generation_off;  // the ends of the prompts
  ThinkStart on, off;
  std::string variable;
  bool default_on;
  ThinkHistory history;
  ThoughtsKept kept;
  std::string earlier_turn;  // what stands in a later prompt of a turn that thought THOUGHT and answered ANSWER
};

// What a family's template must say is written out here and not taken from think_format.
const std::vector<Family>& families() {
  const std::vector<std::string> chatml = {"<|im_start|>", "<|im_end|>", "<think>", "</think>"};
  const std::string im = "<|im_start|>assistant\n";
  const std::string r1 = "<｜Assistant｜>";
  static const std::vector<Family> all = {
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
       "",
       {"<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"},
       "deepseek-r1",
       "<think>\n",
       "\n</think>\n\n",
       r1 + "<think>\n",
       r1 + "<think>\n\n</think>\n\n",
       Thinking,
       Answering,
       "",
       true,
       Dropped,
       Never,
       r1 + "ANSWER"},
      {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B.variant",
       "r1-distill-qwen",
       {},
       "deepseek-r1",
       "<think>\n",
       "\n</think>\n\n",
       r1 + "<think>\n",
       r1 + "<think>\n\n</think>\n\n",
       Thinking,
       Answering,
       "",
       true,
       Dropped,
       Never,
       r1 + "ANSWER"},
      {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
       "r1-distill-qwen",
       {},
       "deepseek-r1",
       "<think>\n",
       "\n</think>\n\n",
       r1 + "<think>\n",
       r1 + "<think>\n</think>",
       Thinking,
       Answering,
       "enable_thinking",
       false,
       Dropped,
       Never,
       r1 + "ANSWER"},
      {"llama-cpp-deepseek-r1",
       "deepseek-r1",
       {},
       "deepseek-r1",
       "<think>\n",
       "\n</think>\n\n",
       r1 + "<think>\n",
       r1 + "<think>\n\n</think>\n\n",
       Thinking,
       Answering,
       "",
       true,
       Dropped,
       Never,
       r1 + "ANSWER"},
      {"extra/trl-deepseekv3",
       "deepseek-r1",
       {},
       "deepseek-r1",
       "<think>\n",
       "\n</think>\n\n",
       r1 + "<think>\n",
       r1 + "<think>\n\n</think>\n\n",
       Thinking,
       Answering,
       "",
       true,
       Dropped,
       Never,
       r1 + "ANSWER"},
      // R1's first template leaves the opening to the model.
      {"tokenizer:deepseek-r1",
       "deepseek-r1",
       {},
       "deepseek-r1",
       "<think>\n",
       "\n</think>\n\n",
       r1,
       r1 + "<think>\n\n</think>\n\n",
       Undecided,
       Answering,
       "",
       true,
       Dropped,
       Never,
       r1 + "ANSWER"},
      {"deepseek-ai-DeepSeek-V3.1",
       "deepseek-r1",
       {},
       "deepseek-v3.1",
       "<think>",
       "</think>",
       r1 + "<think>",
       r1 + "<think></think>",
       Thinking,
       Answering,
       "thinking",
       false,
       Dropped,
       Never,
       r1 + "<think></think>ANSWER"},
      {"extra/fastllm-deepseekv31",
       "deepseek-r1",
       {},
       "deepseek-v3.1",
       "<think>",
       "</think>",
       "<think>",
       "</think>",
       Thinking,
       Answering,
       "thinking",
       false,
       Dropped,
       Never,
       "</think>      ANSWER"},
      {"deepseek-ai-DeepSeek-V3.2",
       "deepseek-r1",
       {},
       "deepseek-v3.2",
       "<think>",
       "</think>",
       r1 + "<think>",
       r1 + "<think></think>",
       Thinking,
       Answering,
       "thinking",
       false,
       Field,
       LastTurn,
       r1 + "</think>ANSWER"},
      {"deepseek-ai-DeepSeek-V4",
       "deepseek-r1",
       {},
       "deepseek-v4",
       "<think>",
       "</think>",
       r1 + "<think>",
       r1 + "</think>",
       Thinking,
       Answering,
       "thinking",
       false,
       Field,
       LastTurn,
       r1 + "</think>ANSWER"},
      {"Qwen-QwQ-32B",
       "qwen3",
       {},
       "qwq",
       "<think>\n",
       "\n</think>\n\n",
       im + "<think>\n",
       im + "<think>\n</think>",
       Thinking,
       Answering,
       "enable_thinking",
       false,
       InContent,
       LastTurn,
       im + "ANSWER<|im_end|>"},
      {"Qwen-Qwen3-0.6B",
       "qwen3",
       {},
       "qwen3",
       "<think>\n",
       "\n</think>\n\n",
       im,
       im + "<think>\n\n</think>\n\n",
       Undecided,
       Answering,
       "enable_thinking",
       true,
       Field,
       LastTurn,
       im + "ANSWER<|im_end|>"},
      {"tokenizer:qwen3",
       "qwen3",
       {},
       "qwen3",
       "<think>\n",
       "\n</think>\n\n",
       im,
       im + "<think>\n\n</think>\n\n",
       Undecided,
       Answering,
       "enable_thinking",
       true,
       Field,
       LastTurn,
       im + "ANSWER<|im_end|>"},
      {"extra/trl-qwen3",
       "qwen3",
       {},
       "qwen3",
       "<think>\n",
       "\n</think>\n\n",
       im,
       im + "<think>\n\n</think>\n\n",
       Undecided,
       Answering,
       "enable_thinking",
       true,
       Field,
       LastTurn,
       im + "ANSWER<|im_end|>"},
      {"extra/trl-qwen3_training",
       "qwen3",
       {},
       "qwen3",
       "<think>\n",
       "\n</think>\n\n",
       im,
       im + "<think>\n\n</think>\n\n",
       Undecided,
       Answering,
       "enable_thinking",
       true,
       Field,
       Always,
       im + "<think>\nTHOUGHT\n</think>\n\nANSWER<|im_end|>"},
      {"Qwen3.5-4B", "", chatml, "qwen3.5", "<think>\n", "\n</think>\n\n", im + "<think>\n", im + "<think>\n\n</think>\n\n",
       Thinking, Answering, "enable_thinking", true, Field, LastTurn, im + "ANSWER<|im_end|>"},
      {"HuggingFaceTB-SmolLM3-3B", "", chatml, "smollm3", "<think>\n", "\n</think>\n", im, im + "<think>\n\n</think>\n",
       Undecided, Answering, "enable_thinking", true, Stripped, Never, im + "ANSWER<|im_end|>"},
      {"Kimi-K2-Thinking",
       "",
       {"<|im_assistant|>", "<|im_middle|>", "<|im_end|>", "<|im_user|>", "<think>", "</think>"},
       "kimi-k2",
       "<think>",
       "</think>",
       "<|im_assistant|>assistant<|im_middle|>",
       "<|im_assistant|>assistant<|im_middle|><think></think>",
       Undecided,
       Answering,
       "",
       true,
       Field,
       Never,
       "<|im_assistant|>assistant<|im_middle|><think></think>ANSWER<|im_end|>"},
      {"GLM-4.6",
       "",
       {"[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<think>", "</think>", "/nothink"},
       "glm",
       "\n<think>",
       "</think>\n",
       "<|assistant|>",
       "<|assistant|>\n<think></think>",
       Undecided,
       Answering,
       "enable_thinking",
       true,
       Field,
       LastTurn,
       "<|assistant|>\n<think></think>\nANSWER"},
      {"hfjs:zai-org/GLM-5.1",
       "",
       {"[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<think>", "</think>"},
       "glm",
       "<think>",
       "</think>",
       "<|assistant|><think>",
       "<|assistant|></think>",
       Thinking,
       Answering,
       "enable_thinking",
       true,
       Field,
       LastTurn,
       "<|assistant|></think>ANSWER"},
      {"MiniMax-M2",
       "",
       {"]~!b[", "]~b]", "[e~[", "<think>", "</think>"},
       "minimax-m2",
       "<think>\n",
       "\n</think>\n\n",
       "]~b]ai\n<think>\n",
       "]~b]ai\n<think>\n\n</think>\n\n",
       Thinking,
       Answering,
       "",
       true,
       Field,
       LastTurn,
       "]~b]ai\nANSWER[e~["},
      {"ibm-granite-granite-3.3-2B-Instruct",
       "qwen2",
       {},
       "granite",
       "<think>",
       "</think><response>",
       "<|start_of_role|>assistant<|end_of_role|>",
       "<|start_of_role|>assistant<|end_of_role|>",
       Undecided,
       Answering,
       "thinking",
       false,
       Stripped,
       Never,
       "<|start_of_role|>assistant<|end_of_role|>ANSWER<|end_of_text|>"},
      {"mistralai-Ministral-3-14B-Reasoning-2512",
       "",
       {"[INST]", "[/INST]", "[THINK]", "[/THINK]"},
       "mistral",
       "[THINK]",
       "[/THINK]",
       "[/INST]",
       "[/INST][THINK][/THINK]",
       Undecided,
       Answering,
       "",
       true,
       Blocks,
       Always,
       "[/INST][THINK]THOUGHT[/THINK]ANSWER"},
      {"openai-gpt-oss-120b",
       "",
       {"<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"},
       "gpt-oss",
       "<|channel|>analysis<|message|>",
       "<|end|><|start|>assistant<|channel|>final<|message|>",
       "<|start|>assistant",
       "<|start|>assistant<|channel|>final<|message|>",
       Undecided,
       Answering,
       "",
       true,
       Field,
       LastTurn,
       "<|start|>assistant<|channel|>final<|message|>ANSWER<|end|>"},
      {"hfjs:CohereLabs/command-a-reasoning-08-2025",
       "",
       {"<|START_THINKING|>", "<|END_THINKING|>", "<|CHATBOT_TOKEN|>"},
       "command-a",
       "<|START_THINKING|>",
       "<|END_THINKING|><|START_RESPONSE|>",
       "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
       "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
       Undecided,
       Answering,
       "reasoning",
       true,
       Field,
       Always,
       "<|CHATBOT_TOKEN|><|START_THINKING|>THOUGHT<|END_THINKING|><|START_RESPONSE|>ANSWER<|END_RESPONSE|>"},
  };
  return all;
}

struct Loaded {
  const Family* family = nullptr;
  std::shared_ptr<Tokenizer> tokenizer;
  std::shared_ptr<ChatTemplate> chat_template;
  ThinkFormat format;

  ordered_json variables(const ordered_json& messages) const { return variables_of(*tokenizer, messages); }
  ThinkPrompt prompt(const ordered_json& messages, const ThinkOptions& options) const {
    auto made = think_prompt(*chat_template, &format, variables(messages), options);
    EXPECT_TRUE(made.ok()) << made.message();
    return made.ok() ? *made : ThinkPrompt{};
  }
  // Messages as they stand, with thinking on.
  std::string render(const ordered_json& messages, bool generation_prompt) const {
    ordered_json all = variables(messages);
    if (!format.switch_variable.empty()) all[format.switch_variable] = true;
    return rendered(*chat_template, all, generation_prompt);
  }
};

// With small tokenizers, which load at once, or with the models' own where there are such.
std::vector<Loaded> load_families(bool real) {
  std::vector<Loaded> out;
  for (const Family& family : families()) {
    SCOPED_TRACE(family.chat_template);
    std::vector<std::string> special = family.special;
    if (special.empty() && family.family != "granite") special = {"<think>", "</think>"};
    Loaded one;
    one.family = &family;
    one.tokenizer = real && !family.tokenizer.empty() ? real_tokenizer(family.tokenizer) : small_tokenizer(special);
    one.chat_template = parse_template(template_source(family.chat_template));
    EXPECT_TRUE(one.tokenizer && one.chat_template);
    if (!one.tokenizer || !one.chat_template) continue;
    auto format = think_format(one.chat_template.get(), *one.tokenizer);
    EXPECT_TRUE(format.ok()) << format.message();
    EXPECT_TRUE(format.ok() && format->has_value());
    if (!format.ok() || !*format) continue;
    one.format = **format;
    out.push_back(std::move(one));
  }
  EXPECT_EQ(out.size(), families().size());
  return out;
}

// The families' templates and tokenizers are shared data.
class ThinkFamilies : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_templates()) GTEST_SKIP() << raison::testing::missing(raison::testing::shared_dir() + "/refdata/templates");
  }
  static const std::vector<Loaded>& all() {
    static const std::vector<Loaded> once = load_families(false);
    return once;
  }
  static const std::vector<Loaded>& real() {
    static const std::vector<Loaded> once = load_families(true);
    return once;
  }
};

const ThinkOptions kOn{true, "", false}, kOff{false, "", false};

ordered_json question(const std::string& text = "How many primes lie below 30?") {
  return ordered_json::array({message("user", text)});
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

TEST_F(ThinkFamilies, Found) {
  for (const Loaded& m : all()) {
    SCOPED_TRACE(m.family->chat_template);
    EXPECT_EQ(m.format.family, m.family->family);
    EXPECT_EQ(m.format.open_text, m.family->open_text);
    EXPECT_EQ(m.format.close_text, m.family->close_text);
    EXPECT_EQ(m.format.switch_variable, m.family->variable);
    EXPECT_EQ(m.format.off == ThinkSwitch::Variable, !m.family->variable.empty());
    EXPECT_EQ(m.format.default_on, m.family->default_on);
    EXPECT_EQ(m.format.history, m.family->history);
    EXPECT_EQ(m.format.kept, m.family->kept);
    EXPECT_EQ(m.format.switch_ignored_with_system, m.format.family == "granite");
    EXPECT_EQ(m.tokenizer->decode(m.format.forced_close), m.format.close_text);
  }
}

TEST_F(ThinkFamilies, MarksOfOneTokenAreThatToken) {
  size_t single = 0;
  for (const Loaded& m : real()) {
    SCOPED_TRACE(m.family->chat_template);
    EXPECT_EQ(m.tokenizer->decode(m.format.forced_close), m.format.close_text);
    const auto& forced = m.format.forced_close;
    const auto& front = m.format.close.front();
    EXPECT_NE(std::search(forced.begin(), forced.end(), front.begin(), front.end()), forced.end());
    EXPECT_EQ(m.format.reopens, m.format.family == "gpt-oss");
    const auto open = m.tokenizer->id_of(m.format.open_mark), close = m.tokenizer->id_of(m.format.close_mark);
    if (!open) continue;
    ++single;
    ASSERT_TRUE(close);
    using Sequences = std::vector<std::vector<TokenId>>;
    EXPECT_EQ(m.format.open, (Sequences{{*open}}));
    EXPECT_EQ(m.format.close, (Sequences{{*close}}));
    EXPECT_EQ(std::count(m.format.forced_close.begin(), m.format.forced_close.end(), *close), 1);
    const std::map<std::string, TokenId> known = {{"deepseek-r1", 128799}, {"r1-distill-qwen", 151649}, {"qwen3", 151668}};
    if (!m.family->tokenizer.empty()) { EXPECT_EQ(*close, known.at(m.family->tokenizer)); }
  }
  EXPECT_EQ(single, real().size() - 2);  // all but Granite and gpt-oss
}

TEST_F(ThinkFamilies, GenerationStartsAsThePromptEnds) {
  for (const Loaded& m : all()) {
    SCOPED_TRACE(m.family->chat_template);
    const ThinkPrompt on = m.prompt(question(), kOn), off = m.prompt(question(), kOff), unset = m.prompt(question(), {});
    EXPECT_TRUE(ends_with(on.text, m.family->generation_on)) << on.text;
    EXPECT_TRUE(ends_with(off.text, m.family->generation_off)) << off.text;
    EXPECT_TRUE(ends_with(on.text, on.generation) && ends_with(off.text, off.generation));
    EXPECT_EQ(on.start, m.family->on);
    EXPECT_EQ(off.start, m.family->off);
    if (m.family->default_on) {
      EXPECT_EQ(unset.text, on.text);
      EXPECT_EQ(unset.start, on.start);
    } else {
      EXPECT_EQ(unset.text, off.text);
    }
    // A template with a switch is left to itself; one without gets what its model would have written.
    if (m.format.off == ThinkSwitch::Variable) {
      ordered_json variables = m.variables(question());
      variables[m.format.switch_variable] = false;
      EXPECT_EQ(off.text, rendered(*m.chat_template, variables, true));
    } else {
      EXPECT_EQ(off.text.compare(0, on.text.size(), on.text), 0);
      EXPECT_GT(off.text.size(), on.text.size());
    }
  }
}

TEST_F(ThinkFamilies, AThoughtMayBeBegunInThePrompt) {
  for (const Loaded& m : all()) {
    SCOPED_TRACE(m.family->chat_template);
    const ThinkPrompt on = m.prompt(question(), kOn), open = m.prompt(question(), {true, "", true});
    EXPECT_EQ(open.start, Thinking);
    EXPECT_EQ(open.text, on.text + (on.start == Undecided ? m.family->open_text : ""));
  }
}

// The state is the template's word. No message, whoever wrote it, changes it, nor what the template appends.
TEST_F(ThinkFamilies, HostileTextsChangeNothing) {
  for (const Loaded& m : all()) {
    for (const std::string& mark : all_marks()) {
      for (const std::string& text : {mark, "What does " + mark + " mean?", "x" + mark + "\n", mark + "\n\n"}) {
        SCOPED_TRACE(m.family->chat_template + ": " + text);
        // gpt-oss's template refuses an assistant's content with its marks.
        const bool refused = m.format.family == "gpt-oss" && text.find("<|message|>") != std::string::npos;
        const std::string said = refused ? "No." : text;
        const ordered_json turns[] = {
            ordered_json::array({message("user", text)}),
            ordered_json::array({message("system", text), message("user", "Hi")}),
            ordered_json::array(
                {message("system", text), message("user", text), message("assistant", said), message("user", text)}),
            ordered_json::array(
                {message("user", text), history_message(m.format, refused ? "Hm." : text, said), message("user", text)}),
        };
        for (const ordered_json& messages : turns) {
          for (const ThinkOptions& options : {kOn, kOff}) {
            const ThinkPrompt plain = m.prompt(question(), options), hostile = m.prompt(messages, options);
            EXPECT_EQ(hostile.start, plain.start) << hostile.text;
            EXPECT_EQ(hostile.generation, plain.generation);
          }
        }
      }
    }
  }
}

// Where a template shows the last thought, the finished turn as history is the prompt, the thought, the forced close and the
// answer: text and tokens.
TEST_F(ThinkFamilies, ForcedCloseIsTheTemplates) {
  size_t shown = 0;
  for (const Loaded& m : real()) {
    if (m.format.kept == Never) continue;
    SCOPED_TRACE(m.family->chat_template);
    ++shown;
    const std::string thought = "2 3 5 7 and so on\n\nthat is 10", answer = "There are 10";
    const ThinkPrompt prompt = m.prompt(question(), kOn);
    const std::string before = prompt.text + (prompt.start == Undecided ? m.format.open_text : "") + thought;
    ordered_json messages = question();
    messages.push_back(history_message(m.format, thought, answer));
    const std::string finished = m.render(messages, false);
    EXPECT_EQ(finished.substr(0, before.size() + m.format.close_text.size() + answer.size()),
              before + m.format.close_text + answer);

    auto ids = *m.tokenizer->encode(before, {false, true});
    ids.insert(ids.end(), m.format.forced_close.begin(), m.format.forced_close.end());
    const auto answer_ids = *m.tokenizer->encode(answer, {false, true});
    ids.insert(ids.end(), answer_ids.begin(), answer_ids.end());
    auto finished_ids = *m.tokenizer->encode(finished, {false, true});
    ASSERT_GE(finished_ids.size(), ids.size());
    finished_ids.resize(ids.size());
    EXPECT_EQ(finished_ids, ids);
  }
  EXPECT_EQ(shown, 14u);
}

// Kimi's template shows thoughts in turns that call tools alone.
TEST_F(ThinkFamilies, KimiKeepsThoughtsBeforeToolCalls) {
  for (const Loaded& m : all()) {
    if (m.format.family != "kimi-k2") continue;
    const ThinkPrompt prompt = m.prompt(question(), kOn);
    ordered_json messages = question(), turn = history_message(m.format, "I must look", "One moment");
    turn["tool_calls"] = ordered_json::array(
        {{{"id", "f:0"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", ordered_json::object()}}}}});
    messages.push_back(turn);
    const std::string want =
        prompt.text + m.format.open_text + "I must look" + m.format.close_text + "One moment<|tool_calls_section_begin|>";
    EXPECT_EQ(m.render(messages, false).substr(0, want.size()), want);
    return;
  }
  FAIL() << "no Kimi";
}

TEST_F(ThinkFamilies, HistoryOfTwoTurns) {
  for (const Loaded& m : all()) {
    SCOPED_TRACE(m.family->chat_template);
    ordered_json messages = question("FIRST");
    messages.push_back(history_message(m.format, "THOUGHT", "ANSWER"));
    messages.push_back(message("user", "SECOND"));
    const std::string text = m.prompt(messages, kOn).text;
    const size_t first = text.find("FIRST"), second = text.find("SECOND");
    ASSERT_TRUE(first != std::string::npos && second != std::string::npos);
    const std::string turn = text.substr(first, second - first);
    EXPECT_NE(turn.find(m.family->earlier_turn), std::string::npos) << turn;
    EXPECT_EQ(turn.find("THOUGHT") != std::string::npos, m.family->kept == Always);
    // And a turn that did not think.
    messages[1] = history_message(m.format, "", "ANSWER");
    EXPECT_NE(m.prompt(messages, kOn).text.find("ANSWER"), std::string::npos);
  }
}

// An answer may quote the marks. Only R1's template cuts it there whatever is done (it splits at the last mark).
TEST_F(ThinkFamilies, AnswersThatQuoteMarksStayWhole) {
  const std::string answer = "Thoughts end with </think> here.";
  size_t whole = 0;
  for (const Loaded& m : all()) {
    if (m.format.family == "deepseek-r1" || m.format.family == "qwq") continue;
    SCOPED_TRACE(m.family->chat_template);
    for (const char* thought : {"", "Hm."}) {
      ordered_json messages = question();
      messages.push_back(history_message(m.format, thought, answer));
      messages.push_back(message("user", "And then?"));
      EXPECT_NE(m.prompt(messages, kOn).text.find(answer), std::string::npos);
    }
    ++whole;
  }
  EXPECT_EQ(whole, all().size() - 7);
}

TEST_F(ThinkFamilies, Efforts) {
  for (const Loaded& m : all()) {
    SCOPED_TRACE(m.family->chat_template);
    using V = std::vector<std::string>;
    const V want = m.format.family == "gpt-oss"       ? V{"low", "medium", "high"}
                   : m.format.family == "deepseek-v4" ? V{"high", "max"}
                                                      : V{};
    EXPECT_EQ(m.format.efforts, want);
    EXPECT_EQ(m.format.effort_variable, want.empty() ? "" : "reasoning_effort");
    std::vector<std::string> seen = {};
    for (const std::string& level : want) {
      const ThinkPrompt prompt = m.prompt(question(), {true, level, false});
      EXPECT_EQ(std::count(seen.begin(), seen.end(), prompt.text), 0);
      EXPECT_EQ(prompt.start, m.family->on);
      seen.push_back(prompt.text);
    }
    if (m.format.family == "gpt-oss") { EXPECT_NE(seen[2].find("Reasoning: high\n"), std::string::npos); }
    const auto wrong = think_prompt(*m.chat_template, &m.format, m.variables(question()), {true, "enormous", false});
    ASSERT_FALSE(wrong.ok());
    EXPECT_EQ(wrong.message().find('\n'), std::string::npos);
    if (!want.empty()) { EXPECT_NE(wrong.message().find(want[0]), std::string::npos) << wrong.message(); }
  }
}

// A raw prompt is meant as it stands: its last turn's last mark counts.
TEST_F(ThinkFamilies, RawPrompts) {
  for (const Loaded& m : all()) {
    SCOPED_TRACE(m.family->chat_template);
    const std::string turn = m.format.header, open = m.format.open_mark, close = m.format.close_mark;
    EXPECT_EQ(think_start_after_raw(m.format, "Once upon a time"), Undecided);
    EXPECT_EQ(think_start_after_raw(m.format, "2 + 2 = ?\n" + open + "\n"), Thinking);
    EXPECT_EQ(think_start_after_raw(m.format, turn + open + "\nFirst, I"), Thinking);
    EXPECT_EQ(think_start_after_raw(m.format, turn + open + "\nFirst, I" + close + "\n"), Answering);
    EXPECT_EQ(think_start_after_raw(m.format, "What is " + open + "?" + turn + "\n"), Undecided);
    EXPECT_EQ(think_start_after_raw(m.format, "What is " + close + "?" + turn + open), Thinking);
    // Rendered by the template and given raw.
    for (const ThinkOptions& options : {kOn, kOff}) {
      const ThinkPrompt prompt = m.prompt(question(), options);
      if (options.thinking == false && prompt.generation.find(close) == std::string::npos)
        continue;  // the switch leaves no mark
      EXPECT_EQ(think_start_after_raw(m.format, prompt.text), prompt.start);
    }
  }
}

TEST_F(ThinkFamilies, OthersDoNotThink) {
  const std::pair<const char*, const char*> others[] = {{"meta-llama-Llama-3.1-8B-Instruct", "llama3"},
                                                        {"meta-llama-Llama-3.2-3B-Instruct", "llama3"},
                                                        {"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "llama3"},
                                                        {"Qwen-Qwen2.5-7B-Instruct", "qwen2"},
                                                        {"Qwen3-Coder", "qwen3"},  // its vocabulary has the marks
                                                        {"Kimi-K2-Instruct", ""},
                                                        {"moonshotai-Kimi-K2", ""},
                                                        {"tokenizer:deepseek-v3", "deepseek-v3"},
                                                        {"extra/mistralrs-deepseek_tool_call", "deepseek-v3"},
                                                        {"extra/trl-llama3_1", "llama3"}};
  for (const auto& [name, tokenizer_name] : others) {
    SCOPED_TRACE(name);
    const auto tokenizer = *tokenizer_name ? real_tokenizer(tokenizer_name) : small_tokenizer({"<|im_end|>"});
    const auto chat_template = parse_template(template_source(name));
    ASSERT_TRUE(tokenizer && chat_template);
    const auto format = think_format(chat_template.get(), *tokenizer);
    ASSERT_TRUE(format.ok()) << format.message();
    EXPECT_FALSE(format->has_value());
    const auto prompt = think_prompt(*chat_template, nullptr, variables_of(*tokenizer, question("<think>")), {});
    ASSERT_TRUE(prompt.ok()) << prompt.message();
    EXPECT_EQ(prompt->start, Answering);
    EXPECT_EQ(prompt->text, rendered(*chat_template, variables_of(*tokenizer, question("<think>")), true));
    EXPECT_TRUE(think_prompt(*chat_template, nullptr, variables_of(*tokenizer, question()), kOff).ok());
    EXPECT_FALSE(think_prompt(*chat_template, nullptr, variables_of(*tokenizer, question()), kOn).ok());
    EXPECT_FALSE(think_prompt(*chat_template, nullptr, variables_of(*tokenizer, question()), {{}, "high", false}).ok());
  }
}

}  // namespace
}  // namespace raison::think_test
