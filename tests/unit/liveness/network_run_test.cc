// tcp and http checks against real sockets.
#include "agent/liveness/network_run.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "tests/unit/liveness/checks.h"
#include "tests/unit/liveness/child.h"
#include "tests/unit/liveness/server.h"

namespace limpet::liveness {
namespace {

using boost::asio::ip::tcp;
using Local = boost::asio::local::stream_protocol;

constexpr std::uint32_t kNetworkUser = 54321;

class NetworkRun : public ::testing::Test {
 protected:
  NetworkRun() {
    char folder[] = "/tmp/limpet-liveness-XXXXXX";
    folder_ = ::mkdtemp(folder);
    ::chmod(folder_.c_str(), 0755);
  }
  ~NetworkRun() override { std::filesystem::remove_all(folder_); }

  static tcp::endpoint any_port() { return {boost::asio::ip::address_v4::loopback(), 0}; }
  static std::string port_of(const test::TcpServer& server) { return std::to_string(server.endpoint().port()); }

  // "well", or the last words.
  std::string run(const Check& check, std::uint32_t uid = ::getuid()) {
    std::optional<Finding> finding;
    const auto run = start_network_run(
        shared_, check, uid, [] {}, [&](Finding found) { finding = std::move(found); });
    EXPECT_FALSE(finding.has_value()) << "not from within the call";
    for (int i = 0; i < 3000 && !finding; ++i) {
      io_.restart();
      io_.run_one_for(std::chrono::milliseconds(20));
    }
    if (!finding) {
      const std::string words = run->timed_out("1s");
      run->drop();
      return "timed out: " + words;
    }
    return finding->well ? "well" : finding->words;
  }
  std::string tcp_check(const std::string& address, std::uint32_t uid = ::getuid()) {
    return run(test::tcp_check(address), uid);
  }
  std::string http_check(const std::string& url, const std::string& status = "2xx") {
    return run(test::http_check(url, status));
  }
  // What a check makes of this answer.
  std::string answered(const std::string& answer, const std::string& status = "2xx") {
    test::TcpServer server(io_, any_port(), answer);
    return http_check("http://127.0.0.1:" + port_of(server) + "/health?x=1", status);
  }

  boost::asio::io_context io_{1};
  NetworkRuns shared_{io_};
  std::string folder_;
};

TEST_F(NetworkRun, TcpIsWellWhereSomebodyAccepts) {
  test::TcpServer server(io_, any_port(), "");
  EXPECT_EQ(tcp_check("127.0.0.1:" + port_of(server)), "well");
  EXPECT_EQ(tcp_check("localhost:" + port_of(server)), "well");
  std::string closed;
  {
    test::TcpServer gone(io_, any_port(), "");
    closed = port_of(gone);
  }
  EXPECT_EQ(tcp_check("127.0.0.1:" + closed), "Connection refused");
}

TEST_F(NetworkRun, TcpOverIpv6) {
  boost::system::error_code error;
  tcp::acceptor probe(io_);
  probe.open(tcp::v6(), error);
  if (!error) {
    probe.bind({boost::asio::ip::address_v6::loopback(), 0}, error);
  }
  if (error) {
    GTEST_SKIP() << "no IPv6 here: " << error.message();
  }
  test::TcpServer server(io_, {boost::asio::ip::address_v6::loopback(), 0}, "");
  EXPECT_EQ(tcp_check("[::1]:" + port_of(server)), "well");
  EXPECT_EQ(tcp_check("localhost:" + port_of(server)), "well") << "the second address is tried as well";
}

TEST_F(NetworkRun, NamesAreLookedUp) {
  EXPECT_NE(tcp_check("no-such-host.invalid:80").find("cannot resolve no-such-host.invalid: "), std::string::npos);
}

TEST_F(NetworkRun, TcpOverAUnixSocket) {
  const std::string path = folder_ + "/app.sock";
  test::UnixServer server(io_, Local::endpoint(path), "");
  EXPECT_EQ(tcp_check("unix:" + path), "well");
  EXPECT_EQ(tcp_check("unix:" + folder_ + "/other.sock"), "No such file or directory");
}

TEST_F(NetworkRun, AUnixSocketIsOpenedWithTheRightsOfTheUser) {
  if (::getuid() != 0) {
    GTEST_SKIP() << "needs root, to act for another uid";
  }
  const std::string path = folder_ + "/app.sock";
  test::UnixServer server(io_, Local::endpoint(path), "");
  ::chmod(path.c_str(), 0600);
  EXPECT_EQ(tcp_check("unix:" + path, kNetworkUser), "Permission denied");
  EXPECT_EQ(tcp_check("unix:" + path, 0), "well");
  ASSERT_EQ(::chown(path.c_str(), kNetworkUser, kNetworkUser), 0);
  EXPECT_EQ(tcp_check("unix:" + path, kNetworkUser), "well");
  EXPECT_EQ(::geteuid(), 0u);
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const std::string status = test::read_file(task.path() / "status");
    EXPECT_NE(status.find("Uid:\t0\t0\t0\t0"), std::string::npos) << "every thread is root again";
    EXPECT_EQ(status.find(std::to_string(kNetworkUser)), std::string::npos);
  }
}

TEST_F(NetworkRun, ThePeerSeesTheUser) {
  if (::getuid() != 0) {
    GTEST_SKIP() << "needs root, to act for another uid";
  }
  const std::string path = folder_ + "/app.sock";
  Local::acceptor acceptor(io_, Local::endpoint(path));
  ::chmod(path.c_str(), 0666);
  EXPECT_EQ(tcp_check("unix:" + path, kNetworkUser), "well");
  Local::socket peer = acceptor.accept();
  ucred credentials{};
  socklen_t size = sizeof credentials;
  ASSERT_EQ(::getsockopt(peer.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size), 0);
  EXPECT_EQ(credentials.uid, kNetworkUser);
}

TEST_F(NetworkRun, HttpAsksForTheResource) {
  test::TcpServer server(io_, any_port(), "HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(http_check("http://127.0.0.1:" + port_of(server) + "/health?x=1"), "well");
  EXPECT_EQ(server.asked(), "GET /health?x=1 HTTP/1.1\r\nHost: 127.0.0.1:" + port_of(server) +
                                "\r\nUser-Agent: limpet\r\nAccept: */*\r\nConnection: close\r\n\r\n");
}

TEST_F(NetworkRun, HttpOverAUnixSocket) {
  const std::string path = folder_ + "/app.sock";
  test::UnixServer server(io_, Local::endpoint(path), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(http_check("http://unix:" + path + ":/health"), "well");
  EXPECT_NE(server.asked().find("GET /health HTTP/1.1\r\nHost: localhost\r\n"), std::string::npos);
}

TEST_F(NetworkRun, HttpJudgesByTheStatus) {
  EXPECT_EQ(answered("HTTP/1.0 200 OK\r\n\r\n"), "well");
  EXPECT_EQ(answered("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "200,404"), "well");
  EXPECT_EQ(answered("HTTP/1.1 301 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"),
            "status 301 Moved Permanently");
  EXPECT_EQ(answered("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "well");
}

TEST_F(NetworkRun, HttpTellsTheStatusAndNothingThatTheServiceSays) {
  EXPECT_EQ(answered("HTTP/1.1 503 secret\r\nContent-Length: 6\r\n\r\nsecret"), "status 503 Service Unavailable");
  EXPECT_EQ(answered("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n"),
            "status 503 Service Unavailable");
  EXPECT_EQ(answered("HTTP/1.1 599 secret\r\n\r\n" + std::string(100'000, 'x')),
            "status 599 Network Connect Timeout Error");
}

TEST_F(NetworkRun, HttpRefusesWhatIsNoAnswer) {
  EXPECT_NE(answered("SSH-2.0-OpenSSH\r\n").find("the answer is not HTTP"), std::string::npos);
  EXPECT_EQ(answered(""), "the connection was closed without an answer");
  EXPECT_NE(answered("HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n").find("not HTTP"),
            std::string::npos);
  EXPECT_EQ(answered("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), "well") << "the body is not read";
  std::string endless;
  for (int i = 0; i < 100; ++i) {
    endless += "HTTP/1.1 100 Continue\r\n\r\n";
  }
  EXPECT_EQ(answered(endless), "no answer but interim ones");
}

TEST_F(NetworkRun, WhatIsMissingIsSaidOnATimeOut) {
  test::TcpServer server(io_, any_port(), "", true);
  const auto run = start_network_run(
      shared_, test::http_check("http://127.0.0.1:" + port_of(server)), ::getuid(), [] {},
      [](const Finding&) { ADD_FAILURE() << "it was dropped"; });
  EXPECT_EQ(run->timed_out("1s"), "no connection within 1s");
  for (int i = 0; i < 3000 && server.asked().empty(); ++i) {
    io_.run_one_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(run->timed_out("1s"), "no answer within 1s");
  run->drop();
  io_.run_for(std::chrono::milliseconds(20));
}

TEST_F(NetworkRun, ItsTimeBeginsWhenAThreadTakesItUp) {
  const std::string path = folder_ + "/app.sock";
  test::UnixServer server(io_, Local::endpoint(path), "");
  bool begun = false;
  bool done = false;
  const auto run = start_network_run(
      shared_, test::tcp_check("unix:" + path), ::getuid(), [&] { begun = !done; },
      [&](const Finding&) { done = true; });
  EXPECT_TRUE(run->queued());
  for (int i = 0; i < 3000 && !done; ++i) {
    io_.run_one_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(begun);
  EXPECT_FALSE(run->queued());
}

TEST_F(NetworkRun, TheAgentsOwnSocketIsNotConnectedTo) {
  const std::string path = folder_ + "/app.sock";
  test::UnixServer server(io_, Local::endpoint(path), "");
  shared_.policy.own_socket = path;
  EXPECT_EQ(tcp_check("unix:" + path), "that is the agent's own socket");
  std::filesystem::rename(path, folder_ + "/moved.sock");
  EXPECT_EQ(tcp_check("unix:" + folder_ + "/moved.sock"), "that is the agent's own socket") << "known by its own name";
}

TEST_F(NetworkRun, ABadTargetIsAFailure) {
  EXPECT_NE(tcp_check("nowhere").find("must be host:port"), std::string::npos);
  EXPECT_NE(http_check("https://host/").find("is https"), std::string::npos);
}

}  // namespace
}  // namespace limpet::liveness
