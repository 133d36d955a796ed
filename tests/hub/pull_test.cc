// Pulling from a hub on loopback: what is fetched, resumed, checked, refused.
#include "hub/pull.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>

#include "base/file.h"
#include "hub/file_lock.h"
#include "hub/loopback_hub.h"
#include "hub/partial_blob.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

class PullTest : public ::testing::Test {
 protected:
  PullTest() {
    settings_.cache = dir_ / "hub";
    settings_.endpoint = hub_.endpoint();
    // Impatient, and with small parts.
    limits_.backoff_ms = 5;
    limits_.max_backoff_ms = 20;
    limits_.parallel_from = 1 << 20;
    limits_.min_part = limits_.max_part = 256 << 10;
    hub_.add("config.json", "{\"model_type\": \"llama\"}");
    hub_.add("tokenizer.json", "{\"model\": 1}");
    hub_.add("README.md", "words");
    hub_.add("model.safetensors", noise(3 << 20, 1), true);
    hub_.add("pytorch_model.bin", noise(1000, 2), true);
    signal(SIGPIPE, SIG_IGN);
    setenv("no_proxy", "127.0.0.1", 1);
  }
  Result<PullResult> pull(const std::string& id = kRepo) {
    events_.notice = [this](const std::string& text) { notices_ += text + "\n"; };
    return pull_model(*parse_model_id(id), settings_, limits_, events_);
  }
  // Pulls, and compares every byte with the hub's.
  void expect_whole(const std::string& id = kRepo) {
    const auto result = pull(id);
    ASSERT_TRUE(result.ok()) << result.message();
    ASSERT_FALSE(result->stopped);
    ASSERT_EQ(state(), HubCache::Lookup::State::Whole);
    const std::string folder = settings_.cache + "/models--someone--tiny/snapshots/" + kCommit;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (entry.is_directory()) continue;
      const std::string name = entry.path().lexically_relative(folder);
      EXPECT_TRUE(entry.is_symlink()) << name;
      EXPECT_TRUE(*read_file(entry.path()) == hub_.file(name).bytes) << name;
    }
    for (const auto& entry : fs::directory_iterator(blobs_)) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(is_lower_hex(name, 40) || is_lower_hex(name, 64)) << name;
    }
  }
  // The message of a pull that fails, and leaves nothing that passes for a model.
  std::string failure(const std::string& id = kRepo) {
    const auto result = pull(id);
    EXPECT_FALSE(result.ok());
    if (result.ok()) return "";
    EXPECT_NE(state(), HubCache::Lookup::State::Whole);
    EXPECT_EQ(result.message().find('\n'), std::string::npos) << result.message();
    EXPECT_EQ(result.message().find(settings_.token.empty() ? "\x01" : settings_.token), std::string::npos);
    return result.message();
  }
  HubCache::Lookup::State state() const { return HubCache(settings_.cache).find(*parse_model_id(kRepo)).state; }
  std::string weights_blob() const { return blobs_ + "/" + hub_.file("model.safetensors").etag(); }
  static bool has(const std::string& text, const std::string& word) { return text.find(word) != std::string::npos; }

  TempDir dir_;
  LoopbackHub hub_;
  HubSettings settings_;
  TransferLimits limits_;
  DownloadEvents events_;
  std::string notices_;
  std::string blobs_ = dir_ / "hub/models--someone--tiny/blobs";
};

TEST_F(PullTest, OnlyWhatIsNeededInParts) {
  DownloadProgress last;
  events_.progress = [&](const DownloadProgress& p) {
    EXPECT_GE(p.bytes, last.bytes);
    last = p;
  };
  expect_whole();
  EXPECT_EQ(last.bytes, last.total_bytes);
  EXPECT_EQ(last.files, 3);
  const std::string folder = settings_.cache + "/models--someone--tiny/snapshots/" + kCommit;
  EXPECT_FALSE(fs::exists(folder + "/README.md"));
  EXPECT_FALSE(fs::exists(folder + "/pytorch_model.bin"));
  int ranges = 0;
  for (const auto& r : hub_.requests()) ranges += r.cdn && !r.range.empty();
  EXPECT_EQ(ranges, 12);  // 3 MiB by 256 KiB
  EXPECT_EQ(fs::status(weights_blob()).permissions() & fs::perms::owner_read, fs::perms::owner_read);
  // A second pull fetches nothing but the listing.
  hub_.forget_requests();
  const auto again = pull();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->new_files, 0);
  EXPECT_EQ(again->path, folder);
  EXPECT_EQ(hub_.requests().size(), 1u);
}

TEST_F(PullTest, QuantOfAGgufRepository) {
  hub_.add("M-Q4_K_M.gguf", noise(5000, 3), true);
  hub_.add("deep/M-Q8_0-00001-of-00002.gguf", noise(6000, 4), true);
  hub_.add("deep/M-Q8_0-00002-of-00002.gguf", noise(7000, 5), true);
  expect_whole();  // the safetensors
  hub_.forget_requests();
  const auto result = pull(std::string(kRepo) + ":q8_0");
  ASSERT_TRUE(result.ok()) << result.message();
  EXPECT_TRUE(has(result->path, "deep/M-Q8_0-00001-of-00002.gguf")) << result->path;
  EXPECT_EQ(*read_file(result->path), hub_.file("deep/M-Q8_0-00001-of-00002.gguf").bytes);
  EXPECT_EQ(result->new_files, 2);
  EXPECT_FALSE(pull(std::string(kRepo) + ":Q2_K").ok());
}

TEST_F(PullTest, ShardsComeByTheIndex) {
  hub_.add(kShardIndex, R"({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})");
  hub_.add("model-1.safetensors", noise(4000, 6), true);
  hub_.add("model-2.safetensors", noise(5000, 7), true);
  hub_.add("model-3.safetensors", noise(6000, 8), true);
  expect_whole();
  for (const auto& r : hub_.requests()) {
    EXPECT_FALSE(has(r.path, "model-3")) << r.path;
    EXPECT_FALSE(has(r.path, "model.safetensors") && !has(r.path, "index")) << r.path;
  }
}

TEST_F(PullTest, OneContentUnderTwoNames) {
  hub_.add("tokenizer_config.json", hub_.file("tokenizer.json").bytes);
  hub_.add("empty.gguf", "", true);
  hub_.add("special_tokens_map.json", "");
  expect_whole();
  EXPECT_EQ(pull(std::string(kRepo) + ":empty")->new_files, 1);
}

TEST_F(PullTest, TheTokenStaysWithItsHost) {
  hub_.set([](HubManners& m) { m.token = "hf_secret"; });
  const std::string without = failure();
  EXPECT_TRUE(has(without, "HF_TOKEN")) << without;
  settings_.token = "hf_wrong";
  const std::string wrong = failure();
  EXPECT_TRUE(has(wrong, "does not accept the token")) << wrong;
  settings_.token = "hf_secret";
  hub_.forget_requests();
  expect_whole();
  int cdn = 0;
  for (const auto& r : hub_.requests()) {
    EXPECT_EQ(r.authorization, r.cdn ? "" : "Bearer hf_secret") << r.path;
    cdn += r.cdn;
  }
  EXPECT_GT(cdn, 0);
}

TEST_F(PullTest, Refusals) {
  const auto refused = [&](int status, const std::string& code, const std::string& word) {
    hub_.set([&](HubManners& m) {
      m.api_status = status;
      m.api_times = 1 << 30;
      m.refuse_code = code;
    });
    const std::string text = failure();
    EXPECT_TRUE(has(text, word)) << status << " " << code << ": " << text;
  };
  refused(401, "RepoNotFound", "check the spelling, or set HF_TOKEN");
  refused(401, "GatedRepo", "accept its licence at " + hub_.endpoint() + "/" + kRepo);
  refused(403, "GatedRepo", "accept its licence");
  refused(404, "RepoNotFound", "check the spelling");
  refused(404, "RevisionNotFound", "has no revision main");
  refused(500, "", "a problem of its own (500)");
  refused(418, "", "answers 418");
  hub_.set([](HubManners& m) { m.retry_after = "3600"; });
  refused(429, "", "in 3600 s");  // more than anyone waits
  EXPECT_FALSE(fs::exists(settings_.cache));
}

TEST_F(PullTest, FilesThatAreRefused) {
  for (const auto& [status, word] :
       std::vector<std::pair<int, std::string>>{{404, "404"}, {500, "(500)"}, {410, "answers 410"}}) {
    hub_.set([&, s = status](HubManners& m) { m.file_status = s; });
    const std::string text = failure();
    EXPECT_TRUE(has(text, "model.safetensors") || has(text, word)) << text;
    EXPECT_TRUE(has(text, word)) << text;
  }
  hub_.set([](HubManners& m) {
    m.redirect = false;
    m.file_status = 403;
    m.refuse_code = "GatedRepo";
  });
  EXPECT_TRUE(has(failure(), "gated"));
}

// A busy hub is waited for, as long as it says.
TEST_F(PullTest, RetryAfterIsHonoured) {
  hub_.set([](HubManners& m) {
    m.api_status = 429;
    m.api_times = 1;
    m.file_status = 429;
    m.file_times = 1;
    m.retry_after = "1";
  });
  const auto begin = std::chrono::steady_clock::now();
  expect_whole();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(2000));
}

// A signed address that has expired is asked for anew.
TEST_F(PullTest, TransientTroubleIsTriedAgain) {
  for (int status : {503, 408, 403}) {
    fs::remove_all(settings_.cache);
    hub_.set([&](HubManners& m) {
      m.file_status = status;
      m.file_times = 3;
    });
    expect_whole();
  }
}

TEST_F(PullTest, CutConnectionsGoOnWhereTheyBroke) {
  hub_.set([](HubManners& m) {
    m.cuts = 9;
    m.cut_after = 100000;
  });
  expect_whole();
  const auto size = [&](const char* path) { return static_cast<int64_t>(hub_.file(path).bytes.size()); };
  EXPECT_EQ(hub_.content_sent(), size("model.safetensors") + size("config.json") + size("tokenizer.json"));
}

TEST_F(PullTest, AConnectionCutForEverEnds) {
  hub_.set([](HubManners& m) {
    m.cuts = 1 << 30;
    m.cut_after = 0;
  });
  const std::string text = failure();
  EXPECT_TRUE(has(text, "broke") && has(text, "kept")) << text;
  hub_.set([](HubManners& m) { m.drop_all = true; });
  EXPECT_TRUE(has(failure(), "broke"));
}

TEST_F(PullTest, AServerWithoutRanges) {
  hub_.set([](HubManners& m) { m.ranges = false; });
  expect_whole();
  // It broke in the middle: the whole comes again, also where a range was asked for.
  fs::remove_all(settings_.cache);
  hub_.set([](HubManners& m) {
    m.cuts = 2;
    m.cut_after = 2 << 20;
  });
  expect_whole();
  // And if it breaks at the same place each time, the end is an error.
  fs::remove_all(settings_.cache);
  hub_.set([](HubManners& m) { m.cuts = 1 << 30; });
  failure();
}

// Ranges while it began, none when it went on.
TEST_F(PullTest, RangesThatCease) {
  int64_t seen = 0;
  events_.progress = [&](const DownloadProgress& p) { seen = p.bytes; };
  events_.stop = [&] { return seen > (1 << 20); };
  hub_.set([](HubManners& m) { m.bytes_per_second = 4 << 20; });
  auto stopped = pull();
  ASSERT_TRUE(stopped.ok() && stopped->stopped);
  events_ = {};
  hub_.set([](HubManners& m) {
    m.bytes_per_second = 0;
    m.ranges = false;
  });
  expect_whole();
}

TEST_F(PullTest, StoppedAndGoneOn) {
  int64_t seen = 0;
  events_.progress = [&](const DownloadProgress& p) { seen = p.bytes; };
  events_.stop = [&] { return seen > (1 << 20); };
  hub_.set([](HubManners& m) { m.bytes_per_second = 2 << 20; });
  const auto stopped = pull();
  ASSERT_TRUE(stopped.ok()) << stopped.message();
  EXPECT_TRUE(stopped->stopped);
  EXPECT_EQ(state(), HubCache::Lookup::State::Absent);
  EXPECT_TRUE(fs::exists(PartialBlob::data_path_of(weights_blob())));
  EXPECT_FALSE(fs::exists(weights_blob()));
  events_ = {};
  hub_.forget_requests();
  hub_.set([](HubManners& m) { m.bytes_per_second = 0; });
  expect_whole();
  EXPECT_LT(hub_.content_sent(), (3 << 20) - (1 << 20) + 4096);  // what was here is not fetched again
}

TEST_F(PullTest, AWrongHashIsDeleted) {
  hub_.set([](HubManners& m) { m.corrupt = "model.safetensors"; });
  EXPECT_TRUE(has(failure(), "SHA-256"));
  EXPECT_FALSE(fs::exists(weights_blob()));
  EXPECT_FALSE(fs::exists(PartialBlob::data_path_of(weights_blob())));
  hub_.set([](HubManners& m) { m.corrupt = "config.json"; });
  fs::remove_all(settings_.cache);
  EXPECT_TRUE(has(failure(), "git blob id"));
  hub_.set([](HubManners& m) { m.corrupt = ""; });
  expect_whole();
}

// What an earlier run left is checked with the rest.
TEST_F(PullTest, ADamagedPartIsFound) {
  fs::create_directories(blobs_);
  {
    auto blob = PartialBlob::open(weights_blob(), 3 << 20);
    ASSERT_TRUE(blob.ok());
    const std::string wrong(1 << 20, 'w');
    ASSERT_TRUE((*blob)->write(0, wrong.data(), wrong.size()).ok());
    ASSERT_TRUE((*blob)->save().ok());
  }
  EXPECT_TRUE(has(failure(), "deleted"));
  expect_whole();
}

TEST_F(PullTest, SizesThatLie) {
  hub_.set([](HubManners& m) { m.announced_extra = 5; });
  EXPECT_TRUE(has(failure(), "announced"));
  hub_.set([](HubManners& m) { m.announced_extra = -5; });
  EXPECT_TRUE(has(failure(), "announced"));
  hub_.set([](HubManners& m) {
    m.announced_extra = 0;
    m.lies_about_range = true;
  });
  EXPECT_TRUE(has(failure(), "another range"));
}

TEST_F(PullTest, ABlobOfTheWrongSizeIsNotUsed) {
  fs::create_directories(blobs_);
  ASSERT_TRUE(write_file_atomic(weights_blob(), "half").ok());
  expect_whole();
}

// Older clients write here, and take its size for what has come.
TEST_F(PullTest, TheFileOfOtherClientsIsLeftAlone) {
  fs::create_directories(blobs_);
  const std::string theirs = weights_blob() + ".incomplete";
  ASSERT_TRUE(write_file_atomic(theirs, "theirs").ok());
  ASSERT_TRUE(pull().ok());
  EXPECT_EQ(*read_file(theirs), "theirs");
}

TEST_F(PullTest, HostileNames) {
  const std::string hash(64, 'a');
  const auto listing = [&](const std::string& name) {
    return nlohmann::json{{"sha", kCommit},
                          {"siblings", {{{"rfilename", name}, {"size", 4}, {"lfs", {{"sha256", hash}, {"size", 4}}}}}}}
        .dump();
  };
  for (const std::string name : {"../../../evil.gguf", "/tmp/evil.gguf", "a/../../../evil.gguf", "evil\n.gguf"}) {
    hub_.set([&](HubManners& m) { m.listing = listing(name); });
    EXPECT_TRUE(has(failure(), "not safe")) << name;
  }
  hub_.set([](HubManners& m) { m.listing = "<html>not a hub</html>"; });
  EXPECT_TRUE(has(failure(), "HF_ENDPOINT"));
  EXPECT_EQ(std::distance(fs::recursive_directory_iterator(dir_.path()), {}), 0);
}

TEST_F(PullTest, NoNetwork) {
  settings_.endpoint = "http://127.0.0.1:1";
  EXPECT_TRUE(has(failure(), "cannot connect to 127.0.0.1:1"));
  settings_.endpoint = "http://no-such-host.invalid";
  EXPECT_TRUE(has(failure(), "cannot find the host no-such-host.invalid"));
  settings_.endpoint = hub_.endpoint();
  settings_.endpoint.replace(0, 4, "https");  // no TLS is spoken there
  EXPECT_TRUE(has(failure(), "TLS"));
}

TEST_F(PullTest, AServerThatFallsAsleep) {
  limits_.stall_s = 1;
  limits_.retries = 1;
  hub_.set([](HubManners& m) { m.bytes_per_second = 50; });
  EXPECT_TRUE(has(failure(), "too slow"));
}

TEST_F(PullTest, Offline) {
  settings_.offline = true;
  EXPECT_TRUE(has(failure(), "HF_HUB_OFFLINE"));
  EXPECT_TRUE(hub_.requests().empty());
  settings_.offline = false;
  expect_whole();
  settings_.offline = true;
  hub_.forget_requests();
  expect_whole();
  EXPECT_TRUE(hub_.requests().empty());
}

// Two at once, by threads here and by processes elsewhere: the locks are the same.
TEST_F(PullTest, TwoPullsShareTheWork) {
  hub_.set([](HubManners& m) { m.bytes_per_second = 4 << 20; });
  Result<PullResult> other = error("not run");
  std::thread thread([&] { other = pull_model(*parse_model_id(kRepo), settings_, limits_, {}); });
  expect_whole();
  thread.join();
  ASSERT_TRUE(other.ok()) << other.message();
  EXPECT_LT(hub_.content_sent(), (3 << 20) + 8192);  // each byte once
}

TEST_F(PullTest, WaitsForWhoeverHoldsTheLock) {
  auto lock = FileLock::try_take(HubCache(settings_.cache).lock_path(kRepo, hub_.file("config.json").etag()));
  ASSERT_TRUE(lock.ok() && *lock);
  std::atomic<bool> stop{false};
  events_.stop = [&] { return stop.load(); };
  std::thread thread([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    lock->reset();
  });
  expect_whole();
  thread.join();
  EXPECT_TRUE(has(notices_, "another program is downloading config.json")) << notices_;
}

// A limit on the size of files stands for a disk that is full.
TEST_F(PullTest, AFullDiskKeepsWhatHasCome) {
  limits_.parallel_from = 1 << 30;  // one stream: of several, the one that meets the end first decides how much has come
  signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = (1 << 20) + 1000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const auto result = pull();
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(result.ok());
  EXPECT_TRUE(has(result.message(), "disk is full")) << result.message();
  EXPECT_EQ(state(), HubCache::Lookup::State::Absent);
  int64_t kept = 0;
  {
    const auto left = PartialBlob::open(weights_blob(), 3 << 20);
    ASSERT_TRUE(left.ok()) << left.message();
    kept = (*left)->have().total();
  }
  hub_.forget_requests();
  expect_whole();
  EXPECT_EQ(hub_.content_sent(), (3 << 20) - kept);
  EXPECT_LT(hub_.content_sent(), (3 << 20) - (512 << 10));
}

TEST_F(PullTest, NotEnoughRoomIsSaidBefore) {
  const std::string hash(64, 'a');
  const nlohmann::json huge = {
      {"sha", kCommit},
      {"siblings", {{{"rfilename", "x-Q8_0.gguf"}, {"size", 1}, {"lfs", {{"sha256", hash}, {"size", int64_t{1} << 49}}}}}}};
  hub_.set([&](HubManners& m) { m.listing = huge.dump(); });
  EXPECT_TRUE(has(failure(), "not enough room"));
  EXPECT_EQ(hub_.requests().size(), 1u);
}

}  // namespace
}  // namespace raison::testing
