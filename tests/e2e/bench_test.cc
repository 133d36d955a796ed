// raison bench: its rows, its JSON, its refusals, its end by Ctrl+C. Never how fast anything is.
#include <nlohmann/json.hpp>
#include <regex>

#include "e2e/cli_fixture.h"

namespace raison::testing {
namespace {

class BenchCommand : public Cli {};

const std::string kBenchModel = std::string(RAISON_SOURCE_DIR) + "/models/countdown-base";

TEST_F(BenchCommand, TableAndJsonHaveTheRows) {
  const RunResult r = raison(
      {"bench",         kBenchModel, "--prefill", "20", "--decode", "2",  "--depths", "0,30", "--batches", "1,3",
       "--repetitions", "2",         "--threads", "2",  "--ctx",    "64", "--cached", "40",   "--json",    path("speed.json")});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("\nfirst token behind 40 cached: "), std::string::npos) << r.out;
  EXPECT_EQ(r.err, "") << "no progress where no terminal is";
  for (const char* row : {"prefill 20", "decode at 0", "decode at 30", "decode 3 at once"})
    EXPECT_TRUE(std::regex_search(
        r.out, std::regex(std::string("\n") + row + R"( +[0-9.]+ +[0-9.]+ +[0-9.]+ % +[0-9.]+ of [0-9.]+ +[0-9.]+ of )")))
        << row << "\n"
        << r.out;
  for (const char* fact :
       {"countdown-base: llama", "weights F32", "cache f16", "context 64", "kernels ", "2 threads", "family "})
    EXPECT_NE(r.out.find(fact), std::string::npos) << fact << "\n" << r.out;
  const auto j = nlohmann::json::parse(slurp(path("speed.json")), nullptr, false);
  ASSERT_TRUE(j.is_object());
  for (const char* key : {"model", "architecture", "weight_types", "cache_type", "context", "cpu", "kernels", "threads"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_EQ(j["interrupted"], false);
  ASSERT_EQ(j["rows"].size(), 4u) << "one sequence at once is decoding at 0";
  EXPECT_EQ(j["rows"][0]["test"], "prefill");
  EXPECT_EQ(j["rows"][0]["tokens"], 20);
  EXPECT_EQ(j["rows"][2]["depth"], 30);
  EXPECT_EQ(j["rows"][3]["sequences"], 3);
  EXPECT_EQ(j["rows"][3]["tokens"], 6);
  EXPECT_EQ(j["first_token"]["prefix"], 40);
  for (const char* key : {"cached_seconds", "uncached_seconds"}) EXPECT_GT(j["first_token"][key].get<double>(), 0) << key;
  for (const auto& row : j["rows"]) {
    EXPECT_EQ(row["seconds"].size(), 2u);
    for (const char* key : {"tokens_per_second", "tokens_per_second_min", "tokens_per_second_max", "ms_per_step", "reached"})
      EXPECT_GT(row[key].get<double>(), 0) << key;
    EXPECT_GT(row["step"]["weight_bytes"].get<double>(), 1e6);
    EXPECT_EQ(row["step"]["int8_operations"], 0);
    EXPECT_EQ(row["step"]["estimated"], false);
    EXPECT_GT(row["peaks"]["read_bytes_per_second"].get<double>(), 0);
  }
}

TEST_F(BenchCommand, ExpertsOfABatchAreAnEstimate) {
  const RunResult r = raison({"bench", golden_model("qwen3_moe"), "--prefill", "0", "--decode", "1", "--depths", "0",
                              "--batches", "2", "--repetitions", "1", "--ctx", "16", "--json", path("speed.json")});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find(" active"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("\n~: "), std::string::npos) << r.out;
  const auto j = nlohmann::json::parse(slurp(path("speed.json")), nullptr, false);
  ASSERT_EQ(j["rows"].size(), 2u);
  EXPECT_EQ(j["rows"][0]["step"]["estimated"], false);
  EXPECT_EQ(j["rows"][1]["step"]["estimated"], true);
}

TEST_F(BenchCommand, RefusalsAreOneLine) {
  struct Refusal {
    std::vector<std::string> options;
    int code;
    const char* names;
  };
  for (const Refusal& c : std::vector<Refusal>{{{"--batches", "0"}, 2, "--batches"},
                                               {{"--depths", "1,x"}, 2, "--depths"},
                                               {{"--repetitions", "0"}, 2, "--repetitions"},
                                               {{"--cache-type", "q8"}, 2, "--cache-type"},
                                               {{"--ctx", "100000"}, 1, "256"},
                                               {{"--depths", "300"}, 1, "256"},
                                               {{"--prefill", "300"}, 1, "256"},
                                               {{"--ctx", "32", "--decode", "30"}, 1, "--decode"},
                                               {{"--json", folder_ + "/none/speed.json"}, 1, "speed.json"}}) {
    std::vector<std::string> args = {"bench", kBenchModel};
    if (c.options[0] == "--ctx" && c.code == 1 && c.options.size() > 2) args.insert(args.end(), {"--prefill", "0"});
    args.insert(args.end(), c.options.begin(), c.options.end());
    const RunResult r = raison(args);
    EXPECT_EQ(r.code, c.code) << c.options[0] << " " << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_EQ(line_count(r.err), 1) << r.err;
    EXPECT_NE(r.err.find(c.names), std::string::npos) << r.err;
  }
}

TEST_F(BenchCommand, InterruptKeepsWhatIsDone) {
  Terminal t({RAISON_BINARY, "bench", kBenchModel, "--prefill", "10", "--decode", "20", "--repetitions", "1", "--depths", "0",
              "--batches", "1000,999,998,997,996,995,994,993", "--threads", "1", "--json", path("speed.json")});
  ASSERT_TRUE(t.wait_for("prefill 10 ")) << t.seen();
  t.signal(SIGINT);
  EXPECT_EQ(t.wait_for_end(), 130) << t.seen();
  EXPECT_NE(t.seen().find("interrupted"), std::string::npos) << t.seen();
  const auto j = nlohmann::json::parse(slurp(path("speed.json")), nullptr, false);
  ASSERT_TRUE(j.is_object()) << t.seen();
  EXPECT_EQ(j["interrupted"], true);
  EXPECT_GE(j["rows"].size(), 1u);
  EXPECT_LT(j["rows"].size(), 10u);
}

}  // namespace
}  // namespace raison::testing
