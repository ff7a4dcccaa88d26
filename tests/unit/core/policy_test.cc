#include "agent/core/policy.h"

#include <gtest/gtest.h>

namespace limpet::core {
namespace {

TEST(Policy, PatternsMatchAsAWhole) {
  EXPECT_TRUE(matches_pattern("web", "web"));
  EXPECT_FALSE(matches_pattern("web", "web-1"));
  EXPECT_FALSE(matches_pattern("web", "we"));
  EXPECT_TRUE(matches_pattern("web-*", "web-"));
  EXPECT_TRUE(matches_pattern("web-*", "web-1"));
  EXPECT_FALSE(matches_pattern("web-*", "web"));
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_TRUE(matches_pattern("*", "anything"));
  EXPECT_TRUE(matches_pattern("a*b*c", "a-b-b-c"));
  EXPECT_FALSE(matches_pattern("a*b*c", "a-b-b-"));
  EXPECT_TRUE(matches_pattern("*-prod", "a-prod-prod"));
  EXPECT_TRUE(matches_pattern("**", "x"));
  EXPECT_FALSE(matches_pattern("", "x"));
  EXPECT_FALSE(matches_pattern("a?c", "abc"));
}

TEST(Policy, ManyStarsTakeNoExponentialTime) {
  std::string pattern;
  for (int i = 0; i < 80; ++i) {
    pattern += "a*";
  }
  EXPECT_FALSE(matches_pattern(pattern + "b", std::string(255, 'a')));
}

TEST(Policy, WithoutRulesEverybodyMay) {
  EXPECT_TRUE(Policy().allows(1000, {1000}, "web"));
}

TEST(Policy, ARuleIsForItsUsersAndGroups) {
  const Policy policy({{{1000}, {}, {"web-*", "api"}}, {{}, {27}, {"*"}}}, 998);
  EXPECT_TRUE(policy.allows(1000, {1000}, "web-1"));
  EXPECT_TRUE(policy.allows(1000, {1000}, "api"));
  EXPECT_FALSE(policy.allows(1000, {1000}, "db"));
  EXPECT_FALSE(policy.allows(1001, {1000}, "web-1"));
  EXPECT_TRUE(policy.allows(1001, {1001, 27}, "db"));
  EXPECT_FALSE(policy.allows(27, {1000}, "db"));
}

TEST(Policy, PathOutsideRootTakesARuleThatNamesServiceAndPath) {
  const Policy policy({{{1000}, {}, {"web-*"}, {}}, {{}, {27}, {"*"}, {"/dubbo/com.acme.*"}}}, 998);
  EXPECT_FALSE(policy.allows_at(1000, {1000}, "web-1", "/dubbo/com.acme.Hello/providers/x"));
  EXPECT_TRUE(policy.allows_at(1000, {1000, 27}, "web-1", "/dubbo/com.acme.Hello/providers/x"));
  EXPECT_FALSE(policy.allows_at(1001, {27}, "web-1", "/dubbo/com.other.Hello/providers/x"));
  EXPECT_TRUE(policy.allows_at(0, {0}, "anything", "/anywhere"));
  EXPECT_TRUE(Policy().allows_at(1000, {1000}, "web", "/anywhere"));
}

TEST(Policy, RootAndTheAgentAlwaysMay) {
  const Policy policy({{{1000}, {}, {"web"}}}, 998);
  EXPECT_TRUE(policy.allows(0, {0}, "anything"));
  EXPECT_TRUE(policy.allows(998, {998}, "anything"));
}

}  // namespace
}  // namespace limpet::core
