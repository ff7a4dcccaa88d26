// Threads for work that may block, shared among users.
#include "agent/liveness/blocking_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

#include "tests/unit/liveness/child.h"

namespace limpet::liveness {
namespace {

constexpr std::uint32_t kAlice = 4711;
constexpr std::uint32_t kBob = 4712;

TEST(BlockingPool, OneUsersHangingWorkLeavesThreadsToOthers) {
  std::latch go(1);
  std::atomic<int> alices = 0;
  std::atomic<int> bobs = 0;
  BlockingPool pool({8, 2});
  for (int i = 0; i < 20; ++i) {
    const auto ticket = pool.run(kAlice, [&] {
      ++alices;
      go.wait();
    });
    EXPECT_NE(ticket.number, 0u);
  }
  EXPECT_TRUE(test::eventually([&] { return alices == 2; }));
  for (int i = 0; i < 20; ++i) {
    pool.run(kBob, [&] { ++bobs; });
  }
  EXPECT_TRUE(test::eventually([&] { return bobs == 20; }));
  EXPECT_EQ(alices, 2);
  go.count_down();
  EXPECT_TRUE(test::eventually([&] { return alices == 20; }));
}

TEST(BlockingPool, UsersTakeTurnsWhereThreadsAreShort) {
  std::latch go(1);
  std::atomic<int> begun = 0;
  std::string order;  // written by the one thread
  BlockingPool pool({1, 1});
  pool.run(kAlice, [&] {
    ++begun;
    go.wait();
  });
  ASSERT_TRUE(test::eventually([&] { return begun == 1; }));
  for (const char user : {'a', 'a', 'a', 'b', 'b', 'b'}) {
    pool.run(user == 'a' ? kAlice : kBob, [&, user] {
      order += user;
      ++begun;
    });
  }
  go.count_down();
  ASSERT_TRUE(test::eventually([&] { return begun == 7; }));
  EXPECT_EQ(order, "bababa");
}

TEST(BlockingPool, CancelledWorkDoesNotBegin) {
  std::latch go(1);
  std::atomic<int> begun = 0;
  BlockingPool pool({1, 1});
  pool.run(kAlice, [&] {
    ++begun;
    go.wait();
  });
  const auto ticket = pool.run(kAlice, [&] { begun += 100; });
  pool.run(kBob, [&] { ++begun; });
  pool.cancel(ticket);
  pool.cancel(ticket);
  go.count_down();
  EXPECT_TRUE(test::eventually([&] { return begun == 2; }));
}

}  // namespace
}  // namespace limpet::liveness
