// The znodes above registrations: how many new ones there may be, which are remembered, and which are pruned.
#include "agent/core/parents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "agent/core/core.h"
#include "tests/support/fake_store.h"
#include "tests/support/fake_znodes.h"

namespace limpet::core {
namespace {

using Outcome = PruneReport::Outcome;

constexpr SessionId kParentSession{0x1001};
constexpr std::int64_t kHourMs = 3'600'000;

// A Core with a store that keeps what is written, and servers that answer at once.
class ParentsTest : public ::testing::Test {
 protected:
  ParentsTest() {
    options_.paths = {"/dubbo"};
    options_.limits.max_new_parents = 5;
    restart();
  }

  void restart() {
    core_ = std::make_unique<Core>(options_, stored_.to_state());
    step(Started{});
    connect();
  }
  void connect() {
    Session session;
    session.id = kParentSession;
    session.timeout_ms = 10'000;
    step(ZkConnected{epoch_, session, "127.0.0.1:2181"});
  }

  void step(Event event) {
    Actions actions;
    core_->step(std::move(event), now_, actions);
    for (Action& action : actions) {
      if (auto* send = std::get_if<ZkSend>(&action)) {
        if (answering_) {
          step(ZkReplied{send->epoch, send->op, servers(send->request)});
        }
      } else if (const auto* persist = std::get_if<Persist>(&action)) {
        stored_.apply(persist->batch);
        step(Persisted{persist->ticket, Status()});
      } else if (auto* reply = std::get_if<Reply>(&action)) {
        result_ = std::move(reply->result);
      } else if (auto* pruned = std::get_if<Pruned>(&action)) {
        pruned_ = std::move(pruned->result);
      } else if (const auto* timer = std::get_if<SetTimer>(&action)) {
        timer_ms_ = timer->at_steady_ms;
      }
    }
  }
  void settle() {
    for (int i = 0; i < 20; ++i) {
      now_.steady_ms += 50;
      now_.wall_ms += 50;
      step(Tick{});
    }
  }

  ZkReply servers(const ZkRequest& request) {
    ZkReply reply;
    if (request.verb == ZkVerb::transaction) {
      for (const ZkRequest& part : request.batch) {
        reply.batch.push_back(servers(part));
        reply.code = reply.batch.back().code != ZkCode::ok ? reply.batch.back().code : reply.code;
      }
      return reply;
    }
    const auto* found = znodes_.find(request.path);
    switch (request.verb) {
      case ZkVerb::create:
        reply.code = znodes_.create(request.path, request.data, kParentSession, kParentSession, &reply.stat);
        break;
      case ZkVerb::create_parent:
        reply.code = znodes_.create(request.path, "", SessionId{}, kParentSession, nullptr);
        break;
      case ZkVerb::set:
        reply.code = znodes_.set(request.path, request.data, request.version, kParentSession, &reply.stat);
        break;
      case ZkVerb::remove:
        reply.code = znodes_.remove(request.path, request.version, kParentSession);
        break;
      case ZkVerb::read:
      case ZkVerb::watch:
      case ZkVerb::look:
      case ZkVerb::check:
        if (found == nullptr) {
          reply.code = ZkCode::no_node;
        } else {
          reply.stat = found->stat;
          reply.stat.children = znodes_.count_children(request.path);
          reply.data = found->data;
        }
        break;
      default:
        break;
    }
    return reply;
  }

  std::optional<ProblemCode> put(const std::string& service, std::optional<std::string> path = std::nullopt,
                                 std::uint32_t uid = 1000) {
    step(Submit{Token{++token_},
                Caller{{uid, 1}, uid == 0},
                {RegisterRequest{{service, "i"}, std::move(path), Format::raw, "x"}}});
    const auto* problem = std::get_if<Problem>(&result_);
    detail_ = problem != nullptr ? problem->detail : "";
    return problem != nullptr ? std::optional(problem->code) : std::nullopt;
  }
  void remove(const std::string& service) {
    step(Submit{Token{++token_}, Caller{{0, 1}, true}, {DeregisterRequest{{service, "i"}}}});
    settle();
  }
  PruneReport prune(std::int64_t unused_ms = 0, bool dry_run = false, std::optional<std::string> service = {}) {
    step(Prune{Token{++token_}, Caller{{0, 1}, true}, unused_ms, dry_run, std::move(service)});
    EXPECT_TRUE(std::holds_alternative<PruneReport>(pruned_)) << std::get<Problem>(pruned_).detail;
    return std::get<PruneReport>(pruned_);
  }
  static std::map<std::string, Outcome> outcomes(const PruneReport& report) {
    std::map<std::string, Outcome> found;
    for (const PruneReport::Item& item : report.items) {
      found[item.path] = item.outcome;
    }
    return found;
  }
  std::uint64_t remembered() const { return core_->figures(now_).parents.remembered; }

  Options options_;
  test::StoredMap stored_;
  test::FakeZnodes znodes_;
  std::unique_ptr<Core> core_;
  Now now_{1'000, 1'700'000'000'000};
  Epoch epoch_{1};
  bool answering_ = true;
  std::uint64_t token_ = 0;
  std::int64_t timer_ms_ = 0;
  std::variant<std::vector<AcceptedChange>, Problem> result_;
  std::variant<PruneReport, Problem> pruned_;
  std::string detail_;
};

TEST_F(ParentsTest, NewParentsOfOneUserAreBoundedByTheHour) {
  EXPECT_EQ(put("a"), std::nullopt);
  EXPECT_EQ(put("b", "/dubbo/b/providers/x"), std::nullopt) << "two more";
  EXPECT_EQ(put("c", "/dubbo/c/1/2/x"), ProblemCode::quota) << "three would be one too many";
  EXPECT_NE(detail_.find("max_new_parents"), std::string::npos) << detail_;
  EXPECT_EQ(put("c", "/dubbo/c/1/x"), std::nullopt);
  EXPECT_EQ(put("d"), ProblemCode::quota);
  EXPECT_EQ(put("e", "/services/a/e"), std::nullopt) << "below a parent that is known";
  EXPECT_EQ(put("d", std::nullopt, 1001), std::nullopt) << "another user";
  EXPECT_EQ(put("f", std::nullopt, 0), std::nullopt) << "root has its own";
  now_.steady_ms += kHourMs;
  EXPECT_EQ(put("g"), std::nullopt);
}

TEST_F(ParentsTest, RootIsBoundedToo) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(put("s" + std::to_string(i), std::nullopt, 0), std::nullopt);
  }
  EXPECT_EQ(put("s5", std::nullopt, 0), ProblemCode::quota);
}

TEST_F(ParentsTest, TheSameNewParentCountsOnceAnHour) {
  answering_ = false;  // an outage, in which one name comes and goes
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(put("a"), std::nullopt);
    remove("a");
  }
}

TEST_F(ParentsTest, AMoveCountsItsNewPlace) {
  ASSERT_EQ(put("a", "/dubbo/1/x"), std::nullopt);
  for (int i = 2; i <= 5; ++i) {
    ASSERT_EQ(put("a", "/dubbo/" + std::to_string(i) + "/x"), std::nullopt);
  }
  EXPECT_EQ(put("a", "/dubbo/6/x"), ProblemCode::quota);
  EXPECT_EQ(core_->find({"a", "i"})->registration->path, "/dubbo/5/x");
}

TEST_F(ParentsTest, WhatWasCreatedIsRememberedOverARestart) {
  znodes_.create("/services", "", SessionId{}, SessionId{0x9}, nullptr);
  znodes_.create("/services/theirs", "", SessionId{}, SessionId{0x9}, nullptr);
  put("a");
  put("theirs");
  settle();
  EXPECT_EQ(remembered(), 1u) << "neither the root, nor what others have created";
  const Parent parent = stored_.parents.at("/services/a");
  EXPECT_EQ(parent.service, "a");
  EXPECT_EQ(parent.uid, 1000u);
  EXPECT_EQ(parent.czxid, znodes_.find("/services/a")->stat.czxid);
  restart();
  EXPECT_EQ(remembered(), 1u);
}

TEST_F(ParentsTest, PruneRemovesEmptyOnesAndSaysWhyItLeavesOthers) {
  options_.limits.max_new_parents = 100;
  restart();
  for (const char* service : {"used", "empty", "shared", "gone", "again"}) {
    put(service);
  }
  put("deep", "/dubbo/deep/providers/x");
  settle();
  for (const char* service : {"empty", "shared", "gone", "again", "deep"}) {
    remove(service);
  }
  znodes_.create("/services/shared/theirs", "", SessionId{0x9}, SessionId{0x9}, nullptr);
  znodes_.remove("/services/gone", -1, SessionId{0x9});
  znodes_.remove("/services/again", -1, SessionId{0x9});
  znodes_.create("/services/again", "", SessionId{}, SessionId{0x9}, nullptr);

  const PruneReport early = prune(kHourMs);
  EXPECT_EQ(early.removed, 0u);
  EXPECT_EQ(outcomes(early).at("/services/empty"), Outcome::too_recent);
  EXPECT_EQ(outcomes(early).at("/services/used"), Outcome::in_use);

  const std::map<std::string, Outcome> expected = {
      {"/dubbo/deep", Outcome::removed},     {"/dubbo/deep/providers", Outcome::removed},
      {"/services/again", Outcome::changed}, {"/services/empty", Outcome::removed},
      {"/services/gone", Outcome::gone},     {"/services/shared", Outcome::not_empty},
      {"/services/used", Outcome::in_use},
  };
  const PruneReport dry = prune(0, true);
  EXPECT_EQ(outcomes(dry), expected);
  EXPECT_EQ(dry.removed, 3u);
  EXPECT_EQ(dry.empty, 3u);
  EXPECT_NE(znodes_.find("/services/empty"), nullptr);

  now_.wall_ms += kHourMs;
  const PruneReport report = prune(kHourMs);
  EXPECT_EQ(report.removed, 3u);
  EXPECT_EQ(znodes_.find("/services/empty"), nullptr);
  EXPECT_EQ(znodes_.find("/dubbo/deep"), nullptr);
  EXPECT_NE(znodes_.find("/dubbo"), nullptr) << "a configured place";
  for (const char* left : {"/services/used/i", "/services/shared/theirs", "/services/again"}) {
    EXPECT_NE(znodes_.find(left), nullptr) << left;
  }
  settle();
  EXPECT_FALSE(stored_.parents.contains("/services/empty"));
  EXPECT_TRUE(stored_.parents.contains("/services/shared"));

  // A service that was pruned comes back.
  EXPECT_EQ(put("empty"), std::nullopt);
  settle();
  EXPECT_NE(znodes_.find("/services/empty/i"), nullptr);
}

TEST_F(ParentsTest, PruneOfOneServiceLeavesOthersAlone) {
  put("a");
  put("b", "/dubbo/b/x");
  settle();
  remove("a");
  remove("b");
  EXPECT_EQ(outcomes(prune(0, false, "b")), (std::map<std::string, Outcome>{{"/dubbo/b", Outcome::removed}}));
  EXPECT_NE(znodes_.find("/services/a"), nullptr);
}

TEST_F(ParentsTest, PruneIsForRootAndTakesZooKeeper) {
  step(Prune{Token{++token_}, Caller{{1000, 1}}, 0, false, std::nullopt});
  EXPECT_EQ(std::get<Problem>(pruned_).code, ProblemCode::not_allowed);
  step(ZkDisconnected{epoch_});
  step(Prune{Token{++token_}, Caller{{0, 1}, true}, 0, false, std::nullopt});
  EXPECT_EQ(std::get<Problem>(pruned_).code, ProblemCode::not_connected);
}

TEST_F(ParentsTest, ALostConnectionEndsAPruneWithAReport) {
  put("a");
  settle();
  remove("a");
  answering_ = false;
  step(Prune{Token{++token_}, Caller{{0, 1}, true}, 0, false, std::nullopt});
  step(Prune{Token{++token_}, Caller{{0, 1}, true}, 0, false, std::nullopt});
  EXPECT_EQ(std::get<Problem>(pruned_).code, ProblemCode::quota) << "one at a time";
  step(ZkDisconnected{epoch_});
  const auto report = std::get<PruneReport>(pruned_);
  EXPECT_EQ(outcomes(report).at("/services/a"), Outcome::not_connected);
  answering_ = true;
  connect();
  EXPECT_EQ(prune().removed, 1u);
}

TEST(Parents, PastTheirBoundTheLongestUnusedAreForgotten) {
  Parents parents{{}};
  std::vector<Change> changes;
  const auto in_use = [](const std::string& path) { return path == "/services/0"; };
  for (std::size_t i = 0; i <= Parents::kMaxCount; ++i) {
    Parent parent;
    parent.path = "/services/" + std::to_string(i);
    parent.created_at = parent.used_at = static_cast<WallMs>(i);
    parents.put(parent, in_use, changes);
  }
  EXPECT_LE(parents.created().size(), Parents::kMaxCount);
  EXPECT_TRUE(parents.contains("/services/0")) << "a registration lies below it";
  EXPECT_FALSE(parents.contains("/services/1"));
  EXPECT_TRUE(parents.contains("/services/" + std::to_string(Parents::kMaxCount)));
  EXPECT_EQ(parents.total_forgotten(), 1 + Parents::kMaxCount / Parents::kShareForgotten);
}

}  // namespace
}  // namespace limpet::core
