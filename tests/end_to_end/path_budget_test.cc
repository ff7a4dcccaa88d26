// The packets that name every znode of a session: how much the agent lets into them, counted as the servers count.
#include <algorithm>

#include "tests/cli/run_limpet.h"
#include "tests/end_to_end/fixture.h"

namespace limpet::test {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLimit = 2'048;
constexpr std::uint64_t kHead = 48;

class PathBytes : public EndToEnd {
 protected:
  PathBytes() : observer_(ensemble().connect_string()) {}

  std::string chroot(std::size_t bytes) const {
    std::string name = "/" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name());
    return name + std::string(bytes - name.size(), 'c');
  }
  // Of all ephemerals below this chroot, as the packet that ends the session counts them.
  std::uint64_t packet(const std::string& chroot) {
    std::uint64_t bytes = kHead;
    for (const auto& [path, znode] : observer_.tree(chroot)) {
      bytes += znode.ephemeral_owner != 0 ? path.size() + 4 : 0;
    }
    return bytes;
  }
  std::vector<std::string> limit_flags() const {
    auto all = flags();
    all.insert(all.end(), {"--max-path-bytes", std::to_string(kLimit)});
    return all;
  }
  static std::uint64_t metric(AgentProcess& agent, const std::string& name) {
    const std::string text = UnixHttp(agent.socket()).get("/metrics").body;
    const auto at = text.find("\n" + name + " ");
    return at == std::string::npos ? 0 : std::stoull(text.substr(at + name.size() + 2));
  }

  ZkObserver observer_;
};

TEST_F(PathBytes, ChrootIsCountedAndExcessRefusedBeforeTheAcknowledgement) {
  const std::string place = chroot(100);
  AgentProcess agent(ensemble().connect_string() + place, limit_flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  int accepted = 0;
  HttpAnswer answer;
  while ((answer = http.put(target("web", "i-" + std::to_string(accepted)), body("x"))).status == 202) {
    ASSERT_LT(++accepted, 100) << "nothing bounds the packet that ends the session";
  }
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.json()["code"], "quota");
  ASSERT_TRUE(agent.wait_settled()) << agent.log();
  observer_.sync();
  EXPECT_LE(packet(place), kLimit);
  EXPECT_EQ(agent.status()["usage"]["path_bytes"]["used"], packet(place));
  EXPECT_EQ(metric(agent, "limpet_session_path_bytes"), packet(place));
  EXPECT_EQ(metric(agent, "limpet_path_bytes_limit"), kLimit);
}

TEST_F(PathBytes, LongerChrootHoldsBackWhatHasNoRoomAndSaysSo) {
  const std::string before = chroot(60);
  const std::string after = chroot(140);
  AgentProcess agent(ensemble().connect_string() + before, limit_flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  int accepted = 0;
  while (http.put(target("web", "i-" + std::to_string(accepted)), body("x")).status == 202) {
    ASSERT_LT(++accepted, 100);
  }
  ASSERT_TRUE(agent.wait_settled()) << agent.log();
  ASSERT_EQ(agent.terminate(), 0);
  agent.zookeeper = ensemble().connect_string() + after;
  ASSERT_TRUE(agent.start()) << agent.log();
  EXPECT_NE(agent.log().find("paths_over_limit"), std::string::npos) << agent.log();
  ASSERT_TRUE(agent.wait_status([&](const json& status) {
    return status["registrations"]["registered"].get<int>() + status["registrations"]["blocked"].get<int>() ==
               accepted &&
           status["registrations"]["blocked"] != 0;
  })) << agent.status().dump()
      << agent.log();
  observer_.sync();
  EXPECT_LE(packet(after), kLimit);
  const json status = agent.status();
  EXPECT_EQ(status["usage"]["held_back"], status["registrations"]["blocked"]);
  EXPECT_NE(agent.log().find("paths_over_bound"), std::string::npos) << agent.log();
  // The newest waits, and says why.
  const json last = UnixHttp(agent.socket()).get(target("web", "i-" + std::to_string(accepted - 1))).json();
  EXPECT_EQ(last["state"], "blocked");
  EXPECT_EQ(last["reason"]["code"], "quota");
  const auto doctor = run_limpet({"--socket", agent.socket(), "doctor", "--data-dir", agent.data_dir()});
  EXPECT_NE(doctor.out.find("held back"), std::string::npos) << doctor.out;
  // What goes makes room for the first of those that wait.
  const int held = status["usage"]["held_back"];
  EXPECT_EQ(UnixHttp(agent.socket()).del(target("web", "i-0") + "?wait=30s").status, 200);
  EXPECT_TRUE(agent.wait_status([&](const json& now) { return now["usage"]["held_back"] == held - 1; }))
      << agent.status().dump();
  observer_.sync();
  EXPECT_LE(packet(after), kLimit);
}

// For each character the agent says what the servers say, and what it takes reaches them.
TEST_F(EndToEnd, PathHoldsTheCharactersThatServersAndLibraryTake) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  ZkObserver observer(ensemble().connect_string());
  ASSERT_EQ(observer.create_with_parents(root() + "/theirs/x", ""), 0);
  std::vector<std::string> characters = {"\u0080", "\u009f", "\u00a0", "\u00e4", "\u202e", "\u4e2d", "\ud7ff",
                                         "\ue000", "\uf8ff", "\uf900", "\uffef", "\ufff0", "\ufffd", "\U0001f600"};
  for (char c = 1; c < 0x7f; ++c) {
    characters.emplace_back(1, c);
  }
  characters.emplace_back("\x7f");
  std::vector<std::string> taken;
  for (std::size_t i = 0; i < characters.size(); ++i) {
    if (characters[i] == "/") {
      continue;
    }
    const std::string leaf = "/a" + characters[i] + "b";
    const bool servers = observer.create(root() + "/theirs" + leaf, "") == 0;
    const std::string path = root() + "/ours" + leaf;
    const auto answer = http.put(target("web", "i-" + std::to_string(i)), json{{"path", path}, {"data", "x"}}.dump());
    EXPECT_EQ(answer.status, servers ? 202 : 422) << leaf << " " << answer.body;
    if (answer.status == 202) {
      taken.push_back(path);
    }
  }
  const std::string longest = root() + "/ours/" + std::string(8'192 - root().size() - 6, 'x');
  EXPECT_EQ(http.put(target("web", "longest"), json{{"path", longest}, {"data", "x"}}.dump()).status, 202);
  taken.push_back(longest);
  EXPECT_GT(taken.size(), 95U);
  ASSERT_TRUE(agent.wait_settled()) << agent.log();
  for (const std::string& path : taken) {
    EXPECT_TRUE(observer.get(path)) << path;
  }
}

}  // namespace
}  // namespace limpet::test
