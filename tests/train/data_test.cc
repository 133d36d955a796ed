// JSONL data: formats, weights, faults; and the order in which a source gives it.
#include "train/data.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "testing/shared_data.h"
#include "testing/temp_dir.h"
#include "testing/training.h"
#include "tokenizer/word_level.h"

namespace raison {
namespace {
using testing::TempDir;

const char kTemplate[] =
    "{{ bos_token }}{% for m in messages %} {{ m['role'] }} {{ m['content'] }}{% if m['role'] == 'assistant' %} {{ eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %} assistant{% endif %}";

TextCodec codec(const char* chat_template = kTemplate) {
  WordLevelSpecials specials;
  specials.bos = "<bos>";
  specials.eos = "<eos>";
  specials.pad = "<pad>";
  auto t = make_word_level({"<pad>", "<bos>", "<eos>", "user", "assistant", "a", "b", "c", "d", "e"}, specials);
  EXPECT_TRUE(t.ok()) << (t.ok() ? "" : t.message());
  TextCodec c;
  c.tokenizer = *t;
  if (chat_template) {
    auto parsed = ChatTemplate::parse(chat_template, "test template");
    EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.message());
    c.chat_template = *parsed;
  }
  return c;
}

DataRecipe sft() {
  DataRecipe d;
  d.max_length = 64;
  return d;
}

Result<JsonlData> read(const std::string& text, const DataRecipe& recipe, const char* chat_template = kTemplate) {
  TempDir dir;
  return read_jsonl(dir.write("data.jsonl", text), codec(chat_template), recipe);
}

TrainSequence one(const std::string& line, const DataRecipe& recipe) {
  auto d = read(line + "\n", recipe);
  EXPECT_TRUE(d.ok()) << (d.ok() ? "" : d.message());
  if (!d.ok() || d->sequences.size() != 1) return {};
  return d->sequences[0];
}

TEST(Jsonl, PromptAndCompletion) {
  const auto s = one(R"({"prompt": "a b ", "completion": "c d"})", sft());
  EXPECT_EQ(s.tokens, (std::vector<int32_t>{5, 6, 7, 8, 2}));
  EXPECT_EQ(s.weights, (std::vector<float>{0, 0, 1, 1, 1}));
}

TEST(Jsonl, LossOnAllTokensButTheFirst) {
  auto d = sft();
  d.loss = "all";
  EXPECT_EQ(one(R"({"prompt": "a b ", "completion": "c d"})", d).weights, (std::vector<float>{0, 1, 1, 1, 1}));
}

TEST(Jsonl, OnlyAssistantTurnsHaveALoss) {
  const auto s = one(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b c"}, )"
                     R"({"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}]})",
                     sft());
  // <bos> user a assistant b c <eos> user d assistant e <eos>
  EXPECT_EQ(s.tokens, (std::vector<int32_t>{1, 3, 5, 4, 6, 7, 2, 3, 8, 4, 9, 2}));
  EXPECT_EQ(s.weights, (std::vector<float>{0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1}));
}

TEST(Jsonl, TextsAreCutSoThatEachTokenIsPredictedOnce) {
  auto d = sft();
  d.max_length = 4;
  auto r = read("{\"text\": \"a b c d e a\"}\n", d);
  ASSERT_TRUE(r.ok()) << r.message();
  ASSERT_EQ(r->sequences.size(), 2u);  // a b c d | d e a <eos>
  EXPECT_EQ(r->sequences[0].tokens, (std::vector<int32_t>{5, 6, 7, 8}));
  EXPECT_EQ(r->sequences[1].tokens, (std::vector<int32_t>{8, 9, 5, 2}));
  EXPECT_EQ(r->truncated, 0);
}

TEST(Jsonl, LongRecordsAreTruncatedAndThoseWithoutLossDropped) {
  auto d = sft();
  d.max_length = 3;
  auto r = read("{\"prompt\": \"a \", \"completion\": \"b c d\"}\n\n{\"prompt\": \"a b c \", \"completion\": \"d\"}\n", d);
  ASSERT_TRUE(r.ok()) << r.message();
  EXPECT_EQ(r->sequences.size(), 1u);
  EXPECT_EQ(r->truncated, 2);
  EXPECT_EQ(r->dropped, 1);
}

TEST(Jsonl, Weights) {
  auto d = sft();
  EXPECT_EQ(one(R"({"prompt": "a ", "completion": "b", "weight": 2.5})", d).weights, (std::vector<float>{0, 2.5, 2.5}));
  d.token_weights = true;
  EXPECT_EQ(one(R"({"prompt": "a ", "completion": "b c", "weights": [3, 0, 1]})", d).weights, (std::vector<float>{0, 3, 0, 1}));
  EXPECT_EQ(one(R"({"tokens": [5, 6, 7], "weights": [9, 2, 4], "weight": 2})", d).weights, (std::vector<float>{0, 4, 8}));
}

struct BadLine {
  const char* name;
  const char* line;
  const char* says;
};

class BadJsonl : public ::testing::TestWithParam<BadLine> {};

TEST_P(BadJsonl, IsOneLineWithFileAndLine) {
  TempDir dir;
  const std::string path =
      dir.write("data.jsonl", std::string("{\"text\": \"a b\"}\n\n") + GetParam().line + "\n{\"text\": \"c\"}\n");
  const auto r = read_jsonl(path, codec(), sft());
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.message().rfind(path + ":3: ", 0), 0u) << r.message();
  EXPECT_NE(r.message().find(GetParam().says), std::string::npos) << r.message();
  EXPECT_EQ(r.message().find('\n'), std::string::npos) << r.message();
}

INSTANTIATE_TEST_SUITE_P(
    All, BadJsonl,
    ::testing::Values(BadLine{"NotJson", "{\"text\": ", "not valid JSON"}, BadLine{"TwoValues", "{} {}", "not valid JSON"},
                      BadLine{"BadUtf8", "{\"text\": \"a \xff\"}", "not valid UTF-8"},
                      BadLine{"Array", "[1, 2]", "must be a JSON object"}, BadLine{"Number", "3", "must be a JSON object"},
                      BadLine{"NoKnownKey", "{\"txt\": \"a\"}", "needs `messages`"},
                      BadLine{"PromptAlone", "{\"prompt\": \"a\"}", "needs `messages`"},
                      BadLine{"TwoFormats", "{\"text\": \"a\", \"tokens\": [1]}", "has both"},
                      BadLine{"TextNumber", "{\"text\": 5}", "`text` must be a string"},
                      BadLine{"CompletionNull", "{\"prompt\": \"a\", \"completion\": null}", "`completion` must be a string"},
                      BadLine{"UnknownWord", "{\"text\": \"a zebra\"}", "zebra"},
                      BadLine{"TokensString", "{\"tokens\": \"1 2\"}", "list of token ids"},
                      BadLine{"TokenNegative", "{\"tokens\": [1, -2]}", "list of token ids"},
                      BadLine{"TokenFloat", "{\"tokens\": [1, 2.5]}", "list of token ids"},
                      BadLine{"TokenHuge", "{\"tokens\": [1, 99999999999]}", "list of token ids"},
                      BadLine{"MessagesObject", "{\"messages\": {}}", "must be a list"},
                      BadLine{"MessagesEmpty", "{\"messages\": []}", "at least one message"},
                      BadLine{"MessageWithoutRole", "{\"messages\": [{\"content\": \"a\"}]}", "message 1"},
                      BadLine{"RoleNumber", "{\"messages\": [{\"role\": 1, \"content\": \"a\"}]}", "message 1"},
                      BadLine{"ContentNumber", "{\"messages\": [{\"role\": \"user\", \"content\": 1}]}", "message 1"},
                      BadLine{"WeightsUnasked", "{\"text\": \"a b\", \"weights\": [1, 1]}", "token_weights"},
                      BadLine{"WeightNegative", "{\"text\": \"a b\", \"weight\": -1}", "`weight`"},
                      BadLine{"WeightString", "{\"text\": \"a b\", \"weight\": \"2\"}", "`weight`"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

// Single bytes, and <bos>, <eos>, <user>, <assistant>, <end> as special tokens.
TextCodec byte_codec(const std::string& chat_template) {
  nlohmann::json j = {{"version", "1.0"}, {"added_tokens", nlohmann::json::array()}};
  nlohmann::json vocab = {{"Ġ", 0}, {"Ċ", 1}};
  for (int c = 33; c < 127; ++c) vocab[std::string(1, static_cast<char>(c))] = c;
  j["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}};
  j["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  j["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  int id = 200;
  for (const char* name : {"<bos>", "<eos>", "<user>", "<assistant>", "<end>"})
    j["added_tokens"].push_back({{"id", id++},
                                 {"content", name},
                                 {"single_word", false},
                                 {"lstrip", false},
                                 {"rstrip", false},
                                 {"normalized", false},
                                 {"special", true}});
  auto t = Tokenizer::from_hf_json(j.dump(), R"({"bos_token": "<bos>", "eos_token": "<eos>"})", "bytes");
  EXPECT_TRUE(t.ok()) << (t.ok() ? "" : t.message());
  auto parsed = ChatTemplate::parse(chat_template, "test template");
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.message());
  TextCodec c;
  c.tokenizer = *t;
  c.chat_template = *parsed;
  return c;
}

// What of a rendered conversation has a loss: each stretch of it in brackets.
std::string marked(const std::string& messages, const TextCodec& c) {
  TempDir dir;
  const auto r = read_jsonl(dir.write("data.jsonl", "{\"messages\": [" + messages + "]}\n"), c, [] {
    DataRecipe d;
    d.max_length = 4096;
    return d;
  }());
  if (!r.ok()) return r.message().substr(r.message().find(": ") + 2);
  std::string out;
  bool open = false;
  const TrainSequence& s = r->sequences.at(0);
  for (size_t i = 0; i < s.tokens.size(); ++i) {
    if ((s.weights[i] > 0) != open) out += open ? "]" : "[";
    open = s.weights[i] > 0;
    out += c.tokenizer->piece(s.tokens[i]);
  }
  return out + (open ? "]" : "");
}

std::string said(const std::string& role, const std::string& content) {
  return nlohmann::json({{"role", role}, {"content", content}}).dump();
}

const char kThinkingTemplate[] =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<user>' + m.content }}{% else %}{{ '<assistant>' + "
    "(m.content.split('</think>') | last) + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<assistant><think>\n' }}{% endif %}";

// R1's generation prompt opens a thought that the template takes out of finished turns.
TEST(Jsonl, TurnsWithoutTheThoughtThatThePromptOpens) {
  const TextCodec c = byte_codec(kThinkingTemplate);
  EXPECT_EQ(
      marked(said("user", "hi") + "," + said("assistant", "yes") + "," + said("user", "so") + "," + said("assistant", "no"), c),
      "<bos><user>hi<assistant>[yes<eos>]<user>so<assistant>[no<eos>]");
  // A message that begins as the thought does.
  EXPECT_EQ(marked(said("user", "hi") + "," + said("assistant", "<b>"), c), "<bos><user>hi<assistant>[<b><eos>]");
  EXPECT_EQ(marked(said("user", "hi") + "," + said("assistant", "<th"), c), "<bos><user>hi<assistant>[<th<eos>]");
  EXPECT_EQ(marked(said("user", "hi") + "," + said("assistant", "<think>\nhm"), c),
            "<bos><user>hi<assistant><think>\n[hm<eos>]");
  EXPECT_EQ(marked(said("user", "hi") + "," + said("assistant", ""), c), "<bos><user>hi<assistant>[<eos>]");
  // The thought itself would not be learnt, which is said.
  EXPECT_NE(marked(said("user", "hi") + "," + said("assistant", "hm</think>yes"), c).find("leaves out a part of the content"),
            std::string::npos);
}

TEST(Jsonl, TemplatesThatRewriteEarlierTurnsAreRefused) {
  // Only the last user's turn carries a mark, and the first line counts the messages.
  for (const char* source :
       {"{{ bos_token }}{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% if loop.last %}{{ '!' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}",
        "{{ bos_token }}{{ messages | length }}{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"})
    EXPECT_NE(marked(said("user", "hi") + "," + said("assistant", "yes"), byte_codec(source)).find("rewrites earlier turns"),
              std::string::npos)
        << marked(said("user", "hi") + "," + said("assistant", "yes"), byte_codec(source));
}

// As ChatML writes turns: the line end after <|im_end|> is the template's.
TEST(Jsonl, WhiteSpaceAfterTheEndOfATurnHasNoLoss) {
  const char* source =
      "{% for m in messages %}{{ '<' + m.role + '>' + m.content + END + ' \n' }}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
  for (const char* end : {"<eos>", "<end>"}) {  // <end> ends turns without being the tokenizer's eos
    std::string with = source;
    with.replace(with.find("END"), 3, std::string("'") + end + "'");
    EXPECT_EQ(
        marked(said("user", "hi") + "," + said("assistant", "a b\n") + "," + said("user", "so") + "," + said("assistant", "c"),
               byte_codec(with)),
        std::string("<user>hi") + end + " \n<assistant>[a b\n" + end + "] \n<user>so" + end + " \n<assistant>[c" + end +
            "] \n");
  }
  std::string plain = source;  // no token ends the turn: then white space is all there is to stop at
  plain.replace(plain.find(" + END"), 6, "");
  EXPECT_EQ(marked(said("user", "hi") + "," + said("assistant", "c"), byte_codec(plain)), "<user>hi \n<assistant>[c \n]");
}

// The golden Qwen2's own template and tokenizer are of that kind.
TEST(Jsonl, TheGoldenQwen2TakesMessages) {
  const std::string folder = testing::shared_dir() + "/goldens/qwen2/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << testing::missing(folder);
  auto t = Tokenizer::from_hf_json(testing::file_bytes(folder + "tokenizer.json"),
                                   testing::file_bytes(folder + "tokenizer_config.json"), "qwen2");
  ASSERT_TRUE(t.ok()) << t.message();
  auto parsed = ChatTemplate::parse(testing::file_bytes(folder + "chat_template.jinja"), "qwen2");
  ASSERT_TRUE(parsed.ok()) << parsed.message();
  TextCodec c;
  c.tokenizer = *t;
  c.chat_template = *parsed;
  EXPECT_EQ(marked(said("system", "Be brief.") + "," + said("user", "hi") + "," + said("assistant", "yes sir") + "," +
                       said("user", "so") + "," + said("assistant", "no"),
                   c),
            "<|bos|>Be brief.<|user|>hi<|assistant|>[yes sir<|eos|>]<|user|>so<|assistant|>[no<|eos|>]");
}

TEST(Jsonl, MessagesWithTokenWeights) {
  auto d = sft();
  d.token_weights = true;
  const std::string messages = R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b c"}, )"
                               R"({"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}], )";
  // One for each token with a loss: b c <eos>, e <eos>.
  EXPECT_EQ(one(messages + R"("weights": [1, 0, 2.5, 3, 0.5], "weight": 2})", d).weights,
            (std::vector<float>{0, 0, 0, 0, 2, 0, 5, 0, 0, 0, 6, 1}));
  const auto short_of_one = read(messages + "\"weights\": [1, 1, 1, 1]}\n", d);
  ASSERT_FALSE(short_of_one.ok());
  EXPECT_NE(short_of_one.message().find(":1: `weights` has 4 numbers, 5 tokens have a loss"), std::string::npos)
      << short_of_one.message();
}

TEST(Jsonl, MessagesWithLossOnAll) {
  auto d = sft();
  d.loss = "all";
  const std::string messages = R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])";
  // <bos> user a assistant b <eos>: every token but the first.
  EXPECT_EQ(one(messages + "}", d).weights, (std::vector<float>{0, 1, 1, 1, 1, 1}));
  EXPECT_EQ(one(messages + R"(, "weight": 0.5})", d).weights, (std::vector<float>{0, 0.5, 0.5, 0.5, 0.5, 0.5}));
  const std::string question = R"({"messages": [{"role": "user", "content": "a"}]})";
  EXPECT_EQ(one(question, d).weights, (std::vector<float>{0, 1, 1}));  // with nothing but a question there is a loss, too
}

TEST(Jsonl, TokensOutsideOfTheVocabularyAreNamed) {
  TempDir dir;
  TextCodec c = codec();
  c.vocab = 10;
  const std::string path = dir.write("data.jsonl", "{\"tokens\": [1, 9]}\n{\"tokens\": [1, 10]}\n");
  const auto r = read_jsonl(path, c, sft());
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.message(), path + ":2: `tokens` holds 10, outside of the model's vocabulary of 10");
}

TEST(Jsonl, DeepNestingIsRefused) {
  for (const char* brackets : {"[]", "{}"}) {
    const std::string open = brackets[0] == '[' ? "[" : "{\"a\":", close(1, brackets[1]);
    std::string deep, end;
    for (int i = 0; i < 100000; ++i) {
      deep += open;
      end += close;
    }
    for (const std::string& line : {"{\"text\": \"a\", \"x\": " + deep + "1" + end + "}", deep}) {
      const auto r = read("{\"text\": \"a b\"}\n" + line + "\n", sft());
      ASSERT_FALSE(r.ok());
      EXPECT_NE(r.message().find("data.jsonl:2: JSON nested more than 256 deep"), std::string::npos) << r.message();
    }
  }
  EXPECT_TRUE(read("{\"text\": \"a b\", \"x\": \"\\\"" + std::string(500, '[') + "\"}\n", sft()).ok());  // in a string
}

TEST(Jsonl, OtherFaults) {
  EXPECT_FALSE(read_jsonl("/nonexistent.jsonl", codec(), sft()).ok());
  EXPECT_FALSE(read("\n \n", sft()).ok());  // nothing to learn
  auto weighted = sft();
  weighted.token_weights = true;
  EXPECT_FALSE(read("{\"text\": \"a b\"}\n", weighted).ok());
  const auto count = read("{\"text\": \"a b\", \"weights\": [1]}\n", weighted);
  ASSERT_FALSE(count.ok());
  EXPECT_NE(count.message().find("1 numbers, 2 tokens"), std::string::npos) << count.message();
  auto asked = sft();
  asked.format = "text";
  EXPECT_FALSE(read("{\"tokens\": [1, 2]}\n", asked).ok());
  EXPECT_FALSE(read("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n", sft(), nullptr).ok());
  // A template that drops what the assistant said would teach nothing of it.
  const auto dropped =
      read("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b c\"}]}\n",
           sft(), "{{ bos_token }}{% for m in messages %} {{ m['role'] }} a{% endfor %}");
  EXPECT_FALSE(dropped.ok());
}

std::vector<TrainSequence> numbered(int n) {
  std::vector<TrainSequence> out;
  for (int i = 0; i < n; ++i) {
    const auto length = static_cast<size_t>(2 + i % 5);
    out.push_back({std::vector<int32_t>(length, i), std::vector<float>(length, 1.0f)});
  }
  return out;
}

std::vector<int32_t> first_tokens(DataSource& source, int batches, int64_t budget) {
  std::vector<int32_t> ids;
  for (int i = 0; i < batches; ++i) {
    auto b = source.next();
    EXPECT_TRUE(b.ok());
    int64_t tokens = 0;
    for (const auto& s : *b) {
      ids.push_back(s.tokens[0]);
      tokens += static_cast<int64_t>(s.tokens.size());
    }
    if (budget > 0) { EXPECT_LE(tokens, budget); }
  }
  return ids;
}

TEST(MemorySource, EveryEpochGivesEverySequenceOnceInItsOwnOrder) {
  BatchRecipe batch;
  batch.sequences = 4;
  auto source = make_memory_source(numbered(20), {}, batch, true, 9);
  const auto a = first_tokens(*source, 5, 0), b = first_tokens(*source, 5, 0);
  EXPECT_NE(a, b);
  for (auto epoch : {a, b}) {
    std::sort(epoch.begin(), epoch.end());
    for (int i = 0; i < 20; ++i) EXPECT_EQ(epoch[static_cast<size_t>(i)], i);
  }
  auto same = make_memory_source(numbered(20), {}, batch, true, 9);
  EXPECT_EQ(first_tokens(*same, 5, 0), a);
  auto other = make_memory_source(numbered(20), {}, batch, true, 10);
  EXPECT_NE(first_tokens(*other, 5, 0), a);
  auto unshuffled = make_memory_source(numbered(20), {}, batch, false, 9);
  EXPECT_EQ(first_tokens(*unshuffled, 1, 0), (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST(MemorySource, CursorResumesExactly) {
  BatchRecipe batch;
  batch.tokens = 11;
  auto source = make_memory_source(numbered(23), {}, batch, true, 4);
  for (int skip : {0, 1, 6, 7, 40}) {
    first_tokens(*source, skip, 11);
    const auto cursor = nlohmann::ordered_json::parse(source->cursor().dump());
    const auto want = first_tokens(*source, 12, 11);
    auto again = make_memory_source(numbered(23), {}, batch, true, 4);
    ASSERT_TRUE(again->seek(cursor).ok());
    EXPECT_EQ(first_tokens(*again, 12, 11), want);
    EXPECT_EQ(again->fingerprint(), source->fingerprint());
  }
  EXPECT_FALSE(source->seek({{"epoch", 0}, {"index", 23}}).ok());
  EXPECT_FALSE(source->seek({{"epoch", -1}, {"index", 0}}).ok());
  EXPECT_FALSE(source->seek(nlohmann::ordered_json()).ok());
  auto changed = numbered(23);
  changed[5].weights[1] = 2;
  EXPECT_NE(make_memory_source(changed, {}, batch, true, 4)->fingerprint(), source->fingerprint());
}

}  // namespace
}  // namespace raison
