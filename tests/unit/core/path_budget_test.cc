// Core by single steps: the bounds of the packets that name many znodes, and of what users may hold.
#include "agent/core/path_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "agent/core/core.h"
#include "tests/support/fake_store.h"

namespace limpet::core {
namespace {

// A Core on a FakeStore, and a ZooKeeper that does what it is asked, in its order, as soon as answer() is called. It
// notes the largest packet that would have ended the session, and set its watches, at any time.
class PathBudget : public ::testing::Test {
 protected:
  struct Znode {
    std::string data;
    SessionId owner;
    std::int32_t version = 0;
    Zxid zxid;
  };

  PathBudget() { options_.chroot_bytes = 100; }

  void start() {
    core_ = std::make_unique<Core>(options_, *store_.load());
    sent_.clear();
    epoch_ = Epoch{1};
    step(Started{});
  }

  void step(Event event) {
    Actions actions;
    core_->step(std::move(event), now_, actions);
    for (Action& action : actions) {
      if (auto* persist = std::get_if<Persist>(&action)) {
        step(Persisted{persist->ticket, store_.append(persist->batch, persist->sync)});
      } else if (auto* send = std::get_if<ZkSend>(&action)) {
        sent_.push_back(std::move(*send));
      } else if (auto* reply = std::get_if<Reply>(&action)) {
        reply_ = std::move(reply->result);
      } else if (auto* note = std::get_if<Note>(&action)) {
        notes_.push_back(note->what);
      } else if (const auto* start = std::get_if<ZkStart>(&action)) {
        epoch_ = start->epoch;
      } else if (const auto* timer = std::get_if<SetTimer>(&action)) {
        timer_ms_ = timer->at_steady_ms;
      }
    }
  }

  void connect(SessionId session) {
    Session made;
    made.id = session_ = session;
    made.timeout_ms = 10'000;
    std::erase_if(znodes_,
                  [&](const auto& znode) { return znode.second.owner != session && gone_ == znode.second.owner; });
    step(ZkConnected{epoch_, made, "127.0.0.1:2181"});
  }

  // Answers all that was sent, and what follows from that.
  void answer() {
    while (!sent_.empty()) {
      const ZkSend send = std::move(sent_.front());
      sent_.erase(sent_.begin());
      now_.steady_ms += 1;
      step(ZkReplied{send.epoch, send.op, carried_out(send.request)});
      largest_ = std::max(largest_, session_packet());
      largest_watch_ = std::max(largest_watch_, watch_packet());
    }
  }
  // Until nothing more happens by itself.
  void settle() {
    for (int i = 0; i < 200; ++i) {
      answer();
      now_.steady_ms += 100;
      step(Tick{});
    }
  }

  ZkReply carried_out(const ZkRequest& request) {
    ZkReply reply;
    if (request.verb == ZkVerb::transaction) {
      const auto before = znodes_;
      for (const ZkRequest& one : request.batch) {
        reply.batch.push_back(carried_out(one));
        if (reply.batch.back().code != ZkCode::ok) {
          znodes_ = before;
          const ZkCode code = reply.batch.back().code;
          const std::size_t at = reply.batch.size() - 1;
          reply.batch.assign(request.batch.size(), ZkReply{ZkCode::throttled, {}, {}, {}});
          reply.code = reply.batch[at].code = code;
          return reply;
        }
      }
      return reply;
    }
    const auto it = znodes_.find(request.path);
    const auto stat_of = [](const Znode& znode) { return ZkStat{znode.zxid, znode.zxid, znode.version, znode.owner}; };
    switch (request.verb) {
      case ZkVerb::create:
        if (it != znodes_.end()) {
          reply.code = ZkCode::node_exists;
        } else {
          znodes_[request.path] = Znode{request.data, session_, 0, Zxid{++zxid_}};
          reply.stat = stat_of(znodes_[request.path]);
        }
        return reply;
      case ZkVerb::set:
      case ZkVerb::check:
      case ZkVerb::remove:
        if (it == znodes_.end() || undeletable_.contains(request.path)) {
          reply.code = it == znodes_.end() ? ZkCode::no_node : ZkCode::no_auth;
        } else if (request.version != -1 && request.version != it->second.version) {
          reply.code = ZkCode::bad_version;
        } else if (request.verb == ZkVerb::remove) {
          znodes_.erase(it);
          fire(request.path);
        } else if (request.verb == ZkVerb::set) {
          it->second.data = request.data;
          ++it->second.version;
          fire(request.path);
          reply.stat = stat_of(it->second);
        }
        return reply;
      case ZkVerb::read:
      case ZkVerb::watch:
        if (it == znodes_.end()) {
          reply.code = ZkCode::no_node;
        } else {
          reply.data = it->second.data;
          reply.stat = stat_of(it->second);
        }
        if (request.leave_watch && (reply.code == ZkCode::ok || request.verb == ZkVerb::watch)) {
          watched_.insert(request.path);
        }
        return reply;
      default:
        return reply;
    }
  }
  void fire(const std::string& path) {
    if (watched_.erase(path) > 0) {
      step(ZkWatchFired{epoch_, path});
    }
  }

  std::uint64_t session_packet() const {
    std::uint64_t bytes = kPacketHeadBytes;
    for (const auto& [path, znode] : znodes_) {
      bytes += znode.owner == session_ ? packet_bytes(path, options_.chroot_bytes) : 0;
    }
    return bytes;
  }
  std::uint64_t watch_packet() const {
    std::uint64_t bytes = kPacketHeadBytes;
    for (const std::string& path : watched_) {
      bytes += packet_bytes(path, options_.chroot_bytes);
    }
    return bytes;
  }

  // ---- Calls
  static RegisterRequest put(const std::string& instance, const std::string& data = "x") {
    return RegisterRequest{{"web", instance}, std::nullopt, Format::raw, data};
  }
  bool accepted(std::vector<ChangeRequest> changes, std::uint32_t uid = 0) {
    step(Submit{Token{++token_}, Caller{{uid, 1}, uid == 0}, std::move(changes)});
    return std::holds_alternative<std::vector<AcceptedChange>>(reply_);
  }
  const Problem& problem() const { return std::get<Problem>(reply_); }
  // How many of web/0, web/1 … are accepted.
  int accepted_one_by_one(std::uint32_t uid, int from = 0) {
    int count = 0;
    while (accepted({put(std::to_string(from + count))}, uid)) {
      ++count;
    }
    return count;
  }
  State state(const std::string& instance) const { return core_->find({"web", instance})->state; }
  StatusView status() const { return core_->status(now_); }
  // Of the znode of web/<one digit>.
  std::uint64_t one() const { return packet_bytes("/services/web/0", options_.chroot_bytes); }
  void bound(std::uint64_t znodes) {
    options_.limits.max_path_bytes = static_cast<std::uint32_t>(kPacketHeadBytes + znodes * one());
  }

  Options options_;
  test::FakeStore store_;
  std::unique_ptr<Core> core_;
  Now now_{1'000, 1'700'000'000'000};
  Epoch epoch_{1};
  std::int64_t timer_ms_ = 0;
  SessionId session_;
  SessionId gone_;  // its znodes went with it
  std::map<std::string, Znode> znodes_;
  std::set<std::string> watched_;
  std::set<std::string> undeletable_;
  std::vector<ZkSend> sent_;
  std::vector<std::string> notes_;
  std::variant<std::vector<AcceptedChange>, Problem> reply_;
  std::uint64_t token_ = 0;
  std::int64_t zxid_ = 0;
  std::uint64_t largest_ = 0;
  std::uint64_t largest_watch_ = 0;
};

constexpr SessionId kFirst{0x1001};
constexpr SessionId kSecond{0x1002};

TEST_F(PathBudget, PathsAreCountedWithChrootAndLength) {
  bound(3);
  start();
  EXPECT_EQ(accepted_one_by_one(0), 3);
  EXPECT_EQ(problem().code, ProblemCode::quota);
  EXPECT_NE(problem().detail.find("max_path_bytes"), std::string::npos);
  EXPECT_TRUE(accepted({put("0", "other data")})) << "an update needs no more room";
  connect(kFirst);
  settle();
  EXPECT_EQ(largest_, options_.limits.max_path_bytes);
  EXPECT_EQ(status().session_path_bytes, session_packet());
  EXPECT_EQ(status().path_bytes.used, session_packet());
}

TEST_F(PathBudget, ExcessIsHeldBackAfterAStartWithALongerChroot) {
  bound(5);
  start();
  EXPECT_EQ(accepted_one_by_one(0), 5);
  options_.chroot_bytes += 60;
  start();
  EXPECT_NE(std::find(notes_.begin(), notes_.end(), "paths_over_limit"), notes_.end());
  connect(kFirst);
  settle();
  EXPECT_EQ(znodes_.size(), 3u);
  EXPECT_EQ(state("2"), State::registered);
  EXPECT_EQ(state("3"), State::blocked);
  EXPECT_EQ(core_->find({"web", "3"})->reason->code, ReasonCode::quota);
  EXPECT_NE(core_->find({"web", "3"})->reason->message.find("max_path_bytes"), std::string::npos);
  EXPECT_EQ(status().held_back, 2u);
  EXPECT_LE(largest_, options_.limits.max_path_bytes);
  EXPECT_NE(std::find(notes_.begin(), notes_.end(), "paths_over_bound"), notes_.end());
  // One goes, and the first of those that wait takes its place.
  accepted({DeregisterRequest{{"web", "0"}}});
  settle();
  EXPECT_EQ(state("3"), State::registered);
  EXPECT_EQ(state("4"), State::blocked);
  EXPECT_LE(largest_, options_.limits.max_path_bytes);
}

TEST_F(PathBudget, RaisedLimitLetsOutWhatIsHeldBack) {
  bound(4);
  start();
  EXPECT_EQ(accepted_one_by_one(0), 4);
  bound(2);
  start();
  connect(kFirst);
  settle();
  EXPECT_EQ(status().held_back, 2u);
  Reconfigured event;
  event.limits = options_.limits;
  event.limits.max_path_bytes = static_cast<std::uint32_t>(kPacketHeadBytes + 4 * one());
  step(event);
  settle();
  EXPECT_EQ(znodes_.size(), 4u);
  EXPECT_EQ(status().held_back, 0u);
  EXPECT_NE(std::find(notes_.begin(), notes_.end(), "paths_within_bound"), notes_.end());
}

TEST_F(PathBudget, LoweredLimitRemovesNothingThatStands) {
  bound(4);
  start();
  EXPECT_EQ(accepted_one_by_one(0), 4);
  connect(kFirst);
  settle();
  const auto before = zxid_;
  bound(2);
  start();
  connect(kFirst);
  settle();
  EXPECT_EQ(znodes_.size(), 4u);
  EXPECT_EQ(zxid_, before);
  EXPECT_FALSE(accepted({put("5")}));
  // The next session holds no more than the limit allows.
  gone_ = kFirst;
  step(ZkExpired{epoch_});
  connect(kSecond);
  largest_ = 0;
  settle();
  EXPECT_EQ(znodes_.size(), 2u);
  EXPECT_LE(largest_, options_.limits.max_path_bytes);
}

// Changes that cancel one another leave znodes that stand and creates for others: together more than was ever accepted.
TEST_F(PathBudget, SupersededRemovalsNeverTakeTheSessionPastItsBound) {
  bound(4);
  start();
  accepted({put("0"), put("1"), put("2"), put("3")});
  connect(kFirst);
  settle();
  step(ZkDisconnected{epoch_});
  for (const char* name : {"0", "1"}) {
    EXPECT_TRUE(accepted({DeregisterRequest{{"web", name}}}));
  }
  EXPECT_TRUE(accepted({put("8"), put("9")}));
  for (const char* name : {"2", "3"}) {
    EXPECT_TRUE(accepted({DeregisterRequest{{"web", name}}}));
  }
  EXPECT_TRUE(accepted({put("0"), put("1")}));
  largest_ = 0;
  connect(kFirst);
  settle();
  EXPECT_LE(largest_, options_.limits.max_path_bytes);
  EXPECT_EQ(status().registrations.used, 4u);
  EXPECT_EQ(status().by_state[static_cast<std::size_t>(State::registered)], 4u);
}

TEST_F(PathBudget, ZnodesThatCannotBeRemovedKeepTheirRoom) {
  bound(3);
  start();
  accepted({put("0"), put("1"), put("2")});
  connect(kFirst);
  settle();
  undeletable_ = {"/services/web/0"};
  EXPECT_TRUE(accepted({DeregisterRequest{{"web", "0"}}}));
  EXPECT_TRUE(accepted({put("3")}));
  settle();
  EXPECT_EQ(state("3"), State::blocked);
  EXPECT_LE(largest_, options_.limits.max_path_bytes);
  undeletable_.clear();
  for (int i = 0; i < 10; ++i) {
    settle();
  }
  EXPECT_EQ(state("3"), State::registered);
  EXPECT_LE(largest_, options_.limits.max_path_bytes);
}

TEST_F(PathBudget, MoveOfAFullSessionFindsRoom) {
  bound(3);
  start();
  accepted({put("0"), put("1"), put("2")});
  connect(kFirst);
  settle();
  RegisterRequest moved = put("0");
  moved.path = "/services/web/7";
  EXPECT_TRUE(accepted({moved}));
  settle();
  EXPECT_EQ(state("0"), State::registered);
  EXPECT_TRUE(znodes_.contains("/services/web/7"));
  EXPECT_LE(largest_, options_.limits.max_path_bytes);
}

// Taken up from a release that counted less: nothing may stay that could stop a server.
TEST_F(PathBudget, SessionLargerThanAnyMayBeIsBroughtDown) {
  const std::string long_name(8'000, 'x');
  StoredState stored;
  Session session;
  session.id = kFirst;
  session.timeout_ms = 10'000;
  stored.session = session;
  session_ = kFirst;
  constexpr int kCount = 110;
  std::vector<Registration> all;
  for (int i = 0; i < kCount; ++i) {
    Registration one;
    one.id = {"web", std::to_string(i)};
    one.path = "/services/web/" + std::to_string(i) + long_name;
    one.seq = Seq{static_cast<std::uint64_t>(i) + 1};
    stored.registrations.emplace_back(one);
    znodes_[one.path] = Znode{"", kFirst, 0, Zxid{++zxid_}};
  }
  stored.last_seq = Seq{kCount};
  ASSERT_GT(session_packet(), kMostPathBytes);
  core_ = std::make_unique<Core>(options_, std::move(stored));
  step(Started{});
  connect(kFirst);
  settle();
  EXPECT_LE(session_packet(), options_.limits.max_path_bytes);
  EXPECT_NE(std::find(notes_.begin(), notes_.end(), "session_too_large"), notes_.end());
  EXPECT_EQ(state("0"), State::registered);
  EXPECT_EQ(state(std::to_string(kCount - 1)), State::blocked);
  EXPECT_GT(status().held_back, 0u);
  EXPECT_EQ(status().by_state[static_cast<std::size_t>(State::registered)] + status().held_back, kCount);
  // An update of one that is held back waits with it.
  EXPECT_FALSE(accepted({put("new")}));
}

TEST_F(PathBudget, WatchesAreBoundedLikeTheSession) {
  bound(3);
  start();
  connect(kFirst);
  // Each finds a znode of somebody else at its path, watches it, and goes.
  for (int i = 0; i < 20; ++i) {
    const std::string path = "/services/web/" + std::to_string(i);
    znodes_[path] = Znode{"", SessionId{0x77}, 0, Zxid{++zxid_}};
    ASSERT_TRUE(accepted({put(std::to_string(i))}));
    settle();
    EXPECT_EQ(state(std::to_string(i)), State::conflict);
    ASSERT_TRUE(accepted({DeregisterRequest{{"web", std::to_string(i)}}}));
    settle();
  }
  EXPECT_LE(largest_watch_, options_.limits.max_path_bytes);
  EXPECT_GT(largest_watch_, kPacketHeadBytes + one());
  EXPECT_EQ(status().watch_path_bytes, watch_packet());
}

TEST_F(PathBudget, TransactionsCountChrootChecksAndAcl) {
  options_.chroot_bytes = 1'000;
  options_.acl_bytes = 8'000;
  start();
  std::vector<ChangeRequest> changes;
  for (int i = 0; i < 300; ++i) {
    changes.push_back(put(std::to_string(i)));
  }
  ASSERT_TRUE(accepted(std::move(changes)));
  connect(kFirst);
  std::uint64_t largest = 0;
  while (!sent_.empty()) {
    for (const ZkSend& send : sent_) {
      std::uint64_t bytes = 0;
      for (const ZkRequest& one : send.request.batch) {
        bytes += one.path.size() + one.data.size() + options_.chroot_bytes;
        bytes += one.verb == ZkVerb::create ? options_.acl_bytes : 0;
      }
      largest = std::max(largest, bytes);
    }
    answer();
  }
  settle();
  EXPECT_LE(largest, 256u * 1'024);
  EXPECT_EQ(status().by_state[static_cast<std::size_t>(State::registered)], 300u);
}

// ---- Shares

TEST_F(PathBudget, OneUserTakesHalfAndUsersLeaveATenth) {
  options_.limits.max_registrations = 20;
  options_.limits.max_registrations_per_uid = 10;
  start();
  EXPECT_EQ(accepted_one_by_one(1000), 10);
  EXPECT_EQ(problem().code, ProblemCode::quota);
  EXPECT_NE(problem().detail.find("max_registrations_per_uid"), std::string::npos);
  EXPECT_EQ(accepted_one_by_one(1001, 10), 8);
  EXPECT_EQ(problem().code, ProblemCode::quota);
  EXPECT_NE(problem().detail.find("root"), std::string::npos);
  EXPECT_EQ(accepted_one_by_one(0, 30), 2);
  EXPECT_EQ(problem().code, ProblemCode::quota);
  EXPECT_EQ(status().registrations.used, 20u);
  EXPECT_EQ(status().registrations.user_limit, 10u);
}

TEST_F(PathBudget, OneUserTakesHalfOfTheBytesOfPaths) {
  bound(20);
  start();
  EXPECT_EQ(accepted_one_by_one(1000), 10);
  EXPECT_NE(problem().detail.find("max_share_per_uid"), std::string::npos);
}

TEST_F(PathBudget, DataOfAllTogetherIsBounded) {
  options_.limits.max_data_bytes = 1'000;
  start();
  EXPECT_TRUE(accepted({put("0", std::string(400, 'x'))}, 1000));
  EXPECT_FALSE(accepted({put("1", std::string(200, 'x'))}, 1000)) << "more than half";
  EXPECT_EQ(problem().code, ProblemCode::quota);
  EXPECT_TRUE(accepted({put("1", std::string(100, 'x'))}, 1000));
  EXPECT_TRUE(accepted({put("1", std::string(50, 'x'))}, 1000)) << "less is always taken";
  EXPECT_FALSE(accepted({put("2", std::string(460, 'x'))}, 1001)) << "the last tenth is not for users";
  EXPECT_TRUE(accepted({put("2", std::string(550, 'x'))}, 0));
  EXPECT_FALSE(accepted({put("3", std::string(1, 'x'))}, 0));
  EXPECT_EQ(status().data_bytes.used, 1'000u);
  EXPECT_TRUE(accepted({DeregisterRequest{{"web", "2"}}}, 0));
  EXPECT_EQ(status().data_bytes.used, 450u);
}

TEST_F(PathBudget, ChecksCountAsData) {
  options_.limits.max_data_bytes = 100;
  start();
  RegisterRequest request = put("0", "");
  Check check;
  check.type = CheckType::command;
  check.command = {"/bin/true", std::string(200, 'x')};
  request.lifetime.checks = {check};
  EXPECT_FALSE(accepted({request}));
  EXPECT_EQ(problem().code, ProblemCode::quota);
}

TEST_F(PathBudget, OneUserTakesHalfOfTheQueue) {
  options_.limits.max_operations = 10;
  start();
  EXPECT_EQ(accepted_one_by_one(1000), 5);
  EXPECT_EQ(problem().code, ProblemCode::quota);
  EXPECT_TRUE(accepted({DeregisterRequest{{"web", "0"}}}, 1000)) << "to take back is always allowed";
  EXPECT_EQ(accepted_one_by_one(1001, 10), 5);
  connect(kFirst);
  settle();
  EXPECT_EQ(accepted_one_by_one(1000, 20), 5) << "what has reached ZooKeeper is no longer queued";
}

}  // namespace
}  // namespace limpet::core
