// dump and doctor: what can be told of a host whose agent is stopped, or whose ZooKeeper is away.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "storage/rocks_store.h"
#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

Registration stored(const std::string& instance, std::uint64_t seq) {
  Registration registration;
  registration.id = {"web", instance};
  registration.path = "/services/web/" + instance;
  registration.data = "data of " + instance;
  registration.seq = Seq{seq};
  registration.accepted_at = 1'700'000'000'000;
  return registration;
}

class Dump : public ::testing::Test {
 protected:
  Dump() : state(directory.path() + "/state") {
    auto opened = RocksStore::open(state);
    EXPECT_TRUE(opened.ok());
    store = std::move(*opened);
    EXPECT_TRUE(store->load().ok());
    Batch batch;
    batch.last_seq = Seq{3};
    Session session;
    session.id = SessionId{0x1234};
    session.password.fill(0x5a);
    session.timeout_ms = 10'000;
    limpet::Outcome outcome;
    outcome.seq = Seq{1};
    outcome.session = session.id;
    batch.changes.emplace_back(PutRegistration{stored("i-1", 1)});
    batch.changes.emplace_back(PutOutcome{{"web", "i-1"}, outcome});
    batch.changes.emplace_back(PutRegistration{stored("i-2", 2)});
    batch.changes.emplace_back(PutRemoval{Removal{Seq{3}, {"web", "i-3"}, "/services/web/i-3", {}, 1'700'000'000'000}});
    batch.changes.emplace_back(PutSession{session, {SessionId{0x99}}});
    EXPECT_TRUE(store->append(batch, true).ok());
  }
  TemporaryDirectory directory;
  std::string state;
  std::unique_ptr<RocksStore> store;
};

TEST_F(Dump, StoppedAgentAsATable) {
  store.reset();
  const Outcome outcome = run_limpet({"dump", state});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "0x1234, time-out 10s"));
  EXPECT_TRUE(has(outcome.out, "     1  web/i-1       was in ZooKeeper      "));
  EXPECT_TRUE(has(outcome.out, "     2  web/i-2       not in ZooKeeper yet  "));
  EXPECT_TRUE(has(outcome.out, "     3  web/i-3       to be removed         "));
}

TEST_F(Dump, StoppedAgentAsJson) {
  store.reset();
  const Outcome outcome = run_limpet({"dump", state, "--json"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  const auto dump = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(dump["last_seq"], 3);
  EXPECT_EQ(dump["session"]["id"], "0x1234");
  EXPECT_EQ(dump["former_sessions"][0], "0x99");
  ASSERT_EQ(dump["registrations"].size(), 3u);
  EXPECT_EQ(dump["registrations"][0]["state"], "suspended");
  EXPECT_EQ(dump["registrations"][1]["data"], "data of i-2");
  EXPECT_EQ(dump["registrations"][2]["state"], "removing");
  EXPECT_EQ(outcome.out.find("password"), std::string::npos);
}

TEST_F(Dump, RunningAgentIsLeftAlone) {
  const Outcome outcome = run_limpet({"dump", state});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(has(outcome.err, state + " is in use: an agent runs on it"));
  EXPECT_TRUE(has(run_limpet({"dump", state, "--json"}).out, R"("code":"in_use")"));
}

TEST_F(Dump, NoSuchDirectory) {
  const Outcome outcome = run_limpet({"dump", directory.path() + "/none"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "cannot read the state: "));
  EXPECT_TRUE(has(outcome.err, "No such file or directory"));
}

// A server on loopback that answers each connection's first bytes with the same text, until it goes.
class Answering {
 public:
  explicit Answering(std::string text) : text_(std::move(text)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    (void)::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    ::listen(listener_, 8);
    socklen_t length = sizeof(address);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ::ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int fd = -1; (fd = ::accept(listener_, nullptr, nullptr)) >= 0; ::close(fd)) {
        char bytes[64];
        (void)!::read(fd, bytes, sizeof(bytes));
        (void)!::write(fd, text_.data(), text_.size());
      }
    });
  }
  ~Answering() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  const std::string text_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

class Doctor : public Cli {
 protected:
  nlohmann::json examine(std::vector<std::string> more, int exit) {
    more.insert(more.begin(), {"doctor", "--json", "--data-dir", directory.path()});
    const Outcome outcome = run(more);
    EXPECT_EQ(outcome.exit, exit) << outcome.out;
    auto report = nlohmann::json::parse(outcome.out, nullptr, false);
    EXPECT_TRUE(report.is_object()) << outcome.out << outcome.err;
    return report;
  }
  // The text and the advice of the findings of `area` at `level`.
  static std::string found(const nlohmann::json& report, const std::string& area, const std::string& level) {
    std::string all;
    for (const auto& finding : report["findings"]) {
      if (finding["area"] == area && finding["level"] == level) {
        all += finding["text"].get<std::string>() + "; " + finding["advice"].dump() + "\n";
      }
    }
    return all;
  }
  TemporaryDirectory directory;
};

TEST_F(Doctor, NothingRunsAtAll) {
  const Outcome outcome = run_limpet(
      {"--socket", directory.path() + "/none", "doctor", "--zookeeper", "127.0.0.1:1", "--data-dir", directory.path()});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.out, "WRONG  Agent: no such socket: " + directory.path() + "/none"));
  EXPECT_TRUE(has(outcome.out, "WRONG  ZooKeeper: 127.0.0.1:1: Connection refused"));
  EXPECT_TRUE(has(outcome.out, "ok     State: " + directory.path() + ", of"));
  EXPECT_TRUE(has(outcome.out, "things are wrong."));
}

TEST_F(Doctor, ServersByTheirFourLetters) {
  const Answering follower("Zookeeper version: 3.8.0\nLatency min/avg/max: 0/0/0\nMode: follower\nNode count: 5\n");
  const Answering alone("This ZooKeeper instance is not currently serving requests\n");
  const Answering mute("srvr is not executed because it is not in the whitelist.\n");
  const auto report = examine({"--zookeeper", follower.address() + "," + alone.address() + "," + mute.address()}, 1);
  EXPECT_TRUE(has(found(report, "ZooKeeper", "ok"), follower.address() + ": follower, answers in"));
  EXPECT_TRUE(has(found(report, "ZooKeeper", "wrong"), alone.address() + ": it runs, but serves nobody"));
  EXPECT_TRUE(
      has(found(report, "ZooKeeper", "wrong"), mute.address() + ": it takes the connection, but gives no session"));
}

TEST_F(Doctor, StuckRegistrationsWithWhatToDo) {
  const std::string status =
      R"({"version":"0.1.0","pid":0,"zookeeper":{"state":"suspended","session":"0x10","message":"no server answers"},)"
      R"("queue":{"depth":95,"oldest_age_ms":60000,"max_operations":100},"registrations":{"total":9,"conflict":7},)"
      R"("storage":{"healthy":false,"error":"No space left on device","bytes":10}})";
  server.answer(200, status);
  server.answer(200, R"({"registrations":[)" + registration("i-1", "conflict", reason("foreign_owner", "0x2 has it")) +
                         R"(],"next":"web/i-1"})");
  const auto report = examine({"--zookeeper", "127.0.0.1:1"}, 1);
  EXPECT_EQ(report["ok"], false);
  EXPECT_TRUE(has(found(report, "Registration", "wrong"), "web/i-1: conflict, foreign_owner: 0x2 has it"));
  EXPECT_TRUE(has(found(report, "Registration", "wrong"), "Another session owns /services/web/i-1"));
  EXPECT_TRUE(has(found(report, "Registration", "wrong"), "2 more in state conflict"));
  EXPECT_TRUE(has(found(report, "Session", "wrong"), "suspended: no server answers"));
  EXPECT_TRUE(has(found(report, "Storage", "wrong"), "No space left on device"));
  EXPECT_TRUE(has(found(report, "Queue", "wrong"), "95 changes wait"));
  EXPECT_TRUE(has(found(report, "Socket", "ok") + found(report, "Socket", "note"), server.socket() + " answers"));
}

TEST_F(Doctor, AddressesThatTheAgentUsesAreExamined) {
  const Answering follower("Zookeeper version: 3.8.0\nMode: follower\n");
  server.answer(200, R"({"version":"0.1.0","pid":0,"zookeeper":{"state":"connected","session":"0x10","message":null,)"
                     R"("servers":[{"name":"moved.invalid:2181","addresses":[")" +
                         follower.address() +
                         R"("],"error":"cannot resolve moved.invalid: gone"},)"
                         R"({"name":"never.invalid:2181","addresses":[],"error":"cannot resolve never.invalid: gone"},)"
                         R"({"name":"127.0.0.1:2181","addresses":["127.0.0.1:1"],"error":null}]},)"
                         R"("queue":{"depth":0},"registrations":{"total":0},"storage":{"healthy":true,"bytes":10}})");
  const auto report = examine({}, 1);
  EXPECT_TRUE(has(found(report, "ZooKeeper", "ok"), "moved.invalid:2181 (" + follower.address() + "): follower"));
  EXPECT_TRUE(
      has(found(report, "ZooKeeper", "wrong"),
          "cannot resolve moved.invalid: gone; the agent goes on with the last address, " + follower.address()));
  EXPECT_TRUE(has(found(report, "ZooKeeper", "wrong"), "never.invalid: gone; the agent knows no address of it"));
  EXPECT_TRUE(has(found(report, "ZooKeeper", "note"),
                  "127.0.0.1:2181 is 127.0.0.1:2181 by a look-up now, and the agent uses 127.0.0.1:1"));
}

TEST_F(Doctor, StateDirectoryThatOthersCanRead) {
  ASSERT_EQ(::chmod(directory.path().c_str(), 0755), 0);
  const auto report = examine({"--zookeeper", "127.0.0.1:1"}, 1);
  EXPECT_TRUE(has(found(report, "State", "wrong"), "mode 0755: others can look in"));
  EXPECT_TRUE(has(found(report, "State", "wrong"), "sudo chmod 0700 " + directory.path()));
}

TEST_F(Doctor, ConfigurationThatIsWrong) {
  const std::string file = directory.path() + "/limpet.json";
  std::ofstream(file) << R"({"zookeper": "zk1:2181"})";
  const auto report = examine({"--config", file}, 1);
  EXPECT_TRUE(has(found(report, "Configuration", "wrong"), "zookeper"));
}

}  // namespace
}  // namespace limpet::test
