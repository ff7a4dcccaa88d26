// How sessions begin, go on and end, and what becomes of their znodes.
#include "tests/parity/parity.h"

namespace limpet::test {
namespace {

class Sessions : public Parity {
 protected:
  // True where our session goes on over what `fault` does: same id, same znode, and it can be worked with.
  void expect_survives(World& world, const std::function<void()>& fault) {
    const Session session = world.connect();
    const auto made = world.call(Verb::create, "/mine", "x").stat;
    world.forget();
    fault();
    ASSERT_TRUE(world.wait<core::ZkConnected>());
    EXPECT_EQ(world.all<core::ZkConnected>().back().session.id, session.id);
    EXPECT_TRUE(world.all<core::ZkExpired>().empty());
    world.settle();
    const auto found = world.call(Verb::read, "/mine");
    EXPECT_EQ(found.stat.czxid, made.czxid);
    EXPECT_EQ(found.stat.version, 0);
    EXPECT_EQ(found.stat.ephemeral_owner, session.id);
    EXPECT_EQ(world.call(Verb::set, "/mine", "y", 0).code, Code::ok);
  }
};

TEST_P(Sessions, AreGivenByTheServersAndAskedForTheirTimeOut) {
  World& world = open(4'000);
  const Session session = world.connect();
  EXPECT_NE(session.id.value, 0);
  EXPECT_EQ(session.timeout_ms, 4'000);
  world.stop();
  EXPECT_NE(world.connect().id, session.id);
}

TEST_P(Sessions, BeforeAndAfterAConnectionNothingIsSent) {
  World& world = open();
  world.start();
  const auto early = world.send(Verb::create, "/early", "x");
  EXPECT_TRUE(world.events().empty()) << "nothing is told from within a call";
  ASSERT_TRUE(world.run_until([&] { return world.reply_to(early).has_value(); }));
  EXPECT_EQ(world.reply_to(early)->code, Code::not_sent);
  ASSERT_TRUE(world.wait<core::ZkConnected>());
  world.set_network(false);
  ASSERT_TRUE(world.wait<core::ZkDisconnected>());
  EXPECT_EQ(world.call(Verb::create, "/late", "x").code, Code::not_sent);
  world.set_network(true);
  ASSERT_TRUE(world.wait<core::ZkConnected>(2));
  world.settle();
  EXPECT_EQ(world.call(Verb::read, "/early").code, Code::no_node);
  EXPECT_EQ(world.call(Verb::read, "/late").code, Code::no_node);
}

TEST_P(Sessions, SurviveACut) {
  World& world = open();
  expect_survives(world, [&] { world.cut(); });
  EXPECT_EQ(world.all<core::ZkDisconnected>().size(), 1U);
}

TEST_P(Sessions, SurviveANetworkThatIsAwayForLessThanTheTimeOut) {
  World& world = open(10'000);
  expect_survives(world, [&] {
    world.set_network(false);
    world.run_for(1'500);
    world.set_network(true);
  });
}

TEST_P(Sessions, SurviveTheLossOfTheQuorumForLongerThanTheTimeOut) {
  World& world = open(6'000);
  expect_survives(world, [&] {
    world.set_quorum(false);
    world.run_for(7'000);
    EXPECT_EQ(world.all<core::ZkDisconnected>().size(), 1U);
    world.set_quorum(true);
  });
}

TEST_P(Sessions, AreTakenUpAgainByTheNextHandle) {
  World& world = open();
  const Session session = world.connect();
  const auto made = world.call(Verb::create, "/mine", "x").stat;
  for (int round = 0; round < 5; ++round) {
    world.stop();
    EXPECT_EQ(world.connect(session).id, session.id);
    EXPECT_EQ(world.call(Verb::read, "/mine").stat.czxid, made.czxid);
  }
  EXPECT_TRUE(world.all<core::ZkExpired>().empty());
  EXPECT_EQ(world.call(Verb::set, "/mine", "y", 0).code, Code::ok) << "it is ours still";
}

TEST_P(Sessions, AreRefusedWithAWrongPasswordAndGoOn) {
  World& world = open();
  const Session session = world.connect();
  world.call(Verb::create, "/mine", "x");
  world.stop();
  Session wrong = session;
  wrong.password[3] ^= 0x5a;
  world.start(wrong);
  ASSERT_TRUE(world.wait<core::ZkExpired>());
  EXPECT_TRUE(world.all<core::ZkConnected>().empty());
  EXPECT_EQ(world.call(Verb::create, "/never", "x").code, Code::not_sent) << "that handle is dead";
  EXPECT_TRUE(world.look("/mine"));
  world.stop();
  EXPECT_EQ(world.connect(session).id, session.id);
}

TEST_P(Sessions, ThatNobodyKnowsAreExpired) {
  World& world = open();
  Session made_up;
  made_up.id = SessionId{0x1234567890};
  made_up.timeout_ms = 6'000;
  world.start(made_up);
  ASSERT_TRUE(world.wait<core::ZkExpired>());
  EXPECT_TRUE(world.all<core::ZkConnected>().empty());
}

TEST_P(Sessions, TakeTheirZnodesWithThemAndNoOthers) {
  World& world = open();
  world.others_create("/theirs", "x", true);
  world.others_create("/p/stays", "x");
  const Session session = world.connect();
  world.call(Verb::create, "/mine", "x");
  world.call(Verb::create, "/p/mine", "x");
  world.call(Verb::create_parent, "/p/parent");
  world.call(Verb::read, "/theirs");
  world.forget();
  world.end_session(session.id);
  ASSERT_TRUE(world.wait<core::ZkExpired>());
  EXPECT_EQ(world.all<core::ZkExpired>().size(), 1U);
  EXPECT_TRUE(world.all<core::ZkConnected>().empty());
  EXPECT_FALSE(world.look("/mine"));
  EXPECT_FALSE(world.look("/p/mine"));
  EXPECT_TRUE(world.look("/theirs"));
  EXPECT_TRUE(world.look("/p/stays"));
  EXPECT_TRUE(world.look("/p/parent")) << "parents are persistent";
  world.stop();
  const Session next = world.connect();
  EXPECT_NE(next.id, session.id);
  world.settle();
  EXPECT_EQ(world.call(Verb::create, "/mine", "x").stat.ephemeral_owner, next.id);
}

TEST_P(Sessions, ThatAreNotHeardOfForTheirTimeOutEnd) {
  World& world = open(2'000);
  const Session session = world.connect();
  world.call(Verb::create, "/mine", "x");
  world.set_network(false);
  ASSERT_TRUE(world.wait<core::ZkDisconnected>());
  EXPECT_TRUE(world.run_until([&] { return !world.look("/mine"); }));
  EXPECT_TRUE(world.all<core::ZkExpired>().empty()) << "only a server's word ends it for us";
  world.set_network(true);
  ASSERT_TRUE(world.wait<core::ZkExpired>());
  world.stop();
  EXPECT_NE(world.connect().id, session.id);
}

TEST_P(Sessions, ThatAnotherProcessHoldsMoveToAndFroAndEndNowhere) {
  World& world = open();
  const Session session = world.connect();
  const auto made = world.call(Verb::create, "/mine", "x").stat;
  world.forget();
  world.hold_session(true);
  for (int tries = 0; tries < 500 && world.all<core::ZkDisconnected>().size() < 2; ++tries) {
    world.send(Verb::read, "/mine");
    world.run_for(20);
  }
  EXPECT_GE(world.all<core::ZkDisconnected>().size(), 1U);
  world.hold_session(false);
  EXPECT_TRUE(world.all<core::ZkExpired>().empty());
  for (const auto& connected : world.all<core::ZkConnected>()) {
    EXPECT_EQ(connected.session.id, session.id);
  }
  core::ZkReply read;
  for (int tries = 0; tries < 200 && read.stat.czxid.value == 0; ++tries) {
    world.run_for(50);
    read = world.call(Verb::read, "/mine");
  }
  EXPECT_EQ(read.stat.czxid, made.czxid);
  EXPECT_EQ(read.stat.ephemeral_owner, session.id);
}

TEST_P(Sessions, AreUnknownToServersThatLostEverything) {
  World& world = open(4'000);
  world.connect();
  for (int i = 0; i < 30; ++i) {
    world.call(Verb::create, "/n" + std::to_string(i), "x");
  }
  world.wipe();
  // The same handle has seen more than these servers have; it is told in the end.
  ASSERT_TRUE(world.wait<core::ZkExpired>());
  EXPECT_FALSE(world.look("/n0"));
  world.stop();
  world.connect();
  EXPECT_EQ(world.call(Verb::create, "/n0", "x").code, Code::ok);
}

LIMPET_PARITY(Sessions);

}  // namespace
}  // namespace limpet::test
