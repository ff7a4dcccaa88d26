// Row A34 on a session that stands: between the answers of its server comes something that nobody asked for. The
// library may end the process for it (its assertions are compiled in), which a service manager then starts again; no
// znode blinks either way. What is said before there is a session is in reach_test.cc.
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
  static bool lives(AgentProcess& agent) { return UnixHttp(agent.socket()).get("/healthz").status == 200; }

  // As a service manager would: starts it again where it has ended, until it is connected and nothing waits.
  static bool settles(AgentProcess& agent, int& ends) {
    return eventually([&] {
      if (!lives(agent)) {
        agent.kill();
        ++ends;
        return agent.start() && false;
      }
      UnixHttp http(agent.socket());
      const HttpAnswer answer = http.get("/v1/status");
      const auto status = answer.status == 200 ? answer.json() : nlohmann::json::object();
      return !status.empty() && status["zookeeper"]["state"] == "connected" && status["queue"]["depth"] == 0;
    });
  }

  int inject(const std::string& bytes) {
    int clients = 0;
    for (const auto& one : proxies_) {
      clients += one->inject(bytes);
    }
    return clients;
  }
};

TEST_P(Nonsense, A34_OnASessionMakesNoZnodeBlink) {
  const std::string& words = GetParam().second;
  auto agent = start_agent("10s");
  put(*agent, 0, 20);
  ASSERT_TRUE(agent->wait_settled());
  const auto id = session(*agent);
  const Tree before = registered();
  const auto size = agent->resident_bytes();
  int ends = 0;

  // While nothing is asked, and while an answer is awaited.
  EXPECT_GE(inject(words), 1);
  pause(300);
  ASSERT_TRUE(settles(*agent, ends)) << agent->log();
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
  ASSERT_TRUE(settles(*agent, ends)) << agent->log();

  EXPECT_LE(ends, 2);
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
  std::printf("%s: the library ended the process %d times of 2\n", GetParam().first, ends);
}

INSTANTIATE_TEST_SUITE_P(
    , Nonsense,
    ::testing::Values(std::pair{"AReplyToNobody", reply(0x12345678)},
                      std::pair{"ARefusalToNobody", reply(0x12345678, "", -101)},
                      std::pair{"APingThatWasNotSent", reply(-2)}, std::pair{"WatchesThatWereNotSet", reply(-8)},
                      std::pair{"AnEventCutShort", reply(-1, bytes_of(1, 4))},
                      std::pair{"AnEventOfNowhere", reply(-1, bytes_of(2, 4) + bytes_of(3, 4) + framed("/nowhere"))},
                      std::pair{"AFrameOfTwoBytes", framed("ab")},
                      std::pair{"AFrameLongerThanAnything", bytes_of(0x7fffffff, 4)},
                      std::pair{"AFrameOfNegativeLength", bytes_of(-1, 4)}),
    [](const auto& info) { return std::string(info.param.first); });

}  // namespace
}  // namespace limpet::test
