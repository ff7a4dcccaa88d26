// The socket, the limits on connections, and the end.
#include "agent/api/server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <list>
#include <optional>
#include <thread>

#include "agent/api/listener.h"
#include "tests/api/harness.h"
#include "tests/support/few_descriptors.h"

namespace limpet::api {
namespace {

using std::chrono::milliseconds;

// A bound socket; `backlog` of 0: not listening.
int make_socket(const std::string& path, int type, int backlog) {
  const int fd = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  if (backlog > 0) {
    EXPECT_EQ(::listen(fd, backlog), 0);
  }
  return fd;
}

TEST(Listener, MakesTheSocketWithItsModeAndItsDirectory) {
  const TempDir dir;
  const std::string path = dir.path() + "/a/b/limpet.sock";
  const mode_t before = ::umask(0077);
  {
    const auto listener = Listener::open(path, "no-such-group-here");
    ::umask(before);
    ASSERT_TRUE(listener.ok()) << listener.status().message();
    struct stat found {};
    ASSERT_EQ(::lstat(path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0660U);
    ASSERT_EQ(::stat((dir.path() + "/a").c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0755U);
    EXPECT_TRUE(Client(path).connected());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Listener, ReplacesWhatADeadProcessLeft) {
  const TempDir dir;
  const std::string path = dir.path() + "/limpet.sock";
  ::close(make_socket(path, SOCK_STREAM, 1));
  ASSERT_TRUE(std::filesystem::exists(path));
  const auto listener = Listener::open(path, "");
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  EXPECT_TRUE(Client(path).connected());
}

TEST(Listener, LeavesTheLivingAlone) {
  const TempDir dir;
  const std::string path = dir.path() + "/limpet.sock";
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const int fd = make_socket(path, type, type == SOCK_STREAM ? 1 : 0);
    const auto listener = Listener::open(path, "");
    EXPECT_EQ(listener.status().code(), Errc::in_use) << type;
    EXPECT_NE(listener.status().message().find(path), std::string::npos);
    EXPECT_TRUE(std::filesystem::exists(path));
    ::close(fd);
    std::filesystem::remove(path);
  }
}

TEST(Listener, ALivingOneWithAFullBacklogIsStillAlive) {
  const TempDir dir;
  const std::string path = dir.path() + "/limpet.sock";
  const int fd = make_socket(path, SOCK_STREAM, 1);
  std::vector<int> callers;
  while (true) {
    callers.push_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(callers.back(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      break;
    }
  }
  EXPECT_EQ(Listener::open(path, "").status().code(), Errc::in_use);
  for (const int caller : callers) {
    ::close(caller);
  }
  ::close(fd);
}

TEST(Listener, RefusesWhatIsNotASocket) {
  const TempDir dir;
  const std::string file = dir.path() + "/file";
  std::ofstream(file) << "precious";
  const std::string link = dir.path() + "/link";
  std::filesystem::create_symlink(dir.path() + "/nowhere", link);
  for (const std::string& path : {file, link, dir.path()}) {
    const auto listener = Listener::open(path, "");
    EXPECT_EQ(listener.status().code(), Errc::invalid) << path;
  }
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(Listener::open(file + "/limpet.sock", "").ok(), false);
  EXPECT_EQ(Listener::open("", "").status().code(), Errc::invalid);
  EXPECT_EQ(Listener::open(dir.path() + "/" + std::string(200, 'x'), "").status().code(), Errc::invalid);
}

TEST(Listener, RefusesADirectoryThatOthersMayWriteTo) {
  const TempDir dir;
  const std::string path = dir.path() + "/limpet.sock";
  const auto open_in_mode = [&](mode_t mode) {
    EXPECT_EQ(::chmod(dir.path().c_str(), mode), 0);
    const auto listener = Listener::open(path, "");
    if (!listener) {
      EXPECT_NE(listener.status().message().find(dir.path()), std::string::npos);
    }
    return listener.status().code();
  };
  EXPECT_EQ(open_in_mode(0777), Errc::permission);
  EXPECT_EQ(open_in_mode(01777), Errc::ok);  // as /tmp is
  EXPECT_EQ(open_in_mode(0755), Errc::ok);
  if (::geteuid() != 0) {
    GTEST_SKIP() << "takes root, to give a directory away";
  }
  EXPECT_EQ(::chown(dir.path().c_str(), 0, 4711), 0);
  EXPECT_EQ(open_in_mode(0775), Errc::permission);
  EXPECT_EQ(open_in_mode(0755), Errc::ok);
  // Those who may register are in the agent's own group.
  const gid_t before = ::getegid();
  ASSERT_EQ(::setegid(4711), 0);
  EXPECT_EQ(open_in_mode(0775), Errc::permission);
  ASSERT_EQ(::setegid(before), 0);
}

TEST(Listener, RefusesADirectoryThatAnOrdinaryUserOwns) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "takes root, to give a directory away";
  }
  const TempDir dir;
  ASSERT_EQ(::chown(dir.path().c_str(), 4711, 0), 0);
  for (const mode_t mode : {0755, 01777}) {
    ASSERT_EQ(::chmod(dir.path().c_str(), mode), 0);
    const auto listener = Listener::open(dir.path() + "/limpet.sock", "");
    EXPECT_EQ(listener.status().code(), Errc::permission) << mode;
    EXPECT_NE(listener.status().message().find("belongs to uid 4711"), std::string::npos);
  }
}

TEST(Listener, RemovesOnlyItsOwnFile) {
  const TempDir dir;
  const std::string path = dir.path() + "/limpet.sock";
  auto listener = std::make_unique<Result<Listener>>(Listener::open(path, ""));
  ASSERT_TRUE(listener->ok());
  std::filesystem::rename(path, path + ".moved");
  std::ofstream(path) << "another's";
  listener.reset();
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(Listener, AdoptsOnlyListeningUnixStreams) {
  const TempDir dir;
  const int idle = make_socket(dir.path() + "/idle", SOCK_STREAM, 0);
  const int datagram = make_socket(dir.path() + "/datagram", SOCK_DGRAM, 0);
  const int internet = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (const int fd : {idle, datagram, internet, 9'999}) {
    EXPECT_EQ(Listener::adopt(fd).status().code(), Errc::invalid);
  }
  ::close(idle);
  ::close(datagram);
  ::close(internet);
  const std::string path = dir.path() + "/limpet.sock";
  const int fd = make_socket(path, SOCK_STREAM, 1);
  { const auto listener = Listener::adopt(fd); }
  EXPECT_TRUE(std::filesystem::exists(path));
}

class ServerLimitsTest : public ServerTest {};

TEST_F(ServerLimitsTest, ConnectionsOverTheCapAreToldSo) {
  ServerOptions options;
  options.max_connections = 3;
  start(std::move(options));
  std::list<Client> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(socket_path());
    EXPECT_EQ(clients.back().call("GET", "/healthz")->status, 200);
  }
  Client silent = connect();
  const auto unasked = silent.receive();
  expect_problem(unasked, 503, "too_many_connections");
  EXPECT_FALSE(unasked->header("retry-after").empty());
  EXPECT_EQ(unasked->header("connection"), "close");
  EXPECT_TRUE(silent.at_end());
  expect_problem(call_once(socket_path(), "GET", "/healthz"), 503, "too_many_connections");
  EXPECT_EQ(clients.front().call("GET", "/healthz")->status, 200);
  clients.pop_front();
  while (on_server([this] { return server_->connections(); }) != 2) {
  }
  EXPECT_EQ(call_once(socket_path(), "GET", "/healthz").status, 200);
}

TEST_F(ServerLimitsTest, ARushFarOverTheCapDoesNoHarm) {
  ServerOptions options;
  options.max_connections = 10;
  start(std::move(options));
  std::list<Client> clients;
  for (int i = 0; i < 300; ++i) {
    clients.emplace_back(socket_path());
  }
  int served = 0;
  for (Client& client : clients) {
    const auto answer = client.call("GET", "/healthz");
    served += answer && answer->status == 200 ? 1 : 0;
  }
  EXPECT_EQ(served, 10);
}

TEST_F(ServerLimitsTest, OutOfFileDescriptorsItPausesAndGoesOn) {
  start();
  std::list<Client> clients;
  clients.emplace_back(socket_path());
  EXPECT_EQ(clients.back().call("GET", "/healthz")->status, 200);
  std::optional<Client> late;
  {
    const limpet::test::FewDescriptors room(1);  // for the caller's own end
    late.emplace(socket_path());
    late->send(request_text("GET", "/healthz"));
    EXPECT_EQ(clients.front().call("GET", "/healthz")->status, 200);  // those who are there are served
  }
  EXPECT_EQ(late->receive()->status, 200);
}

class ServerStopTest : public ServerTest {
 protected:
  // Runs stop() to its end.
  void stop_gracefully() {
    auto stopped = std::make_shared<std::promise<void>>();
    auto done = stopped->get_future();
    on_server([&] { server_->stop([stopped] { stopped->set_value(); }); });
    done.get();
  }
};

TEST_F(ServerStopTest, IdleConnectionsAreClosedAndTheFileIsGone) {
  ServerOptions options;
  options.stop_grace = std::chrono::hours(1);
  start(std::move(options));
  Client idle = connect();
  EXPECT_EQ(idle.call("GET", "/healthz")->status, 200);
  stop_gracefully();
  EXPECT_TRUE(idle.at_end());
  EXPECT_FALSE(std::filesystem::exists(socket_path()));
  EXPECT_FALSE(connect().connected());
}

TEST_F(ServerStopTest, AnswersInProgressAreFinished) {
  ServerOptions options;
  options.stop_grace = std::chrono::hours(1);
  start(std::move(options));
  Client client = connect();
  client.send(request_text("PUT", "/v1/registrations/a/1?wait=24h", "{}"));
  while (on_server([this] { return service_->waits(); }) != 1) {
  }
  auto stopped = std::make_shared<std::promise<void>>();
  auto done = stopped->get_future();
  on_server([&] { server_->stop([stopped] { stopped->set_value(); }); });
  EXPECT_FALSE(connect().connected());
  on_server([this] { service_->serve(); });
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->header("connection"), "close");
  EXPECT_TRUE(client.at_end());
  done.get();
}

TEST_F(ServerStopTest, WhatDoesNotEndIsCut) {
  ServerOptions options;
  options.stop_grace = milliseconds(20);
  start(std::move(options));
  Client waiting = connect();
  waiting.send(request_text("GET", "/healthz") + request_text("PUT", "/v1/registrations/a/1?wait=24h", "{}"));
  EXPECT_EQ(waiting.receive()->status, 200);
  while (on_server([this] { return service_->waits(); }) != 1) {
  }
  Client partial = connect();
  partial.send("GET /v1/st");
  while (on_server([this] { return server_->connections(); }) != 2) {
  }
  stop_gracefully();
  EXPECT_TRUE(waiting.at_end());
  EXPECT_TRUE(partial.at_end());
  on_server([this] { service_->serve(); });  // the late answer finds nobody
}

TEST_F(ServerStopTest, AdoptedSocketsStay) {
  const std::string path = dir_.path() + "/inherited.sock";
  ServerOptions options;
  options.listen_fd = make_socket(path, SOCK_STREAM, 16);
  start(std::move(options));
  EXPECT_EQ(call_once(path, "GET", "/healthz").status, 200);
  stop_gracefully();
  EXPECT_TRUE(std::filesystem::exists(path));
}

// What the server said of its socket's file.
class LostSocketTest : public ServerStopTest {
 protected:
  ServerOptions telling(int listen_fd = -1) {
    ServerOptions options;
    options.listen_fd = listen_fd;
    options.socket_lost = [this](const Status& status) { said_.push_back(status.message()); };
    return options;
  }
  // Until somebody can connect there again.
  static bool comes_back(const std::string& path) {
    for (int i = 0; i < 1'000; ++i) {
      if (Client(path).connected()) {
        return true;
      }
      std::this_thread::sleep_for(milliseconds(30));
    }
    return false;
  }

  std::vector<std::string> said_;  // on the server's thread
};

TEST_F(LostSocketTest, AFileThatIsRemovedIsMadeAnewAndConnectionsStay) {
  start(telling());
  Client before = connect();
  EXPECT_EQ(before.call("GET", "/healthz")->status, 200);
  ASSERT_TRUE(std::filesystem::remove(socket_path()));
  ASSERT_TRUE(comes_back(socket_path()));
  EXPECT_EQ(connect().call("GET", "/healthz")->status, 200);
  EXPECT_EQ(before.call("GET", "/healthz")->status, 200);
  EXPECT_EQ(on_server([this] { return said_; }), std::vector<std::string>{""});
  struct stat found {};
  ASSERT_EQ(::lstat(socket_path().c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0660U);
  stop_gracefully();
  EXPECT_FALSE(std::filesystem::exists(socket_path()));
}

TEST_F(LostSocketTest, WhatIsInTheWayIsSaidOnceAndTriedAgain) {
  start(telling());
  ASSERT_TRUE(std::filesystem::remove(socket_path()));
  std::ofstream(socket_path()) << "somebody's";
  while (on_server([this] { return said_.size(); }) == 0) {
    std::this_thread::sleep_for(milliseconds(30));
  }
  EXPECT_NE(on_server([this] { return said_[0]; }).find("a file that is not a socket"), std::string::npos);
  std::filesystem::remove(socket_path());
  ASSERT_TRUE(comes_back(socket_path()));
  EXPECT_EQ(on_server([this] { return said_.back(); }), "");
  EXPECT_LE(on_server([this] { return said_.size(); }), 2U);
}

TEST_F(LostSocketTest, ASocketOfTheServiceManagersIsMadeAnewToo) {
  const std::string path = dir_.path() + "/inherited.sock";
  start(telling(make_socket(path, SOCK_STREAM, 16)));
  EXPECT_EQ(call_once(path, "GET", "/healthz").status, 200);
  ASSERT_TRUE(std::filesystem::remove(path));
  ASSERT_TRUE(comes_back(path));
  EXPECT_EQ(call_once(path, "GET", "/healthz").status, 200);
}

TEST_F(ServerStopTest, StartFailsInWords) {
  std::ofstream(socket_path()) << "precious";
  FakeService service(io_);
  ServerOptions options;
  options.socket_path = socket_path();
  Server server(io_, service, std::move(options));
  const Status status = server.start();
  EXPECT_EQ(status.code(), Errc::invalid);
  EXPECT_NE(status.message().find(socket_path()), std::string::npos);
}

}  // namespace
}  // namespace limpet::api
