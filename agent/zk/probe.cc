#include "agent/zk/probe.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cassert>
#include <charconv>
#include <utility>

namespace limpet::zk {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t kMaxAnswer = 4096;
constexpr std::string_view kQuestion = "srvr";
constexpr std::int64_t kMaxLoad = 1'000'000;
// While nothing serves, it is looked at after each such part of the time that has gone by.
constexpr std::int64_t kPart = 20;

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

bool cannot_serve(const Verdict& verdict) {
  return verdict.state == ServerState::refuses || verdict.state == ServerState::unreachable ||
         verdict.state == ServerState::hangs_up || verdict.state == ServerState::no_quorum;
}

bool may_serve(const Verdict& verdict) {
  return verdict.state == ServerState::serving || verdict.state == ServerState::answers;
}

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

std::int64_t read_load(std::string_view answer) {
  std::int64_t load = 0;
  for (const std::string_view name : {"Connections: ", "Outstanding: "}) {
    const std::size_t at = answer.find(name);
    std::int64_t count = 0;
    if (at != std::string_view::npos) {
      const std::string_view number = answer.substr(at + name.size());
      std::from_chars(number.data(), number.data() + number.size(), count);
    }
    load += std::clamp<std::int64_t>(count, 0, kMaxLoad);
  }
  return load;
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

// One question to one server.
class Prober::Look : public std::enable_shared_from_this<Look> {
 public:
  Look(Prober* prober, std::size_t which) : prober_(prober), which_(which), socket_(prober->io_), timer_(prober->io_) {
    const Server& server = prober->watched_[which].server;
    verdict_.label = server.label;
    verdict_.endpoint = server.endpoint;
  }

  void begin(std::int64_t timeout_ms) {
    socket_.async_connect(verdict_.endpoint, [self = shared_from_this()](error_code error) { self->connected(error); });
    timer_.expires_after(std::chrono::milliseconds(timeout_ms));
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) {
        self->settle(ServerState::silent, "");
      }
    });
  }

  // Ends it without a verdict.
  void drop() {
    prober_ = nullptr;
    error_code ignored;
    socket_.close(ignored);
    timer_.cancel();
  }

 private:
  void connected(error_code error) {
    if (prober_ == nullptr) {
      return;
    }
    if (error == boost::asio::error::connection_refused) {
      settle(ServerState::refuses, "");
    } else if (error == boost::asio::error::timed_out) {
      settle(ServerState::silent, "");
    } else if (error) {
      settle(ServerState::unreachable, error.message());
    } else {
      boost::asio::async_write(socket_, boost::asio::buffer(kQuestion),
                               [self = shared_from_this()](error_code failed, std::size_t) { self->asked(failed); });
    }
  }

  void asked(error_code error) {
    if (prober_ == nullptr) {
      return;
    }
    if (error) {
      settle(ServerState::hangs_up, "");
      return;
    }
    boost::asio::async_read(socket_, boost::asio::dynamic_buffer(answer_, kMaxAnswer),
                            [self = shared_from_this()](error_code, std::size_t) {
                              self->verdict_.load = read_load(self->answer_);
                              self->settle(read_srvr(self->answer_), "");
                            });
  }

  // May be what drop() makes end: then there is nobody to be told.
  void settle(ServerState state, std::string detail) {
    Prober* const prober = prober_;
    drop();
    if (prober != nullptr) {
      verdict_.state = state;
      verdict_.detail = std::move(detail);
      prober->looked(which_, std::move(verdict_));
    }
  }

  Prober* prober_;  // null: it is over
  const std::size_t which_;
  tcp::socket socket_;
  boost::asio::steady_timer timer_;
  std::string answer_;
  Verdict verdict_;
};

Prober::Prober(boost::asio::io_context& io, Pace pace, std::uint64_t seed, Report report)
    : io_(io), pace_(pace), report_(std::move(report)), random_(seed), timer_(io) {}

Prober::~Prober() {
  stop();
}

void Prober::start(std::vector<Server> servers) {
  began_ = std::chrono::steady_clock::now();
  watch(std::move(servers));
}

void Prober::follow(std::vector<Server> servers) {
  std::vector<tcp::endpoint> before;
  for (const Watched& watched : watched_) {
    before.push_back(watched.server.endpoint);
  }
  std::stable_partition(servers.begin(), servers.end(), [&](const Server& server) {
    return std::find(before.begin(), before.end(), server.endpoint) == before.end();
  });
  watch(std::move(servers));
  next_ = 0;
}

void Prober::watch(std::vector<Server> servers) {
  stop();
  for (Server& server : servers) {
    watched_.push_back({std::move(server)});
  }
  if (!watched_.empty()) {
    alive_ = std::make_shared<char>();
    next_ = random_() % watched_.size();
    schedule();
  }
}

void Prober::stop() {
  alive_ = nullptr;
  timer_.cancel();
  for (const Watched& watched : watched_) {
    if (watched.look != nullptr) {
      watched.look->drop();
    }
  }
  watched_.clear();
}

void Prober::schedule() {
  using std::chrono::milliseconds;
  const auto passed = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began_);
  const auto most_ms = std::max<std::int64_t>(1, pace_.then_ms / static_cast<std::int64_t>(watched_.size()));
  const std::int64_t in_ms = std::min(std::max(pace_.first_ms, passed.count() / kPart), most_ms);
  std::uniform_int_distribution<std::int64_t> jitter(in_ms - in_ms / 4, in_ms + in_ms / 4);
  timer_.expires_after(milliseconds(jitter(random_)));
  timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](error_code error) {
    if (!error && !alive.expired()) {
      look_at_next();
      schedule();
    }
  });
}

// One that has not answered the last time is not asked again before it has, or has had its time.
void Prober::look_at_next() {
  for (std::size_t tried = 0; tried < watched_.size(); ++tried) {
    const std::size_t which = std::exchange(next_, (next_ + 1) % watched_.size());
    if (watched_[which].look == nullptr) {
      watched_[which].look = std::make_shared<Look>(this, which);
      watched_[which].look->begin(pace_.timeout_ms);
      return;
    }
  }
}

void Prober::looked(std::size_t which, Verdict verdict) {
  const bool serves = verdict.state == ServerState::serving;
  watched_[which].look = nullptr;
  watched_[which].verdict = std::move(verdict);
  std::vector<Verdict> verdicts;
  for (const Watched& watched : watched_) {
    if (watched.verdict) {
      verdicts.push_back(*watched.verdict);
    }
  }
  if (serves || verdicts.size() == watched_.size()) {
    report_(verdicts);  // last: it may stop or start this
  }
}

}  // namespace limpet::zk
