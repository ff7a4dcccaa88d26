// What becomes of requests whose connection breaks.
#include <algorithm>
#include <map>
#include <set>

#include "tests/parity/parity.h"

namespace limpet::test {
namespace {

class Loss : public Parity {
 protected:
  // The code of each, once all are answered; each must be answered once, and the loss be told before what it ended.
  std::map<core::OpId, Code> codes(World& world, const std::vector<core::OpId>& ops) {
    EXPECT_TRUE(world.run_until(
        [&] { return std::all_of(ops.begin(), ops.end(), [&](auto op) { return world.reply_to(op).has_value(); }); }));
    std::map<core::OpId, Code> found;
    bool lost = false;
    for (const auto& event : world.events()) {
      lost = lost || std::holds_alternative<core::ZkDisconnected>(event);
      if (const auto* replied = std::get_if<core::ZkReplied>(&event)) {
        EXPECT_TRUE(found.emplace(replied->op, replied->reply.code).second) << "answered twice";
        EXPECT_TRUE(lost || replied->reply.code != Code::unknown_outcome);
      }
    }
    return found;
  }
};

TEST_P(Loss, OfWhatWasUnderWayAPrefixWasDone) {
  World& world = open();
  world.connect();
  world.call(Verb::create_parent, "/f");
  world.forget();
  // On and on, as a core does that has not heard of the loss, with fifty under way.
  std::vector<core::OpId> ops;
  const auto answered = [&] { return world.all<core::ZkReplied>(); };
  const auto turned_away = [&] {
    const auto all = answered();
    return std::any_of(all.begin(), all.end(), [](const auto& one) { return one.reply.code == Code::not_sent; });
  };
  while (!turned_away() && ops.size() < 2'000) {
    ops.push_back(world.send(Verb::create, "/f/" + std::to_string(ops.size()), "x"));
    if (ops.size() == 150) {
      world.cut();
    }
    world.run_until([&] { return answered().size() + 50 > ops.size() || turned_away(); });
  }
  const auto code_of = codes(world, ops);
  ASSERT_TRUE(world.wait<core::ZkConnected>());
  world.settle();
  const auto rank = [](Code code) { return code == Code::ok ? 0 : code == Code::unknown_outcome ? 1 : 2; };
  int last_rank = 0;
  bool last_stood = true;
  std::int64_t last_czxid = 0;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const Code code = code_of.at(ops[i]);
    const auto found = world.call(Verb::read, "/f/" + std::to_string(i));
    const bool stands = found.code == Code::ok;
    EXPECT_GE(rank(code), last_rank) << "done, then unknown, then not sent";
    EXPECT_TRUE(code != Code::ok || stands);
    EXPECT_TRUE(code != Code::not_sent || !stands);
    EXPECT_LE(stands, last_stood) << i << ": a prefix";
    EXPECT_TRUE(!stands || found.stat.czxid.value > last_czxid);
    last_rank = rank(code);
    last_stood = stands;
    last_czxid = stands ? found.stat.czxid.value : last_czxid;
  }
}

TEST_P(Loss, ARequestThatIsTooLargeCutsTheConnectionAndNeverHappens) {
  World& world = open();
  const Session session = world.connect();
  world.call(Verb::create_parent, "/f");
  world.forget();
  const auto before = world.send(Verb::create, "/f/before", "x");
  const auto large = world.send(Verb::create, "/f/large", world.more_than_a_request_holds());
  const auto after = world.send(Verb::create, "/f/after", "x");
  const auto code_of = codes(world, {before, large, after});
  EXPECT_EQ(code_of.at(large), Code::unknown_outcome);
  EXPECT_NE(code_of.at(after), Code::ok);
  ASSERT_TRUE(world.wait<core::ZkConnected>());
  EXPECT_EQ(world.all<core::ZkConnected>().back().session.id, session.id);
  world.settle();
  EXPECT_EQ(world.call(Verb::read, "/f/large").code, Code::no_node);
  EXPECT_EQ(world.call(Verb::read, "/f/after").code, Code::no_node);
}

TEST_P(Loss, WhatWasUnderWayWhenTheHandleWentMayHaveHappenedAndNothingIsSentAfter) {
  World& world = open();
  const Session session = world.connect();
  world.call(Verb::create_parent, "/f");
  std::vector<std::string> paths;
  for (int i = 0; i < 30; ++i) {
    paths.push_back("/f/" + std::to_string(i));
    world.send(Verb::create, paths.back(), "x");
  }
  world.stop();
  EXPECT_EQ(world.connect(session).id, session.id);
  world.settle();
  bool last_stood = true;
  for (const auto& path : paths) {
    const bool stands = world.call(Verb::read, path).code == Code::ok;
    EXPECT_LE(stands, last_stood) << path;
    last_stood = stands;
  }
}

LIMPET_PARITY(Loss);

// Whether a create whose reply was lost stands afterwards.
bool stands_after_a_lost_create(World& world, bool wanted) {
  world.connect();
  world.forget();
  const bool told = world.lose_next_create(wanted);
  const auto reply = world.call(core::ZkVerb::create, "/lost", "x");
  EXPECT_TRUE(world.wait<core::ZkConnected>());
  world.settle();
  const bool stands = world.call(core::ZkVerb::read, "/lost").code == core::ZkCode::ok;
  EXPECT_TRUE(reply.code == core::ZkCode::unknown_outcome || (reply.code == core::ZkCode::ok && stands && !told));
  return stands;
}

TEST(Doubt, AnUnknownOutcomeMayBeEither) {
  std::set<bool> fake;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    fake.insert(stands_after_a_lost_create(*make_fake_world(6'000, seed), true));
  }
  EXPECT_EQ(fake.size(), 2U);
  for (const bool done : {true, false}) {
    EXPECT_EQ(stands_after_a_lost_create(*make_real_world(6'000, 1), done), done);
  }
}

}  // namespace
}  // namespace limpet::test
