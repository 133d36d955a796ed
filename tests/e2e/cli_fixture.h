// What the end-to-end tests share: the program, the shared models, a folder of their own.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "testing/process.h"
#include "testing/shared_data.h"

namespace raison::testing {

inline RunResult raison(std::vector<std::string> args, const RunSettings& settings = {}) {
  args.insert(args.begin(), RAISON_BINARY);
  return run_program(args, settings);
}

inline std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void spill(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

inline int64_t line_count(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

// metrics.jsonl without what a clock wrote, or how much memory was held.
inline std::string timeless(const std::string& path) {
  std::string out;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    auto j = nlohmann::ordered_json::parse(line, nullptr, false);
    for (auto it = j.begin(); j.is_object() && it != j.end();)
      it = it.key().find("second") != std::string::npos || it.key() == "memory_bytes" ? j.erase(it) : std::next(it);
    out += j.dump() + "\n";
  }
  return out;
}

inline std::string stories() { return shared_dir() + "/refdata/weights/stories260K/stories260K.gguf"; }
inline std::string golden_model(const std::string& name) { return shared_dir() + "/goldens/" + name; }

class Cli : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(stories())) GTEST_SKIP() << missing(stories());
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = (std::filesystem::temp_directory_path() /
               (std::string("raison_") + info->test_suite_name() + "_" + info->name() + "_" + std::to_string(getpid())))
                  .string();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string folder_;
};

// `raison run` on terminals that understand ANSI codes.
class OnTerminal : public Cli {
 protected:
  RunSettings settings(const char* isa = nullptr) const {
    RunSettings s;
    s.env = {{"TERM", "xterm"}, {"NO_COLOR", ""}, {"LC_ALL", "C.UTF-8"}};
    if (isa) s.env.emplace_back("RAISON_ISA", isa);
    return s;
  }
  // Replies that last, for what is to happen in their middle.
  RunSettings slow_settings() const { return settings("ref"); }
  std::vector<std::string> chat(std::vector<std::string> more) const {
    more.insert(more.begin(), {RAISON_BINARY, "run"});
    return more;
  }
  static bool has(const std::string& text, const std::string& what) { return text.find(what) != std::string::npos; }
};

}  // namespace raison::testing
