// Registrations that move to another path: no reader misses them, also where the move was loaded from disk.
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/core/core.h"

namespace limpet::core {
namespace {

constexpr SessionId kMoveSession{0x1001};
constexpr Zxid kBorn{7};

class MoveTest : public ::testing::Test {
 protected:
  // As it stands on disk after web/a moved from /services/web/a to `to`, was acknowledged, and was not sent.
  void restart_with_a_move(const std::string& to = "/services/new/a", Lifetime lifetime = {}) {
    StoredState stored;
    stored.last_seq = Seq{2};
    Registration moved{{"web", "a"}, to, Format::raw, "data", {1000, 1}, Seq{2}, 1, std::move(lifetime)};
    stored.registrations.emplace_back(std::move(moved));
    stored.removals.push_back({Seq{2}, {"web", "a"}, "/services/web/a", {1000, 1}, 1, marked_});
    restart(std::move(stored));
    connect();
  }
  void restart(StoredState stored) {
    stored.session = session();
    core_ = std::make_unique<Core>(Options{}, std::move(stored));
    step(Started{});
  }
  void connect() { step(ZkConnected{Epoch{1}, session(), "127.0.0.1:2181"}); }
  static Session session() {
    Session session;
    session.id = kMoveSession;
    session.timeout_ms = 10'000;
    return session;
  }

  void step(Event event) {
    Actions actions;
    core_->step(std::move(event), now_, actions);
    for (Action& action : actions) {
      if (auto* send = std::get_if<ZkSend>(&action)) {
        sent_.push_back(std::move(*send));
      } else if (const auto* persist = std::get_if<Persist>(&action)) {
        step(Persisted{persist->ticket, Status()});
      }
    }
  }
  void answer(const ZkSend& send, ZkReply reply) {
    now_.steady_ms += 5;
    step(ZkReplied{send.epoch, send.op, std::move(reply)});
  }
  static ZkReply standing(SessionId owner = kMoveSession) {
    ZkReply reply;
    reply.stat = ZkStat{kBorn, kBorn, 0, owner};
    reply.data = "old";
    return reply;
  }
  static ZkReply code(ZkCode code) {
    ZkReply reply;
    reply.code = code;
    return reply;
  }
  static ZkReply refusal(const ZkSend& send, std::size_t at, ZkCode code) {
    ZkReply reply;
    reply.code = ZkCode::throttled;
    reply.batch.assign(send.request.batch.size(), reply);
    reply.code = reply.batch.at(at).code = code;
    return reply;
  }
  void done(const ZkSend& send) {
    ZkReply reply = standing();
    reply.batch.assign(send.request.batch.size(), reply);
    answer(send, std::move(reply));
  }
  // The reads and writes of registrations that were sent since; what prepares them is answered well.
  std::vector<ZkSend> take() {
    std::vector<ZkSend> taken;
    while (!sent_.empty()) {
      std::vector<ZkSend> now = std::exchange(sent_, {});
      for (ZkSend& send : now) {
        const ZkVerb verb = send.request.verb;
        if (verb == ZkVerb::sync || verb == ZkVerb::create_parent || verb == ZkVerb::look) {
          answer(send, {});
        } else if (verb != ZkVerb::watch) {
          taken.push_back(std::move(send));
        }
      }
    }
    return taken;
  }
  // Answers the reads of the old and the new path in that order; what is sent then.
  std::vector<ZkSend> after_reads(ZkReply old_path, ZkReply new_path) {
    const std::vector<ZkSend> reads = take();
    EXPECT_EQ(reads.size(), 2u);
    for (const ZkSend& read : reads) {
      EXPECT_EQ(read.request.verb, ZkVerb::read);
      answer(read, read.request.path == "/services/web/a" ? old_path : new_path);
    }
    return take();
  }
  static bool moves(const ZkSend& send) {
    const auto& batch = send.request.batch;
    return send.request.verb == ZkVerb::transaction && batch.size() == 2 && batch[0].verb == ZkVerb::remove &&
           batch[0].path == "/services/web/a" && batch[1].verb == ZkVerb::create && batch[1].path == "/services/new/a";
  }
  State state() const { return core_->find({"web", "a"})->state; }
  std::uint64_t depth() const { return core_->status(now_).queue_depth; }
  void wait(std::int64_t ms) {
    now_.steady_ms += ms;
    step(Tick{});
  }

  std::unique_ptr<Core> core_;
  Now now_{1'000, 1'700'000'000'000};
  std::vector<ZkSend> sent_;
  std::uint64_t token_ = 0;
  bool marked_ = true;  // the removal, as one that a move has left
};

TEST_F(MoveTest, AMoveLoadedFromDiskIsOneTransaction) {
  restart_with_a_move();
  const auto sent = after_reads(standing(), code(ZkCode::no_node));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(moves(sent[0]));
  done(sent[0]);
  EXPECT_EQ(state(), State::registered);
  EXPECT_EQ(depth(), 0u);
}

TEST_F(MoveTest, AMoveOfAnEarlierLimpetIsOneTransactionToo) {
  marked_ = false;
  restart_with_a_move();
  const auto sent = after_reads(standing(), code(ZkCode::no_node));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(moves(sent[0]));
}

TEST_F(MoveTest, ADeregistrationIsNotHeldForALaterRegistrationElsewhere) {
  restart_with_a_move();
  EXPECT_TRUE(after_reads(standing(), standing(SessionId{0x9})).empty());
  step(Submit{Token{++token_}, Caller{{1000, 1}}, {DeregisterRequest{{"web", "a"}}}});
  step(Submit{
      Token{++token_}, Caller{{1000, 1}}, {RegisterRequest{{"web", "a"}, "/services/new/a", Format::raw, "data"}}});
  wait(100);
  const auto sent = take();
  EXPECT_TRUE(std::any_of(sent.begin(), sent.end(), [](const ZkSend& send) {
    return send.request.verb == ZkVerb::remove && send.request.path == "/services/web/a";
  }));
}

TEST_F(MoveTest, TheOldZnodeStaysWhereTheNewPathIsInConflict) {
  restart_with_a_move();
  EXPECT_TRUE(after_reads(standing(), standing(SessionId{0x9})).empty());
  EXPECT_EQ(state(), State::conflict);
  for (int i = 0; i < 5; ++i) {
    wait(60'000);
    for (const ZkSend& send : take()) {
      ASSERT_EQ(send.request.verb, ZkVerb::read);
      ASSERT_EQ(send.request.path, "/services/new/a");
      answer(send, standing(SessionId{0x9}));
    }
  }
  // Its owner goes: the move is carried out as a whole.
  step(ZkWatchFired{Epoch{1}, "/services/new/a"});
  auto sent = take();
  ASSERT_EQ(sent.size(), 1u);
  answer(sent[0], code(ZkCode::no_node));
  sent = take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(moves(sent[0]));
  done(sent[0]);
  EXPECT_EQ(state(), State::registered);
  EXPECT_EQ(depth(), 0u);
}

TEST_F(MoveTest, TheOldZnodeStaysWhereTheNewOneIsRefused) {
  restart_with_a_move();
  auto sent = after_reads(standing(), code(ZkCode::no_node));
  ASSERT_EQ(sent.size(), 1u);
  answer(sent[0], refusal(sent[0], 1, ZkCode::no_auth));
  EXPECT_EQ(state(), State::blocked);
  EXPECT_TRUE(take().empty()) << "nothing is removed";
  wait(60'000);
  sent = take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(moves(sent[0])) << "tried again as a whole";
  done(sent[0]);
  EXPECT_EQ(state(), State::registered);
  EXPECT_EQ(depth(), 0u);
}

TEST_F(MoveTest, AnOldZnodeThatMayNotBeRemovedHoldsTheNewOneUpNoLonger) {
  restart_with_a_move();
  auto sent = after_reads(standing(), code(ZkCode::no_node));
  ASSERT_EQ(sent.size(), 1u);
  answer(sent[0], refusal(sent[0], 0, ZkCode::no_auth));
  sent = take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].request.verb, ZkVerb::create);
  done(sent[0]);
  EXPECT_EQ(state(), State::registered);
  wait(60'000);
  sent = take();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].request.verb, ZkVerb::remove);
  done(sent[0]);
  EXPECT_EQ(depth(), 0u);
}

TEST_F(MoveTest, WhatStandsAtTheNewPathAlreadyLetsTheOldOneGo) {
  restart_with_a_move();
  ZkReply there = standing();
  there.data = "data";
  const auto sent = after_reads(standing(), there);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].request.verb, ZkVerb::remove);
  done(sent[0]);
  EXPECT_EQ(state(), State::registered);
  EXPECT_EQ(depth(), 0u);
}

TEST_F(MoveTest, ADeregistrationLetsTheOldZnodeGo) {
  restart_with_a_move();
  EXPECT_TRUE(after_reads(standing(), standing(SessionId{0x9})).empty());
  step(Submit{Token{++token_}, Caller{{1000, 1}}, {DeregisterRequest{{"web", "a"}}}});
  wait(100);
  bool removed = false;
  for (const ZkSend& send : take()) {
    removed = removed || (send.request.verb == ZkVerb::remove && send.request.path == "/services/web/a");
    answer(send, send.request.verb == ZkVerb::read ? standing(SessionId{0x9}) : ZkReply{});
  }
  EXPECT_TRUE(removed);
  EXPECT_EQ(depth(), 0u);
}

TEST_F(MoveTest, MaintenanceLetsTheOldZnodeGo) {
  restart_with_a_move();
  EXPECT_TRUE(after_reads(standing(), standing(SessionId{0x9})).empty());
  step(SetMaintenance{Token{++token_}, Caller{{1000, 1}}, RegistrationId{"web", "a"}, "new disk"});
  wait(100);
  const auto sent = take();
  EXPECT_TRUE(std::any_of(sent.begin(), sent.end(), [](const ZkSend& send) {
    return send.request.verb == ZkVerb::remove && send.request.path == "/services/web/a";
  }));
}

TEST_F(MoveTest, MoveThatNeverStoodAtItsOldPathKeepsNoZnodeOfADeregisteredOne) {
  StoredState stored;
  stored.last_seq = Seq{1};
  stored.removals.push_back({Seq{1}, {"web", "b"}, "/services/web/a", {1000, 1}, 1, false});
  restart(std::move(stored));
  for (const char* path : {"/services/web/a", "/services/new/a"}) {
    step(Submit{Token{++token_}, Caller{{1000, 1}}, {RegisterRequest{{"web", "a"}, path, Format::raw, "data"}}});
  }
  connect();
  bool removed = false;
  for (int i = 0; i < 5; ++i) {
    wait(1'000);
    for (const ZkSend& send : take()) {
      const bool old_path = send.request.path == "/services/web/a";
      if (send.request.verb == ZkVerb::read) {
        answer(send, old_path ? standing() : standing(SessionId{0x9}));
      } else if (send.request.verb == ZkVerb::transaction) {
        answer(send, refusal(send, send.request.batch.size() - 1, ZkCode::node_exists));
      } else {
        removed = removed || (old_path && send.request.verb == ZkVerb::remove);
        answer(send, {});
      }
    }
  }
  EXPECT_EQ(state(), State::conflict);
  EXPECT_TRUE(removed);
}

TEST_F(MoveTest, AMoveBelowItsOldPathRemovesFirst) {
  restart_with_a_move("/services/web/a/b");
  const auto sent = after_reads(standing(), code(ZkCode::no_node));
  ASSERT_FALSE(sent.empty());
  const ZkRequest& first = sent[0].request.batch.empty() ? sent[0].request : sent[0].request.batch[0];
  EXPECT_EQ(first.verb, ZkVerb::remove);
  EXPECT_EQ(first.path, "/services/web/a");
}

}  // namespace
}  // namespace limpet::core
