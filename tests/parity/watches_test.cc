// When a watch fires, and when it does not.
#include "tests/parity/parity.h"

namespace limpet::test {
namespace {

using Paths = std::vector<std::string>;

class Watches : public Parity {
 protected:
  // Connected, with a znode of others at each of these paths.
  World& open_with(const Paths& paths) {
    World& world = open();
    for (const auto& path : paths) {
      world.others_create(path, "0");
    }
    world.connect();
    world.settle();
    return world;
  }
};

TEST_P(Watches, FireOnceForWhatOthersDo) {
  World& world = open_with({"/set", "/gone", "/untouched"});
  for (const char* path : {"/set", "/gone", "/untouched"}) {
    world.call(Verb::read, path);
  }
  EXPECT_EQ(world.call(Verb::watch, "/made").code, Code::no_node);
  world.others_set("/set", "1");
  world.settle();
  EXPECT_EQ(world.fired(), Paths{"/set"});
  world.others_set("/set", "2");
  world.others_remove("/gone");
  world.others_create("/made", "1");
  world.settle();
  EXPECT_EQ(world.fired(), (Paths{"/set", "/gone", "/made"}));
  world.others_create("/gone", "1");
  world.others_set("/made", "2");
  world.others_remove("/made");
  world.settle();
  EXPECT_EQ(world.fired().size(), 3U) << "each was good for once";
}

TEST_P(Watches, FireForOurOwnChangesToo) {
  World& world = open();
  world.connect();
  EXPECT_EQ(world.call(Verb::watch, "/mine").code, Code::no_node);
  world.call(Verb::create, "/mine", "1");
  world.settle();
  EXPECT_EQ(world.fired(), Paths{"/mine"});
  world.call(Verb::watch, "/mine");
  world.call(Verb::set, "/mine", "2");
  world.settle();
  EXPECT_EQ(world.fired().size(), 2U);
  world.call(Verb::read, "/mine");
  world.call(Verb::remove, "/mine");
  world.settle();
  EXPECT_EQ(world.fired().size(), 3U);
}

TEST_P(Watches, OfBothKindsOnOneZnodeFireOnce) {
  World& world = open_with({"/both"});
  world.call(Verb::read, "/both");
  world.call(Verb::watch, "/both");
  world.call(Verb::read, "/both");
  world.others_set("/both", "1");
  world.settle();
  EXPECT_EQ(world.fired(), Paths{"/both"});
}

TEST_P(Watches, AreNotLeftByAReadThatFoundNothing) {
  World& world = open();
  world.connect();
  EXPECT_EQ(world.call(Verb::read, "/none").code, Code::no_node);
  world.others_create("/none", "1");
  world.settle();
  EXPECT_TRUE(world.fired().empty());
}

TEST_P(Watches, DoNotFireForChildren) {
  World& world = open_with({"/parent"});
  world.call(Verb::read, "/parent");
  world.others_create("/parent/child", "1");
  world.others_set("/parent/child", "2");
  world.others_remove("/parent/child");
  world.settle();
  EXPECT_TRUE(world.fired().empty());
}

TEST_P(Watches, OutliveTheConnectionAndTellWhatHappenedMeanwhile) {
  World& world = open_with({"/set", "/gone", "/anew", "/untouched", "/later"});
  for (const char* path : {"/set", "/gone", "/anew", "/untouched", "/later"}) {
    world.call(path == std::string("/gone") ? Verb::watch : Verb::read, path);
  }
  world.call(Verb::watch, "/made");
  world.call(Verb::watch, "/still-none");
  world.set_network(false);
  ASSERT_TRUE(world.wait<core::ZkDisconnected>());
  world.others_set("/set", "1");
  world.others_remove("/gone");
  world.others_remove("/anew");
  world.others_create("/anew", "1");
  world.others_create("/made", "1");
  EXPECT_TRUE(world.fired().empty()) << "there is no connection";
  world.forget();
  world.set_network(true);
  ASSERT_TRUE(world.wait<core::ZkConnected>());
  world.settle();
  Paths fired = world.fired();
  std::sort(fired.begin(), fired.end());
  EXPECT_EQ(fired, (Paths{"/anew", "/gone", "/made", "/set"}));
  EXPECT_TRUE(std::holds_alternative<core::ZkConnected>(world.events().front()) ||
              std::holds_alternative<core::ZkTrouble>(world.events().front()))
      << "nothing comes before the connection";
  world.others_set("/later", "1");
  world.others_create("/still-none", "1");
  world.settle();
  EXPECT_EQ(world.fired().size(), 6U) << "those that had nothing to say were set again";
}

TEST_P(Watches, DoNotOutliveTheHandle) {
  World& world = open_with({"/set"});
  world.call(Verb::read, "/set");
  const Session session = world.all<core::ZkConnected>().back().session;
  world.stop();
  EXPECT_EQ(world.connect(session).id, session.id);
  world.others_set("/set", "1");
  world.settle();
  EXPECT_TRUE(world.fired().empty());
}

LIMPET_PARITY(Watches);

}  // namespace
}  // namespace limpet::test
