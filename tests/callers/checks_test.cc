// Health checks of two users: what one asks for keeps nobody else's checks from running, and shows its user nothing
// that it could not see without the agent. The real limpetd, with one ZooKeeper server.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/preload.h"
#include "tests/support/two_users.h"

namespace limpet::test {
namespace {

constexpr std::uint16_t kAnyPort = 0;

// Listens on loopback or on a unix socket, and with `answer` says that to whoever connects; without, says nothing and
// keeps the connection.
class Listener {
 public:
  explicit Listener(std::string answer = "", const std::string& path = "") : answer_(std::move(answer)) {
    if (path.empty()) {
      fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      address.sin_port = kAnyPort;
      socklen_t size = sizeof address;
      EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
      ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
      port_ = ntohs(address.sin_port);
    } else {
      fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path.copy(address.sun_path, sizeof address.sun_path - 1);
      EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
      ::chmod(path.c_str(), 0666);
    }
    EXPECT_EQ(::listen(fd_, 512), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~Listener() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
    for (const int connection : connections_) {
      ::close(connection);
    }
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int accepted() const { return accepted_; }
  std::string port() const { return std::to_string(port_); }
  std::string address() const { return "127.0.0.1:" + port(); }

 private:
  void serve() {
    for (int fd = 0; (fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      ++accepted_;
      if (answer_.empty()) {
        connections_.push_back(fd);
        continue;
      }
      char request[4096];
      std::ignore = ::read(fd, request, sizeof request);
      std::ignore = ::write(fd, answer_.data(), answer_.size());
      ::close(fd);
    }
  }

  const std::string answer_;
  int fd_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> accepted_ = 0;
  std::vector<int> connections_;
  std::thread thread_;
};

std::string target(const std::string& instance) {
  return "/v1/registrations/web/" + instance;
}

std::string with_checks(const std::vector<nlohmann::json>& checks) {
  return nlohmann::json{{"data", "x"}, {"checks", checks}}.dump();
}

std::string with_check(nlohmann::json check, const std::string& interval, const std::string& timeout) {
  check.update({{"interval", interval}, {"timeout", timeout}, {"fall", 1}});
  return with_checks({std::move(check)});
}

class Checks : public TwoUsers {
 protected:
  // With a session, as a failing check withdraws nothing without one, and a root for each agent.
  AgentProcess& make_agent(std::vector<std::string> arguments = {}) {
    static int agents = 0;
    arguments.insert(arguments.end(), {"--root", "/agent-" + std::to_string(++agents)});
    AgentProcess& agent = TwoUsers::make_agent(std::move(arguments), standalone_server());
    return agent;
  }
  void start(std::vector<std::string> arguments = {}) {
    make_agent(std::move(arguments));
    start_agent();
    ASSERT_TRUE(agent_->wait_connected()) << agent_->log();
  }
  static bool eventually(const std::function<bool()>& holds, int seconds = 60) {
    for (int i = 0; i < seconds * 20; ++i) {
      if (holds()) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  nlohmann::json shown(const std::string& instance) { return call("GET", target(instance)).json(); }
  bool unhealthy(const std::string& instance) { return shown(instance).value("state", "") == "unhealthy"; }
  std::string message(const std::string& instance) {
    const nlohmann::json reason = shown(instance)["reason"];
    return reason.is_object() ? reason.value("message", "") : "";
  }
  // Whether `server` is connected to some times more, without that `instance` is taken for ill.
  bool goes_on_well(const std::string& instance, const Listener& server) {
    const int before = server.accepted();
    return eventually([&] { return server.accepted() >= before + 3 || unhealthy(instance); }) && !unhealthy(instance);
  }
  double metric(const std::string& name) {
    const std::string text = call("GET", "/metrics").body;
    const std::size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }
  std::string file(const std::string& name) const { return agent_->directory() + "/" + name; }
};

// ---- Slow host names

constexpr int kLookUpsOfOne = 2;  // at a time, for one user

class SlowNames : public Checks {
 protected:
  void start_with_names() {
    AgentProcess& agent = make_agent();
    std::ofstream names(file("names"));
    for (int i = 0; i < 20; ++i) {
      names << "slow" << i << ".test 600000 127.0.0.1\n";
    }
    names << "bob.test 0 127.0.0.1\n";
    names.close();
    agent.environment = {preload(NAMES_SHIM), "LIMPET_NAMES=" + file("names")};
    start_agent();
    // A look-up that began before the session counts for nothing, and these begin once.
    ASSERT_TRUE(agent_->wait_connected()) << agent_->log();
    for (int i = 0; i < 20; ++i) {
      const auto put =
          call_as(kAlice, "PUT", target("slow-" + std::to_string(i)),
                  with_check({{"type", "tcp"}, {"address", "slow" + std::to_string(i) + ".test:1"}}, "1s", "1s"));
      ASSERT_EQ(put.status, 202) << put.body;
    }
    ASSERT_TRUE(eventually([&] { return ill() == kLookUpsOfOne; })) << ill() << ": those looked up first take too long";
  }
  int ill() {
    const HttpAnswer status = call("GET", "/v1/status");
    EXPECT_EQ(status.status, 200) << status.body << agent_->log();
    return status.status == 200 ? status.json()["registrations"]["unhealthy"].get<int>() : -1;
  }
};

TEST_F(SlowNames, OfOneUserLeaveTheOthersNamesAlone) {
  start_with_names();
  const Listener server;
  ASSERT_EQ(call_as(kBob, "PUT", target("bob"),
                    with_check({{"type", "tcp"}, {"address", "bob.test:" + server.port()}}, "4s", "4s"))
                .status,
            202);
  EXPECT_TRUE(goes_on_well("bob", server)) << message("bob");
}

TEST_F(SlowNames, OfOneUserLeaveUnixSocketsAlone) {
  start_with_names();
  const Listener server("", file("bob.sock"));
  ASSERT_EQ(call_as(kBob, "PUT", target("bob"),
                    with_check({{"type", "tcp"}, {"address", "unix:" + file("bob.sock")}}, "4s", "4s"))
                .status,
            202);
  EXPECT_TRUE(goes_on_well("bob", server)) << message("bob");
}

TEST_F(SlowNames, ThatWaitForTheirLookUpAreNotTakenForIll) {
  start_with_names();
  std::this_thread::sleep_for(std::chrono::seconds(5));
  EXPECT_EQ(ill(), kLookUpsOfOne) << "the others have not been looked up";
}

// ---- Hanging checks

TEST_F(Checks, ThatHangDoNotKeepAnotherUsersFromRunning) {
  start();
  const Listener silent;
  for (int i = 0; i < 80; ++i) {
    ASSERT_EQ(call_as(kAlice, "PUT", target("hangs-" + std::to_string(i)),
                      with_check({{"type", "http"}, {"url", "http://" + silent.address()}}, "1m", "1m"))
                  .status,
              202);
  }
  ASSERT_TRUE(eventually([&] { return silent.accepted() >= 40; }));
  std::this_thread::sleep_for(std::chrono::seconds(2));
  std::string closed;
  { closed = Listener().address(); }
  ASSERT_EQ(call_as(kBob, "PUT", target("dead"), with_check({{"type", "tcp"}, {"address", closed}}, "1s", "1s")).status,
            202);
  EXPECT_TRUE(eventually([&] { return unhealthy("dead"); }, 40)) << "they hang for a minute";
}

TEST_F(Checks, ThatWaitForASlotAreCountedAsLate) {
  start();
  const Listener silent;
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(call_as(kAlice, "PUT", target("hangs-" + std::to_string(i)),
                      with_check({{"type", "http"}, {"url", "http://" + silent.address()}}, "1m", "1m"))
                  .status,
              202);
  }
  ASSERT_TRUE(eventually([&] { return silent.accepted() >= 40; }));
  ASSERT_EQ(call_as(kAlice, "PUT", target("late"),
                    with_check({{"type", "tcp"}, {"address", silent.address()}}, "100ms", "100ms"))
                .status,
            202);
  EXPECT_TRUE(eventually([&] { return metric("limpet_checks_late") >= 1; }, 40));
  EXPECT_GE(call("GET", "/v1/status").json()["checks"]["late"], 1);
}

TEST_F(Checks, OfOneUserHaveABound) {
  start({"--max-checks-per-uid", "3"});
  const nlohmann::json check = {{"type", "tcp"}, {"address", "127.0.0.1:1"}};
  ASSERT_EQ(call_as(kAlice, "PUT", target("a"), with_checks({check, check})).status, 202);
  const auto refused = call_as(kAlice, "PUT", target("b"), with_checks({check, check}));
  EXPECT_EQ(refused.status, 429) << refused.body;
  EXPECT_EQ(code(refused), "quota");
  EXPECT_EQ(call_as(kAlice, "PUT", target("b"), with_checks({check})).status, 202);
  EXPECT_EQ(call_as(kBob, "PUT", target("c"), with_checks({check, check, check})).status, 202);
  EXPECT_EQ(call_as(kAlice, "PUT", target("a"), with_checks({check})).status, 202);
  EXPECT_EQ(call_as(kAlice, "DELETE", target("b")).status, 202);
  EXPECT_EQ(call_as(kAlice, "PUT", target("d"), with_checks({check, check})).status, 202) << "what goes makes room";
  EXPECT_EQ(call("PUT", target("root"), with_checks({check, check, check, check})).status, 202);
  // The count is the same after a restart.
  agent_->kill();
  start_agent();
  EXPECT_EQ(call_as(kAlice, "PUT", target("e"), with_checks({check})).status, 429);
}

TEST_F(Checks, MayNotTakeLongerThanTheirInterval) {
  start();
  const nlohmann::json check = {{"type", "tcp"}, {"address", "127.0.0.1:1"}, {"interval", "1s"}};
  nlohmann::json slow = check;
  slow["timeout"] = "2s";
  const auto refused = call("PUT", target("a"), with_checks({slow}));
  EXPECT_EQ(refused.status, 422) << refused.body;
  EXPECT_EQ(refused.json()["errors"][0]["pointer"], "/checks/0/timeout");
  nlohmann::json quick = check;
  quick["interval"] = "200ms";
  const auto taken = call("PUT", target("a"), with_checks({quick}));
  ASSERT_EQ(taken.status, 202) << taken.body;
  EXPECT_EQ(taken.json()["checks"][0]["timeout"], "200ms") << "the usual second would be longer";
}

// ---- Reading other people's services

TEST_F(Checks, DoNotShowWhatAServiceSays) {
  start();
  const Listener server("HTTP/1.1 503 secret-words\r\nContent-Length: 12\r\n\r\nsecret-words");
  ASSERT_EQ(call_as(kAlice, "PUT", target("nosy"),
                    with_check({{"type", "http"}, {"url", "http://" + server.address() + "/"}}, "1s", "1s"))
                .status,
            202);
  ASSERT_TRUE(eventually([&] { return unhealthy("nosy"); }));
  EXPECT_NE(message("nosy").find("status 503"), std::string::npos) << message("nosy");
  for (const char* page : {"/v1/registrations/web/nosy", "/v1/history?service=web"}) {
    EXPECT_EQ(call_as(kAlice, "GET", page).body.find("secret-words"), std::string::npos);
  }
  EXPECT_EQ(agent_->log().find("secret-words"), std::string::npos);
}

TEST_F(Checks, ReachThisHostOnly) {
  start();
  for (const char* address : {"192.0.2.1:80", "169.254.169.254:80", "[fe80::1]:80", "[::ffff:192.0.2.1]:80"}) {
    const auto refused = call_as(kAlice, "PUT", target("far"), with_checks({{{"type", "tcp"}, {"address", address}}}));
    EXPECT_EQ(refused.status, 403) << address << refused.body;
    EXPECT_EQ(code(refused), "not_allowed");
    EXPECT_EQ(refused.json()["errors"][0]["pointer"], "/checks/0/address");
  }
  const auto refused =
      call_as(kAlice, "PUT", target("far"), with_checks({{{"type", "http"}, {"url", "http://192.0.2.1/health"}}}));
  EXPECT_EQ(refused.status, 403) << refused.body;
  for (const char* address : {"127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "localhost:80"}) {
    EXPECT_EQ(call_as(kAlice, "PUT", target("near"), with_checks({{{"type", "tcp"}, {"address", address}}})).status,
              202);
  }
}

TEST_F(Checks, ReachWhatTheConfigurationNames) {
  AgentProcess& agent = make_agent();
  std::ofstream(agent.directory() + "/limpet.json") << R"({"check_targets": ["host", "192.0.2.0/24"]})";
  start_agent();
  const auto put = [&](const char* address) {
    return call_as(kAlice, "PUT", target("far"), with_checks({{{"type", "tcp"}, {"address", address}}})).status;
  };
  EXPECT_EQ(put("192.0.2.1:80"), 202);
  EXPECT_EQ(put("192.0.3.1:80"), 403);
  std::ofstream(agent.directory() + "/limpet.json") << R"({"check_targets": ["any"]})";
  ASSERT_EQ(call("POST", "/v1/reload").status, 200);
  EXPECT_EQ(put("192.0.3.1:80"), 202);
  EXPECT_EQ(put("169.254.169.254:80"), 403) << "a link-local address must be named";
  std::ofstream(agent.directory() + "/limpet.json") << R"({"check_targets": ["169.254.0.0/16"]})";
  ASSERT_EQ(call("POST", "/v1/reload").status, 200);
  EXPECT_EQ(put("169.254.169.254:80"), 202);
  EXPECT_EQ(put("127.0.0.1:80"), 403);
}

TEST_F(Checks, OfANameAreJudgedByItsAddress) {
  AgentProcess& agent = make_agent();
  std::ofstream(file("names")) << "cloud.test 0 169.254.169.254\n";
  agent.environment = {preload(NAMES_SHIM), "LIMPET_NAMES=" + file("names")};
  start_agent();
  ASSERT_EQ(
      call_as(kAlice, "PUT", target("nosy"), with_check({{"type", "tcp"}, {"address", "cloud.test:80"}}, "1s", "1s"))
          .status,
      202);
  ASSERT_TRUE(eventually([&] { return unhealthy("nosy"); }));
  EXPECT_NE(message("nosy").find("check_targets"), std::string::npos) << message("nosy");
}

TEST_F(Checks, DoNotConnectToTheAgentItself) {
  start();
  const std::string own = agent_->socket();
  const auto refused =
      call_as(kAlice, "PUT", target("self"), with_checks({{{"type", "tcp"}, {"address", "unix:" + own}}}));
  EXPECT_EQ(refused.status, 403) << refused.body;
  std::filesystem::create_symlink(own, file("other.sock"));
  std::filesystem::create_hard_link(own, file("third.sock"));
  for (const char* name : {"other.sock", "third.sock"}) {
    ASSERT_EQ(call_as(kAlice, "PUT", target(name),
                      with_check({{"type", "tcp"}, {"address", "unix:" + file(name)}}, "1s", "1s"))
                  .status,
              202);
    EXPECT_TRUE(eventually([&] { return unhealthy(name); })) << name;
    EXPECT_NE(message(name).find("the agent's own socket"), std::string::npos) << message(name);
  }
}

// ---- Types of checks

TEST_F(Checks, OfATypeThatIsSwitchedOffAreRefused) {
  start({"--tcp-checks", "false", "--http-checks", "off"});
  const nlohmann::json tcp = {{"type", "tcp"}, {"address", "127.0.0.1:1"}};
  const nlohmann::json http = {{"type", "http"}, {"url", "http://127.0.0.1:1"}};
  for (const auto& check : {tcp, http}) {
    const auto refused = call("PUT", target("a"), with_checks({check}));
    EXPECT_EQ(refused.status, 403) << refused.body;
    EXPECT_EQ(code(refused), "not_allowed");
  }
}

TEST_F(Checks, ThatAreCommandsComeByFileOnly) {
  make_agent();
  std::filesystem::create_directory(agent_->registrations_dir());
  std::ofstream(agent_->registrations_dir() + "/db.json") << nlohmann::json{
      {"service", "web"},
      {"instance", "by-file"},
      {"data", "x"},
      {"checks", nlohmann::json::array(
                     {{{"type", "command"}, {"command", {"/bin/sh", "-c", "echo ran; exit 1"}}, {"fall", 1}}})}};
  start_agent();
  const nlohmann::json command = {{"type", "command"}, {"command", {"/bin/true"}}};
  for (const uid_t uid : {uid_t{0}, kAlice}) {
    const auto refused = call_as(uid, "PUT", target("a"), with_checks({command}));
    EXPECT_EQ(refused.status, 403) << refused.body;
    EXPECT_EQ(code(refused), "not_allowed");
    EXPECT_NE(refused.body.find("command_checks"), std::string::npos) << refused.body;
  }
  EXPECT_TRUE(eventually([&] { return unhealthy("by-file"); }));
  EXPECT_NE(message("by-file").find("ran"), std::string::npos) << message("by-file");
}

TEST_F(Checks, ThatAreCommandsOfUsersFailOnceTheyAreSwitchedOff) {
  AgentProcess& agent = make_agent();
  std::ofstream(agent.directory() + "/limpet.json") << R"({"command_checks": true})";
  start_agent();
  const auto put =
      call_as(kAlice, "PUT", target("a"), with_check({{"type", "command"}, {"command", {"/bin/true"}}}, "1s", "1s"));
  ASSERT_EQ(put.status, 202) << put.body;
  std::ofstream(agent.directory() + "/limpet.json") << R"({"command_checks": false})";
  ASSERT_EQ(call("POST", "/v1/reload").status, 200);
  EXPECT_TRUE(eventually([&] { return unhealthy("a"); }));
  EXPECT_NE(message("a").find("command_checks"), std::string::npos) << message("a");
}

}  // namespace
}  // namespace limpet::test
