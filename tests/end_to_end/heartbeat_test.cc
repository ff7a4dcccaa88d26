// Heartbeats at bad moments: while nothing can be written, at the very end of the time, with times that cannot be
// (FAULTS.md, rows D5 and D6); and what outlives a boot of the machine (row B44). The real agent on real servers.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

#include "tests/end_to_end/fixture.h"

namespace limpet::test {

namespace {

using std::chrono::milliseconds;

std::int64_t wall_ms() {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// RFC 3339 in UTC with milliseconds, as the API has it.
std::int64_t wall_ms_of(const std::string& text) {
  std::tm time{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
  EXPECT_TRUE(rest != nullptr && *rest == '.') << text;
  return static_cast<std::int64_t>(::timegm(&time)) * 1000 + (rest != nullptr ? std::atoi(rest + 1) : 0);
}

class Heartbeats : public EndToEnd {
 protected:
  static std::string beat(const std::string& instance) { return target("web", instance) + "/heartbeat"; }

  // When the history says that this happened to the newest of that name; 0: it does not.
  static std::int64_t when(UnixHttp& http, const std::string& instance, const std::string& what) {
    const auto page = http.get("/v1/history?service=web&instance=" + instance).json();
    for (const auto& entry : page["entries"]) {
      if (entry["what"] == what) {
        return wall_ms_of(entry["time"].get<std::string>());
      }
    }
    return 0;
  }
  static std::string how(UnixHttp& http, const std::string& instance, const std::string& what) {
    const auto page = http.get("/v1/history?service=web&instance=" + instance).json();
    for (const auto& entry : page["entries"]) {
      if (entry["what"] == what) {
        return entry.dump();
      }
    }
    return "";
  }
};

TEST_F(Heartbeats, D5_TheyCountWhileNothingCanBeWritten) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  for (const std::string instance : {"beats", "silent"}) {
    ASSERT_EQ(http.put(target("web", instance) + "?wait=60s", R"({"data":"x","ttl":"2s"})").status, 200);
  }
  ZkObserver observer(ensemble().connect_string());
  const auto stood = registered(observer).at(root() + "/web/beats");
  // No file may grow: what a disk without room or with errors comes to, and can be undone.
  rlimit limit{};
  const rlimit none{0, RLIM_INFINITY};
  ASSERT_EQ(::prlimit(agent.pid(), RLIMIT_FSIZE, &none, &limit), 0);
  const auto broken = http.put(target("web", "refused"), body("x")).status;
  EXPECT_TRUE(broken == 503 || broken == 507) << "the disk took it: " << broken;
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(http.post(beat("beats"), "").status, 200);
    EXPECT_EQ(http.get(target("web", "beats")).status, 200);
    std::this_thread::sleep_for(milliseconds(200));
  }
  ASSERT_EQ(::prlimit(agent.pid(), RLIMIT_FSIZE, &limit, nullptr), 0);
  // Whose time was over meanwhile goes as soon as that can be written.
  EXPECT_TRUE(poll_until([&] {
    EXPECT_EQ(http.post(beat("beats"), "").status, 200);
    return http.get(target("web", "silent")).status == 404;
  }));
  EXPECT_EQ(http.get(target("web", "refused")).status, 404);
  EXPECT_EQ(http.get(target("web", "beats")).json()["state"], "registered");
  EXPECT_EQ(registered(observer).at(root() + "/web/beats"), stood);
}

TEST_F(Heartbeats, D6_OneAtTheVeryEndCountsOrComesTooLate) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  constexpr int kRounds = 12;
  constexpr std::int64_t kTtlMs = 1'000;
  int taken = 0;
  std::vector<std::int64_t> counted_ms(kRounds, 0);
  std::vector<std::chrono::steady_clock::time_point> made;
  for (int i = 0; i < kRounds; ++i) {
    ASSERT_EQ(http.put(target("web", std::to_string(i)), R"({"data":"x","ttl":"1s"})").status, 202);
    made.push_back(std::chrono::steady_clock::now());
    std::this_thread::sleep_for(milliseconds(20));
  }
  for (int i = 0; i < kRounds; ++i) {
    const std::string instance = std::to_string(i);
    std::this_thread::sleep_until(made[static_cast<std::size_t>(i)] + milliseconds(kTtlMs - 40 + 20 * i));
    const std::int64_t before = wall_ms();
    const auto answer = http.post(beat(instance), "");
    ASSERT_TRUE(answer.status == 200 || answer.status == 404) << answer.status << answer.body;
    if (answer.status == 200) {
      ++taken;
      counted_ms[static_cast<std::size_t>(i)] = before;
    }
  }
  std::printf("%d of %d came in time\n", taken, kRounds);
  for (int i = 0; i < kRounds; ++i) {
    const std::string instance = std::to_string(i);
    std::int64_t ended = 0;
    ASSERT_TRUE(poll_until([&] { return (ended = when(http, instance, "ttl_expired")) != 0; })) << instance;
    EXPECT_TRUE(poll_until([&] { return http.get(target("web", instance)).status == 404; })) << "nobody lives for ever";
    // One that was answered with 200 has given it a whole ttl; the clocks in between are cut to milliseconds.
    if (const std::int64_t since = counted_ms[static_cast<std::size_t>(i)]; since != 0) {
      EXPECT_GE(ended, since + kTtlMs - 5) << instance;
    }
  }
}

TEST_F(Heartbeats, D6_TimesThatCannotBeAreRefused) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  for (const std::string ttl : {R"("0s")", R"("-1s")", R"("999ms")", R"("10y")", R"("87600h")", R"("24h1s")", R"("")",
                                R"("1")", R"("s")", "1", "0", "-1", "null", R"("99999999999999999999s")"}) {
    const auto answer = http.put(target("web", "t"), R"({"data":"x","ttl":)" + ttl + "}");
    if (ttl == "null") {
      EXPECT_TRUE(answer.status == 202 || answer.status == 422) << answer.body;
      http.del(target("web", "t") + "?wait=60s");
      continue;
    }
    EXPECT_EQ(answer.status, 422) << ttl << answer.body;
    EXPECT_EQ(answer.json()["errors"][0]["pointer"], "/ttl") << answer.body;
    EXPECT_EQ(http.get(target("web", "t")).status, 404) << ttl;
  }
  for (const std::string ttl : {"1s", "24h"}) {
    EXPECT_EQ(http.put(target("web", "t"), R"({"data":"x","ttl":")" + ttl + R"("})").status, 202) << ttl;
  }
}

// The same machine with another boot's id, and a monotonic clock that began anew, as far as one can be had.
class AnotherBoot : public Heartbeats {
 protected:
  static bool works(const std::string& command) { return std::system((command + " 2>/dev/null").c_str()) == 0; }
  static std::string fresh_id(const std::string& file) {
    std::ofstream(file) << "01234567-89ab-cdef-0123-456789abcdef\n";
    return file;
  }
  // limpetd itself, where a wrapper has it as a child. SIGKILL, and waits for the end of both.
  static void kill_inner(AgentProcess& agent) {
    const std::string pid = std::to_string(agent.pid());
    std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
    if (pid_t inner = 0; children >> inner) {
      ::kill(inner, SIGKILL);
      agent.wait_exit();
    }
    agent.kill();
  }
};

TEST_F(AnotherBoot, B44_EndsWhatWasBoundToProcessesAndNothingElse) {
  AgentProcess agent(ensemble().connect_string(), flags());
  const std::string mount = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && ";
  const std::string id = fresh_id(agent.directory() + "/boot_id");
  if (!works("unshare --mount sh -c 'mount --bind \"$0\" /proc/sys/kernel/random/boot_id' " + id)) {
    GTEST_SKIP() << "needs the right to mount, to show the agent another boot";
  }
  const std::vector<std::string> later = {"unshare",     "--time",    "--fork",     "--kill-child",
                                          "--monotonic", "100000000", "--boottime", "100000000"};
  if (works("unshare --time --fork --monotonic 100000000 --boottime 100000000 true")) {
    agent.wrapper = later;
  }
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  // The process lives on, with the same number and the same start: only the boot is another.
  const std::string bound = R"({"data":"x","bind":"process","pid":)" + std::to_string(::getpid()) + "}";
  ASSERT_EQ(http.put(target("web", "bound") + "?wait=60s", bound).status, 200);
  ASSERT_EQ(http.put(target("web", "plain") + "?wait=60s", body("x")).status, 200);
  ASSERT_EQ(http.put(target("web", "timed") + "?wait=60s", R"({"data":"x","ttl":"3s"})").status, 200);
  ASSERT_EQ(http.put(target("web", "kept") + "?wait=60s", R"({"data":"x","ttl":"3s"})").status, 200);
  const auto session = agent.status()["zookeeper"]["session"];
  ZkObserver observer(ensemble().connect_string());
  const auto before = registered(observer);
  ASSERT_EQ(before.size(), 4U);
  kill_inner(agent);
  http.close();
  agent.wrapper = {"unshare", "--mount", "sh", "-c", mount + "exec \"$@\"", id};
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_EQ(http.post(beat("kept"), "").status, 200) << "after a boot each has a whole ttl";
  const std::int64_t started = wall_ms_of(agent.status()["started_at"].get<std::string>());
  ASSERT_TRUE(poll_until([&] {
    EXPECT_EQ(http.post(beat("kept"), "").status, 200);
    return http.get(target("web", "bound")).status == 404 && http.get(target("web", "timed")).status == 404;
  })) << agent.log();
  EXPECT_NE(how(http, "bound", "process_ended").find("boot"), std::string::npos) << how(http, "bound", "process_ended");
  EXPECT_GE(when(http, "timed", "ttl_expired"), started + 3'000 - 5);
  ASSERT_TRUE(poll_until([&] { return registered(observer).size() == 2; }));
  const auto after = registered(observer);
  EXPECT_EQ(after.at(root() + "/web/plain"), before.at(root() + "/web/plain"));
  EXPECT_EQ(after.at(root() + "/web/kept"), before.at(root() + "/web/kept"));
  EXPECT_EQ(agent.status()["zookeeper"]["session"], session);
}

}  // namespace

}  // namespace limpet::test
