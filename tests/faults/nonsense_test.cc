// Well-formed packets that nobody asked for, between the answers of a server on an established session: the agent keeps
// its session and its znodes. Malformed answers are not sent here: the C client 3.8.0 trusts replies, and aborts the
// process on some that are cut short or that match no request. Nonsense before there is a session is in reach_test.cc.
#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

// Big-endian.
std::string bytes_of(std::int64_t value, int count) {
  std::string text;
  for (int shift = (count - 1) * 8; shift >= 0; shift -= 8) {
    text.push_back(static_cast<char>(value >> shift & 0xff));
  }
  return text;
}

std::string framed(const std::string& body) {
  return bytes_of(static_cast<std::int64_t>(body.size()), 4) + body;
}

// ReplyHeader: xid, zxid, error.
std::string reply(std::int32_t xid, const std::string& body = "", std::int32_t error = 0) {
  return framed(bytes_of(xid, 4) + bytes_of(1, 8) + bytes_of(error, 4) + body);
}

class Nonsense : public Faults, public ::testing::WithParamInterface<std::pair<const char*, std::string>> {
 protected:
  int inject(const std::string& bytes) {
    int clients = 0;
    for (const auto& one : proxies_) {
      clients += one->inject(bytes);
    }
    return clients;
  }
};

TEST_P(Nonsense, UnsolicitedPacketKeepsSessionAndZnodes) {
  const std::string& words = GetParam().second;
  auto agent = start_agent("10s");
  put(*agent, 0, 20);
  ASSERT_TRUE(agent->wait_settled());
  const auto id = session(*agent);
  const Tree before = registered();
  const auto size = agent->resident_bytes();

  // While nothing is asked, and while an answer is awaited.
  EXPECT_GE(inject(words), 1);
  pause(300);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  const auto asked = sums().writes();
  for (const auto& one : proxies_) {
    one->set_latency(150, 0);
  }
  put(*agent, 20, 30);
  ASSERT_TRUE(eventually([&] { return sums().writes() > asked; }));
  EXPECT_GE(inject(words), 1);
  pause(500);
  for (const auto& one : proxies_) {
    one->set_latency(0, 0);
  }
  ASSERT_TRUE(agent->wait_settled()) << agent->log();

  EXPECT_EQ(session(*agent), id);
  expect_exactly(*agent, 0, 30);
  Tree after = registered();
  for (const auto& [path, znode] : before) {
    EXPECT_EQ(after[path], znode) << path;
  }
  const auto txns = transactions();
  EXPECT_EQ(count(txns, "delete"), 0U);
  for (int i = 20; i < 30; ++i) {
    EXPECT_EQ(count(txns, "create", path(i)), 1U) << path(i);
  }
  EXPECT_LT(agent->resident_bytes(), size + (16U << 20));
}

INSTANTIATE_TEST_SUITE_P(, Nonsense,
                         ::testing::Values(std::pair{"Ping", reply(-2)}, std::pair{"SetWatchesAnswer", reply(-8)},
                                           std::pair{"EventOfUnwatchedPath",
                                                     reply(-1, bytes_of(2, 4) + bytes_of(3, 4) + framed("/nowhere"))}),
                         [](const auto& info) { return std::string(info.param.first); });

}  // namespace
}  // namespace limpet::test
