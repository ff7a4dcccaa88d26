// Turns: how work is shared out between users, with a clock that stands still unless somebody works.
#include "agent/api/turns.h"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <string>

namespace limpet::api {
namespace {

using std::chrono::microseconds;

class TurnsTest : public ::testing::Test {
 protected:
  // Each piece of work takes some time, and writes its user's number down.
  class Worker final : public TurnTaker {
   public:
    Worker(TurnsTest& test, std::uint32_t user, int pieces, microseconds cost)
        : test_(test), user_(user), left_(pieces), cost_(cost) {}
    std::uint32_t turn_user() const override { return user_; }
    bool take_turn(const Turn& turn) override {
      test_.turns_taken_ += std::to_string(user_);
      do {
        test_.now_ += cost_;
        test_.work_done_ += std::to_string(user_);
      } while (--left_ > 0 && !turn.over());
      return left_ > 0;
    }
    void look_for_hangup() override {}

   private:
    TurnsTest& test_;
    const std::uint32_t user_;
    int left_;
    const microseconds cost_;
  };

  void add(std::uint32_t user, int pieces, microseconds cost) {
    turns_.add(std::make_shared<Worker>(*this, user, pieces, cost));
  }

  boost::asio::io_context io_;
  TurnTime now_;
  std::string turns_taken_;
  std::string work_done_;
  Turns turns_{io_, [this] { return now_; }};
};

TEST_F(TurnsTest, NobodyWorksBeforeTheEventLoopRuns) {
  add(1, 1, microseconds(1));
  EXPECT_EQ(work_done_, "");
  io_.poll();
  EXPECT_EQ(work_done_, "1");
}

TEST_F(TurnsTest, ShortWorkIsDoneInOneTurn) {
  add(1, 5, microseconds(10));
  io_.poll();
  EXPECT_EQ(turns_taken_, "1");
  EXPECT_EQ(work_done_, "11111");
}

TEST_F(TurnsTest, UsersTakeTurnsHoweverManyConnectionsEachHas) {
  for (int i = 0; i < 50; ++i) {
    add(1, 2, Turns::kSlice);
  }
  add(2, 3, Turns::kSlice);
  add(3, 1, Turns::kSlice);
  io_.poll();
  EXPECT_EQ(turns_taken_.substr(0, 7), "1231212");
  EXPECT_EQ(turns_taken_.size(), 50U * 2 + 3 + 1);
}

TEST_F(TurnsTest, LongRequestDelaysOthersOnce) {
  add(1, 3, 50 * Turns::kSlice);
  add(1, 3, 50 * Turns::kSlice);
  add(2, 2, Turns::kSlice);
  io_.poll();
  EXPECT_EQ(turns_taken_.substr(0, 4), "1212");
}

TEST_F(TurnsTest, RoundEndsSoThatTheEventLoopGoesOn) {
  add(1, 1'000, Turns::kSlice);
  io_.run_one();
  EXPECT_EQ(static_cast<long>(work_done_.size()), Turns::kRound / Turns::kSlice);
  bool timer_served = false;
  boost::asio::post(io_, [&] { timer_served = true; });
  io_.run_one();
  io_.run_one();
  EXPECT_TRUE(timer_served);
  io_.poll();
  EXPECT_EQ(work_done_.size(), 1'000U);
}

TEST_F(TurnsTest, CancelledOnesAreLetGo) {
  auto worker = std::make_shared<Worker>(*this, 1, 5, Turns::kSlice);
  turns_.add(worker);
  turns_.cancel();
  EXPECT_EQ(worker.use_count(), 1);
  turns_.add(worker);
  io_.poll();
  EXPECT_EQ(work_done_, "");
}

}  // namespace
}  // namespace limpet::api
