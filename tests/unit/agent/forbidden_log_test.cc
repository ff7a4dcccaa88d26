#include "agent/forbidden_log.h"

#include <gtest/gtest.h>

namespace limpet {
namespace {

core::Caller caller(std::uint32_t uid) {
  core::Caller caller;
  caller.owner = {uid, 77};
  caller.program = "a \"b\"\n";
  return caller;
}

constexpr std::int64_t kPeriod = ForbiddenLog::kPeriodMs;

TEST(ForbiddenLog, SaysOnceAMinuteForEachUserAndCountsWhatItLeavesOut) {
  ForbiddenLog log;
  EXPECT_EQ(log.note(caller(1), "not_owner", "/v1/x", 1'000),
            "uid=1 pid=77 program=\"a \\\"b\\\"\\n\" code=not_owner target=\"/v1/x\"");
  EXPECT_EQ(log.note(caller(1), "not_owner", "/v1/x", 1'001), std::nullopt);
  EXPECT_EQ(log.note(caller(1), "not_allowed", "", 1'000 + kPeriod - 1), std::nullopt);
  EXPECT_NE(log.note(caller(2), "not_owner", "", 1'001), std::nullopt);
  EXPECT_EQ(log.note(caller(1), "not_allowed", "", 1'000 + kPeriod),
            "uid=1 pid=77 program=\"a \\\"b\\\"\\n\" code=not_allowed and_before=2");
  EXPECT_EQ(log.note(caller(1), "not_allowed", "", 1'000 + kPeriod + 1), std::nullopt);
}

TEST(ForbiddenLog, KeepsABoundedNumberOfUsers) {
  ForbiddenLog log;
  for (std::uint32_t uid = 0; uid < ForbiddenLog::kMaxUsers; ++uid) {
    EXPECT_NE(log.note(caller(uid), "not_owner", "", 0), std::nullopt);
  }
  EXPECT_EQ(log.note(caller(5'000), "not_owner", "", 1), std::nullopt);
  EXPECT_NE(log.note(caller(5'000), "not_owner", "", kPeriod), std::nullopt);
}

}  // namespace
}  // namespace limpet
