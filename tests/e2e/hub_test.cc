// raison pull, list, rm, and IDs in the place of paths, against a hub on loopback.
#include <nlohmann/json.hpp>

#include "e2e/cli_fixture.h"
#include "hub/loopback_hub.h"
#include "hub/partial_blob.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {
namespace fs = std::filesystem;

class HubCommands : public ::testing::Test {
 protected:
  HubCommands() {
    settings_.env = {{"HF_HOME", dir_ / "hf"}, {"HF_ENDPOINT", hub_.endpoint()}, {"no_proxy", "127.0.0.1"}, {"TERM", "xterm"}};
    for (const char* name : {"HF_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"})
      settings_.env.emplace_back(name, "");
  }
  void serve_bundled() {
    for (const auto& entry : fs::directory_iterator(bundled_)) {
      const std::string name = entry.path().filename();
      hub_.add(name, slurp(entry.path()), name == "model.safetensors");
    }
  }
  RunResult command(const std::vector<std::string>& args) { return raison(args, settings_); }
  std::string repo_folder() const { return dir_ / "hf/hub/models--someone--tiny"; }
  std::vector<std::string> program(std::vector<std::string> args) {
    args.insert(args.begin(), RAISON_BINARY);
    return args;
  }
  // Until a pull has saved some of the file's ranges.
  bool wait_for_ranges(const std::string& etag) {
    const std::string log = PartialBlob::log_path_of(repo_folder() + "/blobs/" + etag);
    for (int i = 0; i < 1000; ++i) {
      if (line_count(slurp(log)) > 1) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  const std::string bundled_ = std::string(RAISON_SOURCE_DIR) + "/models/countdown-base";
  TempDir dir_;
  LoopbackHub hub_;
  RunSettings settings_;
};

TEST_F(HubCommands, RunBringsTheModelAndOthersFindIt) {
  serve_bundled();
  const std::string id = kRepo;
  RunResult r = command({"inspect", id});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("raison pull someone/tiny"), std::string::npos) << r.err;
  EXPECT_TRUE(hub_.requests().empty());  // only run and pull go out
  const std::vector<std::string> question = {"-p", "2 4 8 -> 24", "--temp", "0", "--max-tokens", "12"};
  const auto ask = [&](const std::string& model) {
    std::vector<std::string> args = {"run", model};
    args.insert(args.end(), question.begin(), question.end());
    return command(args);
  };
  const RunResult here = ask(bundled_), pulled = ask(id);
  ASSERT_EQ(pulled.code, 0) << pulled.err;
  EXPECT_EQ(pulled.out, here.out);
  EXPECT_NE(pulled.err.find("model.safetensors  2.03 MB"), std::string::npos) << pulled.err;
  hub_.forget_requests();
  EXPECT_EQ(ask(id).out, here.out);
  EXPECT_TRUE(hub_.requests().empty());
  r = command({"inspect", id, "--json"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(nlohmann::json::parse(r.out)["supported"].get<bool>());
  EXPECT_EQ(command({"tokenize", id, "2 4", "--ids"}).out, command({"tokenize", bundled_, "2 4", "--ids"}).out);
  EXPECT_EQ(command({"logits", id, "--tokens", "1,2"}).out, command({"logits", bundled_, "--tokens", "1,2"}).out);
  EXPECT_TRUE(hub_.requests().empty());
}

TEST_F(HubCommands, ATrainingMayBeginFromAnId) {
  serve_bundled();
  const std::string recipe = dir_.write("r.toml", R"(kind = "pretrain"
seed = 5
steps = 1
out = "unused"
[model]
path = "someone/tiny"
[data]
task = "countdown"
[batch]
tokens = 256
[optimizer]
lr = 1e-3
)");
  const std::vector<std::string> args = {"train", "pretrain", recipe, "--out", dir_ / "run"};
  const RunResult before = command(args);
  EXPECT_EQ(before.code, 1);
  EXPECT_NE(before.err.find("raison pull someone/tiny"), std::string::npos) << before.err;
  ASSERT_EQ(command({"pull", kRepo}).code, 0);
  const RunResult after = command(args);
  EXPECT_EQ(after.code, 0) << after.err;
  EXPECT_TRUE(fs::exists(dir_ / "run/model/model.safetensors"));
}

TEST_F(HubCommands, PullPrintsThePathListShowsRmFrees) {
  serve_bundled();
  hub_.add("M-Q4_K_M.gguf", noise(70000, 3), true);
  RunResult r = command({"list"});
  EXPECT_EQ(r.code, 0);
  EXPECT_NE(r.err.find("no models in"), std::string::npos) << r.err;
  r = command({"pull", kRepo});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, repo_folder() + "/snapshots/" + kCommit + "\n");
  EXPECT_EQ(r.err.find('\r'), std::string::npos) << r.err;  // no bar where there is no terminal
  r = command({"pull", std::string(kRepo) + ":Q4_K_M"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, repo_folder() + "/snapshots/" + kCommit + "/M-Q4_K_M.gguf\n");
  r = command({"list"});
  EXPECT_NE(r.out.find("someone/tiny  main"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("safetensors, Q4_K_M"), std::string::npos) << r.out;
  r = command({"list", "--json"});
  const auto j = nlohmann::json::parse(r.out, nullptr, false);
  ASSERT_EQ(j["models"].size(), 1u) << r.out;
  const auto& revision = j["models"][0]["revisions"][0];
  EXPECT_EQ(revision["commit"], kCommit);
  EXPECT_TRUE(revision["complete"].get<bool>());
  int64_t bytes = 0;
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                           "chat_template.jinja", "model.safetensors", "M-Q4_K_M.gguf"})
    bytes += static_cast<int64_t>(hub_.file(name).bytes.size());
  EXPECT_EQ(revision["bytes"], bytes);
  EXPECT_EQ(j["models"][0]["bytes"], bytes);

  r = command({"rm", kRepo});
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("--yes"), std::string::npos) << r.err;
  r = command({"rm", std::string(kRepo) + ":q4_k_m", "--yes"});
  EXPECT_EQ(r.out, "removed someone/tiny:q4_k_m: 70 kB freed\n") << r.err;
  for (const char* answer : {"n\r", "\r", "y\r"}) {
    EXPECT_TRUE(fs::exists(repo_folder()));
    Terminal t(program({"rm", kRepo}), settings_);
    ASSERT_TRUE(t.wait_for("[y/N]")) << t.seen();
    t.type(answer);
    EXPECT_EQ(t.wait_for_end(), *answer == 'y' ? 0 : 1) << t.seen();
  }
  EXPECT_FALSE(fs::exists(repo_folder()));
  EXPECT_EQ(command({"rm", kRepo, "--yes"}).code, 1);
}

TEST_F(HubCommands, APathThatExistsWins) {
  serve_bundled();
  fs::create_directories(dir_ / "someone");
  fs::copy(bundled_, dir_ / "someone/tiny");
  const fs::path before = fs::current_path();
  fs::current_path(dir_.path());
  const RunResult r = command({"run", kRepo, "-p", "2 4 8 -> 24", "--temp", "0", "--max-tokens", "3"});
  fs::current_path(before);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(hub_.requests().empty());
}

TEST_F(HubCommands, WhatGoesWrongIsOneLine) {
  const auto one_line = [&](const std::vector<std::string>& args, const std::string& word) {
    const RunResult r = command(args);
    EXPECT_EQ(r.code, 1) << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_EQ(line_count(r.err), 1) << r.err;
    EXPECT_EQ(r.err.rfind("raison: error: ", 0), 0u) << r.err;
    EXPECT_NE(r.err.find(word), std::string::npos) << r.err;
  };
  one_line({"pull", "tiny"}, "ORG/NAME");
  one_line({"pull", "../etc/passwd"}, "ORG/NAME");
  one_line({"pull", kRepo}, "neither safetensors");
  one_line({"pull", "someone/else"}, "check the spelling");
  one_line({"run", "someone/else", "-p", "x"}, "check the spelling");
  one_line({"rm", "someone/else", "--yes"}, "not in the cache");
  hub_.set([](HubManners& m) {
    m.token = "t";
    m.refuse_code = "GatedRepo";
  });
  one_line({"pull", kRepo}, "accept its licence at " + hub_.endpoint());
  settings_.env.emplace_back("HF_HUB_OFFLINE", "1");
  one_line({"pull", kRepo}, "HF_HUB_OFFLINE");
}

TEST_F(HubCommands, KilledInTheMiddleGoesOn) {
  hub_.add("M-Q8_0.gguf", noise(size_t{66} << 20, 9), true);
  hub_.set([](HubManners& m) { m.bytes_per_second = 4 << 20; });
  const std::string etag = hub_.file("M-Q8_0.gguf").etag();
  {
    Terminal t(program({"pull", kRepo}), settings_);
    ASSERT_TRUE(t.wait_for(" MB of 69.2 MB")) << t.seen();  // the bar
    ASSERT_TRUE(wait_for_ranges(etag));
    t.signal(SIGKILL);
    EXPECT_EQ(t.wait_for_end(), 128 + SIGKILL);
  }
  EXPECT_FALSE(fs::exists(repo_folder() + "/blobs/" + etag));
  RunResult r = command({"inspect", kRepo});
  EXPECT_EQ(r.code, 1);
  r = command({"list"});
  EXPECT_NE(r.out.find("partial"), std::string::npos) << r.out;
  {
    Terminal t(program({"pull", kRepo}), settings_);
    ASSERT_TRUE(t.wait_for("left")) << t.seen();
    t.type("\x03");
    EXPECT_EQ(t.wait_for_end(), 130) << t.seen();
    EXPECT_NE(t.seen().find("the same command goes on from there"), std::string::npos) << t.seen();
  }
  hub_.forget_requests();
  hub_.set([](HubManners& m) { m.bytes_per_second = 0; });
  r = command({"pull", kRepo});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(slurp(r.out.substr(0, r.out.size() - 1)) == hub_.file("M-Q8_0.gguf").bytes);
  EXPECT_LT(hub_.content_sent(), int64_t{66} << 20);
  EXPECT_GT(hub_.content_sent(), 0);
}

}  // namespace
}  // namespace raison::testing
