// Writes that go out together: what is one transaction, what follows it, and what becomes of one that fails.
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/core/core.h"

namespace limpet::core {
namespace {

class ReplayBatch : public ::testing::Test {
 protected:
  ReplayBatch() : core_(std::make_unique<Core>(Options{}, StoredState{})) { step(Started{}); }

  void step(Event event) {
    Actions actions;
    core_->step(std::move(event), now_, actions);
    for (Action& action : actions) {
      if (auto* send = std::get_if<ZkSend>(&action)) {
        sent_.push_back(std::move(*send));
      } else if (const auto* timer = std::get_if<SetTimer>(&action)) {
        timer_ms_ = timer->at_steady_ms;
      } else if (const auto* persist = std::get_if<Persist>(&action)) {
        step(Persisted{persist->ticket, Status()});
      }
    }
  }
  void connect() {
    Session session;
    session.id = kSession;
    session.timeout_ms = 10'000;
    step(ZkConnected{Epoch{1}, session, "127.0.0.1:2181"});
  }
  // Registers web/<from> to web/<from + count - 1>, in one call.
  void put(int from, int count, const std::string& data = "x") {
    std::vector<ChangeRequest> changes;
    for (int i = from; i < from + count; ++i) {
      changes.push_back(RegisterRequest{{"web", std::to_string(i)}, std::nullopt, Format::raw, data});
    }
    step(Submit{Token{++token_}, Caller{{1000, 1}}, std::move(changes)});
  }

  // What was sent since, but for what only prepares and looks.
  std::vector<ZkSend> writes() {
    std::vector<ZkSend> writes;
    for (ZkSend& send : std::exchange(sent_, {})) {
      switch (send.request.verb) {
        case ZkVerb::sync:
        case ZkVerb::create_parent:
          step(ZkReplied{send.epoch, send.op, {}});
          break;
        case ZkVerb::watch:
        case ZkVerb::look:
          break;
        default:
          writes.push_back(std::move(send));
      }
    }
    return writes;
  }
  // Each answer takes five milliseconds.
  void done(const ZkSend& send) {
    now_.steady_ms += 5;
    ZkReply reply;
    reply.stat = ZkStat{Zxid{++zxid_}, Zxid{zxid_}, 0, kSession};
    reply.batch.assign(send.request.batch.size(), reply);
    step(ZkReplied{send.epoch, send.op, reply});
  }
  void refused(const ZkSend& send, std::size_t at, ZkCode code) {
    now_.steady_ms += 5;
    ZkReply reply;
    reply.code = ZkCode::throttled;
    reply.batch.assign(send.request.batch.size(), reply);
    reply.code = reply.batch.at(at).code = code;
    step(ZkReplied{send.epoch, send.op, reply});
  }
  static std::vector<std::string> paths(const std::vector<ZkRequest>& batch, ZkVerb verb) {
    std::vector<std::string> paths;
    for (const ZkRequest& one : batch) {
      if (one.verb == verb) {
        paths.push_back(one.path.substr(one.path.rfind('/') + 1));
      }
    }
    return paths;
  }
  State state(int i) const { return core_->find({"web", std::to_string(i)})->state; }

  static constexpr SessionId kSession{0x1001};
  std::unique_ptr<Core> core_;
  Now now_{1'000, 1'700'000'000'000};
  std::vector<ZkSend> sent_;
  std::int64_t timer_ms_ = 0;
  std::uint64_t token_ = 0;
  std::int64_t zxid_ = 0;
};

TEST_F(ReplayBatch, AHostsRegistrationsAreOneTransaction) {
  put(0, 50);
  connect();
  const auto sent = writes();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].request.verb, ZkVerb::transaction);
  ASSERT_EQ(paths(sent[0].request.batch, ZkVerb::create).size(), 50u);
  EXPECT_EQ(paths(sent[0].request.batch, ZkVerb::create)[49], "49") << "in the order of their acceptance";
  done(sent[0]);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(state(i), State::registered);
  }
}

TEST_F(ReplayBatch, OneByItselfIsNoTransaction) {
  connect();
  put(0, 1);
  const auto sent = writes();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].request.verb, ZkVerb::create);
}

TEST_F(ReplayBatch, WhatFollowsChecksWhatItFollows) {
  connect();
  put(0, 2);
  const auto first = writes();
  put(2, 512);
  const auto second = writes();
  ASSERT_EQ(second.size(), 1u) << "though the one before is not answered";
  EXPECT_EQ(paths(second[0].request.batch, ZkVerb::check), (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(paths(second[0].request.batch, ZkVerb::create).size(), 512u);
  // The first comes to nothing, and so does the second: both are sent again, in their order.
  ZkReply later;
  later.code = ZkCode::throttled;
  step(ZkReplied{first[0].epoch, first[0].op, later});
  EXPECT_TRUE(writes().empty()) << "what is in flight fails too";
  refused(second[0], 0, ZkCode::no_node);
  const auto again = writes();
  ASSERT_EQ(again.size(), 2u) << "the last two follow, because they waited as long";
  EXPECT_EQ(paths(again[0].request.batch, ZkVerb::check), std::vector<std::string>());
  const auto creates = paths(again[0].request.batch, ZkVerb::create);
  ASSERT_EQ(creates.size(), 512u);
  EXPECT_EQ(paths(again[1].request.batch, ZkVerb::create), (std::vector<std::string>{"512", "513"}));
  EXPECT_EQ(creates[0] + creates[1] + creates[2], "012");
}

TEST_F(ReplayBatch, AFewWaitForWhatIsOnItsWay) {
  connect();
  put(0, 1);
  const auto first = writes();
  ASSERT_EQ(first.size(), 1u) << "one does not wait for others";
  put(1, 2);
  put(3, 1);
  EXPECT_TRUE(writes().empty());
  done(first[0]);
  const auto second = writes();
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(paths(second[0].request.batch, ZkVerb::check), (std::vector<std::string>{}));
  EXPECT_EQ(paths(second[0].request.batch, ZkVerb::create), (std::vector<std::string>{"1", "2", "3"}));
  // Nor do they go out one right after the other where answers are quick.
  done(second[0]);
  put(4, 1);
  const auto third = writes();
  ASSERT_EQ(third.size(), 1u);
  done(third[0]);
  now_.steady_ms -= 4;  // as if only one had gone by
  put(5, 1);
  EXPECT_TRUE(writes().empty());
  now_.steady_ms += 4;
  step(Tick{});
  EXPECT_EQ(writes().size(), 1u);
}

TEST_F(ReplayBatch, WhereMuchComesMoreGoesTogether) {
  connect();
  put(0, 160);
  done(writes().at(0));
  put(160, 1);
  EXPECT_TRUE(writes().empty()) << "five milliseconds are behind it";
  now_.steady_ms += 14;
  step(Tick{});
  EXPECT_TRUE(writes().empty());
  now_.steady_ms += 1;
  step(Tick{});
  ASSERT_EQ(writes().size(), 1u);
}

TEST_F(ReplayBatch, ChangesOfWhatStandsGoOutTogetherAndLeaveTheServersARest) {
  put(0, 600);
  connect();
  for (const ZkSend& send : writes()) {
    done(send);
  }
  now_.steady_ms += 100;
  put(0, 600, "y");
  const auto burst = writes();
  ASSERT_EQ(burst.size(), 2u) << "all that waits";
  EXPECT_EQ(paths(burst[1].request.batch, ZkVerb::set).size(), 88u);
  done(burst[0]);
  now_.steady_ms += 10;
  done(burst[1]);  // took twenty milliseconds, so forty are to pass
  put(0, 600, "z");
  EXPECT_TRUE(writes().empty()) << "enough for a transaction, but it can wait";
  put(0, 600, "zz");
  now_.steady_ms += 39;
  step(Tick{});
  EXPECT_TRUE(writes().empty());
  now_.steady_ms += 1;
  step(Tick{});
  const auto next = writes();
  ASSERT_EQ(next.size(), 2u);
  EXPECT_EQ(next[0].request.batch.at(0).data, "zz") << "what was superseded meanwhile is not sent";
  done(next[0]);
  done(next[1]);
  // What is to be made is missed by somebody.
  put(1'000, 512);
  EXPECT_EQ(writes().size(), 1u);
}

// A timer that is due already would be set again and again, for as long as the servers take.
TEST_F(ReplayBatch, WithARateNothingWakesItWhileAllWaitsForAnAnswer) {
  Options options;
  options.replay_rate = 20;
  core_ = std::make_unique<Core>(options, StoredState{});
  step(Started{});
  put(0, 100);
  connect();
  for (int tenth = 0; tenth < 30; ++tenth) {
    now_.steady_ms += 100;
    step(Tick{});
    EXPECT_GT(timer_ms_, now_.steady_ms) << "after " << tenth + 1 << " tenths of a second";
  }
}

TEST_F(ReplayBatch, ARefusalIsThatOfOneAndTheOthersAreSettledOneByOne) {
  put(0, 4);
  connect();
  const auto sent = writes();
  refused(sent[0], 2, ZkCode::quota_exceeded);
  EXPECT_EQ(state(2), State::blocked);
  const auto alone = writes();
  ASSERT_EQ(alone.size(), 3u);
  for (const ZkSend& send : alone) {
    EXPECT_EQ(send.request.verb, ZkVerb::create);
    done(send);
  }
  EXPECT_EQ(state(0), State::registered);
  EXPECT_EQ(state(1), State::registered);
  EXPECT_EQ(state(3), State::registered);
  put(10, 3);
  const auto next = writes();
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].request.verb, ZkVerb::transaction) << "others still go together";
}

TEST_F(ReplayBatch, AForeignZnodeIsReadBeforeWhatIsBehindItIsSent) {
  put(0, 4);
  connect();
  const auto sent = writes();
  refused(sent[0], 1, ZkCode::node_exists);
  const auto next = writes();
  ASSERT_EQ(next.size(), 2u);
  EXPECT_EQ(next[0].request.verb, ZkVerb::read);
  EXPECT_EQ(next[1].request.path, "/services/web/0");
}

TEST_F(ReplayBatch, AfterALossAllOfATransactionIsReadAgain) {
  put(0, 3);
  connect();
  writes();
  step(ZkDisconnected{Epoch{1}});
  connect();
  const auto reads = writes();
  ASSERT_EQ(reads.size(), 0u) << "the sync comes first";
  const auto after = writes();
  EXPECT_EQ(std::count_if(after.begin(), after.end(), [](const auto& one) { return one.request.verb == ZkVerb::read; }),
            3);
}

TEST_F(ReplayBatch, InANewSessionWhatStoodAboveIsNotMadeAgain) {
  put(0, 3);
  connect();
  done(writes()[0]);
  step(ZkExpired{Epoch{1}});
  sent_.clear();
  Session session;
  session.id = SessionId{0x1002};
  session.timeout_ms = 10'000;
  step(ZkConnected{Epoch{2}, session, "127.0.0.1:2181"});
  EXPECT_TRUE(std::none_of(sent_.begin(), sent_.end(),
                           [](const auto& send) { return send.request.verb == ZkVerb::create_parent; }));
  const auto sent = writes();
  ASSERT_EQ(sent.size(), 1u);
  // It is gone all the same: made anew, and nothing is taken for refused.
  refused(sent[0], 0, ZkCode::no_node);
  EXPECT_EQ(std::count_if(sent_.begin(), sent_.end(),
                          [](const auto& send) { return send.request.verb == ZkVerb::create_parent; }),
            2);
  const auto again = writes();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].request.verb, ZkVerb::transaction);
  done(again[0]);
  EXPECT_EQ(state(2), State::registered);
}

TEST_F(ReplayBatch, MuchGoesInSeveralOfBoundedSize) {
  put(0, 600, std::string(1'000, 'x'));
  put(600, 2'000, "");
  connect();
  std::size_t created = 0;
  for (int rounds = 0; rounds < 20 && created < 2'600; ++rounds) {
    for (const ZkSend& send : writes()) {
      std::size_t bytes = 0;
      for (const ZkRequest& one : send.request.batch) {
        bytes += one.path.size() + one.data.size();
      }
      EXPECT_LE(bytes, 260u << 10);
      EXPECT_LE(paths(send.request.batch, ZkVerb::create).size(), 512u);
      created += paths(send.request.batch, ZkVerb::create).size();
      done(send);
    }
  }
  EXPECT_EQ(created, 2'600u);
}

}  // namespace
}  // namespace limpet::core
