// `raison run` on a terminal: the chat, dimmed thoughts, Ctrl+C.
#include <filesystem>
#include <fstream>

#include "e2e/cli_fixture.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {

TEST_F(OnTerminal, HelpAndExit) {
  Terminal t(chat({stories()}), settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("/help\r");
  EXPECT_TRUE(t.wait_for("/clear")) << t.seen();
  EXPECT_TRUE(t.wait_for("/system")) << t.seen();
  t.type("/nonsense\r");
  EXPECT_TRUE(t.wait_for("No command /nonsense")) << t.seen();
  t.type("/exit\r");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

TEST_F(OnTerminal, AnswersSetsAndForgets) {
  Terminal t(chat({golden_model("qwen2"), "--max-tokens", "6"}), settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("/set temp 0\r");
  EXPECT_TRUE(t.wait_for("greedy")) << t.seen();
  t.type("/set temp hot\r");
  EXPECT_TRUE(t.wait_for("needs a number")) << t.seen();
  t.type("/set colour red\r");
  EXPECT_TRUE(t.wait_for("no setting")) << t.seen();
  t.type("Hello\r");
  EXPECT_TRUE(t.wait_for("\033[2m")) << t.seen();  // the thought is dimmed
  EXPECT_TRUE(t.wait_for("thought 6 tokens")) << t.seen();
  EXPECT_TRUE(t.wait_for("reply 6 tokens")) << t.seen();
  EXPECT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("And again\r");  // the first turn is now part of the prompt
  EXPECT_TRUE(t.wait_for("reply 6 tokens")) << t.seen();
  t.type("/clear\r");
  EXPECT_TRUE(t.wait_for("forgotten")) << t.seen();
  t.type("/system Be brief\r");
  EXPECT_TRUE(t.wait_for("System message set")) << t.seen();
  t.type("\x04");  // Ctrl+D
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

// Keys typed during a reply belong to the next lines, Ctrl+D among them (in the kernel's line mode it would be lost).
TEST_F(OnTerminal, KeysTypedDuringAReplyAreKept) {
  Terminal t(chat({stories(), "--temp", "0", "--max-tokens", "300", "--threads", "1"}), slow_settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("Once upon a time\r");
  ASSERT_TRUE(t.wait_for("there was")) << t.seen();
  t.type("/set seed 41\r\x04");
  EXPECT_TRUE(t.wait_for("reply 300 tokens")) << t.seen();
  EXPECT_TRUE(t.wait_for("greedy")) << t.seen();  // what /set answers
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

// However the chat ends, the terminal is as it was: lines and echo are the kernel's again.
TEST_F(OnTerminal, LeavesTheTerminalAsItWas) {
  for (const char* end :
       {"/exit\r", "\x04", "two Ctrl+C", "SIGTERM at the prompt", "SIGTERM in a reply", "a reply, then /exit"}) {
    SCOPED_TRACE(end);
    Terminal t(chat({stories(), "--temp", "0", "--ctx", "512", "--threads", "1"}), slow_settings());
    const auto before = t.modes();
    ASSERT_TRUE(t.wait_for("> ")) << t.seen();
    const std::string how = end;
    if (how == "two Ctrl+C" || how == "SIGTERM in a reply") {
      t.type("Once upon a time\r");
      ASSERT_TRUE(t.wait_for("there was")) << t.seen();
    }
    if (how == "two Ctrl+C") {
      t.type("\x03");
      usleep(300000);  // at the prompt again, or still in the reply: either way the second leaves
      t.type("\x03");
      const int code = t.wait_for_end();
      EXPECT_TRUE(code == 0 || code == 130) << code << t.seen();
    } else if (how == "a reply, then /exit") {
      t.type("Once upon a time\r/exit\r");
      EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
    } else if (how.rfind("SIGTERM", 0) == 0) {
      t.signal(SIGTERM);
      EXPECT_EQ(t.wait_for_end(), 128 + SIGTERM) << t.seen();
    } else {
      t.type(end);
      EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
    }
    EXPECT_EQ(t.modes(), before) << t.seen();
  }
}

TEST_F(OnTerminal, InterruptStopsTheReplyAndTwiceLeaves) {
  Terminal t(chat({stories(), "--temp", "0", "--threads", "1"}), settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("Once upon a time\r");
  ASSERT_TRUE(t.wait_for("there was")) << t.seen();
  t.type("\x03");
  const bool interrupted = t.wait_for("interrupted", 20);
  EXPECT_TRUE(interrupted || t.seen().find("context is full") != std::string::npos) << t.seen();
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  usleep(200000);  // until the line editor reads again
  t.type("\x03");
  if (!interrupted) {  // a fast machine was done before the key came
    ASSERT_TRUE(t.wait_for("Ctrl+C again")) << t.seen();
    usleep(200000);
    t.type("\x03");
  }
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

TEST_F(OnTerminal, InterruptAtThePromptAsksFirst) {
  Terminal t(chat({stories()}), settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  usleep(200000);
  t.type("half a line\x03");
  ASSERT_TRUE(t.wait_for("Ctrl+C again")) << t.seen();
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("/set seed 3\r");  // the half line is gone, and the chat goes on
  EXPECT_TRUE(t.wait_for("seed 3")) << t.seen();
  usleep(200000);
  t.type("\x03");
  ASSERT_TRUE(t.wait_for("Ctrl+C again")) << t.seen();
  usleep(200000);
  t.type("\x03");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

TEST_F(OnTerminal, OneAnswerEndsWithPlainStyle) {
  Terminal t(chat({golden_model("qwen2"), "-p", "Hello", "--temp", "0", "--max-tokens", "5"}), settings());
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
  const size_t dim = t.seen().rfind("\033[2m"), plain = t.seen().rfind("\033[0m");
  ASSERT_NE(dim, std::string::npos) << t.seen();
  EXPECT_GT(plain, dim) << t.seen();
  EXPECT_NE(t.seen().find("thought 5 tokens · "), std::string::npos) << t.seen();
}

TEST_F(OnTerminal, DumbTerminalsGetPlainText) {
  RunSettings s = settings();
  s.env[0].second = "dumb";
  Terminal t(chat({golden_model("qwen2"), "-p", "Hello", "--temp", "0", "--max-tokens", "5"}), s);
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
  EXPECT_EQ(t.seen().find('\033'), std::string::npos) << t.seen();
}

TEST_F(OnTerminal, ASignalInAThoughtLeavesPlainStyle) {
  Terminal t(chat({golden_model("qwen2"), "-p", "Hello", "--temp", "0", "--ctx", "500", "--threads", "1"}), slow_settings());
  ASSERT_TRUE(t.wait_for("\033[2m")) << t.seen();
  t.signal(SIGTERM);
  EXPECT_EQ(t.wait_for_end(), 128 + SIGTERM) << t.seen();
  EXPECT_GT(t.seen().rfind("\033[0m") + 1, t.seen().rfind("\033[2m") + 1) << t.seen();
}

TEST_F(OnTerminal, SettingsKeepTheirBounds) {
  Terminal t(chat({stories()}), settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("/set max-tokens 9223372036854775807\r");
  EXPECT_TRUE(t.wait_for("needs a whole number from 0 to 1099511627776")) << t.seen();
  t.type("/set max-tokens 9999999999999999999\r");
  EXPECT_TRUE(t.wait_for("needs a whole number from 0 to 1099511627776")) << t.seen();
  t.type("/set seed 18446744073709551615\r");
  EXPECT_TRUE(t.wait_for(", seed 18446744073709551615")) << t.seen();
  t.type("/set seed 18446744073709551616\r");
  EXPECT_TRUE(t.wait_for("needs a whole number from 0 to 18446744073709551615")) << t.seen();
}

// A narrower window, and the terminal back after others had it: the line under the cursor stays usable.
TEST_F(OnTerminal, EditsOnAfterAResizeAndAStop) {
  Terminal t(chat({stories()}), settings());
  ASSERT_TRUE(t.wait_for("> ")) << t.seen();
  t.type("/set see");
  ASSERT_TRUE(t.wait_for("/set see")) << t.seen();
  t.resize(24, 40);
  ASSERT_TRUE(t.wait_for("/set see")) << "drawn anew: " << t.seen();
  t.signal(SIGSTOP);
  usleep(100000);
  t.signal(SIGCONT);
  ASSERT_TRUE(t.wait_for("/set see")) << "drawn anew: " << t.seen();
  t.type("d 77\r");
  EXPECT_TRUE(t.wait_for(", seed 77")) << t.seen();
  t.type("\x04");
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
}

TEST_F(OnTerminal, TemplatesSendNoEscapes) {
  const TempDir dir;
  std::filesystem::copy(golden_model("qwen2"), dir / "m", std::filesystem::copy_options::recursive);
  std::ofstream(dir / "m/chat_template.jinja") << "{{ '\x1b]0;owned\x07' }}{{ messages[0]['content'] }}";
  Terminal t({RAISON_BINARY, "render", dir / "m", "-p", "Hello"}, settings());
  EXPECT_EQ(t.wait_for_end(), 0) << t.seen();
  EXPECT_NE(t.seen().find("]0;ownedHello"), std::string::npos) << t.seen();
  EXPECT_EQ(t.seen().find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace raison::testing
