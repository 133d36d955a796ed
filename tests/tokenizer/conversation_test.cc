#include "tokenizer/conversation.h"

#include <gtest/gtest.h>

namespace raison::testing {
namespace {

using nlohmann::ordered_json;

TEST(Conversation, LosesItsOldestTurnWhole) {
  const ordered_json system = {{"role", "system"}, {"content", "s"}};
  const auto says = [](const char* role, const char* what) { return ordered_json{{"role", role}, {"content", what}}; };
  const ordered_json all =
      ordered_json::array({system, says("user", "1"), says("assistant", "a"), says("tool", "t"), says("assistant", "b"),
                           says("user", "2"), says("assistant", "c"), says("user", "3")});
  const auto once = without_oldest_turn(all);
  ASSERT_TRUE(once);
  EXPECT_EQ(*once, ordered_json::array({system, says("user", "2"), says("assistant", "c"), says("user", "3")}));
  const auto twice = without_oldest_turn(*once);
  ASSERT_TRUE(twice);
  EXPECT_EQ(*twice, ordered_json::array({system, says("user", "3")}));
  EXPECT_FALSE(without_oldest_turn(*twice)) << "the last turn stays";
  EXPECT_FALSE(without_oldest_turn(ordered_json::array()));
  EXPECT_FALSE(without_oldest_turn(ordered_json::array({system, 7, ordered_json::object()})));
}

}  // namespace
}  // namespace raison::testing
