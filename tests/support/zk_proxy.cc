#include "tests/support/zk_proxy.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <future>
#include <optional>
#include <random>
#include <set>
#include <thread>

namespace limpet::test {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kChunk = 16384;
constexpr std::uint32_t kLongestFrame = 64U << 20;

std::int32_t number_at(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  }
  return static_cast<std::int32_t>(value);
}

std::string number(std::int64_t value, int bytes) {
  std::string text;
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
    text.push_back(static_cast<char>(value >> shift & 0xff));
  }
  return text;
}

tcp::endpoint endpoint_of(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  return {boost::asio::ip::make_address(text.substr(0, colon)),
          static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1)))};
}

}  // namespace

std::uint64_t ZkProxy::Counts::of(ZkOpcode opcode) const {
  const auto found = requests.find(static_cast<std::int32_t>(opcode));
  return found == requests.end() ? 0 : found->second;
}

std::uint64_t ZkProxy::Counts::writes() const {
  return of(ZkOpcode::create) + of(ZkOpcode::create2) + of(ZkOpcode::set_data) + of(ZkOpcode::remove) +
         of(ZkOpcode::multi);
}

// All of it runs on the proxy's thread, but for construction and destruction.
class ZkProxy::Impl {
 public:
  Impl(const std::string& server, int last_byte, std::uint16_t port)
      : servers_({endpoint_of(server)}), work_(io_.get_executor()), acceptor_(io_) {
    const tcp::endpoint local(boost::asio::ip::address_v4({127, 0, 1, static_cast<unsigned char>(last_byte)}), port);
    error_code error;
    acceptor_.open(tcp::v4(), error);
    acceptor_.bind(local, error);
    if (!error) {
      acceptor_.listen(1024, error);
    }
    if (error) {
      std::fprintf(stderr, "ZkProxy: cannot listen: %s\n", error.message().c_str());
      std::abort();
    }
    const tcp::endpoint bound = acceptor_.local_endpoint();
    address_ = bound.address().to_string() + ":" + std::to_string(bound.port());
    accept();
    thread_ = std::thread([this] { io_.run(); });
  }

  ~Impl() {
    io_.stop();
    thread_.join();
  }

  const std::string& address() const { return address_; }

  // Runs it on the proxy's thread, and waits for that.
  template <typename Do>
  auto call(Do what) {
    std::packaged_task<decltype(what(*this))()> task([this, &what] { return what(*this); });
    auto done = task.get_future();
    boost::asio::post(io_, [&task] { task(); });
    return done.get();
  }

  struct Link;
  struct Rule {
    std::set<std::int32_t> opcodes;
    int n = 0;
    bool swallow = false;
    std::optional<std::int32_t> error;  // answer with it, n times
  };

  void accept();
  void cut();
  bool links_closed(const std::shared_ptr<Link>& link) { return links_.erase(link) != 0; }

  std::vector<tcp::endpoint> servers_;
  std::size_t next_server_ = 0;
  std::string address_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  tcp::acceptor acceptor_;
  std::set<std::shared_ptr<Link>> links_;
  std::mt19937 random_{7};
  Mode mode_ = Mode::pass;
  int latency_ms_ = 0;
  int jitter_ms_ = 0;
  int bytes_per_second_ = 0;
  std::optional<Rule> rule_;
  Rule rejected_;
  std::optional<std::int32_t> welcome_timeout_;
  std::optional<std::int64_t> welcome_session_;
  bool deny_ = false;
  Counts counts_;
  std::thread thread_;
};

// One client's connection and the one to the server that goes with it.
struct ZkProxy::Impl::Link : std::enable_shared_from_this<Link> {
  // One direction: bytes come in, are cut into frames, and go out when their time has come.
  struct Way {
    Way(tcp::socket& in, tcp::socket& out_socket, boost::asio::io_context& io)
        : from(in), to(out_socket), timer(io), chunk(kChunk) {}
    tcp::socket& from;
    tcp::socket& to;
    boost::asio::steady_timer timer;
    std::vector<char> chunk;
    std::string buffer;  // not yet a whole frame
    std::deque<std::pair<Clock::time_point, std::string>> out;
    Clock::time_point last_due;
    bool writing = false;
  };
  struct Asked {
    std::int32_t xid = 0;
    std::optional<std::int32_t> error = {};  // to be answered by us
    bool lost = false;
    bool last = false;  // the connection ends with its answer
  };

  Link(Impl& owner, tcp::socket accepted)
      : impl(owner),
        client(std::move(accepted)),
        server(owner.io_),
        up(client, server, owner.io_),
        down(server, client, owner.io_) {}

  void begin() {
    ++impl.counts_.connections;
    if (impl.mode_ == Mode::refuse) {
      close();
      return;
    }
    read(up);
    const tcp::endpoint& next = impl.servers_[impl.next_server_++ % impl.servers_.size()];
    server.async_connect(next, [self = shared_from_this()](error_code error) {
      if (error) {
        self->close();
        return;
      }
      self->connected = true;
      self->read(self->down);
      self->pump(self->up);
      self->pump(self->down);
    });
  }

  void close() {
    if (!impl.links_closed(shared_from_this())) {
      return;
    }
    error_code ignored;
    client.close(ignored);
    server.close(ignored);
    up.timer.cancel();
    down.timer.cancel();
  }

  void read(Way& way) {
    way.from.async_read_some(boost::asio::buffer(way.chunk),
                             [self = shared_from_this(), &way](error_code error, std::size_t n) {
                               if (error) {
                                 self->ended(way);
                                 return;
                               }
                               if (self->impl.mode_ != Mode::stall) {
                                 way.buffer.append(way.chunk.data(), n);
                                 self->frames(way);
                               }
                               if (self->client.is_open()) {
                                 self->read(way);
                               }
                             });
  }

  // The other side hears of the end after what is still on its way. One that is half-open hears nothing.
  void ended(Way& way) {
    if (impl.mode_ == Mode::stall && &way == &down) {
      return;
    }
    if (&way == &up || way.out.empty()) {
      close();
    } else {
      closing = true;
    }
  }

  void frames(Way& way) {
    if (raw || (&way == &up && !shaken && way.buffer.size() >= 4 && number_at(way.buffer, 0) > 0x20000000)) {
      if (!raw) {
        raw = true;
        ++impl.counts_.words;
      }
      send(way, std::exchange(way.buffer, {}));
      return;
    }
    while (way.buffer.size() >= 4) {
      const auto length = static_cast<std::uint32_t>(number_at(way.buffer, 0));
      if (length > kLongestFrame || way.buffer.size() < 4 + length) {
        return;
      }
      std::string frame = way.buffer.substr(0, 4 + length);
      way.buffer.erase(0, 4 + length);
      &way == &up ? asked(std::move(frame)) : answered(std::move(frame));
      if (!client.is_open()) {
        return;
      }
    }
  }

  void asked(std::string frame) {
    if (!shaken) {
      shaken = true;
      ++impl.counts_.handshakes;
      // ConnectRequest: version, last zxid, time-out, session. ConnectResponse: version, time-out 0, session 0, no
      // password.
      if (impl.deny_ && frame.size() >= 28 && frame.substr(20, 8) != std::string(8, '\0')) {
        impl.deny_ = false;
        ++impl.counts_.fired;
        send(down, number(37, 4) + std::string(16, '\0') + number(16, 4) + std::string(17, '\0'));
        return;
      }
      send(up, std::move(frame));
      return;
    }
    if (ending) {
      return;
    }
    const std::int32_t xid = frame.size() >= 12 ? number_at(frame, 4) : 0;
    const std::int32_t opcode = frame.size() >= 12 ? number_at(frame, 8) : 0;
    ++impl.counts_.requests[opcode];
    Asked entry{xid};
    bool pass = true;
    if (impl.rejected_.opcodes.contains(opcode)) {
      ++impl.counts_.fired;
      entry.error = impl.rejected_.error;
      entry.last = ending = true;
      pass = false;
    } else if (impl.rule_ && impl.rule_->opcodes.contains(opcode)) {
      Rule& rule = *impl.rule_;
      if (rule.error) {
        entry.error = rule.error;
        pass = false;
        ++impl.counts_.fired;
        if (--rule.n == 0) {
          impl.rule_.reset();
        }
      } else if (--rule.n == 0) {
        entry.lost = true;
        pass = !rule.swallow;
        ++impl.counts_.fired;
        impl.rule_.reset();
        if (!pass) {
          close();
          return;
        }
      }
    }
    if (xid >= 0) {  // pings and watches set again have numbers of their own, and may be answered out of turn
      outstanding.push_back(entry);
    }
    if (pass) {
      send(up, std::move(frame));
    }
    answer_ours();
  }

  void answered(std::string frame) {
    if (!welcomed) {
      welcomed = true;
      if (frame.size() >= 20 && (impl.welcome_timeout_ || impl.welcome_session_)) {
        ++impl.counts_.fired;
        frame.replace(8, 4, number(impl.welcome_timeout_.value_or(number_at(frame, 8)), 4));
        if (impl.welcome_session_) {
          frame.replace(12, 8, number(*impl.welcome_session_, 8));
        }
      }
      send(down, std::move(frame));
      return;
    }
    const std::int32_t xid = frame.size() >= 20 ? number_at(frame, 4) : -1;
    if (xid >= 0) {
      zxid = frame.substr(8, 8);
      if (!outstanding.empty()) {
        if (outstanding.front().lost) {
          close();
          return;
        }
        outstanding.pop_front();
      }
    }
    send(down, std::move(frame));
    answer_ours();
  }

  void answer_ours() {
    while (!outstanding.empty() && (outstanding.front().error || outstanding.front().last)) {
      const Asked answered = outstanding.front();
      outstanding.pop_front();
      closing = closing || answered.last;
      if (answered.error) {
        send(down, number(16, 4) + number(answered.xid, 4) + zxid + number(*answered.error, 4));
      } else {
        pump(down);
      }
    }
  }

  void send(Way& way, std::string bytes) {
    const auto now = Clock::now();
    auto due = now;
    if (impl.latency_ms_ != 0 || impl.jitter_ms_ != 0) {
      std::uniform_int_distribution<int> jitter(-impl.jitter_ms_, impl.jitter_ms_);
      due += std::chrono::milliseconds(std::max(0, impl.latency_ms_ + jitter(impl.random_)));
    }
    due = std::max(due, way.last_due);
    if (impl.bytes_per_second_ != 0) {
      due += std::chrono::microseconds(bytes.size() * 1'000'000 / static_cast<std::size_t>(impl.bytes_per_second_));
    }
    way.last_due = due;
    way.out.emplace_back(due, std::move(bytes));
    pump(way);
  }

  void pump(Way& way) {
    if (way.writing || way.out.empty() || !connected || !client.is_open()) {
      if (closing && down.out.empty()) {
        close();
      }
      return;
    }
    way.writing = true;
    way.timer.expires_at(way.out.front().first);
    way.timer.async_wait([self = shared_from_this(), &way](error_code error) {
      if (error || !self->client.is_open()) {
        return;
      }
      boost::asio::async_write(way.to, boost::asio::buffer(way.out.front().second),
                               [self, &way](error_code failed, std::size_t) {
                                 way.writing = false;
                                 way.out.pop_front();
                                 if (failed) {
                                   self->close();
                                   return;
                                 }
                                 self->pump(way);
                               });
    });
  }

  Impl& impl;
  tcp::socket client;
  tcp::socket server;
  Way up;
  Way down;
  std::deque<Asked> outstanding;
  std::string zxid = std::string(8, '\0');
  bool connected = false;
  bool shaken = false;
  bool welcomed = false;
  bool raw = false;
  bool ending = false;   // nothing is passed on any more, up to an answer of ours
  bool closing = false;  // once everything is written
};

void ZkProxy::Impl::accept() {
  acceptor_.async_accept([this](error_code error, tcp::socket socket) {
    if (error == boost::asio::error::operation_aborted) {
      return;
    }
    if (!error) {
      const auto link = std::make_shared<Link>(*this, std::move(socket));
      links_.insert(link);
      link->begin();
    }
    accept();
  });
}

void ZkProxy::Impl::cut() {
  for (const auto& link : std::set<std::shared_ptr<Link>>(links_)) {
    link->close();
  }
}

ZkProxy::ZkProxy(const std::string& server, int last_byte, std::uint16_t port)
    : impl_(std::make_unique<Impl>(server, last_byte, port)) {}
ZkProxy::~ZkProxy() = default;

std::string ZkProxy::address() const {
  return impl_->address();
}

void ZkProxy::set_mode(Mode mode) {
  impl_->call([&](Impl& impl) {
    // What was swallowed is missing in the middle of the streams.
    const bool broken = impl.mode_ == Mode::stall && mode != Mode::stall;
    impl.mode_ = mode;
    if (mode == Mode::refuse || broken) {
      impl.cut();
    }
  });
}

void ZkProxy::cut() {
  impl_->call([](Impl& impl) { impl.cut(); });
}

void ZkProxy::set_latency(int ms, int jitter_ms) {
  impl_->call([&](Impl& impl) {
    impl.latency_ms_ = ms;
    impl.jitter_ms_ = jitter_ms;
  });
}

void ZkProxy::set_bytes_per_second(int bytes) {
  impl_->call([&](Impl& impl) { impl.bytes_per_second_ = bytes; });
}

void ZkProxy::lose_reply(std::vector<ZkOpcode> opcodes, int n, bool swallow) {
  impl_->call([&](Impl& impl) {
    Impl::Rule rule{{}, n, swallow, std::nullopt};
    for (const ZkOpcode opcode : opcodes) {
      rule.opcodes.insert(static_cast<std::int32_t>(opcode));
    }
    impl.rule_ = rule;
  });
}

void ZkProxy::answer(std::vector<ZkOpcode> opcodes, int count, std::int32_t error) {
  lose_reply(std::move(opcodes), count);
  impl_->call([&](Impl& impl) { impl.rule_->error = error; });
}

void ZkProxy::reject(std::vector<ZkOpcode> opcodes, std::optional<std::int32_t> error) {
  impl_->call([&](Impl& impl) {
    impl.rejected_ = Impl::Rule{};
    for (const ZkOpcode opcode : opcodes) {
      impl.rejected_.opcodes.insert(static_cast<std::int32_t>(opcode));
    }
    impl.rejected_.error = error;
  });
}

void ZkProxy::set_welcome(std::optional<std::int32_t> timeout_ms, std::optional<std::int64_t> session) {
  impl_->call([&](Impl& impl) {
    impl.welcome_timeout_ = timeout_ms;
    impl.welcome_session_ = session;
  });
}

void ZkProxy::set_servers(const std::vector<std::string>& servers) {
  impl_->call([&](Impl& impl) {
    impl.servers_.clear();
    for (const std::string& server : servers) {
      impl.servers_.push_back(endpoint_of(server));
    }
  });
}

void ZkProxy::forget() {
  impl_->call([](Impl& impl) {
    impl.rule_.reset();
    impl.rejected_ = Impl::Rule{};
    impl.welcome_timeout_.reset();
    impl.welcome_session_.reset();
    impl.deny_ = false;
  });
}

void ZkProxy::deny_session() {
  impl_->call([](Impl& impl) { impl.deny_ = true; });
}

int ZkProxy::inject(const std::string& bytes) {
  return impl_->call([&](Impl& impl) {
    int welcomed = 0;
    for (const auto& link : impl.links_) {
      if (link->welcomed && !link->raw) {
        ++welcomed;
        link->send(link->down, bytes);
      }
    }
    return welcomed;
  });
}

ZkProxy::Counts ZkProxy::counts() const {
  return impl_->call([](Impl& impl) { return impl.counts_; });
}

}  // namespace limpet::test
