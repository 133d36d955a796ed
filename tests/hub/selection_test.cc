// Which files are chosen, and what of the API's answer is believed.
#include "hub/selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace raison::testing {
namespace {

RepoListing listing_of(std::vector<std::string> paths) {
  RepoListing listing;
  listing.repo = "a/b";
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    RepoFile file;
    file.path = path;
    file.size = 1000;
    listing.files.push_back(file);
  }
  return listing;
}

std::string names(const std::vector<RepoFile>& files) {
  std::string out;
  for (const RepoFile& file : files) out += (out.empty() ? "" : " ") + file.path;
  return out;
}

std::string gguf(const std::vector<std::string>& paths, const std::string& quant) {
  const auto s = select_files(listing_of(paths), quant);
  if (!s.ok()) return "error: " + s.message();
  EXPECT_EQ(s->format, Selection::Format::Gguf);
  EXPECT_TRUE(s->small.empty());
  return names(s->weights);
}

TEST(SelectionTest, FolderTakesOnlyWhatIsNeeded) {
  const auto s = select_files(listing_of({"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                                          "vocab.json", "merges.txt", "model.safetensors", "pytorch_model.bin",
                                          "onnx/model.onnx", "original/consolidated.00.pth", "README.md", "figures/a.png",
                                          "special_tokens_map.json", "chat_template.jinja", "x-Q4_K_M.gguf", ".gitattributes"}),
                              "");
  ASSERT_TRUE(s.ok()) << s.message();
  EXPECT_EQ(s->format, Selection::Format::Safetensors);
  EXPECT_EQ(
      names(s->small),
      "config.json generation_config.json tokenizer.json tokenizer_config.json chat_template.jinja special_tokens_map.json");
  EXPECT_EQ(names(s->weights), "model.safetensors");
  const auto old = select_files(listing_of({"config.json", "vocab.json", "merges.txt", "model.safetensors"}), "");
  ASSERT_TRUE(old.ok());
  EXPECT_EQ(names(old->small), "config.json vocab.json merges.txt");
}

TEST(SelectionTest, ShardsAreThoseTheIndexNames) {
  const RepoListing listing = listing_of({"config.json", kShardIndex, "model-00001-of-00002.safetensors",
                                          "model-00002-of-00002.safetensors", "model-fp8.safetensors", "model.safetensors"});
  auto s = select_files(listing, "");
  ASSERT_TRUE(s.ok()) << s.message();
  ASSERT_TRUE(s->sharded);
  EXPECT_TRUE(s->weights.empty());
  const std::string index = R"({"weight_map": {"a": "model-00002-of-00002.safetensors",
      "b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}})";
  ASSERT_TRUE(add_shards(listing, index, &*s).ok());
  EXPECT_EQ(names(s->weights), "model-00001-of-00002.safetensors model-00002-of-00002.safetensors");
  for (const char* bad : {"", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})", R"({"weight_map": {"a": 1}})",
                          R"({"weight_map": {"a": "gone.safetensors"}})", R"({"weight_map": {"a": "../x.safetensors"}})",
                          R"({"weight_map": {"a": "config.json"}})"}) {
    Selection other = *s;
    EXPECT_FALSE(add_shards(listing, bad, &other).ok()) << bad;
  }
  EXPECT_FALSE(add_shards(listing, std::string(5000, '['), &*s).ok());
}

TEST(SelectionTest, QuantIsAWordOfTheName) {
  const std::vector<std::string> files = {"M-Q4_K_M.gguf",     "M-Q4_K_S.gguf",  "M-Q8_0.gguf", "M-IQ4_XS.gguf",
                                          "M-bf16.gguf",       "M-f16.gguf",     "M-Q4_0.gguf", "M-Q4_0_4_4.gguf",
                                          "mmproj-M-f16.gguf", "M.imatrix.gguf", "README.md"};
  EXPECT_EQ(gguf(files, "Q4_K_M"), "M-Q4_K_M.gguf");
  EXPECT_EQ(gguf(files, "q4_k_m"), "M-Q4_K_M.gguf");
  EXPECT_EQ(gguf(files, "F16"), "M-f16.gguf");
  EXPECT_EQ(gguf(files, "BF16"), "M-bf16.gguf");
  EXPECT_EQ(gguf(files, "Q4_0"), "M-Q4_0.gguf");
  EXPECT_EQ(gguf(files, "M-Q8_0.gguf"), "M-Q8_0.gguf");
  EXPECT_EQ(gguf(files, ""), "M-Q4_K_M.gguf");
  for (const char* none : {"Q4_K", "Q4", "K_M", "Q4_XS", "Q5_K_M", "imatrix", "mmproj"})
    EXPECT_EQ(gguf(files, none).substr(0, 6), "error:") << none;
  const std::string there = gguf(files, "Q5_K_M");
  EXPECT_NE(there.find("Q4_K_S (1 kB)"), std::string::npos) << there;
  EXPECT_EQ(there.find("mmproj"), std::string::npos) << there;
}

TEST(SelectionTest, OtherWaysToNameIt) {
  EXPECT_EQ(gguf({"model.Q5_1.gguf", "model.Q8_0.gguf"}, "q5_1"), "model.Q5_1.gguf");
  EXPECT_EQ(gguf({"model_q5_1.gguf", "model_q8_0.gguf"}, "Q5_1"), "model_q5_1.gguf");
  EXPECT_EQ(gguf({"M-Q4_K_XL.gguf", "M-UD-Q4_K_XL.gguf"}, "Q4_K_XL"), "M-Q4_K_XL.gguf");
  EXPECT_EQ(gguf({"M-Q4_K_XL.gguf", "M-UD-Q4_K_XL.gguf"}, "UD-Q4_K_XL"), "M-UD-Q4_K_XL.gguf");
  EXPECT_EQ(gguf({"M-UD-Q4_K_XL.gguf", "M-Q8_0.gguf"}, "Q4_K_XL"), "M-UD-Q4_K_XL.gguf");
  EXPECT_EQ(gguf({"Q8_0/model.gguf", "Q4_0/model.gguf"}, "Q8_0"), "Q8_0/model.gguf");
  EXPECT_EQ(gguf({"QwQ-32B.gguf"}, ""), "QwQ-32B.gguf");  // the only one
  EXPECT_NE(gguf({"A-Q8_0.gguf", "A-Q5_0.gguf"}, "").find("name one of its quantisations"), std::string::npos);
  const std::string twins = gguf({"A-7B-Q8_0.gguf", "A-1B-Q8_0.gguf"}, "Q8_0");
  EXPECT_NE(twins.find("A-1B-Q8_0.gguf, A-7B-Q8_0.gguf"), std::string::npos) << twins;
  EXPECT_EQ(gguf({"A-7B-Q8_0.gguf", "A-1B-Q8_0.gguf"}, "A-1B-Q8_0.gguf"), "A-1B-Q8_0.gguf");
}

TEST(SelectionTest, SplitModelsComeWhole) {
  const std::string a = "Q4_K_M/R1-Q4_K_M-00001-of-00002.gguf", b = "Q4_K_M/R1-Q4_K_M-00002-of-00002.gguf";
  EXPECT_EQ(gguf({b, a, "Q8_0/R1-Q8_0-00001-of-00001.gguf"}, "Q4_K_M"), a + " " + b);
  EXPECT_NE(gguf({b}, "Q4_K_M").find("only 1 of its 2 parts"), std::string::npos);
  // What only looks like a part is a model of its own.
  EXPECT_EQ(gguf({"R1-Q8_0-00003-of-00002.gguf"}, ""), "R1-Q8_0-00003-of-00002.gguf");
}

TEST(SelectionTest, NothingToRun) {
  EXPECT_EQ(gguf({"pytorch_model.bin", "config.json"}, "").substr(0, 6), "error:");
  EXPECT_EQ(gguf({"model.safetensors"}, "").substr(0, 6), "error:");  // no config.json
  EXPECT_EQ(gguf({}, "").substr(0, 6), "error:");
  EXPECT_EQ(gguf({"config.json", "model.safetensors"}, "Q4_K_M").substr(0, 6), "error:");
}

TEST(ListingTest, OnlyWhatIsSafeIsBelieved) {
  using nlohmann::json;
  const json file = {{"rfilename", "a.json"}, {"size", 3}, {"blobId", std::string(40, 'a')}};
  const json large = {{"rfilename", "b.gguf"}, {"size", 9}, {"lfs", {{"sha256", std::string(64, 'b')}, {"size", 9}}}};
  const json good = {{"sha", std::string(40, 'c')}, {"siblings", {large, file}}};
  const auto listing = parse_repo_listing(good.dump(), "a/b");
  ASSERT_TRUE(listing.ok()) << listing.message();
  ASSERT_EQ(listing->files.size(), 2u);
  EXPECT_EQ(listing->files[0].path, "a.json");
  EXPECT_EQ(listing->files[0].etag(), std::string(40, 'a'));
  EXPECT_EQ(listing->find("b.gguf")->etag(), std::string(64, 'b'));
  EXPECT_EQ(listing->find("c"), nullptr);
  const auto refused = [&](const char* why, const std::function<void(json&)>& change) {
    json j = good;
    change(j);
    const auto parsed = parse_repo_listing(j.dump(), "a/b");
    EXPECT_FALSE(parsed.ok()) << why;
    const std::string message = parsed.ok() ? "" : parsed.message();
    for (char c : message) EXPECT_TRUE(c >= 32 && c < 127) << why;
  };
  for (const char* name : {"../../evil.gguf", "/etc/cron.d/x", "a/../../b.json", "", "a\nb.json", "\x1b[2J.gguf"})
    refused(name, [&](json& j) { j["siblings"][0]["rfilename"] = name; });
  refused("no name", [](json& j) { j["siblings"][0].erase("rfilename"); });
  refused("no object", [](json& j) { j["siblings"][0] = 3; });
  refused("twice", [](json& j) { j["siblings"].push_back(j["siblings"][1]); });
  refused("no hash", [](json& j) { j["siblings"][1].erase("blobId"); });
  refused("hash with a path", [](json& j) { j["siblings"][1]["blobId"] = "../" + std::string(37, 'a'); });
  refused("short SHA-256", [](json& j) { j["siblings"][0]["lfs"]["sha256"] = "abc"; });
  refused("negative size", [](json& j) { j["siblings"][1]["size"] = -1; });
  refused("huge size", [](json& j) { j["siblings"][1]["size"] = 18446744073709551615u; });
  refused("size as text", [](json& j) { j["siblings"][1]["size"] = "3"; });
  refused("commit with a path", [](json& j) { j["sha"] = "../../../../../../../../../../../../../x"; });
  refused("no commit", [](json& j) { j.erase("sha"); });
  refused("no files", [](json& j) { j.erase("siblings"); });
  for (const char* text : {"", "[]", "null", "{", "<html>", "\xff"}) EXPECT_FALSE(parse_repo_listing(text, "a/b").ok()) << text;
  EXPECT_FALSE(parse_repo_listing(std::string(100000, '['), "a/b").ok());
}

}  // namespace
}  // namespace raison::testing
