// The cache's layout, what counts as whole in it, what is listed and removed.
#include "hub/cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "base/file.h"
#include "hub/digest.h"
#include "hub/file_lock.h"
#include "hub/inventory.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

constexpr const char* kFirst = "1111111111111111111111111111111111111111";
constexpr const char* kSecond = "2222222222222222222222222222222222222222";

class CacheTest : public ::testing::Test {
 protected:
  // Puts a file into the cache as any client would.
  void put(const std::string& commit, const std::string& path, const std::string& bytes, const std::string& repo = "org/name") {
    RepoFile file;
    file.path = path;
    file.git_id = git_blob_id(bytes);
    file.size = static_cast<int64_t>(bytes.size());
    fs::create_directories(cache_.repo_folder(repo) + "/blobs");
    ASSERT_TRUE(write_file_atomic(cache_.blob_path(repo, file.git_id), bytes).ok());
    const Status linked = cache_.link(repo, commit, file);
    ASSERT_TRUE(linked.ok()) << linked.message();
  }
  void put_folder(const std::string& commit, const std::string& weights) {
    put(commit, "config.json", "{}");
    put(commit, "tokenizer.json", "{\"t\":1}");
    put(commit, "model.safetensors", weights);
  }
  void ref(const std::string& revision, const std::string& commit) {
    ASSERT_TRUE(cache_.write_ref("org/name", revision, commit).ok());
  }
  HubCache::Lookup find(const std::string& id) { return cache_.find(*parse_model_id(id)); }
  std::string refusal(const std::string& id) {
    const auto plan = plan_removal(cache_, *parse_model_id(id));
    return plan.ok() ? "" : plan.message();
  }
  int64_t remove(const std::string& id) {
    const auto plan = plan_removal(cache_, *parse_model_id(id));
    EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.message());
    if (!plan.ok()) return -1;
    const Status done = carry_out(cache_, *plan);
    EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.message());
    return plan->bytes;
  }
  using State = HubCache::Lookup::State;
  TempDir dir_;
  HubCache cache_{dir_ / "hub"};
  std::string repo_ = cache_.repo_folder("org/name");
};

TEST_F(CacheTest, LayoutIsTheClients) {
  put(kFirst, "Q4/sub/x.gguf", "GGUF");
  ref("refs/pr/7", kFirst);
  EXPECT_EQ(repo_, dir_ / "hub/models--org--name");
  EXPECT_EQ(fs::read_symlink(repo_ + "/snapshots/" + kFirst + "/Q4/sub/x.gguf"), "../../../../blobs/" + git_blob_id("GGUF"));
  EXPECT_EQ(*read_file(repo_ + "/snapshots/" + kFirst + "/Q4/sub/x.gguf"), "GGUF");
  EXPECT_EQ(*read_file(repo_ + "/refs/refs/pr/7"), kFirst);  // without a newline
  EXPECT_EQ(cache_.lock_path("org/name", "e"), dir_ / "hub/.locks/models--org--name/e.lock");
  put(kFirst, "config.json", "{}");
  EXPECT_EQ(fs::read_symlink(repo_ + "/snapshots/" + kFirst + "/config.json"), "../../blobs/" + git_blob_id("{}"));
  put(kFirst, "config.json", "{\"new\": 1}");  // a link is replaced
  EXPECT_EQ(*read_file(repo_ + "/snapshots/" + kFirst + "/config.json"), "{\"new\": 1}");
}

TEST_F(CacheTest, WholeMeansEveryWeight) {
  EXPECT_EQ(find("org/name").state, State::Absent);
  put(kFirst, "config.json", "{}");
  EXPECT_EQ(find("org/name").state, State::Absent);  // no ref
  EXPECT_EQ(find(std::string("org/name@") + kFirst).state, State::Partial);
  ref("main", kFirst);
  EXPECT_EQ(find("org/name").state, State::Partial);
  put(kFirst, "model.safetensors", "W");
  EXPECT_EQ(find("org/name").state, State::Whole);
  EXPECT_FALSE(find("org/name").tokenizer);
  put(kFirst, "tokenizer.json", "{}");
  const auto found = find("org/name");
  EXPECT_TRUE(found.tokenizer);
  EXPECT_EQ(found.path, repo_ + "/snapshots/" + kFirst);
  fs::remove(cache_.blob_path("org/name", git_blob_id("W")));  // a link that leads nowhere is no file
  EXPECT_EQ(find("org/name").state, State::Partial);
}

TEST_F(CacheTest, ShardsAndSplitsMustAllBeThere) {
  ref("main", kFirst);
  put(kFirst, "config.json", "{}");
  put(kFirst, "model.safetensors.index.json", R"({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}})");
  put(kFirst, "m-1.safetensors", "1");
  EXPECT_EQ(find("org/name").state, State::Partial);
  EXPECT_NE(find("org/name").why.find("m-2.safetensors"), std::string::npos) << find("org/name").why;
  put(kFirst, "m-2.safetensors", "2");
  EXPECT_EQ(find("org/name").state, State::Whole);
  put(kFirst, "M-Q8_0-00002-of-00002.gguf", "b");
  EXPECT_EQ(find("org/name:Q8_0").state, State::Partial);
  EXPECT_EQ(find("org/name").state, State::Whole);
  put(kFirst, "M-Q8_0-00001-of-00002.gguf", "a");
  EXPECT_EQ(find("org/name:q8_0").path, repo_ + "/snapshots/" + kFirst + "/M-Q8_0-00001-of-00002.gguf");
  EXPECT_EQ(find("org/name:Q4_K_M").state, State::Partial);
}

TEST_F(CacheTest, PlainFilesInSnapshotsCount) {
  const std::string folder = repo_ + "/snapshots/" + kFirst;
  fs::create_directories(folder);
  ASSERT_TRUE(write_file_atomic(folder + "/x-Q8_0.gguf", "GGUF").ok());
  ref("main", kFirst);
  EXPECT_EQ(find("org/name").path, folder + "/x-Q8_0.gguf");
  RepoFile file;
  file.path = "x-Q8_0.gguf";
  file.sha256 = sha256_hex("GGUF");
  file.size = 4;
  EXPECT_TRUE(cache_.has("org/name", kFirst, file));
  EXPECT_TRUE(cache_.link("org/name", kFirst, file).ok());
  EXPECT_EQ(*read_file(folder + "/x-Q8_0.gguf"), "GGUF");
  file.size = 5;
  EXPECT_FALSE(cache_.has("org/name", kFirst, file));
  EXPECT_FALSE(cache_.link("org/name", kFirst, file).ok());
}

// Two pulls of one program may come to the same file at once.
TEST_F(CacheTest, ManyLinkTheSameFileAtOnce) {
  put(kFirst, "config.json", "{}");
  RepoFile file;
  file.path = "sub/config.json";
  file.git_id = git_blob_id("{}");
  file.size = 2;
  for (int round = 0; round < 50; ++round) {
    fs::remove_all(repo_ + "/snapshots/" + kFirst + "/sub");
    std::vector<std::thread> threads;
    std::vector<std::string> faults(4);
    for (size_t t = 0; t < faults.size(); ++t)
      threads.emplace_back([&, t] {
        const Status linked = cache_.link("org/name", kFirst, file);
        if (!linked.ok()) faults[t] = linked.message();
      });
    for (std::thread& t : threads) t.join();
    for (const std::string& fault : faults) ASSERT_EQ(fault, "") << round;
    ASSERT_EQ(*read_file(repo_ + "/snapshots/" + kFirst + "/sub/config.json"), "{}");
  }
}

TEST_F(CacheTest, RefsThatAreNoCommitAreNone) {
  put_folder(kFirst, "W");
  for (const char* text : {"", "../../etc", "main", "1111"}) {
    fs::create_directories(repo_ + "/refs");
    ASSERT_TRUE(write_file_atomic(repo_ + "/refs/main", text).ok());
    EXPECT_EQ(find("org/name").state, State::Absent) << text;
  }
}

TEST_F(CacheTest, ListCountsSharedBlobsOnce) {
  EXPECT_TRUE(list_cache(cache_).empty());
  put_folder(kFirst, std::string(1000, 'a'));
  put_folder(kSecond, std::string(3000, 'b'));  // configs are shared
  ref("main", kSecond);
  ref("v1", kFirst);
  put(kFirst, "copy.json", "{}", "org/half");
  fs::create_directories(dir_ / "hub/datasets--org--name");
  fs::create_directories(dir_ / "hub/models--strange");
  dir_.write("hub/models--org--name/blobs/" + std::string(64, 'f') + ".raison.incomplete", std::string(500, 'x'));
  const auto repos = list_cache(cache_);
  ASSERT_EQ(repos.size(), 2u);
  EXPECT_EQ(repos[0].repo, "org/half");
  ASSERT_EQ(repos[0].revisions.size(), 1u);
  EXPECT_FALSE(repos[0].revisions[0].whole);
  const CachedRepo& r = repos[1];
  ASSERT_EQ(r.revisions.size(), 2u);
  const int64_t small = 2 + 7;
  EXPECT_EQ(r.revisions[0].bytes, small + 1000);
  EXPECT_EQ(r.revisions[0].refs, std::vector<std::string>{"v1"});
  EXPECT_EQ(r.revisions[1].bytes, small + 3000);
  EXPECT_EQ(r.revisions[1].weights, std::vector<std::string>{"safetensors"});
  EXPECT_TRUE(r.revisions[1].whole);
  EXPECT_EQ(r.partial_bytes, 500);
  EXPECT_EQ(r.bytes, small + 1000 + 3000 + 500);
}

TEST_F(CacheTest, RemovingARevisionKeepsWhatOthersNeed) {
  put_folder(kFirst, std::string(1000, 'a'));
  put_folder(kSecond, std::string(3000, 'b'));
  ref("main", kSecond);
  ref("v1", kFirst);
  EXPECT_EQ(remove("org/name@v1"), 1000);
  EXPECT_EQ(find("org/name").state, State::Whole);
  EXPECT_EQ(*read_file(find("org/name").path + "/config.json"), "{}");
  EXPECT_FALSE(fs::exists(repo_ + "/snapshots/" + kFirst));
  EXPECT_FALSE(fs::exists(repo_ + "/refs/v1"));
  EXPECT_NE(refusal("org/name@v1"), "");
  // The last revision takes the folder with it.
  EXPECT_EQ(remove("org/name@main"), 3000 + 2 + 7);
  EXPECT_FALSE(fs::exists(repo_));
}

TEST_F(CacheTest, RemovingAQuantKeepsTheOthers) {
  ref("main", kFirst);
  put(kFirst, "M-Q4_K_M.gguf", std::string(40, 'a'));
  put(kFirst, "M-Q8_0-00001-of-00002.gguf", std::string(80, 'b'));
  put(kFirst, "M-Q8_0-00002-of-00002.gguf", std::string(90, 'c'));
  EXPECT_EQ(remove("org/name:Q8_0"), 170);
  EXPECT_EQ(find("org/name:Q4_K_M").state, State::Whole);
  EXPECT_EQ(find("org/name:Q8_0").state, State::Partial);
  EXPECT_NE(refusal("org/name:Q8_0"), "");
}

TEST_F(CacheTest, RemovingAll) {
  put_folder(kFirst, std::string(1000, 'a'));
  put_folder(kSecond, std::string(3000, 'b'));
  put(kFirst, "config.json", "{}", "org/other");
  EXPECT_EQ(remove("org/name"), 4009);
  EXPECT_FALSE(fs::exists(repo_));
  EXPECT_TRUE(fs::exists(cache_.repo_folder("org/other")));
  EXPECT_NE(refusal("org/name"), "");
}

TEST_F(CacheTest, NothingElseIsRemoved) {
  fs::create_directories(repo_);
  EXPECT_NE(refusal("org/name"), "");  // not laid out as a model
  put_folder(kFirst, "W");
  EXPECT_EQ(refusal("org/name"), "");
  const std::string stranger = dir_.write("hub/models--org--name/thesis.txt", "mine");
  EXPECT_NE(refusal("org/name").find("thesis.txt"), std::string::npos);
  fs::remove(stranger);
  // A link in the place of the folder, or of one of its parts.
  const std::string precious = dir_ / "precious";
  fs::create_directories(precious + "/blobs");
  fs::create_directory_symlink(precious, cache_.repo_folder("org/link"));
  EXPECT_NE(refusal("org/link"), "");
  fs::create_directory_symlink(precious, repo_ + "/trees");
  EXPECT_NE(refusal("org/name"), "");
  fs::remove(repo_ + "/trees");
  // A snapshot's link that leads out of the repository takes nothing with it.
  const std::string outside = dir_.write("outside.bin", "keep me");
  fs::create_symlink(outside, repo_ + "/snapshots/" + kFirst + "/out.bin");
  put_folder(kSecond, "V");
  remove(std::string("org/name@") + kFirst);
  remove("org/name");
  EXPECT_EQ(*read_file(outside), "keep me");
  EXPECT_TRUE(fs::exists(precious + "/blobs"));
}

TEST_F(CacheTest, NotWhileADownloadRuns) {
  put_folder(kFirst, "W");
  auto lock = FileLock::try_take(cache_.lock_path("org/name", git_blob_id("W")));
  ASSERT_TRUE(lock.ok() && *lock);
  const auto plan = plan_removal(cache_, *parse_model_id("org/name"));
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(carry_out(cache_, *plan).ok());
  EXPECT_TRUE(fs::exists(cache_.blob_path("org/name", git_blob_id("W"))));
  lock->reset();
  EXPECT_TRUE(carry_out(cache_, *plan).ok());
  EXPECT_FALSE(fs::exists(repo_));
  EXPECT_FALSE(fs::exists(fs::path(cache_.lock_path("org/name", "x")).parent_path()));
}

}  // namespace
}  // namespace raison::testing
