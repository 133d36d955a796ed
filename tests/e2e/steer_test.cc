// `raison run` under control: votes, a thought ended by a key, thoughts that shrink, conversations that outgrow the context.
#include <memory>

#include "e2e/cli_fixture.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {

class Steer : public OnTerminal {
 protected:
  // A chat that has been asked, and thinks for long.
  std::unique_ptr<Terminal> thinking_chat(std::vector<std::string> command) const {
    auto t = std::make_unique<Terminal>(command, slow_settings());
    EXPECT_TRUE(t->wait_for("> ")) << t->seen();
    t->type("Hello\r");
    EXPECT_TRUE(t->wait_for("Ctrl+E ends it")) << t->seen();
    return t;
  }
  std::vector<std::string> thinker() const {
    return chat(
        {golden_model("qwen2"), "--temp", "1", "--seed", "1", "--minimum", "400", "--max-tokens", "480", "--threads", "1"});
  }
};

const std::vector<std::string> kVote = {"run", "countdown-base", "-p", "2 4 8 -> 24", "--seed", "3"};

std::vector<std::string> vote(std::vector<std::string> more) {
  more.insert(more.begin(), kVote.begin(), kVote.end());
  const auto unless_given = [&](const char* name, const char* value) {
    if (std::find(more.begin(), more.end(), name) == more.end()) more.insert(more.end(), {name, value});
  };
  unless_given("--temp", "1");
  unless_given("--vote", "16");
  return more;
}

TEST_F(Steer, VotesOnThePipe) {
  // This seed's thoughts: most jump to one wrong answer, those that found theirs right agree on another.
  const RunResult verified = raison(vote({"--vote-by", "self-verified"}));
  EXPECT_EQ(verified.code, 0) << verified.err;
  EXPECT_TRUE(has(verified.out, "</think>\n( 8 - 2 ) * 4\n")) << verified.out;
  EXPECT_TRUE(has(verified.err, "((8-2)*4)  (2 self-verified, confidence 0.")) << verified.err;
  const RunResult majority = raison(vote({}));
  EXPECT_EQ(majority.code, 0) << majority.err;
  EXPECT_TRUE(has(majority.out, "8 + ( 4 + 2 )")) << majority.out;
  // On another machine, or with another number of threads, the same.
  const RunResult again = raison(vote({"--vote-by", "self-verified", "--threads", "1"}), slow_settings());
  EXPECT_EQ(again.out, verified.out);
  const RunResult weighted = raison(vote({"--vote-by", "confidence", "--vote-answers", "text"}));
  EXPECT_EQ(weighted.code, 0) << weighted.err;
  EXPECT_TRUE(has(weighted.err, "of 16 voted")) << weighted.err;
  const RunResult sure = raison(vote({"--vote-confidence", "0.99", "--minimum", "12", "--count", "lo,hi"}));
  EXPECT_TRUE(has(sure.err, "stopped as unsure")) << sure.err;
}

TEST_F(Steer, VotesThatCannotBe) {
  const auto refused = [](std::vector<std::string> args, const std::string& why) {
    const RunResult r = raison(std::move(args));
    EXPECT_NE(r.code, 0);
    EXPECT_EQ(r.out, "");
    EXPECT_NE(r.err.find(why), std::string::npos) << r.err;
  };
  refused(vote({"--vote-by", "self-verified", "--vote-answers", "final"}), "need thoughts that say whether");
  refused(vote({"--temp", "0"}), "a vote needs a temperature");
  refused(vote({"--stop", "x"}), "looks for no stop strings");
  refused(vote({"--max-tokens", "3"}), "none of 16 thoughts gave an answer");
  refused(vote({"--vote-by", "lot"}), "--vote-by");
  refused(vote({"--vote", "0"}), "--vote");
}

TEST_F(Steer, VotesFillUpOnATerminal) {
  Terminal t(chat({"--temp", "1", "--seed", "2", "--minimum", "8", "--count", "lo,hi,yes", "--until", "yes", "--threads", "1"}),
             slow_settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("/vote 0\r");
  EXPECT_TRUE(t.wait_for("a vote needs how many")) << t.seen();
  t.type("/vote 8 final self-verified\r");
  EXPECT_TRUE(t.wait_for("need thoughts that say")) << t.seen();
  t.type("/vote 8 by lot\r");
  EXPECT_TRUE(t.wait_for("knows no \"by\"")) << t.seen();
  t.type("/vote 24 self-verified\r");
  EXPECT_TRUE(t.wait_for("24 thoughts will vote (self-verified; answers read as \"countdown\")")) << t.seen();
  t.type("2 4 8 -> 24\r");
  EXPECT_TRUE(t.wait_for("of 24 are done")) << t.seen();
  EXPECT_TRUE(t.wait_for("\033[J")) << t.seen();  // rows that replace themselves
  EXPECT_TRUE(t.wait_for(" of 24 voted")) << t.seen();
  EXPECT_TRUE(t.wait_for("all replies")) << t.seen();
  // Ended before anybody has voted: an error, and the chat goes on.
  t.type("3 5 7 -> 22\r");
  EXPECT_TRUE(t.wait_for("0 of 24 are done")) << t.seen();
  t.type("\x03");
  EXPECT_TRUE(t.wait_for("before any thought had an answer")) << t.seen();
  t.type("/vote off\r");
  EXPECT_TRUE(t.wait_for("no vote")) << t.seen();
  t.type("/exit\r");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

// Ended by Ctrl+C after some have voted, those decide.
TEST_F(Steer, AVoteEndedEarlyCountsWhatHasCome) {
  Terminal t(chat({"--temp", "1", "--seed", "2", "--threads", "1", "--vote", "400"}), slow_settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("2 4 8 -> 24\r");
  while (true) {
    ASSERT_TRUE(t.wait_for(" of 400 are done")) << t.seen();
    if (t.seen()[t.seen().rfind(" of 400 are done") - 1] != '0') break;  // 1 to 9, or more that don't end in 0
  }
  t.type("\x03");
  ASSERT_TRUE(t.wait_for(" of 400 voted")) << t.seen();
  EXPECT_TRUE(t.wait_for("all replies")) << t.seen();
  t.type("/exit\r");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

TEST_F(Steer, TheBundledModelIsSteeredToo) {
  Terminal t(chat({}), settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("/budget 5\r");
  EXPECT_TRUE(t.wait_for("It will think, for 5 tokens at most.")) << t.seen();
  t.type("/think off\r");
  EXPECT_TRUE(t.wait_for("It will answer at once.")) << t.seen();
  t.type("/think on\r");
  EXPECT_TRUE(t.wait_for("It will think")) << t.seen();
  t.type("/effort weird\r");
  EXPECT_TRUE(t.wait_for("no effort \"weird\"")) << t.seen();
  t.type("nonsense\r");
  EXPECT_TRUE(t.wait_for("not in the vocabulary")) << t.seen();
  t.type("/exit\r");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
  EXPECT_FALSE(has(t.seen(), "/clear begins anew")) << "that is not what was wrong: " << t.seen();
}

TEST_F(Steer, TheKeyIsNoSignalForWhoeverStartedUs) {
  std::string command;
  for (const std::string& word : thinker()) command += word + " ";
  const auto t = thinking_chat({"/bin/sh", "-c", command + "; echo AFTER $?"});
  t->type("\x05");
  ASSERT_TRUE(t->wait_for("(closed on demand)")) << t->seen();
  t->type("/exit\r");
  EXPECT_TRUE(t->wait_for("AFTER 0")) << t->seen();
}

TEST_F(Steer, AReplyGoesOnAfterAStop) {
  const auto t = thinking_chat(thinker());
  t->signal(SIGSTOP);
  usleep(100000);
  t->signal(SIGCONT);
  ASSERT_TRUE(t->wait_for("Ctrl+E ends it")) << t->seen();
  t->type("\x05");
  ASSERT_TRUE(t->wait_for("(closed on demand)")) << t->seen();
}

TEST_F(Steer, AKeyEndsTheThoughtAndOthersAreKept) {
  const auto t = thinking_chat(thinker());
  t->type("/set seed 41\r\x05");
  ASSERT_TRUE(t->wait_for("(closed on demand)")) << t->seen();
  EXPECT_TRUE(t->wait_for("prompt ")) << t->seen();
  EXPECT_TRUE(t->wait_for(", seed 41")) << t->seen();  // what /set answers
  t->type("\x05");                                     // at the prompt it is the editor's
  t->type("/exit\r");
  EXPECT_EQ(t->wait_for_end(), 0) << t->seen();
}

TEST_F(Steer, ThoughtsShrinkUnlessTheyAreToStay) {
  Terminal t(chat({golden_model("qwen2"), "--temp", "1", "--seed", "1", "--budget", "60", "--max-tokens", "70"}),
             slow_settings());
  t.resize(24, 60);
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("/thought\r");
  EXPECT_TRUE(t.wait_for("No thought yet")) << t.seen();
  t.type("Hello\r");
  ASSERT_TRUE(t.wait_for("thought 60 tokens")) << t.seen();
  ASSERT_TRUE(t.wait_for("prompt ")) << t.seen();
  const size_t at = t.seen().size();
  t.type("/thought\r");
  t.type("/show maybe\r");
  ASSERT_TRUE(t.wait_for("needs on or off")) << t.seen();
  const std::string thought = t.seen().substr(at);
  EXPECT_GT(thought.size(), 200u) << "all of it: " << thought;
  t.type("/show on\r");
  ASSERT_TRUE(t.wait_for("stay on the screen")) << t.seen();
  t.type("Hello\r");
  ASSERT_TRUE(t.wait_for("\033[2m")) << t.seen();
  const size_t begin = t.seen().size();
  ASSERT_TRUE(t.wait_for("thought 60 tokens")) << t.seen();
  EXPECT_EQ(t.seen().find("\033[J", begin), std::string::npos) << "nothing is taken back";
  t.type("/exit\r");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

// Whole oldest turns leave, with a notice, before a reply and in its middle; unasked for, the question is refused with the numbers.
TEST_F(Steer, ConversationsThatOutgrowTheContext) {
  for (const bool shift : {true, false}) {
    SCOPED_TRACE(shift);
    auto args = chat({golden_model("qwen2"), "--temp", "0", "--no-think", "--max-tokens", "20", "--ctx", "90"});
    if (shift) args.push_back("--context-shift");
    Terminal t(args, settings());
    ASSERT_TRUE(t.wait_for("> ")) << t.seen();
    bool full = false;
    for (int turn = 0; turn < 8 && !full; ++turn) {
      t.type("Tell me more about it\r");
      ASSERT_TRUE(t.wait_for("\n> ")) << t.seen();
      full = has(t.seen(), shift ? "raison: note: the context is full: the oldest " : "the context holds 90");
    }
    EXPECT_TRUE(full) << t.seen();
    EXPECT_EQ(has(t.seen(), "/clear begins anew (--context-shift"), !shift) << t.seen();
    t.type("/clear\r/set max-tokens 30\r");
    ASSERT_TRUE(t.wait_for("max-tokens 30")) << t.seen();
    t.type("Tell me\r");
    ASSERT_TRUE(t.wait_for("prompt ")) << t.seen();
    t.type("/set max-tokens 60\r");
    ASSERT_TRUE(t.wait_for("max-tokens 60")) << t.seen();
    t.type("Go on\r");  // the question fits, the reply does not
    EXPECT_EQ(t.wait_for("left it", shift ? 60 : 1), shift) << t.seen();
    if (shift) { ASSERT_TRUE(t.wait_for("prompt ")) << t.seen(); }
    EXPECT_EQ(has(t.seen(), "· the context is full"), !shift) << t.seen();
    t.type("/exit\r");
    EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
  }
}

// A cache that holds less than the context is outgrown as the context is.
TEST_F(Steer, ConversationsThatOutgrowTheCache) {
  Terminal t(chat({golden_model("qwen2"), "--temp", "0", "--no-think", "--max-tokens", "60", "--cache-memory", "300K",
                   "--context-shift"}),
             settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  for (int turn = 0; turn < 12; ++turn) {
    t.type("Tell me more about it\r");
    ASSERT_TRUE(t.wait_for("\n> ")) << t.seen();
  }
  EXPECT_TRUE(has(t.seen(), "left it")) << t.seen();
  EXPECT_FALSE(has(t.seen(), "the KV cache holds")) << t.seen();
}

// A bound on the reply beyond the context's end is no reason to drop anything; one that the cache can never hold is refused, and the
// conversation is as it was.
TEST_F(Steer, NothingLeavesWithoutNeed) {
  auto args = chat({golden_model("qwen2"), "--temp", "0", "--no-think", "--max-tokens", "20", "--context-shift"});
  args.insert(args.end(), {"--ctx", "400"});
  Terminal t(args, settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  for (int turn = 0; turn < 2; ++turn) {
    t.type("Tell me\r");
    ASSERT_TRUE(t.wait_for("\n> ")) << t.seen();
  }
  t.type("/set max-tokens 100000\r");
  ASSERT_TRUE(t.wait_for("max-tokens 100000")) << t.seen();
  t.type("Go on\r");
  ASSERT_TRUE(t.wait_for("prompt 9")) << "both turns are in it: " << t.seen();
  EXPECT_FALSE(has(t.seen(), "left it")) << t.seen();
  t.type("/exit\r");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
  Terminal small(chat({golden_model("qwen2"), "--temp", "0", "--no-think", "--max-tokens", "20", "--context-shift",
                       "--cache-memory", "300K"}),
                 settings());
  ASSERT_TRUE(small.wait_for("> ")) << small.seen();
  for (int turn = 0; turn < 2; ++turn) {
    small.type("Tell me\r");
    ASSERT_TRUE(small.wait_for("\n> ")) << small.seen();
  }
  small.type("/set max-tokens 400\r");
  ASSERT_TRUE(small.wait_for("max-tokens 400")) << small.seen();
  small.type("Go on\r");
  ASSERT_TRUE(small.wait_for("the KV cache holds 384")) << small.seen();
  small.type("/set max-tokens 20\r");
  ASSERT_TRUE(small.wait_for("max-tokens 20")) << small.seen();
  small.type("Go on\r");
  EXPECT_TRUE(small.wait_for("prompt 9")) << "both turns are in it: " << small.seen();
  EXPECT_FALSE(has(small.seen(), "left it")) << small.seen();
}

// What fails in the middle of a reply costs nothing that was said, and leaves the terminal in order.
TEST_F(Steer, AShiftThatFailsEndsTheReply) {
  const TempDir dir;
  std::filesystem::copy(golden_model("qwen2"), dir / "m", std::filesystem::copy_options::recursive);
  std::ofstream(dir / "m/chat_template.jinja")
      << "{% if messages[0]['content'] == 'second' %}{{ raise_exception('not that one') }}{% endif %}"
         "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:";
  Terminal t(chat({dir / "m", "--temp", "0", "--ctx", "120", "--context-shift", "--max-tokens", "20"}), settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("first\r");
  ASSERT_TRUE(t.wait_for("prompt ")) << t.seen();
  t.type("/set max-tokens 110\r");
  ASSERT_TRUE(t.wait_for("max-tokens 110")) << t.seen();
  t.type("second\r");
  EXPECT_TRUE(t.wait_for("not that one")) << t.seen();
  t.type("/exit\r");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

}  // namespace
}  // namespace raison::testing
