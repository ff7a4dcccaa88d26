#include "agent/zk/parking.h"

#include <sys/socket.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "agent/zk/hosts.h"

namespace limpet::zk {
namespace {

using boost::asio::ip::address_v4;
using boost::asio::ip::tcp;

constexpr int kRounds = 200;
constexpr std::chrono::milliseconds kRound{50};
constexpr std::chrono::milliseconds kPollPause{1};

void ignore_answer(int, const char*, const void*) {}

}  // namespace

DeafAddress::DeafAddress(const address_v4& address)
    : endpoint_(address, 0), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  auto length = static_cast<socklen_t>(endpoint_.size());
  if (socket_ < 0 || ::bind(socket_, endpoint_.data(), length) != 0 ||
      ::getsockname(socket_, endpoint_.data(), &length) != 0) {
    endpoint_.port(1);
  }
}

DeafAddress::~DeafAddress() {
  if (socket_ >= 0) {
    ::close(socket_);
  }
}

// The addresses differ by more than their ports from every server, because the library does not look at ports when it
// compares lists.
Parking::Parking(const std::vector<tcp::endpoint>& servers) {
  for (unsigned char last = 254; addresses_.size() < 2; --last) {
    const address_v4 address({127, 255, 255, last});
    if (std::none_of(servers.begin(), servers.end(), [&](const auto& server) { return server.address() == address; })) {
      addresses_.emplace_back(address);
    }
  }
}

bool Parking::park(_zhandle* zh) const {
  for (int round = 0; round < kRounds; ++round) {
    if (is_unrecoverable(zh) != ZOK) {
      return true;
    }
    // A connection that was just being made escapes the first new list; the second drops it. The two take turns because
    // a list that says nothing new does nothing.
    const std::string address = to_string(addresses_[static_cast<std::size_t>(round) % 2].endpoint());
    zoo_set_servers(zh, address.c_str());
    // Wakes the I/O thread, which may sleep for a third of the session's time-out. It is never sent.
    zoo_async(zh, "/", &ignore_answer, nullptr);
    for (const auto until = std::chrono::steady_clock::now() + kRound; std::chrono::steady_clock::now() < until;) {
      if (address == zoo_get_current_server(zh)) {
        return true;
      }
      std::this_thread::sleep_for(kPollPause);
    }
  }
  return false;
}

}  // namespace limpet::zk
