#include "agent/core/pacer.h"

#include <gtest/gtest.h>

namespace limpet::core {
namespace {

constexpr std::size_t kRoom = 1'000;

Pacer::Ready creates(std::size_t writes) {
  return {.writes = writes, .room = kRoom, .enough = 100, .update = false, .in_flight = false};
}

Pacer::Ready updates(std::size_t writes) {
  return {.writes = writes, .room = kRoom, .enough = 100, .update = true, .in_flight = false};
}

TEST(Pacer, LoneWriteGoesOutAtOnce) {
  Pacer pacer;
  EXPECT_TRUE(pacer.may_send(creates(1), 1'000));
  EXPECT_EQ(pacer.wake_at(), std::nullopt);
}

TEST(Pacer, SecondSmallTransactionIsPaused) {
  Pacer pacer;
  pacer.sent(1, 1, 1'000);
  EXPECT_FALSE(pacer.may_send(creates(1), 1'001));
  EXPECT_EQ(pacer.wake_at(), 1'005);
  EXPECT_TRUE(pacer.may_send(creates(1), 1'005));
}

TEST(Pacer, FullTransactionIsNotPaused) {
  Pacer pacer;
  pacer.sent(1, 1, 1'000);
  EXPECT_TRUE(pacer.may_send(creates(100), 1'000));
}

TEST(Pacer, FullTransactionThatFindsNoRoomIsPaused) {
  Pacer pacer;
  pacer.sent(1, 1, 1'000);
  Pacer::Ready ready = creates(100);
  ready.room = 99;
  EXPECT_FALSE(pacer.may_send(ready, 1'000));
}

TEST(Pacer, PauseGrowsWithTheTransactionUpToTwentyMilliseconds) {
  Pacer pacer;
  pacer.sent(80, 80, 1'000);
  EXPECT_FALSE(pacer.may_send(creates(1), 1'000));
  EXPECT_EQ(pacer.wake_at(), 1'010);
  pacer.sent(5'000, 5'000, 2'000);
  EXPECT_FALSE(pacer.may_send(creates(1), 2'000));
  EXPECT_EQ(pacer.wake_at(), 2'020);
}

TEST(Pacer, WriteInFlightIsAwaitedWithoutATimer) {
  Pacer pacer;
  pacer.sent(1, 1, 1'000);
  Pacer::Ready ready = creates(1);
  ready.in_flight = true;
  EXPECT_FALSE(pacer.may_send(ready, 2'000));
  EXPECT_EQ(pacer.wake_at(), std::nullopt);
}

TEST(Pacer, BurstGoesOutWithoutPauses) {
  Pacer pacer;
  pacer.sent(100, 250, 1'000);
  EXPECT_TRUE(pacer.may_send(updates(150), 1'000));
  pacer.sent(100, 150, 1'000);
  EXPECT_TRUE(pacer.may_send(updates(50), 1'000));
  pacer.sent(50, 50, 1'000);
  EXPECT_FALSE(pacer.may_send(updates(1), 1'000));
}

TEST(Pacer, UpdatesWaitForACooldownTwiceAsLongAsTheBurst) {
  Pacer pacer;
  pacer.sent(10, 10, 1'000);
  pacer.idle(1'030);
  EXPECT_FALSE(pacer.may_send(updates(1), 1'031));
  EXPECT_EQ(pacer.wake_at(), 1'090);
  EXPECT_TRUE(pacer.may_send(creates(1), 1'031));
  EXPECT_TRUE(pacer.may_send(updates(1), 1'090));
}

TEST(Pacer, CooldownHasBounds) {
  Pacer pacer;
  pacer.sent(10, 10, 1'000);
  pacer.idle(1'001);
  EXPECT_FALSE(pacer.may_send(updates(1), 1'005));
  EXPECT_EQ(pacer.wake_at(), 1'021);
  pacer.sent(10, 10, 2'000);
  pacer.idle(3'000);
  EXPECT_FALSE(pacer.may_send(updates(1), 3'000));
  EXPECT_EQ(pacer.wake_at(), 3'100);
}

TEST(Pacer, LostConnectionEndsTheBurst) {
  Pacer pacer;
  pacer.sent(100, 250, 1'000);
  pacer.connection_lost();
  EXPECT_FALSE(pacer.may_send(updates(1), 1'001));
}

TEST(Pacer, BusyForAWhileAfterATransaction) {
  Pacer pacer;
  EXPECT_FALSE(pacer.busy(1'000, 100));
  pacer.sent(1, 1, 1'000);
  EXPECT_TRUE(pacer.busy(1'050, 100));
  EXPECT_FALSE(pacer.busy(1'105, 100));
}

}  // namespace
}  // namespace limpet::core
