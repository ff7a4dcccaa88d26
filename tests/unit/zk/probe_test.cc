// Prober: who is asked, and what is reported.
#include "agent/zk/probe.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <list>
#include <memory>
#include <optional>

namespace limpet::zk {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

// Answers every connection with `says`, or, where that is empty, never.
class Listener {
 public:
  Listener(boost::asio::io_context& io, std::string says)
      : io_(io), says_(std::move(says)), acceptor_(io, {boost::asio::ip::address_v4::loopback(), 0}) {
    accept();
  }
  Server server(std::string label) const { return {acceptor_.local_endpoint(), std::move(label)}; }
  std::size_t asked() const { return sockets_.size(); }

 private:
  void accept() {
    sockets_.emplace_back(io_);
    acceptor_.async_accept(sockets_.back(), [this](error_code error) {
      if (error) {
        return;
      }
      if (!says_.empty()) {
        boost::asio::write(sockets_.back(), boost::asio::buffer(says_));
        sockets_.back().shutdown(tcp::socket::shutdown_send);
      }
      accept();
    });
  }

  boost::asio::io_context& io_;
  const std::string says_;
  tcp::acceptor acceptor_;
  std::list<tcp::socket> sockets_;
};

class ProberTest : public ::testing::Test {
 protected:
  // Until the first report that `wanted` likes.
  template <typename Wanted>
  std::vector<Verdict> look(std::vector<Server> servers, std::int64_t timeout_ms, Wanted wanted) {
    std::optional<std::vector<Verdict>> found;
    Prober prober(io_, {1, 1, timeout_ms}, 1, [&](const std::vector<Verdict>& verdicts) {
      if (wanted(verdicts)) {
        found = verdicts;
        io_.stop();
      }
    });
    prober.start(std::move(servers));
    io_.restart();
    io_.run();
    return found.value();
  }

  // A port where nobody listens.
  Server nobody(std::string label) {
    const tcp::acceptor closed(io_, {boost::asio::ip::address_v4::loopback(), 0});
    return {closed.local_endpoint(), std::move(label)};
  }

  boost::asio::io_context io_;
};

TEST_F(ProberTest, OneThatDoesNotAnswerDoesNotHoldUpTheWordOfOneThatServes) {
  Listener silent(io_, "");
  Listener serves(io_, "Connections: 3\nOutstanding: 1\nMode: follower\n");
  const auto verdicts = look({silent.server("a"), serves.server("b")}, 3'600'000, [](const auto&) { return true; });
  ASSERT_EQ(verdicts.size(), 1U) << "nothing is known of the other";
  EXPECT_EQ(verdicts[0].label, "b");
  EXPECT_EQ(verdicts[0].state, ServerState::serving);
  EXPECT_EQ(verdicts[0].endpoint, serves.server("b").endpoint);
  EXPECT_EQ(verdicts[0].load, 4);
}

TEST_F(ProberTest, WhatIsWrongIsReportedOnceAllHaveBeenLookedAt) {
  Listener silent(io_, "");
  Listener alone(io_, "This ZooKeeper instance is not currently serving requests\n");
  const auto verdicts =
      look({silent.server("a"), nobody("b"), alone.server("c")}, 20, [](const auto&) { return true; });
  ASSERT_EQ(verdicts.size(), 3U);
  EXPECT_EQ(verdicts[0].state, ServerState::silent);
  EXPECT_EQ(verdicts[1].state, ServerState::refuses);
  EXPECT_EQ(verdicts[2].state, ServerState::no_quorum);
}

TEST_F(ProberTest, OneThatHasNotAnsweredIsNotAskedAgainMeanwhile) {
  Listener silent(io_, "");
  Listener serves(io_, "Mode: leader\n");
  int reports = 0;
  look({silent.server("a"), serves.server("b")}, 3'600'000, [&](const auto&) { return ++reports == 5; });
  EXPECT_EQ(silent.asked(), 2U) << "one, and the one that is waited for";
}

}  // namespace
}  // namespace limpet::zk
