// What an operator does to the agent: stop, reload, leave, a second start, a wrong configuration.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/end_to_end/fixture.h"
#include "tests/support/shell.h"

namespace limpet::test {

namespace {

class Operations : public EndToEnd {
 protected:
  static int exit_code_of(const std::vector<std::string>& arguments) {
    std::string command = shell_word(LIMPETD_PATH);
    for (const std::string& argument : arguments) {
      command += " " + shell_word(argument);
    }
    return WEXITSTATUS(std::system(("timeout 20 " + command + " >/dev/null 2>&1").c_str()));
  }
};

TEST_F(Operations, ReloadTakesAnotherListOfServersAndKeepsTheOldConfigurationOnError) {
  AgentProcess agent("", flags());
  const std::string file = agent.directory() + "/limpet.json";
  std::ofstream(file) << "{\n  // nobody is there\n  \"zookeeper\": \"127.0.0.1:1\"\n}\n";
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  ASSERT_EQ(http.put(target("web", "i-1"), "{}").status, 202);
  std::ofstream(file) << "{ \"zookeeper\": \"" << ensemble().connect_string() << "\" ";
  agent.signal(SIGHUP);
  ASSERT_TRUE(
      agent.wait_status([&](const auto&) { return agent.log().find("event=reload_failed") != std::string::npos; }));
  EXPECT_EQ(agent.status()["zookeeper"]["state"], "connecting");
  std::ofstream(file) << "{ \"zookeeper\": \"" << ensemble().connect_string() << "\" }";
  agent.signal(SIGHUP);
  ASSERT_TRUE(agent.wait_settled()) << agent.log();
}

// The configuration is a pipe, so that the agent is known to wait for it; then it is a file.
TEST_F(Operations, ASighupBeforeTheAgentServesIsMadeUpForWhenItDoes) {
  AgentProcess agent("127.0.0.1:1", flags());
  const std::string file = agent.directory() + "/limpet.json";
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  std::thread feeder([&] {
    const int pipe = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);  // returns when the agent reads
    std::filesystem::remove(file);
    std::ofstream(file) << "{}";
    ::kill(agent.pid(), SIGHUP);
    EXPECT_EQ(::write(pipe, "{}", 2), 2);
    ::close(pipe);
  });
  const bool started = agent.start();
  feeder.join();
  ASSERT_TRUE(started) << agent.log();
  EXPECT_TRUE(agent.wait_status([&](const auto&) { return agent.log().find("event=reloaded") != std::string::npos; }))
      << agent.log();
}

TEST_F(Operations, LeaveDeregistersEverything) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(http.put(target("web", "i-" + std::to_string(i)), "{}").status, 202);
  }
  ASSERT_TRUE(agent.wait_settled());
  EXPECT_EQ(http.post("/v1/leave?wait=30s", "").status, 200);
  EXPECT_EQ(agent.status()["registrations"]["total"], 0);
  ZkObserver observer(ensemble().connect_string());
  EXPECT_TRUE(registered(observer).empty());
}

TEST_F(Operations, StopsWithinFiveSecondsAlsoWhileSomebodyWaits) {
  ensemble().kill_quorum();
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ASSERT_EQ(http.put(target("web", "i-1"), "{}").status, 202);
  const pid_t waiting = ::fork();
  if (waiting == 0) {
    UnixHttp(agent.socket()).get(target("web", "i-1") + "?wait=60s");
    ::_exit(0);
  }
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(agent.terminate(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(5));
  ::waitpid(waiting, nullptr, 0);
  EXPECT_FALSE(std::filesystem::exists(agent.socket()));
}

TEST_F(Operations, WrongUsageAndConfigurationEndWithTwoAndDamageWithFour) {
  EXPECT_EQ(exit_code_of({"--no-such-flag"}), 2);
  EXPECT_EQ(exit_code_of({"--zookeeper", "zk1:port"}), 2);
  EXPECT_EQ(exit_code_of({"--config", "/no/such/file"}), 2);
  EXPECT_EQ(exit_code_of({"--root", "services"}), 2);
  EXPECT_EQ(exit_code_of({"--version"}), 0);
  AgentProcess agent("127.0.0.1:1", flags());
  EXPECT_EQ(exit_code_of({"--check-config", "--data-dir", agent.data_dir()}), 0);
  std::ofstream(agent.directory() + "/wrong.json") << R"({"zookeper":"x"})";
  EXPECT_EQ(exit_code_of({"--check-config", "--config", agent.directory() + "/wrong.json"}), 2);
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ASSERT_EQ(http.put(target("web", "i-1"), "{}").status, 202);
  agent.kill();
  for (const auto& entry : std::filesystem::directory_iterator(agent.data_dir() + "/db")) {
    if (entry.path().filename() == "CURRENT") {
      std::filesystem::remove(entry.path());
      break;
    }
  }
  EXPECT_EQ(exit_code_of({"--data-dir", agent.data_dir(), "--socket", agent.socket()}), 4);
}

TEST_F(Operations, TheStateDirectoryIsPrivateAndTheSocketForItsGroup) {
  AgentProcess agent("127.0.0.1:1", flags());
  ASSERT_TRUE(agent.start());
  struct stat facts {};
  ASSERT_EQ(::stat(agent.data_dir().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, 0700u);
  ASSERT_EQ(::stat(agent.socket().c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, 0660u);
}

}  // namespace

}  // namespace limpet::test
