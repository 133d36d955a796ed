// decode(encode(x)) = x (its NFC where the tokenizer normalises) on a megabyte of every script, and what a stream shows at every
// cut of its tokens.
#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>

#include "base/rng.h"
#include "tokenizer/helpers.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

using tokenizer_test::golden_names;
using tokenizer_test::golden_tokenizer;
using tokenizer_test::golden_tokenizer_json;

std::string nfc_of(const std::string& text) {
  utf8proc_uint8_t* out = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()), &out,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::string result(reinterpret_cast<const char*>(out), static_cast<size_t>(std::max<utf8proc_ssize_t>(size, 0)));
  std::free(out);
  return result;
}

// Assigned code points by the block of 128 they stand in: neighbours are mostly of one script.
std::vector<std::vector<char32_t>> scripts() {
  std::vector<std::vector<char32_t>> blocks;
  for (char32_t block = 0; block < 0x110000; block += 128) {
    std::vector<char32_t> codes;
    for (char32_t c = block; c < block + 128; ++c) {
      const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
      if (category != UTF8PROC_CATEGORY_CN && category != UTF8PROC_CATEGORY_CS) codes.push_back(c);
    }
    // Of the large blocks of one kind (ideographs, Hangul, private use) a few do.
    const bool large = (block >= 0x3400 && block < 0xD780) || (block >= 0xE000 && block < 0xF900) || block >= 0x17000;
    if (!codes.empty() && (!large || block % 0x1000 == 0 || (block >= 0x1D000 && block < 0x1FC00))) blocks.push_back(codes);
  }
  return blocks;
}

void append_word(Rng& rng, const std::vector<char32_t>& codes, std::string& out) {
  for (uint64_t n = 1 + rng.below(12); n > 0; --n) append_utf8(out, codes[rng.below(codes.size())]);
}

std::string mixed_megabyte(Rng rng, size_t bytes) {
  static const auto blocks = scripts();
  // A mark after an added token would compose with its ">" in the whole text, but not in the tokenizer, which cuts there first.
  static const char* const fixed[] = {"👩‍👩‍👧‍👦👍🏽🏳️‍🌈",
                                      "e\u0301o\u0308\u0323a\u0323\u0302",
                                      "\u1100\u1161\u11A8",
                                      "각",
                                      "int main() {\n\treturn 0;\n}\r\n",
                                      "x² ≥ √(y)  ½",
                                      "don't WE'LL I'M",
                                      "\u212B \u2126 \uFB01 \uF900",
                                      "\t  \n\n\n   ",
                                      "<think> ",
                                      "<|im_end|> <｜User｜> ",
                                      "\u0F71\u0F72\u0F74",
                                      "http://a.b/c?d=%20",
                                      "\u00A0\u3000\u2003\u0085",
                                      "مرحبا",
                                      "नमस्ते",
                                      "\uFEFF\u200B\u00AD",
                                      "日本語テキスト、。"};
  std::string out;
  while (out.size() < bytes) {
    switch (rng.below(6)) {
      case 0: append_word(rng, blocks[rng.below(blocks.size())], out); break;
      case 1: out += fixed[rng.below(std::size(fixed))]; break;
      case 2: out += std::to_string(rng.below(uint64_t{1} << (1 + rng.below(60)))); break;
      case 3:
        for (uint64_t n = 1 + rng.below(9); n > 0; --n) out += static_cast<char>('a' + rng.below(26));
        break;
      case 4: append_utf8(out, static_cast<char32_t>(0x300 + rng.below(0x70))); break;  // a mark on whatever precedes it
      default: out += static_cast<char>(rng.below(128)); break;
    }
    if (rng.below(3) != 0) out += ' ';
  }
  return out;
}

TEST(Normalizer, StretchesGiveWhatTheWholeGives) {
  const auto normalizer = Normalizer::from_json({{"type", "NFC"}}, "t");
  ASSERT_TRUE(normalizer.ok());
  const auto same = [&](const std::string& text) {
    std::string got = text;
    ASSERT_TRUE(normalizer->apply(got).ok());
    ASSERT_EQ(got, nfc_of(text));
  };
  // Every code point between two that compose with marks, and before a mark.
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_CS) continue;
    std::string text = "e";
    append_utf8(text, c);
    text += "\u0301e\u0301";
    append_utf8(text, c);
    same(text);
  }
  for (uint64_t seed = 0; seed < 200; ++seed) same(mixed_megabyte(Rng(seed, 1), 300));
}

class RoundTrip : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "none") GTEST_SKIP() << testing::missing(testing::shared_dir() + "/goldens/tokenizers");
    const std::string file = golden_tokenizer_json(GetParam());
    auto loaded = Tokenizer::from_hf_json(file, "", GetParam());
    ASSERT_TRUE(loaded.ok()) << loaded.message();
    tokenizer_ = *loaded;
    const size_t at = file.find("\"normalizer\":");
    nfc_ = file.compare(at + 13, 14, "{\"type\":\"NFC\"}") == 0;
  }
  std::string expected(const std::string& text) const { return nfc_ ? nfc_of(text) : text; }
  std::shared_ptr<Tokenizer> tokenizer_;
  bool nfc_ = false;
};

TEST_P(RoundTrip, MegabyteBrokenBytesAndEveryCutOfAStream) {
  const std::string text = mixed_megabyte(Rng(7), 1'000'000);
  const auto ids = tokenizer_->encode(text, {false, true});
  ASSERT_TRUE(ids.ok()) << ids.message();
  const std::string decoded = tokenizer_->decode(*ids), wanted = expected(text);
  const size_t differs =
      static_cast<size_t>(std::mismatch(decoded.begin(), decoded.end(), wanted.begin(), wanted.end()).first - decoded.begin());
  EXPECT_TRUE(decoded == wanted) << "at byte " << differs << ": " << decoded.substr(differs, 40) << " for "
                                 << wanted.substr(differs, 40);

  // Bytes that are no UTF-8 count as U+FFFD, by maximal subparts.
  Rng rng(8);
  std::string broken = mixed_megabyte(Rng(9), 50'000);
  for (size_t i = 0; i < broken.size(); i += 1 + rng.below(20)) broken[i] = static_cast<char>(rng.below(256));
  const auto repaired = tokenizer_->encode(broken, {false, true});
  ASSERT_TRUE(repaired.ok());
  EXPECT_TRUE(tokenizer_->decode(*repaired) == expected(lossy_utf8(broken)));

  // A stream that ends after any token has shown whole characters alone, and all of them.
  StreamDecoder stream(*tokenizer_);
  std::string shown, bytes;
  for (size_t i = 0; i < std::min<size_t>(ids->size(), 4000); ++i) {
    const std::string more = stream.push((*ids)[i]);
    ASSERT_TRUE(is_valid_utf8(more)) << "token " << i;
    shown += more;
    bytes += tokenizer_->piece((*ids)[i]);
    StreamDecoder stopped = stream;
    ASSERT_EQ(shown + stopped.flush(), lossy_utf8(bytes)) << "token " << i;
  }
}

std::vector<std::string> names_or_none() {
  std::vector<std::string> names = golden_names();
  if (names.empty()) names.emplace_back("none");
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, RoundTrip, ::testing::ValuesIn(names_or_none()), [](const auto& param) {
  std::string name = param.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

}  // namespace
}  // namespace raison
