// IDs, safe names, hashes, settings from the environment.
#include <gtest/gtest.h>

#include "hub/digest.h"
#include "hub/http.h"
#include "hub/model_id.h"
#include "hub/settings.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {

TEST(ModelIdTest, Parts) {
  auto id = parse_model_id("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B");
  ASSERT_TRUE(id.ok()) << id.message();
  EXPECT_EQ(id->repo, "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B");
  EXPECT_EQ(id->revision, "main");
  EXPECT_FALSE(id->revision_given);
  EXPECT_EQ(id->quant, "");
  id = parse_model_id("user/repo-GGUF@refs/pr/1:UD-Q4_K_M");
  ASSERT_TRUE(id.ok()) << id.message();
  EXPECT_EQ(id->repo, "user/repo-GGUF");
  EXPECT_EQ(id->revision, "refs/pr/1");
  EXPECT_TRUE(id->revision_given);
  EXPECT_EQ(id->quant, "UD-Q4_K_M");
  EXPECT_EQ(id->text(), "user/repo-GGUF@refs/pr/1:UD-Q4_K_M");
  EXPECT_EQ(parse_model_id("a/b:Q8_0")->text(), "a/b:Q8_0");
}

TEST(ModelIdTest, WhatIsNone) {
  for (const char* text : {"",
                           "/",
                           "name",
                           "a/",
                           "/b",
                           "/home/user/model",
                           "./a/b",
                           "../a",
                           "a/..",
                           "a/b/c",
                           "a/b@",
                           "a/b:",
                           "a/b@x:",
                           "a--b/c",
                           "a/b--c",
                           "a/b..c",
                           "-a/b",
                           "a/.b",
                           "a/b.",
                           "a b/c",
                           "a/b c",
                           "a/b@../../x",
                           "a/b@/x",
                           "a/b@x y",
                           "a/b:Q4 0",
                           "dir/model.gguf",
                           "dir/config.json",
                           "a/b\n",
                           "a/b@-x",
                           "a/b:q\x01"})
    EXPECT_FALSE(parse_model_id(text).ok()) << text;
  EXPECT_FALSE(parse_model_id("a/" + std::string(97, 'x')).ok());
  EXPECT_TRUE(parse_model_id("a/" + std::string(96, 'x')).ok());
}

TEST(ModelIdTest, SafePaths) {
  for (const char* path : {"config.json", "Q4_K_M/x-00001-of-00002.gguf", "a b.json", "\xC3\xA9.gguf", "..x", "x..", ".hidden"})
    EXPECT_TRUE(is_safe_repo_path(path)) << path;
  for (const char* path :
       {"", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", ".", "./a", "a/.", "a\nb", "a\x1b[2J", "a\x7f", "a\xC2\x9B"})
    EXPECT_FALSE(is_safe_repo_path(path)) << path;
  EXPECT_FALSE(is_safe_repo_path(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_safe_repo_path(std::string(256, 'a')));
}

TEST(DigestTest, KnownHashes) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(git_blob_id(""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(git_blob_id("hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");  // git hash-object
}

TEST(HttpTest, Heads) {
  AnswerHead head;
  head.read_line("HTTP/1.1 302 Found\r\n");
  head.read_line("Retry-After: 7\r\n");
  head.read_line("X-Error-Code: GatedRepo\r\n");
  EXPECT_EQ(head.retry_after_s, 7);
  EXPECT_EQ(head.error_code, "GatedRepo");
  head.read_line("HTTP/1.1 206 Partial Content\r\n");
  EXPECT_EQ(head.retry_after_s, -1);
  EXPECT_EQ(head.error_code, "");
  head.read_line("content-range: bytes 10-19/100\r\n");
  EXPECT_EQ(head.range_begin, 10);
  EXPECT_EQ(head.range_end, 20);
  EXPECT_EQ(head.range_total, 100);
  for (const char* bad : {"bytes 19-10/100", "bytes -1-5/9", "bytes 1-/9", "bytes 0-9223372036854775807/9", "lines 1-2/3",
                          "bytes 1-2/3x", "bytes 99999999999999999999-2/3"}) {
    AnswerHead h;
    h.read_line(std::string("Content-Range: ") + bad + "\r\n");
    EXPECT_EQ(h.range_begin, -1) << bad;
  }
  head.read_line("Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n");  // it has passed
  EXPECT_EQ(head.retry_after_s, 0);
  head.read_line("Retry-After: soon\r\n");
  EXPECT_EQ(head.retry_after_s, -1);
  EXPECT_EQ(percent_encoded("a b/c%\xC3\xA9", true), "a%20b/c%25%C3%A9");
  EXPECT_EQ(percent_encoded("refs/pr/1", false), "refs%2Fpr%2F1");
}

TEST(HttpTest, WaitsGrowAndEnd) {
  TransferLimits limits;
  HubOutcome cut;
  cut.code = CURLE_PARTIAL_FILE;
  EXPECT_EQ(wait_before_retry(cut, 0, limits), 1000);
  EXPECT_EQ(wait_before_retry(cut, 3, limits), 8000);
  EXPECT_EQ(wait_before_retry(cut, 60, limits), limits.max_backoff_ms);
  HubOutcome busy;
  busy.status = 429;
  busy.head.retry_after_s = 5;
  EXPECT_TRUE(is_transient(busy));
  EXPECT_EQ(wait_before_retry(busy, 4, limits), 5000);
  busy.head.retry_after_s = 3600;
  EXPECT_EQ(wait_before_retry(busy, 0, limits), std::nullopt);
}

// Restores the environment at its end.
class SettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) {
      const char* value = getenv(name);
      before_.emplace_back(name, value ? std::optional<std::string>(value) : std::nullopt);
      unsetenv(name);
    }
    setenv("HOME", dir_.path().c_str(), 1);
  }
  void TearDown() override {
    for (const auto& [name, value] : before_) value ? setenv(name, value->c_str(), 1) : unsetenv(name);
  }
  static constexpr const char* kNames[] = {"HOME",         "XDG_CACHE_HOME", "HF_HOME",
                                           "HF_HUB_CACHE", "HF_TOKEN",       "HF_TOKEN_PATH",
                                           "HF_ENDPOINT",  "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"};
  TempDir dir_;
  std::vector<std::pair<const char*, std::optional<std::string>>> before_;
};

TEST_F(SettingsTest, CacheByPrecedence) {
  EXPECT_EQ(hub_settings_from_environment()->cache, dir_.path() + "/.cache/huggingface/hub");
  setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(hub_settings_from_environment()->cache, "/xdg/huggingface/hub");
  setenv("HF_HOME", "~/hf", 1);
  EXPECT_EQ(hub_settings_from_environment()->cache, dir_.path() + "/hf/hub");
  setenv("HF_HUB_CACHE", "/cache", 1);
  EXPECT_EQ(hub_settings_from_environment()->cache, "/cache");
  for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) unsetenv(name);
  EXPECT_FALSE(hub_settings_from_environment().ok());
}

TEST_F(SettingsTest, TokenEndpointOffline) {
  EXPECT_EQ(hub_settings_from_environment()->endpoint, "https://huggingface.co");
  EXPECT_EQ(hub_settings_from_environment()->token, "");
  EXPECT_FALSE(hub_settings_from_environment()->offline);
  setenv("HF_HOME", dir_.path().c_str(), 1);
  dir_.write("token", "from_file\n");
  EXPECT_EQ(hub_settings_from_environment()->token, "from_file");
  setenv("HF_TOKEN_PATH", dir_.write("other", " elsewhere ").c_str(), 1);
  EXPECT_EQ(hub_settings_from_environment()->token, "elsewhere");
  setenv("HF_TOKEN", "own", 1);
  EXPECT_EQ(hub_settings_from_environment()->token, "own");
  setenv("HF_TOKEN", "a\r\nX-Evil: b", 1);
  EXPECT_FALSE(hub_settings_from_environment().ok());
  setenv("HF_TOKEN", "own", 1);
  setenv("HF_ENDPOINT", "http://localhost:1234/", 1);
  EXPECT_EQ(hub_settings_from_environment()->endpoint, "http://localhost:1234");
  setenv("HF_ENDPOINT", "localhost", 1);
  EXPECT_FALSE(hub_settings_from_environment().ok());
  unsetenv("HF_ENDPOINT");
  setenv("HF_HUB_OFFLINE", "yes", 1);
  EXPECT_TRUE(hub_settings_from_environment()->offline);
  setenv("HF_HUB_OFFLINE", "0", 1);
  EXPECT_FALSE(hub_settings_from_environment()->offline);
}

}  // namespace
}  // namespace raison::testing
