// What is counted, and what a reload changes of the pace.
#include "agent/core/figures.h"

#include <gtest/gtest.h>

#include "agent/core/core.h"
#include "agent/core/session.h"
#include "agent/core/window.h"

namespace limpet::core {
namespace {

Now at(std::int64_t steady_ms) {
  return Now{steady_ms, 1'700'000'000'000 + steady_ms};
}

std::size_t index(SessionState state) {
  return static_cast<std::size_t>(state);
}

TEST(SessionFigures, HoldTheTimeInEachStateAndHowOftenItWasEntered) {
  const Options options;
  SessionMachine session(options, std::nullopt, {});
  Actions actions;
  session.start(at(1'000), actions);
  const Session held{SessionId{7}, "password", 10'000, options.host};
  session.connected(ZkConnected{session.epoch(), held, "127.0.0.1:2181"}, at(1'500), actions);
  session.disconnected(session.epoch(), at(4'500), actions);
  session.connected(ZkConnected{session.epoch(), held, "127.0.0.1:2181"}, at(5'000), actions);
  const SessionFigures figures = session.figures(at(5'100));
  EXPECT_EQ(figures.spent_ms[index(SessionState::connecting)], 500);
  EXPECT_EQ(figures.spent_ms[index(SessionState::connected)], 3'100);
  EXPECT_EQ(figures.spent_ms[index(SessionState::suspended)], 500);
  EXPECT_EQ(figures.spent_ms[index(SessionState::expired)], 0);
  EXPECT_EQ(figures.entered[index(SessionState::connecting)], 0U);
  EXPECT_EQ(figures.entered[index(SessionState::connected)], 2U);
  EXPECT_EQ(figures.entered[index(SessionState::suspended)], 1U);
}

TEST(WindowRate, ANewOneHoldsAtOnceAndLeavesNoDeadlineOfTheOld) {
  Window window(256, 1);
  EXPECT_TRUE(window.take_share(0));
  EXPECT_FALSE(window.take_share(1));
  EXPECT_EQ(window.next_share_ms(), 1'000);
  window.set_rate(0);
  EXPECT_EQ(window.next_share_ms(), std::nullopt);
  EXPECT_TRUE(window.take_share(2));
  EXPECT_EQ(window.next_share_ms(), std::nullopt);
  window.set_rate(1);
  EXPECT_FALSE(window.take_share(3));
  EXPECT_TRUE(window.take_share(1'003));
}

}  // namespace
}  // namespace limpet::core
