// What people are told while there is no connection: the sentences, their pace, and the library's own words.
#include "agent/zk/trouble.h"

#include <gtest/gtest.h>

#include <vector>

#include "agent/zk/library_log.h"
#include "agent/zk/probe.h"

namespace limpet::zk {
namespace {

TEST(ReadSrvr, TellsWhetherItServes) {
  EXPECT_EQ(read_srvr("Zookeeper version: 3.8.0\nMode: follower\nNode count: 5\n"), ServerState::serving);
  EXPECT_EQ(read_srvr("Zookeeper version: 3.8.0\nMode: read-only\n"), ServerState::no_quorum);
  EXPECT_EQ(read_srvr("This ZooKeeper instance is not currently serving requests\n"), ServerState::no_quorum);
  EXPECT_EQ(read_srvr("srvr is not executed because it is not in the whitelist.\n"), ServerState::answers);
  EXPECT_EQ(read_srvr(""), ServerState::hangs_up);
}

TEST(ReadSrvr, TellsHowMuchItHasToDo) {
  EXPECT_EQ(read_load("Received: 7\nSent: 6\nConnections: 40\nOutstanding: 2\nMode: follower\n"), 42);
  EXPECT_EQ(read_load("Connections: -1\nOutstanding: x\n"), 0);
  EXPECT_EQ(read_load("Connections: "), 0);
  EXPECT_EQ(read_load(""), 0);
}

TEST(Describe, OneSentenceForAllServers) {
  EXPECT_EQ(describe({{"a:1", ServerState::refuses, ""}}), "the server refuses connections (a:1)");
  EXPECT_EQ(describe({{"a:1", ServerState::refuses, ""}, {"b:1", ServerState::refuses, ""}}),
            "all 2 servers refuse connections (a:1, b:1)");
  EXPECT_EQ(
      describe(
          {{"a:1", ServerState::refuses, ""}, {"b:1", ServerState::no_quorum, ""}, {"c:1", ServerState::refuses, ""}}),
      "2 of 3 servers refuse connections (a:1, c:1); 1 of 3 servers answers but has no quorum (b:1)");
  EXPECT_EQ(describe({{"a:1", ServerState::unreachable, "No route to host"}, {"b:1", ServerState::silent, ""}}),
            "1 of 2 servers cannot be reached (a:1: No route to host); 1 of 2 servers does not answer (b:1)");
}

TEST(Trouble, ATextIsToldOnceAndNotTwiceASecond) {
  boost::asio::io_context io;
  std::vector<std::string> told;
  Trouble trouble(io, [&](bool, const std::string& text) { told.push_back(text); });
  trouble.tell(false, "a");
  trouble.tell(false, "a");
  trouble.tell(false, "b");
  trouble.tell(true, "c");
  EXPECT_EQ(told, (std::vector<std::string>{"a"}));
  io.run();  // until the pause is over
  EXPECT_EQ(told, (std::vector<std::string>{"a", "c"}));
  trouble.tell(true, "c");
  EXPECT_EQ(told.size(), 2U);
  trouble.reset();
  trouble.tell(true, "c");
  EXPECT_EQ(told.size(), 3U);
}

TEST(LibraryLog, CountsLossesAndLimitsLines) {
  std::vector<std::string> lines;
  const auto log = std::make_shared<LibraryLog>([&](std::string_view line) { lines.emplace_back(line); });
  const LogCallbackLease lease(log);
  const char* lost =
      "2026-01-01 00:00:00,000:1(0x7f):ZOO_ERROR@handle_socket_error_msg@2170: Socket 127.0.0.1:1 zk retcode=-4, "
      "errno=111(Connection refused): server refused to accept the client";
  lease.callback()(lost);
  lease.callback()(lost);
  lease.callback()("2026-01-01 00:00:00,000:1(0x7f):ZOO_WARN@zookeeper_interest@2597: Delaying connection");
  EXPECT_EQ(log->losses(), 2U);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].find("Socket 127.0.0.1:1 zk retcode=-4"), 0U) << lines[0];
}

TEST(LibraryLog, ALeaseThatEndedWritesNowhere) {
  int lines = 0;
  const auto log = std::make_shared<LibraryLog>([&](std::string_view) { ++lines; });
  LogCallback callback = nullptr;
  {
    const LogCallbackLease lease(log);
    callback = lease.callback();
  }
  callback("anything");
  EXPECT_EQ(lines, 0);
}

TEST(LibraryLog, MoreLeasesThanThereAreStillWork) {
  const auto log = std::make_shared<LibraryLog>(nullptr);
  std::vector<std::unique_ptr<LogCallbackLease>> leases;
  for (int i = 0; i < 40; ++i) {
    leases.push_back(std::make_unique<LogCallbackLease>(log));
    leases.back()->callback()("Socket x zk retcode=-4");
  }
  EXPECT_EQ(log->losses(), 32U);
}

}  // namespace
}  // namespace limpet::zk
