// `limpet` against the real agent and real servers: what its own tests (tests/cli) can only act out.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cli/run_limpet.h"
#include "tests/end_to_end/fixture.h"
#include "tests/support/shell.h"

namespace limpet::test {
namespace {

class CommandLine : public EndToEnd {
 protected:
  static Outcome limpet(const AgentProcess& agent, std::vector<std::string> words) {
    words.insert(words.begin(), {"--socket", agent.socket()});
    Setting setting;
    setting.environment = {"PATH=/usr/bin:/bin"};
    return run_limpet(words, setting);
  }
  // The texts of the doctor's findings at `level`.
  static std::string findings(const Outcome& doctor, const std::string& level) {
    std::string all;
    const auto report = nlohmann::json::parse(doctor.out, nullptr, false);
    for (const auto& finding : report.is_object() ? report["findings"] : nlohmann::json::array()) {
      if (finding["level"] == level) {
        all += finding["area"].get<std::string>() + ": " + finding["text"].get<std::string>() + "\n";
      }
    }
    return all;
  }
  static bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
};

TEST_F(CommandLine, DoctorSaysThatAllIsWellAndThenWhatIsNot) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  ASSERT_EQ(limpet(agent, {"register", "web", "i-1", "--data", "x", "--wait", "60s"}).exit, 0);
  Outcome doctor = limpet(agent, {"doctor", "--json"});
  EXPECT_EQ(doctor.exit, 0) << doctor.out << doctor.err;
  EXPECT_TRUE(has(findings(doctor, "ok"), ": leader, answers in ")) << doctor.out;
  EXPECT_TRUE(has(findings(doctor, "ok"), ": follower, answers in ")) << doctor.out;
  EXPECT_TRUE(has(findings(doctor, "ok"), "Orphans: none among 1 znodes under " + root())) << doctor.out;

  ZkObserver observer(ensemble().connect_string());
  ASSERT_EQ(observer.create_with_parents(root() + "/old/i-9", "left behind"), 0);
  ASSERT_EQ(observer.create(root() + "/web/i-2", "somebody else's", /*ephemeral=*/true), 0);
  ASSERT_EQ(limpet(agent, {"register", "web", "i-2", "--data", "x"}).exit, 0);
  ASSERT_TRUE(agent.wait_status([](const auto& status) { return status["registrations"]["conflict"] == 1; }));
  doctor = limpet(agent, {"doctor", "--json"});
  EXPECT_EQ(doctor.exit, 1) << doctor.out << doctor.err;
  EXPECT_TRUE(has(findings(doctor, "wrong"), "Registration: web/i-2: conflict, foreign_owner")) << doctor.out;
  EXPECT_TRUE(has(findings(doctor, "note"), "1 persistent znodes stand under")) << doctor.out;
}

TEST_F(CommandLine, RunIsRegisteredForAsLongAsItsCommandLives) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  ZkObserver observer(ensemble().connect_string());
  const Outcome outcome = limpet(agent, {"run", "web", "i-1", "--data", "x", "--wait", "60s", "--", "sh", "-c",
                                         shell_word(LIMPET_PATH) + " show web i-1; exit 7"});
  EXPECT_EQ(outcome.exit, 7) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "registered")) << outcome.out;
  EXPECT_TRUE(poll_until([&] { return observer.sync() && registered(observer).empty(); }));
  EXPECT_EQ(limpet(agent, {"show", "web", "i-1"}).exit, 1);
}

TEST_F(CommandLine, KillOfLimpetRunLeavesNothingBehind) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  const pid_t run = ::fork();
  if (run == 0) {
    ::execl(LIMPET_PATH, "limpet", "--socket", agent.socket().c_str(), "run", "web", "i-1", "--", "sleep", "1000",
            nullptr);
    ::_exit(125);
  }
  const auto shown = [&] { return limpet(agent, {"show", "web", "i-1"}).exit; };
  ASSERT_TRUE(poll_until([&] { return shown() == 0; }));
  ASSERT_EQ(limpet(agent, {"wait", "web", "i-1", "--timeout", "60s"}).exit, 0);
  ::kill(run, SIGKILL);
  ::waitpid(run, nullptr, 0);
  EXPECT_TRUE(poll_until([&] { return shown() == 1; })) << agent.log();
  const Outcome history = limpet(agent, {"history", "--service", "web"});
  EXPECT_TRUE(has(history.out, "process_ended")) << history.out << history.err;
  ZkObserver observer(ensemble().connect_string());
  EXPECT_TRUE(poll_until([&] { return observer.sync() && registered(observer).empty(); }));
}

TEST_F(CommandLine, DumpShowsWhatAStoppedAgentHolds) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  ASSERT_EQ(limpet(agent, {"register", "web", "i-1", "--data", "x", "--wait", "60s"}).exit, 0);
  EXPECT_EQ(limpet(agent, {"dump", agent.data_dir()}).exit, 1) << "it runs";
  ASSERT_EQ(agent.terminate(), 0);
  const Outcome dump = limpet(agent, {"dump", agent.data_dir(), "--json"});
  EXPECT_EQ(dump.exit, 0) << dump.err;
  const auto state = nlohmann::json::parse(dump.out, nullptr, false);
  ASSERT_TRUE(state.is_object()) << dump.out;
  EXPECT_EQ(state["registrations"][0]["id"], "web/i-1");
  EXPECT_EQ(state["registrations"][0]["data"], "x");
}

}  // namespace
}  // namespace limpet::test
