// Runs of reinforcement learning: stopped and resumed anywhere they give the same bits; what they keep; what they refuse.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>

#include "testing/training.h"
#include "train/checkpoint.h"
#include "train/event_file.h"
#include "train/step_in_flight.h"
#include "train/trainer.h"

namespace raison {
namespace {
namespace fs = std::filesystem;
using testing::TempDir;
using testing::weights_of;

// A few steps from the bundled base; `extra` goes below the sections.
std::string policy_text(const std::string& out, int64_t steps, const std::string& policy = "", const std::string& extra = "") {
  return "kind = \"grpo\"\nseed = 5\nsteps = " + std::to_string(steps) + "\nout = \"" + out + "\"\n[model]\npath = \"" +
         RAISON_SOURCE_DIR + "/models/countdown-base\"\n[data]\ntask = \"countdown\"\n[rollout]\nprompts = 4\ngroup = 4\n" +
         "max_length = 120\n[policy]\n" + policy + "\n[optimizer]\nlr = 5e-4\n[batch]\ntokens = 512\n" + extra;
}

Recipe policy_recipe_of(const std::string& text) {
  auto r = parse_recipe(text, "policy.toml");
  EXPECT_TRUE(r.ok()) << (r.ok() ? "" : r.message());
  return r.ok() ? *r : Recipe{};
}

std::unique_ptr<TrainSession> open_session(const Recipe& recipe, Exec& exec, TrainSinks sinks = {}) {
  auto k = select_kernels_from_environment();
  EXPECT_TRUE(k.ok());
  auto s = TrainSession::create(recipe, exec, **k, std::move(sinks));
  EXPECT_TRUE(s.ok()) << (s.ok() ? "" : s.message());
  return s.ok() ? std::move(s).value() : nullptr;
}

std::string refusal_of(const std::string& text) {
  auto r = parse_recipe(text, "policy.toml");
  if (!r.ok()) return r.message();
  ThreadPool pool(1);
  auto k = select_kernels_from_environment();
  auto s = TrainSession::create(*r, pool, **k, {});
  EXPECT_FALSE(s.ok());
  return s.ok() ? "" : s.message();
}

// metrics.jsonl without what a clock or the allocator wrote.
std::vector<nlohmann::json> timeless_lines(const std::string& out) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(testing::file_bytes(out + "/metrics.jsonl"));
  for (std::string line; std::getline(in, line);) {
    auto j = nlohmann::json::parse(line);
    for (auto it = j.begin(); it != j.end();)
      it = it.key().find("second") != std::string::npos || it.key() == "memory_bytes" ? j.erase(it) : std::next(it);
    lines.push_back(std::move(j));
  }
  return lines;
}

// Every row of samples.db as one text.
std::string sample_rows(const std::string& out) {
  sqlite3* db = nullptr;
  std::string all;
  EXPECT_EQ(sqlite3_open((out + "/samples.db").c_str(), &db), SQLITE_OK);
  const auto add = [](void* to, int n, char** values, char**) {
    for (int i = 0; i < n; ++i) *static_cast<std::string*>(to) += std::string(values[i] ? values[i] : "-") + "|";
    *static_cast<std::string*>(to) += "\n";
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(db, "SELECT * FROM rollouts ORDER BY step, prompt, sample", add, &all, nullptr), SQLITE_OK);
  sqlite3_close(db);
  return all;
}

struct Outcome {
  std::vector<float> weights;
  std::vector<nlohmann::json> metrics;
  std::string samples;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(TrainSession& s) {
  return {weights_of(s.model()), timeless_lines(s.recipe().out), sample_rows(s.recipe().out)};
}

Outcome uninterrupted(const std::string& text, int threads = 2) {
  ThreadPool pool(threads);
  const Recipe recipe = policy_recipe_of(text);
  auto s = open_session(recipe, pool);
  if (!s) return {};
  const auto end = s->run();
  EXPECT_TRUE(end.ok()) << (end.ok() ? "" : end.message());
  return outcome_of(*s);
}

TEST(PolicySession, EveryStepComparesEveryLogprob) {
  TempDir dir;
  const Outcome run = uninterrupted(policy_text(dir / "run", 3));
  ASSERT_EQ(run.metrics.size(), 3u);
  for (const auto& m : run.metrics) {
    EXPECT_EQ(m["delta_logprob"], 0);
    EXPECT_GT(m["compared_logprobs"], 0);
    EXPECT_EQ(m["ratio"], 1);
    EXPECT_EQ(m["rollout_tokens"], m["tokens"]);
    for (const char* key : {"reward", "reward_std", "silent_groups", "length", "truncated", "entropy", "kl", "grad_norm"})
      EXPECT_TRUE(m[key].is_number()) << key;
    EXPECT_TRUE(m["rewards"].contains("task"));
  }
  EXPECT_EQ(std::count(run.samples.begin(), run.samples.end(), '\n'), 3 * 2 * 4) << "two groups of four a step";
  EXPECT_TRUE(fs::exists(dir / "run/model/model.safetensors"));
}

TEST(PolicySession, TheSameBitsForAnyNumberOfThreadsAndSequencesTogether) {
  TempDir dir;
  const std::string extra = "reference_every = 1\nbeta = 0.1\nepochs = 2\nupdates = 2\n";
  const Outcome one = uninterrupted(policy_text(dir / "one", 2, extra), 1);
  const Outcome two = uninterrupted(policy_text(dir / "two", 2, extra) + "[validation]\nevery = 100\n", 2);
  EXPECT_EQ(one.weights, two.weights);
  auto text = policy_text(dir / "few", 2, extra);
  text.replace(text.find("[rollout]\n"), 10, "[rollout]\ntogether = 3\n");
  const Outcome few = uninterrupted(text, 2);
  EXPECT_EQ(one.weights, few.weights);
  EXPECT_EQ(one.samples, few.samples);
}

// Stopped every few rollouts, in a new session each time.
void expect_stops_change_nothing(const std::string& policy, int64_t steps) {
  TempDir dir;
  const Outcome whole = uninterrupted(policy_text(dir / "whole", steps, policy));
  const Recipe recipe = policy_recipe_of(policy_text(dir / "parts", steps, policy));
  int stops = 0, in_flight = 0;
  for (; stops < 200; ++stops) {
    ThreadPool pool(1 + stops % 2);
    auto s = open_session(recipe, pool);
    ASSERT_TRUE(s);
    int polls = 0;
    const int most = stops % 3 == 2 ? 150 : 45;  // now and then as many as the longest rollout has tokens
    const auto end = s->run([&] { return ++polls > most; });
    ASSERT_TRUE(end.ok()) << end.message();
    for (const auto& file : fs::recursive_directory_iterator(recipe.checkpoint_dir))
      in_flight += file.path().filename() == "rollouts.cbor" ? 1 : 0;
    if (*end == RunEnd::Stopped) continue;
    EXPECT_EQ(outcome_of(*s), whole);
    break;
  }
  EXPECT_GT(stops, 2);
  EXPECT_GT(in_flight, 0) << "none of the stops was in the middle of rollouts";
  EXPECT_LT(stops, 200);
}

TEST(PolicySession, StoppedInTheMiddleOfRolloutsEqualsUninterrupted) { expect_stops_change_nothing("beta = 0.0", 3); }
TEST(PolicySession, StoppedWithReferenceAndSeveralUpdatesToo) {
  expect_stops_change_nothing("beta = 0.05\nreference_every = 2\nepochs = 2\nupdates = 2", 4);
}
TEST(PolicySession, StoppedWithDynamicSamplingToo) { expect_stops_change_nothing("loss = \"dapo\"\nmost_draws = 3", 2); }

// What is trained, checkpointed and referred to is the adapter alone.
TEST(PolicySession, StoppedWithAnAdapterOnAQuantisedBaseToo) {
  TempDir dir;
  const auto text = [&](const std::string& out) {
    auto t = policy_text(dir / out, 3, "beta = 0.02\nreference_every = 2", "[lora]\nr = 4\n");
    t.replace(t.find("[data]"), 6, "weights = \"q8_0\"\n[data]");
    return t;
  };
  ThreadPool pool(2);
  const auto adapter_of = [&](const std::string& out) {
    return testing::file_bytes(dir / (out + "/adapter/adapter_model.safetensors"));
  };
  const Outcome whole = uninterrupted(text("whole"));
  ASSERT_EQ(whole.metrics.size(), 3u);
  EXPECT_GT(whole.metrics[1]["kl"], 0);
  for (int stops = 0; stops < 100; ++stops) {
    auto s = open_session(policy_recipe_of(text("parts")), pool);
    ASSERT_TRUE(s);
    int polls = 0;
    const auto end = s->run([&] { return ++polls > (stops % 2 ? 150 : 60); });
    ASSERT_TRUE(end.ok()) << end.message();
    if (*end == RunEnd::Finished) break;
  }
  EXPECT_EQ(adapter_of("whole"), adapter_of("parts"));
  EXPECT_EQ(whole.metrics, timeless_lines(dir / "parts"));
  EXPECT_EQ(whole.samples, sample_rows(dir / "parts"));
}

TEST(PolicySession, RolloutsOfAStoppedStepAreNotDrawnAgain) {
  TempDir dir;
  const Recipe recipe = policy_recipe_of(policy_text(dir / "run", 2));
  ThreadPool pool(2);
  int64_t finished = 0;
  {
    auto s = open_session(recipe, pool);
    int polls = 0;
    ASSERT_TRUE(s->run([&] { return ++polls > 40; }).ok());
    const auto all = list_checkpoints(recipe.checkpoint_dir);
    ASSERT_EQ(all.size(), 1u);
    const auto flight = read_step_in_flight(all[0] + "/rollouts.cbor");
    ASSERT_TRUE(flight.ok()) << flight.message();
    finished = flight->finished();
    EXPECT_GT(finished, 0);
    EXPECT_LT(finished, 16);
  }
  std::string first;
  TrainSinks sinks;
  sinks.live = [&](const std::string& line) {
    if (first.empty()) first = line;
  };
  auto s = open_session(recipe, pool, sinks);
  int polls = 0;
  ASSERT_TRUE(s->run([&] { return ++polls > 2; }).ok());
  EXPECT_NE(first.find("/2  " + std::to_string(finished) + " of 16 rollouts"), std::string::npos) << first;
}

TEST(PolicySession, ADamagedStepInFlightIsADamagedCheckpoint) {
  TempDir dir;
  const Recipe recipe = policy_recipe_of(policy_text(dir / "run", 3));
  ThreadPool pool(2);
  {
    auto s = open_session(recipe, pool);
    int polls = 0;
    ASSERT_TRUE(s->run([&] { return ++polls > 40; }).ok());
  }
  const std::string path = list_checkpoints(recipe.checkpoint_dir).at(0) + "/rollouts.cbor";
  std::string bytes = testing::file_bytes(path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_NE(read_checkpoint_state(fs::path(path).parent_path().string()).message().find("rollouts.cbor is damaged"),
            std::string::npos);
  for (const char* garbage : {"", "\x81", "[{}]",
                              "\x81\xa1\x65"
                              "count\x1b\xff\xff\xff\xff\xff\xff\xff\xff"}) {
    std::ofstream(path, std::ios::binary) << garbage;
    const auto read = read_step_in_flight(path);
    ASSERT_FALSE(read.ok());
    EXPECT_NE(read.message().find("not the rollouts of a step"), std::string::npos) << read.message();
  }
}

TEST(PolicySession, TheReferenceIsFreedWithoutKl) {
  TempDir dir;
  for (const char* policy : {"beta = 0.0", "beta = 0.1\nreference_every = 0", "beta = 0.1"}) {
    (void)uninterrupted(policy_text(dir / "run", 1, policy));
    const bool has = fs::exists(dir / "run/checkpoints/step-000001/reference.safetensors");
    EXPECT_EQ(has, std::string(policy) == "beta = 0.1") << policy;
    fs::remove_all(dir / "run");
  }
}

TEST(PolicySession, TheKlIsZeroBeforeTheFirstUpdateAndGrows) {
  TempDir dir;
  const Outcome run = uninterrupted(policy_text(dir / "run", 3, "beta = 0.001"));
  ASSERT_EQ(run.metrics.size(), 3u);
  EXPECT_EQ(run.metrics[0]["kl"], 0);
  EXPECT_GT(run.metrics[2]["kl"], 0);
  const Outcome fresh = uninterrupted(policy_text(dir / "fresh", 3, "beta = 0.001\nreference_every = 1"));
  for (const auto& m : fresh.metrics) EXPECT_EQ(m["kl"], 0) << "the reference is the policy of that moment";
}

TEST(PolicySession, HeldOutProblemsAreMeasured) {
  TempDir dir;
  const Outcome run = uninterrupted(policy_text(dir / "run", 2, "", "[validation]\nevery = 2\nsequences = 8\n"));
  ASSERT_EQ(run.metrics.size(), 2u);
  EXPECT_FALSE(run.metrics[0].contains("validation_reward"));
  EXPECT_TRUE(run.metrics[1].contains("validation_reward"));
}

TEST(PolicySession, QuestionsOfAFileAndSeveralRewards) {
  TempDir dir;
  const std::string file = RAISON_SOURCE_DIR "/recipes/grpo-example.jsonl";
  auto text = policy_text(dir / "run", 2, "",
                          "[[reward]]\nverifier = \"countdown\"\nname = \"right\"\nweight = 2.0\noptions = {division = false}\n"
                          "[[reward]]\nverifier = \"countdown\"\nname = \"again\"\nweight = -0.5\n");
  text.replace(text.find("task = \"countdown\""), 18, "train = \"" + file + "\"");
  const Outcome run = uninterrupted(text);
  ASSERT_EQ(run.metrics.size(), 2u);
  const auto& m = run.metrics[0];
  EXPECT_NEAR(m["reward"].get<double>(), 2 * m["rewards"]["right"].get<double>() - 0.5 * m["rewards"]["again"].get<double>(),
              1e-12);
  EXPECT_EQ(m["right"], m["rewards"]["right"]);
  EXPECT_NE(run.samples.find("|2 5 7 -> 10|"), std::string::npos) << run.samples;
}

TEST(PolicySession, RefusalsAreOneLineBeforeTheFirstStep) {
  TempDir dir;
  dir.write("empty.jsonl", "\n");
  dir.write("none.jsonl", "{\"text\": \"x\"}\n");
  dir.write("number.jsonl", "{\"prompt\": 3}\n");
  dir.write("role.jsonl", "{\"prompt\": [{\"content\": 3}]}\n");
  dir.write("word.jsonl", "{\"prompt\": \"2 5 7 -> 10\"}\n{\"prompt\": \"what?\"}\n");
  dir.write("list.jsonl", "[1]\n");
  dir.write("cut.jsonl", "{\"prompt\": \"2 5 7");
  dir.write("latin.jsonl", "{\"prompt\": \"\xe4\"}\n");
  dir.write("gold.jsonl", "{\"prompt\": \"2 5 7 -> 10\", \"nums\": [2, 5], \"target\": \"x\"}\n");
  const auto with_file = [&](const std::string& name, const std::string& reward = "[[reward]]\nverifier = \"countdown\"\n") {
    auto text = policy_text(dir / "run", 2, "", reward);
    text.replace(text.find("task = \"countdown\""), 18, "train = \"" + (dir / name) + "\"");
    return text;
  };
  const auto swapped = [&](const std::string& from, const std::string& to) {
    auto text = policy_text(dir / "run", 2);
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {with_file("empty.jsonl"), "holds no prompts"},
      {with_file("none.jsonl"), "none.jsonl:1: has none of \"messages\""},
      {with_file("number.jsonl"), "number.jsonl:1: \"prompt\" is neither a text nor a list"},
      {with_file("role.jsonl"), "role.jsonl:1: every message"},
      {with_file("word.jsonl"), "word.jsonl:2: "},
      {with_file("list.jsonl"), "list.jsonl:1: must be a JSON object"},
      {with_file("cut.jsonl"), "cut.jsonl:1: not valid JSON at byte"},
      {with_file("latin.jsonl"), "latin.jsonl:1: not valid UTF-8"},
      {with_file("gold.jsonl"), "gold.jsonl:1: countdown: target is missing"},
      {with_file("absent.jsonl"), "absent.jsonl"},
      {with_file("word.jsonl", ""), "reward: is missing: what is a good reply?"},
      {with_file("word.jsonl", "[[reward]]\nverifier = \"task\"\n"), "\"task\" is for built-in tasks"},
      {with_file("word.jsonl", "[[reward]]\nverifier = \"maths\"\n"), "no verifier is called \"maths\"; there are "},
      {with_file("word.jsonl", "[[reward]]\nweight = 2\n"), "reward.verifier: is missing"},
      {with_file("word.jsonl", "[[reward]]\nverifier = \"countdown\"\nwieght = 2\n"), "unknown key"},
      {with_file("word.jsonl", "[[reward]]\nverifier = \"countdown\"\noptions = {divide = true}\n"), "has no option divide"},
      {with_file("word.jsonl", "[[reward]]\nverifier = \"countdown\"\nweight = inf\n"), "reward.weight"},
      {swapped("max_length = 120", "minimum = 5"), "rollout.minimum: changes what is sampled"},
      {swapped("max_length = 120", "prompts = 5"), "TOML"},
      {swapped("[policy]\n", "[policy]\nlength = 5\n"), "policy.length: is for mean = \"constant\""},
      {swapped("[policy]\n", "[policy]\nbeta = 0\nkl_by_ratio = true\n"), "policy.kl_by_ratio: is for a KL, and beta is 0"},
      {swapped("[policy]\n", "[policy]\nloss = \"cispo\"\ndelta = 4\n"), "policy.delta: clips a ratio"},
      {swapped("[policy]\n", "[policy]\nscale = \"none\"\nepsilon = 0.1\n"), "policy.epsilon: is for a scale"},
      {swapped("task = \"countdown\"", "task = \"countdown\"\nmax_length = 9"), "data.max_length: is not for grpo"},
      {with_file("word.jsonl", "[[reward]]\nverifier = \"countdown\"\n[[reward]]\nverifier = \"countdown\"\n"),
       "two parts are named \"countdown\""},
      {swapped("max_length = 120", "max_length = 100000"), "rollout.max_length: is 100000, the model's context is 256"},
      {swapped("max_length = 120", "top_k = 5"), "rollout.top_k: changes what is sampled"},
      {swapped("max_length = 120", "top_p = 0.9"), "rollout.top_p: changes what is sampled"},
      {swapped("max_length = 120", "min_p = 0.1"), "rollout.min_p: changes what is sampled"},
      {swapped("max_length = 120", "repetition_penalty = 1.1"), "rollout.repetition_penalty: changes what is sampled"},
      {swapped("max_length = 120", "presence_penalty = 1"), "rollout.presence_penalty: changes what is sampled"},
      {swapped("max_length = 120", "temperature = 0"), "rollout.temperature: is 0"},
      {swapped("max_length = 120", "budget = 5\nminimum = 6"), "rollout.minimum: is more than budget"},
      {swapped("group = 4", "group = 1"), "rollout.group: is 1, must be within 2"},
      {swapped("[policy]\n", "[policy]\nloss = \"ppo\"\n"), "must be one of: grpo, dr_grpo, dapo, gspo, cispo"},
      {swapped("[policy]\n", "[policy]\nupdates = 5\n"), "policy.updates: is 5, must be within 1 .. 4"},
      {swapped("[policy]\n", "[policy]\nmost_draws = 5\n"), "policy.most_draws: is for dynamic_sampling"},
      {swapped("[policy]\n", "[policy]\noverlong_cache = 120\n"),
       "policy.overlong_cache: is 120, must be less than the 120 tokens"},
      {swapped("[policy]\n", "[policy]\nbeta = -1\n"), "policy.beta"},
      {swapped("[policy]\n", "[policy]\nclip = 1\n"), "policy.clip: unknown key"},
      {swapped("tokens = 512", "sequences = 3"), "batch: takes tokens"},
      {swapped("tokens = 512", "tokens = 512\naccumulation = 2"), "batch: has no accumulation here"},
      {swapped("countdown-base", "countdown-bose"), "countdown-bose"},
      {swapped("kind = \"grpo\"", "kind = \"sft\""), "policy: is for grpo and dpo, and the recipe's kind is sft"},
      {swapped("kind = \"grpo\"", "kind = \"ppo\""), "must be one of: pretrain, sft, dpo, grpo"},
      {swapped("task = \"countdown\"", "task = \"chess\""), "data.task"},
      {swapped("task = \"countdown\"", "task = \"reverse\""), "has not the vocabulary of the task reverse"},
  };
  for (const auto& [text, want] : cases) {
    const std::string why = refusal_of(text);
    EXPECT_NE(why.find(want), std::string::npos) << why << "\nwanted: " << want;
    EXPECT_EQ(why.find('\n'), std::string::npos) << why;
  }
}

TEST(PolicySession, AnEarlierRunsSamplesAndCurvesAreSetAside) {
  TempDir dir;
  fs::create_directories(dir / "run/tensorboard");
  std::ofstream(dir / "run/samples.db") << std::string(5000, 'x');
  std::ofstream(dir / "run/tensorboard/events.out.tfevents.1.raison") << "yyy";
  EXPECT_EQ(uninterrupted(policy_text(dir / "run", 1)).metrics.size(), 1u);
  EXPECT_EQ(testing::file_bytes(dir / "run/samples.before-1.db"), std::string(5000, 'x'));
  EXPECT_EQ(testing::file_bytes(dir / "run/tensorboard/events.out.tfevents.1.before-1.raison"), "yyy");
}

// A judge that breaks costs neither the steps before it nor the rollouts that it was to judge.
TEST(PolicySession, ABrokenJudgeLosesNothing) {
  if (!fs::exists("/bin/bash")) GTEST_SKIP() << "needs /bin/bash";
  TempDir dir;
  const std::string file = RAISON_SOURCE_DIR "/recipes/grpo-example.jsonl";
  const auto text = [&](const std::string& judge) {
    auto t = policy_text(dir / "run", 4, "beta = 0.0",
                         "[[reward]]\nverifier = \"program\"\noptions = {command = [\"/bin/bash\", \"" + judge + "\"]}\n");
    t.replace(t.find("task = \"countdown\""), 18, "train = \"" + file + "\"");
    return t;
  };
  // Judges by the reply's length, odd or even, so that it needs no JSON; the first dies in the third step.
  const std::string body = R"(while read -r line; do
[ -n "$c" ] && [ $n -ge 40 ] && exit 1
n=$((n+1)); id=${line#*\"id\":}; id=${id%%[,\}]*}
echo "{\"id\":$id,\"score\":$((${#line}%2))}"
)";
  dir.write("good.sh", body + "done\n");
  dir.write("dies.sh", "c=" + (dir / "count") + "\nn=$(cat $c 2>/dev/null || echo 0)\n" + body + "echo $n > $c\ndone\n");
  ThreadPool pool(2);
  std::string why;
  {
    auto s = open_session(policy_recipe_of(text(dir / "dies.sh")), pool);
    ASSERT_TRUE(s);
    const auto end = s->run();
    ASSERT_FALSE(end.ok());
    why = end.message();
    EXPECT_NE(why.find("--resume goes on from there"), std::string::npos) << why;
    EXPECT_EQ(why.find('\n'), std::string::npos) << why;
  }
  const auto all = list_checkpoints(dir / "run/checkpoints");
  ASSERT_EQ(all.size(), 1u) << why;
  EXPECT_TRUE(fs::exists(all[0] + "/rollouts.cbor")) << why;
  auto s = open_session(policy_recipe_of(text(dir / "good.sh")), pool);  // another command is no other run
  ASSERT_TRUE(s);
  EXPECT_GT(s->steps_done(), 0);
  const auto end = s->run();
  EXPECT_TRUE(end.ok()) << end.message();
  EXPECT_EQ(timeless_lines(dir / "run").size(), 4u);
}

// Right, or no verdict at all: nothing there to learn from.
TEST(PolicySession, AJudgeThatCannotTellPunishesNobody) {
  if (!fs::exists("/bin/bash")) GTEST_SKIP() << "needs /bin/bash";
  TempDir dir;
  dir.write("judge.sh", R"(while read -r line; do
n=$((n+1)); id=${line#*\"id\":}; id=${id%%[,\}]*}
[ $((n%3)) -eq 0 ] && echo "{\"id\":$id}" || echo "{\"id\":$id,\"score\":1}"
done
)");
  auto text = policy_text(
      dir / "run", 1, "beta = 0.0",
      "[[reward]]\nverifier = \"program\"\noptions = {command = [\"/bin/bash\", \"" + (dir / "judge.sh") + "\"]}\n");
  text.replace(text.find("task = \"countdown\""), 18, "train = \"" RAISON_SOURCE_DIR "/recipes/grpo-example.jsonl\"");
  const Outcome run = uninterrupted(text);
  ASSERT_EQ(run.metrics.size(), 1u);
  EXPECT_GT(run.metrics[0]["failed"].get<double>(), 0.2);
  EXPECT_EQ(run.metrics[0]["silent_groups"], 1);
  EXPECT_EQ(run.metrics[0]["updates"], 0);
  EXPECT_EQ(run.metrics[0]["grad_norm"], 0);
}

TEST(PolicySession, SecretsOfAJudgeStayOutOfCheckpoints) {
  auto text =
      policy_text("unused", 2, "",
                  "[[reward]]\nverifier = \"http\"\noptions = {url = \"http://h/\", headers = [\"Authorization: SECRET\"]}\n");
  EXPECT_EQ(recipe_json(policy_recipe_of(text)).dump().find("SECRET"), std::string::npos);
}

TEST(PolicySession, OffPolicySamplingStillComparesLogprobs) {
  TempDir dir;
  auto text = policy_text(dir / "run", 1);
  text.replace(text.find("max_length = 120"), 16, "max_length = 120\ntop_k = 5\noff_policy = true");
  const Outcome run = uninterrupted(text);
  ASSERT_EQ(run.metrics.size(), 1u);
  EXPECT_GT(run.metrics[0]["compared_logprobs"], 0);
}

TEST(EventFile, HoldsRecordsThatTheirCrcsVouchFor) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);  // RFC 3720's check value
  const std::string r = event_record(7, 1.5, {{"train/loss", 0.25}});
  uint64_t length = 0;
  std::memcpy(&length, r.data(), 8);
  EXPECT_EQ(r.size(), 8 + 4 + length + 4);
  EXPECT_NE(r.find("train/loss"), std::string::npos);
  EXPECT_NE(event_file_head(0).find("brain.Event:2"), std::string::npos);
}

TEST(PreferenceSession, LearnsWhichReplyIsLikedAndResumesToTheSameBits) {
  TempDir dir;
  std::string pairs;
  for (int i = 1; i <= 9; ++i)
    pairs += fmt::format(
        "{{\"prompt\": \"{0} 5 7 -> 12\", \"chosen\": [{{\"role\": \"assistant\", \"content\": \"<think> </think> 5 + 7\"}}], "
        "\"rejected\": {{\"role\": \"assistant\", \"content\": \"<think> </think> 7 - {0}\"}}}}\n",
        i);
  dir.write("pairs.jsonl", pairs);
  const auto text = [&](const std::string& out) {
    return "kind = \"dpo\"\nsteps = 6\nout = \"" + (dir / out) + "\"\n[model]\npath = \"" + RAISON_SOURCE_DIR +
           "/models/countdown-base\"\n[data]\ntrain = \"" + (dir / "pairs.jsonl") +
           "\"\n[policy]\nbeta = 0.1\npairs = 4\n[optimizer]\nlr = 1e-3\n[batch]\ntokens = 64\n";
  };
  ThreadPool pool(2);
  auto whole = open_session(policy_recipe_of(text("whole")), pool);
  ASSERT_TRUE(whole);
  ASSERT_TRUE(whole->run().ok());
  const auto lines = timeless_lines(dir / "whole");
  ASSERT_EQ(lines.size(), 6u);
  EXPECT_NEAR(lines[0]["loss"].get<double>(), std::log(2.0), 1e-6) << "before the first update both are the reference";
  EXPECT_LT(lines[5]["loss"].get<double>(), 0.6);
  EXPECT_EQ(lines[5]["accuracy"], 1);
  const Recipe parts = policy_recipe_of(text("parts"));
  for (int64_t stop = 1; stop <= 6; ++stop) {
    auto s = open_session(parts, pool);
    ASSERT_TRUE(s);
    ASSERT_TRUE(s->run([&] { return s->steps_done() >= stop; }).ok());
    if (stop == 6) { EXPECT_EQ(weights_of(s->model()), weights_of(whole->model())); }
  }
}

}  // namespace
}  // namespace raison
