// What each request answers, and in which order things happen.
#include "tests/parity/parity.h"

namespace limpet::test {
namespace {

class Verbs : public Parity {};

// One request and what must come of it. `stat`: what the answer's stat must be like.
struct Row {
  enum class Stat { none, ours, persistent };
  core::ZkVerb verb;
  const char* path;
  const char* data;
  std::int32_t version;
  core::ZkCode code;
  Stat stat = Stat::none;
  std::int32_t stat_version = 0;
  const char* read = "";
};

TEST_P(Verbs, AnswerByTheTable) {
  using Stat = Row::Stat;
  const Row rows[] = {
      {Verb::create, "/a/b", "x", -1, Code::no_node},
      {Verb::create_parent, "/a/b", "", -1, Code::no_node},
      {Verb::create_parent, "/a", "", -1, Code::ok},
      {Verb::create_parent, "/a", "", -1, Code::node_exists},
      {Verb::create, "/a", "x", -1, Code::node_exists},
      {Verb::read, "/a", "", -1, Code::ok, Stat::persistent, 0, ""},
      {Verb::create, "/a/b", "x", -1, Code::ok, Stat::ours, 0},
      {Verb::create, "/a/b", "y", -1, Code::node_exists},
      {Verb::create, "/a/b/c", "y", -1, Code::parent_ephemeral},
      {Verb::create_parent, "/a/b/c", "", -1, Code::parent_ephemeral},
      {Verb::create, "/a/b/c/d", "y", -1, Code::no_node},
      {Verb::read, "/a/b", "", -1, Code::ok, Stat::ours, 0, "x"},
      {Verb::watch, "/a/b", "", -1, Code::ok, Stat::ours, 0, ""},
      {Verb::read, "/a/none", "", -1, Code::no_node},
      {Verb::watch, "/a/none", "", -1, Code::no_node},
      {Verb::look, "/a/b", "", -1, Code::ok, Stat::ours, 0, ""},
      {Verb::look, "/a", "", -1, Code::ok, Stat::persistent, 0, ""},
      {Verb::look, "/a/none", "", -1, Code::no_node},
      {Verb::set, "/a/none", "z", 0, Code::no_node},
      {Verb::set, "/a/none", "z", -1, Code::no_node},
      {Verb::set, "/a/b", "z", 1, Code::bad_version},
      {Verb::set, "/a/b", "z", 0, Code::ok, Stat::ours, 1},
      {Verb::set, "/a/b", "z", 0, Code::bad_version},
      {Verb::set, "/a/b", "z", 1, Code::ok, Stat::ours, 2},  // the same data is a change all the same
      {Verb::set, "/a/b", "", -1, Code::ok, Stat::ours, 3},
      {Verb::read, "/a/b", "", -1, Code::ok, Stat::ours, 3, ""},
      {Verb::set, "/a", "mine", -1, Code::ok, Stat::persistent, 1},
      {Verb::remove, "/a", "", 7, Code::bad_version},  // told before that it has children
      {Verb::remove, "/a", "", -1, Code::not_empty},
      {Verb::remove, "/a/none", "", -1, Code::no_node},
      {Verb::remove, "/a/b", "", 2, Code::bad_version},
      {Verb::remove, "/a/b", "", 3, Code::ok},
      {Verb::remove, "/a/b", "", 3, Code::no_node},
      {Verb::create, "/a/b", "again", -1, Code::ok, Stat::ours, 0},
      {Verb::remove, "/a/b", "", -1, Code::ok},
      {Verb::sync, "/", "", -1, Code::ok},
      {Verb::sync, "/a/none", "", -1, Code::ok},
      {Verb::remove, "/a", "", 1, Code::ok},
  };
  World& world = open();
  const Session session = world.connect();
  for (const Row& row : rows) {
    SCOPED_TRACE(testing::Message() << &row - rows << ": verb " << static_cast<int>(row.verb) << " of " << row.path);
    const core::ZkReply reply = world.call(row.verb, row.path, row.data, row.version);
    EXPECT_EQ(reply.code, row.code) << reply.message;
    EXPECT_EQ(reply.data, row.read);
    EXPECT_EQ(reply.stat.version, row.stat_version);
    EXPECT_EQ(reply.stat.ephemeral_owner, row.stat == Stat::ours ? session.id : SessionId{});
    EXPECT_EQ(reply.stat.czxid.value != 0, row.stat != Stat::none);
    EXPECT_EQ(reply.stat.mzxid.value != 0, row.stat != Stat::none);
    EXPECT_EQ(reply.message.empty(), row.code == Code::ok) << reply.message;
  }
}

TEST_P(Verbs, AStatSaysWhenItWasMadeAndWhenItWasChanged) {
  World& world = open();
  world.connect();
  const auto made = world.call(Verb::create, "/a", "1").stat;
  EXPECT_EQ(made.czxid, made.mzxid);
  const auto changed = world.call(Verb::set, "/a", "2", 0).stat;
  EXPECT_EQ(changed.czxid, made.czxid);
  EXPECT_GT(changed.mzxid, made.mzxid);
  const auto seen = world.look("/a");
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->data, "2");
  EXPECT_EQ(seen->stat.mzxid, changed.mzxid);
  world.others_set("/a", "3");
  world.settle();
  const auto read = world.call(Verb::read, "/a");
  EXPECT_EQ(read.data, "3");
  EXPECT_EQ(read.stat.version, 2);
  EXPECT_GT(read.stat.mzxid, changed.mzxid);
  world.call(Verb::remove, "/a");
  EXPECT_GT(world.call(Verb::create, "/a", "4").stat.czxid, read.stat.mzxid);
}

TEST_P(Verbs, BytesComeBackAsTheyWere) {
  World& world = open();
  world.connect();
  const std::string bytes("\0\xff \n\x80", 5);
  world.call(Verb::create, "/a", bytes);
  EXPECT_EQ(world.call(Verb::read, "/a").data, bytes);
  EXPECT_EQ(world.look("/a")->data, bytes);
}

TEST_P(Verbs, WhatIsSentInOneGoIsDoneInItsOrderAndARefusalStopsNothing) {
  World& world = open();
  world.connect();
  std::vector<core::OpId> ops;
  ops.push_back(world.send(Verb::create, "/p/0", "too early"));
  ops.push_back(world.send(Verb::create_parent, "/p"));
  for (int i = 0; i < 60; ++i) {
    ops.push_back(world.send(Verb::create, "/p/" + std::to_string(i), "x"));
  }
  ops.push_back(world.send(Verb::create, "/p/7", "again"));
  ops.push_back(world.send(Verb::remove, "/p/8"));
  ops.push_back(world.send(Verb::create, "/p/8", "anew"));
  ops.push_back(world.send(Verb::read, "/p/8"));
  ASSERT_TRUE(world.wait<core::ZkReplied>(ops.size()));
  const auto replies = world.all<core::ZkReplied>();
  std::int64_t last = 0;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    ASSERT_EQ(replies[i].op, ops[i]) << "answers come in the order of the requests";
    if (i >= 2 && i < 62) {
      EXPECT_EQ(replies[i].reply.code, Code::ok);
      EXPECT_GT(replies[i].reply.stat.czxid.value, last);
      last = replies[i].reply.stat.czxid.value;
    }
  }
  EXPECT_EQ(replies[0].reply.code, Code::no_node);
  EXPECT_EQ(replies[62].reply.code, Code::node_exists);
  EXPECT_EQ(replies[65].reply.data, "anew");
  EXPECT_GT(replies[65].reply.stat.czxid.value, last);
}

TEST_P(Verbs, AfterASyncWhatOthersDidBeforeIsSeen) {
  World& world = open();
  world.connect();
  world.others_create("/a", "0");
  for (int i = 1; i <= 20; ++i) {
    world.others_set("/a", std::to_string(i));
    const auto synced = world.send(Verb::sync, "/a");
    const auto read = world.send(Verb::read, "/a");
    ASSERT_TRUE(world.run_until([&] { return world.reply_to(read).has_value(); }));
    EXPECT_EQ(world.reply_to(synced)->code, Code::ok);
    EXPECT_EQ(world.reply_to(read)->data, std::to_string(i));
  }
}

TEST_P(Verbs, WhatOthersLockIsDeniedUntilTheyUnlockIt) {
  World& world = open();
  world.connect();
  world.others_create("/p/theirs", "x");
  world.lock("/p/theirs");
  world.lock("/p");
  world.settle();
  EXPECT_EQ(world.call(Verb::create, "/p/new", "x").code, Code::no_auth);
  EXPECT_EQ(world.call(Verb::create_parent, "/p/new").code, Code::no_auth);
  EXPECT_EQ(world.call(Verb::set, "/p/theirs", "y").code, Code::no_auth);
  EXPECT_EQ(world.call(Verb::remove, "/p/theirs").code, Code::no_auth);
  EXPECT_EQ(world.call(Verb::read, "/p/theirs").code, Code::no_auth);
  EXPECT_EQ(world.call(Verb::watch, "/p/theirs").code, Code::ok) << "that it stands is no secret";
  EXPECT_EQ(world.look("/p/theirs")->data, "x");
  world.unlock_all();
  world.settle();
  EXPECT_EQ(world.call(Verb::create, "/p/new", "x").code, Code::ok);
  EXPECT_EQ(world.call(Verb::set, "/p/theirs", "y").code, Code::ok);
}

LIMPET_PARITY(Verbs);

}  // namespace
}  // namespace limpet::test
