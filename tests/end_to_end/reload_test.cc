// The configuration read again, over the API and by SIGHUP, and registrations by file.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/end_to_end/fixture.h"

namespace limpet::test {

namespace {

using nlohmann::json;

class Reload : public EndToEnd {
 protected:
  static void configure(const AgentProcess& agent, const json& content) {
    std::ofstream(agent.directory() + "/limpet.json") << content.dump();
  }
  static void write_file(const AgentProcess& agent, const std::string& name, const json& content) {
    std::ofstream(agent.registrations_dir() + "/" + name) << content.dump();
    ASSERT_EQ(::chmod((agent.registrations_dir() + "/" + name).c_str(), 0644), 0);
  }
  static json entry(const std::string& instance, const std::string& data) {
    return {{"service", "web"}, {"instance", instance}, {"data", data}};
  }
  static json reload(UnixHttp& http) {
    const HttpAnswer answer = http.post("/v1/reload", "");
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json();
  }
  static std::string quoted_word(const std::string& path) { return '"' + path + '"'; }
  // The exit status of `limpetd --check-config` with the agent's configuration.
  static int check_config(const AgentProcess& agent) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl(LIMPETD_PATH, LIMPETD_PATH, "--check-config", "--config", (agent.directory() + "/limpet.json").c_str(),
              "--registrations-dir", agent.registrations_dir().c_str(), "--data-dir",
              (agent.directory() + "/state").c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  }
  static json files(int added, int changed, int removed) {
    return {{"added", added}, {"changed", changed}, {"removed", removed}, {"errors", json::array()}};
  }
};

TEST_F(Reload, AppliesWhatItCanAndSaysWhatNeedsARestart) {
  AgentProcess agent("", {"--root", root()});
  configure(agent, {{"zookeeper", "127.0.0.1:1"}});
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  EXPECT_EQ(reload(http),
            (json{{"applied", json::array()}, {"needs_restart", json::array()}, {"registrations_d", files(0, 0, 0)}}));
  ASSERT_EQ(http.put(target("web", "i-1"), body("x")).status, 202);
  configure(agent, {{"zookeeper", ensemble().connect_string()},
                    {"max_registrations", 1},
                    {"log_level", "debug"},
                    {"session_timeout", "9s"}});
  const json answer = reload(http);
  EXPECT_EQ(answer["applied"], (json{"zookeeper", "log_level", "max_registrations"}));
  EXPECT_EQ(answer["needs_restart"], json{"session_timeout"});
  EXPECT_TRUE(agent.wait_settled()) << agent.log();
  const HttpAnswer refused = http.put(target("web", "i-2"), body("x"));
  EXPECT_EQ(refused.status, 429) << refused.body;
  // What waits for a restart goes on waiting.
  EXPECT_EQ(reload(http)["needs_restart"], json{"session_timeout"});
}

TEST_F(Reload, OpensPlacesAndSetsThePace) {
  AgentProcess agent(ensemble().connect_string(), flags());
  // One a second: those that wait would take minutes.
  configure(agent, {{"replay_rate", 1}});
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_TRUE(agent.wait_connected());
  UnixHttp http(agent.socket());
  const auto elsewhere = json{{"data", "x"}, {"path", root() + "-elsewhere/i"}}.dump();
  EXPECT_EQ(http.put(target("other", "i"), elsewhere).status, 403);
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(http.put(target("web", "i-" + std::to_string(i)), body("x")).status, 202);
  }
  configure(agent, {{"paths", {root() + "-elsewhere"}}});
  EXPECT_EQ(reload(http)["applied"], (json{"paths", "replay_rate"}));
  EXPECT_EQ(http.put(target("other", "i") + "?wait=60s", elsewhere).status, 200);
  EXPECT_TRUE(agent.wait_settled());
  // What stands in a place that is closed again stays.
  configure(agent, json::object());
  EXPECT_EQ(reload(http)["applied"], json{"paths"});
  EXPECT_EQ(http.get(target("other", "i")).json()["state"], "registered");
  EXPECT_EQ(http.put(target("other", "j"), json{{"path", root() + "-elsewhere/j"}}.dump()).status, 403);
  EXPECT_EQ(http.del(target("other", "i") + "?wait=60s").status, 200);
}

TEST_F(Reload, AWrongFileChangesNothingAndIsAnsweredWithItsFault) {
  AgentProcess agent(ensemble().connect_string(), flags());
  configure(agent, {{"max_registrations", 5}});
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  configure(agent, {{"max_registrations", 1}, {"max_registartions_per_uid", 1}});
  const HttpAnswer answer = http.post("/v1/reload", "");
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer.content_type, "application/problem+json");
  EXPECT_EQ(answer.json()["code"], "invalid");
  EXPECT_NE(answer.body.find("did you mean \\\"max_registrations_per_uid\\\"?"), std::string::npos) << answer.body;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(http.put(target("web", "i-" + std::to_string(i)), body("x")).status, 202);
  }
  std::ofstream(agent.directory() + "/limpet.json") << "{\n  \"root\": }";
  EXPECT_NE(http.post("/v1/reload", "").body.find("parse error at line 2"), std::string::npos);
  EXPECT_EQ(http.post("/v1/reload", "{\"x\":1}").status, 422);
  EXPECT_EQ(http.post("/v1/reload?x=1", "").status, 400);
  EXPECT_EQ(http.get("/v1/reload").status, 405);
}

TEST_F(Reload, APolicyHoldsFromThenOn) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "takes root, to be another user";
  }
  AgentProcess agent("127.0.0.1:1", flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  ASSERT_EQ(::chmod(agent.directory().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(agent.socket().c_str(), 0666), 0);
  // As uid 4711: the statuses of a reload, and of registering web-1 and db.
  const auto as_another = [&] {
    int fds[2];
    EXPECT_EQ(::pipe(fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      if (::setgid(4711) != 0 || ::setuid(4711) != 0) {
        ::_exit(1);
      }
      UnixHttp mine(agent.socket());
      const int statuses[] = {mine.post("/v1/reload", "").status, mine.put(target("web-1", "i"), body("x")).status,
                              mine.put(target("db", "i"), body("x")).status};
      ::_exit(::write(fds[1], statuses, sizeof statuses) == sizeof statuses ? 0 : 1);
    }
    ::close(fds[1]);
    std::vector<int> statuses(3);
    EXPECT_EQ(::read(fds[0], statuses.data(), 12), 12);
    ::close(fds[0]);
    ::waitpid(child, nullptr, 0);
    return statuses;
  };
  configure(agent, {{"policy", {{{"user", "4711"}, {"services", {"web-*"}}}}}});
  EXPECT_EQ(reload(http)["applied"], json{"policy"});
  EXPECT_EQ(as_another(), (std::vector<int>{403, 202, 403}));
  configure(agent, json::object());
  reload(http);
  EXPECT_EQ(as_another(), (std::vector<int>{403, 200, 202}));
}

TEST_F(Reload, RegistrationsFollowTheirFiles) {
  AgentProcess agent(ensemble().connect_string(), flags());
  write_file(agent, "a.json", entry("a", "1"));
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  ASSERT_TRUE(agent.wait_status([](const json& status) { return status["registrations"]["registered"] == 1; }))
      << agent.log();
  ASSERT_EQ(http.put(target("web", "api"), body("by the API")).status, 202);
  write_file(agent, "a.json", entry("a", "2"));
  write_file(agent, "b.json", json::array({entry("b", "1")}));
  write_file(agent, "c.json", json::array({entry("c", "1")}));
  write_file(agent, "bad.json", {{"service", "web"}});
  const json answer = reload(http)["registrations_d"];
  EXPECT_EQ(answer["added"], 2);
  EXPECT_EQ(answer["changed"], 1);
  EXPECT_EQ(answer["removed"], 0);
  EXPECT_EQ(answer["errors"], json::array({{{"file", "bad.json"}, {"error", "/instance is missing"}}}));
  EXPECT_NE(agent.log().find("event=registration_file_refused"), std::string::npos);
  EXPECT_EQ(http.get(target("web", "b")).json()["owner"]["uid"], ::geteuid());
  // Gone while the agent is down, and without a chance to say good-bye.
  agent.kill();
  std::filesystem::remove(agent.registrations_dir() + "/b.json");
  std::filesystem::remove(agent.registrations_dir() + "/bad.json");
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_TRUE(agent.wait_status([&](const json& status) { return status["registrations"]["total"] == 3; }))
      << agent.log();
  ASSERT_TRUE(agent.wait_settled()) << agent.log();
  ZkObserver observer(ensemble().connect_string());
  const auto znodes = registered(observer);
  ASSERT_EQ(znodes.size(), 3U);
  EXPECT_EQ(znodes.at(root() + "/web/a").data, "2");
  EXPECT_EQ(znodes.at(root() + "/web/api").data, "by the API");
  std::filesystem::remove(agent.registrations_dir() + "/a.json");
  http.close();  // it was to the agent that was killed
  EXPECT_EQ(reload(http)["registrations_d"], files(0, 0, 1));
}

// Moved away for a moment, a mount that comes later, a typo: nothing is known, and nothing is deregistered.
TEST_F(Reload, AMissingDirectoryOfFilesChangesNothingAndIsTold) {
  AgentProcess agent(ensemble().connect_string(), flags());
  write_file(agent, "a.json", json::array({entry("a", "1"), entry("b", "1")}));
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  ASSERT_TRUE(agent.wait_status([](const json& status) { return status["registrations"]["registered"] == 2; }))
      << agent.log();
  EXPECT_EQ(http.get("/v1/status").json()["registrations_d"]["registrations"], 2);
  const std::string away = agent.registrations_dir() + ".away";
  std::filesystem::rename(agent.registrations_dir(), away);
  const json answer = http.post("/v1/reload?force=true", "").json()["registrations_d"];
  EXPECT_EQ(answer["removed"], 0);
  ASSERT_EQ(answer["errors"].size(), 1U);
  EXPECT_EQ(answer["errors"][0]["file"], agent.registrations_dir());
  const json status = http.get("/v1/status").json();
  EXPECT_EQ(status["registrations_d"]["problems"], 1);
  EXPECT_EQ(status["registrations_d"]["errors"], answer["errors"]);
  EXPECT_EQ(status["registrations"]["registered"], 2);
  EXPECT_NE(agent.log().find("event=registration_file_refused file=" + quoted_word(agent.registrations_dir())),
            std::string::npos)
      << agent.log();
  // Also where it is away at a start.
  agent.kill();
  http.close();
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_TRUE(agent.wait_status([](const json& now) { return now["registrations_d"]["problems"] == 1; }));
  EXPECT_TRUE(agent.wait_settled()) << agent.log();
  EXPECT_EQ(http.get("/v1/status").json()["registrations"]["registered"], 2);
  // And --check-config says so.
  EXPECT_EQ(check_config(agent), 2);
  std::filesystem::rename(away, agent.registrations_dir());
  EXPECT_EQ(check_config(agent), 0);
  EXPECT_EQ(reload(http)["registrations_d"], files(0, 0, 0));
}

TEST_F(Reload, AnEmptiedDirectoryOfFilesWaitsForForce) {
  AgentProcess agent(ensemble().connect_string(), flags());
  for (const char* name : {"a", "b", "c"}) {
    write_file(agent, std::string(name) + ".json", entry(name, "1"));
  }
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  ASSERT_TRUE(agent.wait_status([](const json& status) { return status["registrations"]["registered"] == 3; }))
      << agent.log();
  for (const char* name : {"a", "b", "c"}) {
    std::filesystem::remove(agent.registrations_dir() + "/" + name + ".json");
  }
  const json held = reload(http)["registrations_d"];
  EXPECT_EQ(held["removed"], 0);
  EXPECT_EQ(held["held"], 3);
  EXPECT_EQ(http.get("/v1/status").json()["registrations"]["registered"], 3);
  EXPECT_EQ(http.post("/v1/reload?force=perhaps", "").status, 400);
  const json forced = http.post("/v1/reload?force=true", "").json()["registrations_d"];
  EXPECT_EQ(forced, files(0, 0, 3));
  EXPECT_EQ(http.get("/v1/status").json()["registrations_d"]["problems"], 0);
}

TEST_F(Reload, OneWrongEntryOfManyTakesNoOtherAlong) {
  AgentProcess agent(ensemble().connect_string(), flags());
  json list = json::array();
  for (int i = 0; i < 200; ++i) {
    list.push_back(entry("i-" + std::to_string(i), "1"));
  }
  list.insert(list.begin() + 77, json{{"service", "web"}, {"instance", "wrong"}, {"port", "eighty"}});
  write_file(agent, "all.json", list);
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_TRUE(agent.wait_status([](const json& status) { return status["registrations"]["registered"] == 200; }))
      << agent.log();
  UnixHttp http(agent.socket());
  const json errors = http.get("/v1/status").json()["registrations_d"]["errors"];
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_TRUE(errors[0]["error"].get<std::string>().starts_with("entry 78 (web/wrong): /port ")) << errors;
}

}  // namespace

}  // namespace limpet::test
