#include "agent/zk/probe.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cassert>
#include <deque>

namespace limpet::zk {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t kMaxAnswer = 4096;
constexpr std::string_view kQuestion = "srvr";

std::string words(ServerState state, bool plural) {
  switch (state) {
    case ServerState::refuses:
      return plural ? "refuse connections" : "refuses connections";
    case ServerState::unreachable:
      return "cannot be reached";
    case ServerState::silent:
      return plural ? "do not answer" : "does not answer";
    case ServerState::no_quorum:
      return plural ? "answer but have no quorum" : "answers but has no quorum";
    case ServerState::serving:
      return plural ? "serve, and a session is being made" : "serves, and a session is being made";
    case ServerState::hangs_up:
      return plural ? "accept connections and hang up" : "accepts connections and hangs up";
    case ServerState::answers:
      return plural ? "accept connections but do not say whether they serve"
                    : "accepts connections but does not say whether it serves";
  }
  assert(false);
  return "";
}

}  // namespace

ServerState read_srvr(std::string_view answer) {
  if (answer.find("not currently serving requests") != std::string_view::npos ||
      answer.find("Mode: read-only") != std::string_view::npos) {
    return ServerState::no_quorum;
  }
  if (answer.empty()) {
    return ServerState::hangs_up;
  }
  return answer.find("Mode: ") != std::string_view::npos ? ServerState::serving : ServerState::answers;
}

std::string describe(const std::vector<Verdict>& verdicts) {
  assert(!verdicts.empty());
  std::string text;
  constexpr ServerState kOrder[] = {ServerState::refuses,  ServerState::unreachable, ServerState::silent,
                                    ServerState::hangs_up, ServerState::no_quorum,   ServerState::answers,
                                    ServerState::serving};
  for (const ServerState state : kOrder) {
    std::size_t count = 0;
    std::string labels;
    for (const auto& verdict : verdicts) {
      if (verdict.state == state) {
        ++count;
        labels += (labels.empty() ? "" : ", ") + verdict.label + (verdict.detail.empty() ? "" : ": " + verdict.detail);
      }
    }
    if (count == 0) {
      continue;
    }
    text += text.empty() ? "" : "; ";
    if (verdicts.size() == 1) {
      text += "the server " + words(state, false) + " (" + labels + ")";
    } else if (count == verdicts.size()) {
      text += "all " + std::to_string(count) + " servers " + words(state, true) + " (" + labels + ")";
    } else {
      text += std::to_string(count) + " of " + std::to_string(verdicts.size()) + " servers " + words(state, count > 1) +
              " (" + labels + ")";
    }
  }
  return text;
}

// One question to each server, all at the same time.
class Prober::Round : public std::enable_shared_from_this<Round> {
 public:
  Round(boost::asio::io_context& io, const std::vector<Server>& servers, Prober* prober)
      : prober_(prober), timer_(io), open_(servers.size()) {
    for (const auto& server : servers) {
      attempts_.emplace_back(io, server);
    }
  }

  void begin(std::int64_t timeout_ms) {
    for (auto& attempt : attempts_) {
      attempt.socket.async_connect(attempt.endpoint, [self = shared_from_this(), &attempt](error_code error) {
        self->connected(attempt, error);
      });
    }
    timer_.expires_after(std::chrono::milliseconds(timeout_ms));
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) {
        self->end();
      }
    });
  }

  // Ends it without a report.
  void drop() {
    prober_ = nullptr;
    end();
  }

 private:
  struct Attempt {
    Attempt(boost::asio::io_context& io, const Server& server) : socket(io), endpoint(server.endpoint) {
      verdict.label = server.label;
    }
    tcp::socket socket;
    tcp::endpoint endpoint;
    std::string answer;
    Verdict verdict;
    bool settled = false;
  };

  void connected(Attempt& attempt, error_code error) {
    if (ended_) {
      return;
    }
    if (error == boost::asio::error::connection_refused) {
      settle(attempt, ServerState::refuses, "");
    } else if (error == boost::asio::error::timed_out) {
      settle(attempt, ServerState::silent, "");
    } else if (error) {
      settle(attempt, ServerState::unreachable, error.message());
    } else {
      boost::asio::async_write(
          attempt.socket, boost::asio::buffer(kQuestion),
          [self = shared_from_this(), &attempt](error_code failed, std::size_t) { self->asked(attempt, failed); });
    }
  }

  void asked(Attempt& attempt, error_code error) {
    if (ended_) {
      return;
    }
    if (error) {
      settle(attempt, ServerState::hangs_up, "");
      return;
    }
    boost::asio::async_read(attempt.socket, boost::asio::dynamic_buffer(attempt.answer, kMaxAnswer),
                            [self = shared_from_this(), &attempt](error_code, std::size_t) {
                              if (!self->ended_) {
                                self->settle(attempt, read_srvr(attempt.answer), "");
                              }
                            });
  }

  void settle(Attempt& attempt, ServerState state, std::string detail) {
    assert(!attempt.settled);
    attempt.settled = true;
    attempt.verdict.state = state;
    attempt.verdict.detail = std::move(detail);
    if (--open_ == 0) {
      end();
    }
  }

  void end() {
    if (ended_) {
      return;
    }
    ended_ = true;
    timer_.cancel();
    std::vector<Verdict> verdicts;
    for (auto& attempt : attempts_) {
      error_code ignored;
      attempt.socket.close(ignored);
      verdicts.push_back(attempt.verdict);
    }
    if (prober_ != nullptr) {
      prober_->ended(verdicts);
    }
  }

  Prober* prober_;
  boost::asio::steady_timer timer_;
  std::deque<Attempt> attempts_;
  std::size_t open_;
  bool ended_ = false;
};

Prober::Prober(boost::asio::io_context& io, Pace pace, std::uint64_t seed, Report report)
    : io_(io), pace_(pace), report_(std::move(report)), random_(seed), timer_(io) {}

Prober::~Prober() {
  stop();
}

void Prober::start(std::vector<Server> servers) {
  stop();
  servers_ = std::move(servers);
  alive_ = std::make_shared<char>();
  if (!servers_.empty()) {
    schedule(pace_.first_ms);
  }
}

void Prober::stop() {
  alive_ = nullptr;
  timer_.cancel();
  if (round_ != nullptr) {
    round_->drop();
    round_ = nullptr;
  }
}

void Prober::schedule(std::int64_t in_ms) {
  std::uniform_int_distribution<std::int64_t> jitter(in_ms - in_ms / 4, in_ms + in_ms / 4);
  timer_.expires_after(std::chrono::milliseconds(jitter(random_)));
  timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](error_code error) {
    if (!error && !alive.expired()) {
      round_ = std::make_shared<Round>(io_, servers_, this);
      round_->begin(pace_.timeout_ms);
    }
  });
}

void Prober::ended(const std::vector<Verdict>& verdicts) {
  round_ = nullptr;
  schedule(pace_.then_ms);
  report_(verdicts);
}

}  // namespace limpet::zk
