// Rows A28 and A29: a request is carried out and its reply is lost, or it is lost itself; the connection is cut in both
// cases and the agent cannot tell which it was.
#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

class LostReply : public Faults {
 protected:
  // Does `change`, which makes the agent send one of these, and loses the n-th of them.
  void lose(AgentProcess& agent, std::vector<ZkOpcode> opcodes, int n, bool swallow,
            const std::function<void()>& change) {
    const auto before = sums().fired;
    for (const auto& one : proxies_) {
      one->lose_reply(opcodes, n, swallow);
    }
    change();
    EXPECT_TRUE(eventually([&] { return sums().fired > before; }, std::chrono::seconds(10)))
        << "nothing was lost, of " << n << (swallow ? ", swallowed" : "");
    for (const auto& one : proxies_) {
      one->forget();
    }
    ASSERT_TRUE(agent.wait_settled()) << agent.status().dump();
  }
};

TEST_F(LostReply, A28_OfEachKindOfRequest) {
  auto agent = start_agent();
  const auto id = session(*agent);
  int round = 0;
  for (const bool swallow : {false, true}) {
    for (const int n : swallow ? std::vector<int>{1} : std::vector<int>{1, 2}) {
      const int from = 10 * round++;
      // What is changed together may be one request: where the second is to be lost, one goes before.
      const auto in_requests = [&](int first, int end, const std::function<void(int, int)>& change) {
        if (n > 1) {
          change(first, first + 1);
          ASSERT_TRUE(agent->wait_settled()) << agent->status().dump();
          ++first;
        }
        change(first, end);
      };
      lose(*agent, {ZkOpcode::create2, ZkOpcode::multi}, n, swallow,
           [&] { in_requests(from, from + 10, [&](int first, int end) { put(*agent, first, end, "first"); }); });
      lose(*agent, {ZkOpcode::set_data, ZkOpcode::multi}, n, swallow,
           [&] { in_requests(from, from + 10, [&](int first, int end) { put(*agent, first, end, "second"); }); });
      lose(*agent, {ZkOpcode::remove, ZkOpcode::multi}, n, swallow, [&] {
        in_requests(from, from + 5, [&](int first, int end) {
          UnixHttp http(agent->socket());
          for (int i = first; i < end; ++i) {
            EXPECT_EQ(http.del(target(i)).status, 202);
          }
        });
      });
      const Tree tree = registered();
      for (int i = from; i < from + 10; ++i) {
        EXPECT_EQ(tree.contains(path(i)), i >= from + 5) << path(i);
      }
      const auto txns = transactions();
      for (int i = from; i < from + 10; ++i) {
        EXPECT_EQ(count(txns, "create", path(i)), 1U) << path(i);
        EXPECT_LE(count(txns, "delete", path(i)), 1U) << path(i);
      }
      for (int i = from + 5; i < from + 10; ++i) {
        ASSERT_TRUE(tree.contains(path(i)));
        EXPECT_EQ(tree.at(path(i)).data, "second " + std::to_string(i));
        EXPECT_EQ(static_cast<std::uint64_t>(tree.at(path(i)).ephemeral_owner), id);
      }
    }
  }
  EXPECT_EQ(session(*agent), id);
}

// What waits for the quorum goes out as transactions when it is back; each is lost, done or not, first, second or last.
TEST_F(LostReply, A28_OfATransaction) {
  const std::string data(2'000, 'x');  // 300 of these are three transactions
  auto agent = start_agent();
  const auto id = session(*agent);
  int from = 0;
  for (const bool swallow : {false, true}) {
    for (const int n : {1, 2, 3}) {
      const int count_of = 300;
      lose(*agent, {ZkOpcode::multi}, n, swallow, [&] {
        for (const auto& one : proxies_) {
          one->set_mode(ZkProxy::Mode::refuse);
          one->cut();
        }
        put(*agent, from, from + count_of, data);
        for (const auto& one : proxies_) {
          one->set_mode(ZkProxy::Mode::pass);
        }
      });
      from += count_of;
    }
  }
  expect_exactly(*agent, 0, from, data);
  EXPECT_EQ(session(*agent), id);
  std::int64_t last = 0;
  int created = 0;
  for (const Txn& txn : transactions()) {
    if (txn.what == "create" && txn.path.starts_with(root() + "/web/") && !txn.data.empty()) {
      ++created;
      EXPECT_GE(txn.zxid, last);
      last = txn.zxid;
    }
  }
  EXPECT_EQ(created, from) << "each is created once";
  const Tree tree = registered();
  std::int64_t czxid = 0;
  for (int i = 0; i < from; ++i) {
    ASSERT_TRUE(tree.contains(path(i)));
    EXPECT_GE(tree.at(path(i)).czxid, czxid) << "in the order of acceptance: " << path(i);
    czxid = tree.at(path(i)).czxid;
  }
}

TEST_F(LostReply, A28_OfParentsReadsAndSyncs) {
  auto agent = start_agent();
  lose(*agent, {ZkOpcode::create}, 1, false, [&] { put(*agent, 0, 10); });
  lose(*agent, {ZkOpcode::exists}, 1, false, [&] { put(*agent, 10, 20); });
  // A cut makes it look again at what stands.
  lose(*agent, {ZkOpcode::sync}, 1, false, [&] { proxy(proxy_of(*agent)).cut(); });
  expect_exactly(*agent, 0, 20);
  EXPECT_EQ(count(transactions(), "delete"), 0U);
}

TEST_F(LostReply, A29_OfARemovalThatIsFollowedByTheNextRegistration) {
  auto agent = start_agent();
  put(*agent, 0, 8, "first");
  ASSERT_TRUE(agent->wait_settled());
  for (int i = 0; i < 8; ++i) {
    const auto before = sums().fired;
    lose(*agent, {ZkOpcode::remove, ZkOpcode::multi}, 1, i % 2 == 1, [&] {
      EXPECT_EQ(UnixHttp(agent->socket()).del(target(i)).status, 202);
      EXPECT_TRUE(eventually([&] { return sums().fired > before; }));
      put(*agent, i, i + 1, "second");
    });
  }
  expect_exactly(*agent, 0, 8, "second");
}

}  // namespace
}  // namespace limpet::test
