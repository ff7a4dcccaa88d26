// Canaries: what limpet relies on of the real ZooKeeper library and of real servers beyond what their headers and
// documents promise. One that fails names the assumption that a new release no longer meets.
#include <gtest/gtest.h>
#include <zookeeper/zookeeper.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "agent/zk/hosts.h"
#include "agent/zk/library_log.h"
#include "agent/zk/parking.h"
#include "agent/zk/probe.h"
#include "agent/zk/resolver.h"
#include "tests/support/real_ensemble.h"
#include "tests/support/zk_observer.h"
#include "tests/support/zk_proxy.h"

namespace limpet::test {
namespace {

using zk::ServerState;

// A handle of the library's alone, connected through a proxy.
class RawHandle {
 public:
  explicit RawHandle(const std::string& server) : lease_(log_) {
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    zh_ = zookeeper_init2(server.c_str(), &on_event, 10'000, nullptr, this, ZOO_NO_LOG_CLIENTENV, lease_.callback());
  }
  ~RawHandle() { close(); }
  RawHandle(const RawHandle&) = delete;
  RawHandle& operator=(const RawHandle&) = delete;

  zhandle_t* get() const { return zh_; }
  void close() {
    if (zh_ != nullptr) {
      zookeeper_close(std::exchange(zh_, nullptr));
    }
  }
  bool wait_connected(int times = 1) {
    return poll_until([&] { return connected_ >= times && zoo_state(zh_) == ZOO_CONNECTED_STATE; });
  }
  Session session() const {
    const clientid_t* const id = zoo_client_id(zh_);
    Session session;
    session.id = SessionId{id->client_id};
    std::copy(id->passwd, id->passwd + session.password.size(), session.password.begin());
    session.timeout_ms = zoo_recv_timeout(zh_);
    return session;
  }
  // Asks for an ephemeral znode and waits for the answer.
  bool create(const std::string& path) {
    created_ = false;
    return zoo_acreate(zh_, path.c_str(), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, &on_created, this) == ZOK &&
           poll_until([&] { return created_.load(); });
  }
  const zk::LibraryLog& log() const { return *log_; }
  // What the log had counted when the handle told of its lost connection for the first time.
  std::uint64_t losses_when_told() const { return losses_when_told_; }
  bool told_of_loss() const { return told_; }

 private:
  static void on_event(zhandle_t*, int type, int state, const char*, void* context) {
    auto& self = *static_cast<RawHandle*>(context);
    if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE) {
      ++self.connected_;
    } else if (type == ZOO_SESSION_EVENT && !self.told_) {
      self.losses_when_told_ = self.log_->losses();
      self.told_ = true;
    }
  }
  static void on_created(int rc, const char*, const void* context) {
    if (rc == ZOK) {
      static_cast<RawHandle*>(const_cast<void*>(context))->created_ = true;
    }
  }

  const std::shared_ptr<zk::LibraryLog> log_ = std::make_shared<zk::LibraryLog>(zk::LogSink());
  const zk::LogCallbackLease lease_;
  std::atomic<int> connected_{0};
  std::atomic<bool> created_{false};
  std::atomic<bool> told_{false};
  std::atomic<std::uint64_t> losses_when_told_{0};
  zhandle_t* zh_ = nullptr;
};

class Library : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    RealEnsemble::Options options;
    options.java_options = {"-Dreadonlymode.enabled=true"};
    ensemble_ = std::make_unique<RealEnsemble>(options);
    RealEnsemble::started(*ensemble_);
  }
  static void TearDownTestSuite() { ensemble_.reset(); }

  void SetUp() override { ASSERT_TRUE(servers().restore()) << servers().console(); }

  static RealEnsemble& servers() { return *ensemble_; }
  static ServerState state_of(int index) { return zk::read_srvr(servers().ask(index, "srvr")); }

 private:
  static std::unique_ptr<RealEnsemble> ensemble_;
};

std::unique_ptr<RealEnsemble> Library::ensemble_;

// Parking exists because of this one.
TEST_F(Library, EndsTheSessionWhenAConnectedHandleIsClosed) {
  ZkProxy proxy(servers().address(0), 1);
  ZkObserver observer(servers().connect_string());
  RawHandle handle(proxy.address());
  ASSERT_TRUE(handle.wait_connected());
  ASSERT_TRUE(handle.create("/closed"));
  handle.close();
  EXPECT_EQ(proxy.counts().of(ZkOpcode::close_session), 1U);
  EXPECT_TRUE(poll_until([&] { return observer.sync() && !observer.get("/closed"); }));
}

TEST_F(Library, LeavesTheSessionWhenAParkedHandleIsClosed) {
  ZkProxy proxy(servers().address(0), 1);
  ZkObserver observer(servers().connect_string());
  RawHandle handle(proxy.address());
  ASSERT_TRUE(handle.wait_connected());
  ASSERT_TRUE(handle.create("/parked"));
  const Session session = handle.session();
  const auto server = zk::parse_hosts(proxy.address());
  ASSERT_TRUE(server.ok());
  const zk::Parking parking({zk::resolve(*server).servers.front().endpoint});
  ASSERT_TRUE(parking.park(handle.get()));
  handle.close();
  EXPECT_EQ(proxy.counts().of(ZkOpcode::close_session), 0U);
  const ZkObserver again(servers().connect_string(), 10'000, session);
  EXPECT_EQ(again.session(), session.id.value);
  ASSERT_TRUE(observer.sync());
  const auto znode = observer.get("/parked");
  ASSERT_TRUE(znode);
  EXPECT_EQ(znode->ephemeral_owner, session.id.value);
}

// ZkHandle::stands() compares the count of losses with the one at the connection's beginning.
TEST_F(Library, LogsACutConnectionBeforeItTellsOfItAndNothingElse) {
  ZkProxy proxy(servers().address(0), 1);
  RawHandle handle(proxy.address());
  ASSERT_TRUE(handle.wait_connected());
  ASSERT_TRUE(handle.create("/cut"));
  const std::uint64_t before = handle.log().losses();
  EXPECT_EQ(before, 0U) << "a connection that stands is not a loss";
  proxy.cut();
  ASSERT_TRUE(handle.wait_connected(2));
  EXPECT_TRUE(handle.told_of_loss());
  EXPECT_GT(handle.losses_when_told(), before);
}

TEST_F(Library, ServersThatServeSaySoAndHowBusyTheyAre) {
  for (int i = 0; i < servers().size(); ++i) {
    const std::string answer = servers().ask(i, "srvr");
    EXPECT_EQ(zk::read_srvr(answer), ServerState::serving) << answer;
    EXPECT_NE(answer.find(i == servers().leader() ? "Mode: leader\n" : "Mode: follower\n"), std::string::npos)
        << answer;
  }
  const std::int64_t idle = zk::read_load(servers().ask(0, "srvr"));
  std::vector<std::unique_ptr<ZkObserver>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<ZkObserver>(servers().address(0)));
  }
  EXPECT_GE(zk::read_load(servers().ask(0, "srvr")), idle + 5);
}

TEST_F(Library, AServerWithoutAQuorumSaysSoAlsoWhenItServesReadsOnly) {
  const int leader = servers().leader().value();
  const int last = (leader + 1) % servers().size();
  servers().kill(leader);
  servers().kill((leader + 2) % servers().size());
  std::string answer;
  ASSERT_TRUE(poll_until([&] {
    answer = servers().ask(last, "srvr");
    return answer.find("not currently serving requests") != std::string::npos;
  })) << answer;
  EXPECT_EQ(zk::read_srvr(answer), ServerState::no_quorum) << answer;
  ASSERT_TRUE(poll_until([&] {
    answer = servers().ask(last, "srvr");
    return answer.find("Mode: ") != std::string::npos;
  })) << answer;
  EXPECT_EQ(zk::read_srvr(answer), ServerState::no_quorum) << answer;
}

// Servers answer this word whatever 4lw.commands.whitelist says, because ZooKeeper's own parts use it.
TEST(StandaloneServer, SaysThatItServesAlsoWhereTheWhitelistLacksTheWord) {
  RealEnsemble::Options options;
  options.servers = 1;
  options.four_letter_words = "ruok";
  RealEnsemble server(options);
  server.start_all();
  const ZkObserver client(server.connect_string());  // it serves by now
  const std::string answer = server.ask(0, "srvr");
  EXPECT_EQ(zk::read_srvr(answer), ServerState::serving) << answer;
  EXPECT_NE(answer.find("Mode: standalone\n"), std::string::npos) << answer;
}

}  // namespace
}  // namespace limpet::test
