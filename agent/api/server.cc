#include "agent/api/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <optional>
#include <unordered_map>

#include "agent/api/listener.h"
#include "agent/api/peer.h"
#include "agent/api/shares.h"

namespace limpet::api {
namespace {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;
using boost::system::error_code;
using std::chrono::milliseconds;

// Connections beyond the limit that are told so at a time; those beyond these too are just closed.
constexpr std::size_t kMaxRefusals = 64;
// Of the connections that are allowed, for root and the agent's own user.
constexpr std::size_t kReservedConnections = 32;
// Over all connections: what the bodies of requests may take until they are answered, and what answers may take until
// they are read. In all, of that for root and the agent's own user, and of any other user.
constexpr Shares::Limits kBodyBytes{64 * 1024 * 1024, 16 * 1024 * 1024, 24 * 1024 * 1024};
constexpr Shares::Limits kOutputBytes{64 * 1024 * 1024, 16 * 1024 * 1024, 24 * 1024 * 1024};
// Taken in one go, so that a rush of callers does not keep those waiting who are already there.
constexpr int kAcceptsInOneGo = 64;
// When there are no file descriptors left: until then somebody may have closed one.
constexpr milliseconds kAcceptPause{100};
// Between looks whether the socket's file is still there.
constexpr milliseconds kSocketLook{2'000};

Shares::Limits connection_limits(const ServerOptions& options) {
  return {options.max_connections, std::min(kReservedConnections, options.max_connections / 8),
          options.max_connections_per_uid};
}

}  // namespace

// Held by the handlers of its timers too, so that the last of them still finds it.
class Server::Impl final : public Connection::Host, public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& io, Service& service, ServerOptions options)
      : options_(std::move(options)),
        shares_(connection_limits(options_)),
        io_(io),
        service_(service),
        routes_(service, options_.body),
        acceptor_(io),
        sweep_timer_(io),
        pause_timer_(io),
        socket_timer_(io),
        grace_timer_(io),
        turns_(io) {
    bodies.set_limits(kBodyBytes);
    output.set_limits(kOutputBytes);
  }

  Status start();
  void set_limits(const ServerOptions& options);
  void stop(std::function<void()> done);
  void close();
  std::size_t connections() const { return connections_.size(); }
  bool everybody_waits() const { return unanswered != 0 && unanswered == connections_.size(); }

 private:
  // Connection::Host
  void forbidden(const Request& request, ProblemKind kind) override {
    service_.forbidden(request.caller, problem_facts(kind).code, request.target);
  }
  void caller_gone(Connection& connection) override;
  void closed(Connection& connection) override;
  void watch_deadlines() override;
  Turns& turns() override { return turns_; }
  WallMs wall_ms() override { return service_.now().wall_ms; }
  bool wants_groups() const override { return options_.wants_groups; }

  using Connections = std::unordered_map<Connection*, std::shared_ptr<Connection>>;

  Status take(Listener listener);
  void watch_socket();
  void bind_anew();
  void accept_waiting();
  void wait_for_connection();
  void accept();
  void pause();
  void add_connection(int fd);
  void sweep();
  void finish_stop();
  std::vector<std::shared_ptr<Connection>> all_connections() const;

  std::optional<Problem> refusal(const core::Caller& caller, int fd);
  void turn_away(Connection::Socket socket, const core::Caller& caller, const Problem& problem);
  void hear_renewal(Connection::Socket& socket, Request& request);
  milliseconds sweep_interval() const;

  // Core thread only
  ServerOptions options_;
  Shares shares_;  // of connections
  asio::io_context& io_;
  Service& service_;
  Routes routes_;
  std::optional<Listener> listener_;
  Protocol::acceptor acceptor_;
  asio::steady_timer sweep_timer_;
  asio::steady_timer pause_timer_;
  asio::steady_timer socket_timer_;
  std::string socket_problem_;  // why its file could not be made anew
  asio::steady_timer grace_timer_;
  Turns turns_;
  Connections connections_;
  Connections refusals_;  // of connections beyond the limit
  std::uint64_t last_connection_ = 0;
  bool sweeping_ = false;
  bool stopping_ = false;
  std::function<void()> stopped_;
};

Status Server::Impl::start() {
  auto listener = options_.listen_fd >= 0 ? Listener::adopt(options_.listen_fd)
                                          : Listener::open(options_.socket_path, options_.group);
  if (!listener) {
    return listener.status();
  }
  if (Status status = take(std::move(*listener)); !status) {
    return status;
  }
  watch_socket();
  return Status();
}

Status Server::Impl::take(Listener listener) {
  listener_.emplace(std::move(listener));
  error_code error;
  acceptor_.assign(Protocol(), listener_->fd(), error);
  if (error) {
    return Status(Errc::io, "cannot wait for connections: " + error.message());
  }
  listener_->release();  // the acceptor has it now
  wait_for_connection();
  return Status();
}

// A file that somebody removes takes the agent out of reach, and nothing tells it.
void Server::Impl::watch_socket() {
  socket_timer_.expires_after(kSocketLook);
  socket_timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (error || self->stopping_) {
      return;
    }
    if (!self->listener_->in_place()) {
      self->bind_anew();
    }
    self->watch_socket();
  });
}

void Server::Impl::bind_anew() {
  auto listener = Listener::open(listener_->path(), options_.group);
  Status status = listener.status();
  if (status) {
    accept_waiting();
    error_code ignored;
    pause_timer_.cancel();
    acceptor_.close(ignored);
    status = take(std::move(*listener));
  }
  const std::string problem = status ? std::string() : status.message();
  if (options_.socket_lost && (status || problem != socket_problem_)) {
    options_.socket_lost(status);
  }
  socket_problem_ = problem;
}

// Those who came while there was a file.
void Server::Impl::accept_waiting() {
  for (int fd = 0; fd >= 0;) {
    fd = ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      add_connection(fd);
    }
  }
}

void Server::Impl::wait_for_connection() {
  acceptor_.async_wait(Protocol::acceptor::wait_read, [self = shared_from_this()](const error_code& error) {
    if (!error && self->acceptor_.is_open()) {
      self->accept();
    }
  });
}

void Server::Impl::accept() {
  for (int i = 0; i < kAcceptsInOneGo; ++i) {
    const int fd = ::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      add_connection(fd);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      return pause();
    }
    // Anything else is the end of that one connection.
  }
  wait_for_connection();
}

// Out of file descriptors the listening socket stays readable: waiting on it would spin.
void Server::Impl::pause() {
  pause_timer_.expires_after(kAcceptPause);
  pause_timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (!error && self->acceptor_.is_open()) {
      self->accept();
    }
  });
}

void Server::Impl::add_connection(int fd) {
  Connection::Socket socket(io_);
  error_code error;
  socket.assign(Protocol(), fd, error);
  if (error) {
    ::close(fd);
    return;
  }
  socket.non_blocking(true, error);
  auto caller = identify_peer(fd);
  if (error || !caller) {
    return;
  }
  caller->connection = core::ConnectionId{++last_connection_};
  if (const auto problem = refusal(*caller, fd)) {
    return turn_away(std::move(socket), *caller, *problem);
  }
  auto connection =
      std::make_shared<Connection>(std::move(socket), std::move(*caller), routes_, options_.limits, *this);
  connections_.emplace(connection.get(), connection);
  ++counters.connections;
  connection->start();
}

// Why this caller is not served; otherwise its connection is counted.
std::optional<Problem> Server::Impl::refusal(const core::Caller& caller, int fd) {
  Problem problem;
  if (caller.owner.uid == kOverflowUid && !caller.privileged) {
    problem.kind = ProblemKind::not_allowed;
    problem.detail = "The user " + std::to_string(kOverflowUid) +
                     " stands for all who have no number on this host, and is not served.";
    return problem;
  }
  problem.kind = ProblemKind::too_many_connections;
  if (fd >= options_.descriptors_below) {
    problem.detail =
        "The agent has no file descriptor to spare for another connection; close some, try again later, or give it a "
        "higher limit of open files (systemd: LimitNOFILE).";
    return problem;
  }
  switch (shares_.take(caller, 1)) {
    case Shares::Answer::taken:
      return std::nullopt;
    case Shares::Answer::too_much_for_user:
      problem.detail = "The user " + std::to_string(caller.owner.uid) + " has " +
                       std::to_string(options_.max_connections_per_uid) +
                       " connections already, as many as one user may have; close some or try again later.";
      return problem;
    case Shares::Answer::too_much_for_all:
      break;
  }
  problem.detail =
      "There are " + std::to_string(shares_.total()) +
      " connections already; one user has at most half of what all others leave, so that there is room for "
      "whoever comes next. Close some or try again later.";
  return problem;
}

// Tells the caller why, and waits a while for it to have read that. In a rush, and without descriptors to spare, it
// cannot wait.
void Server::Impl::turn_away(Connection::Socket socket, const core::Caller& caller, const Problem& problem) {
  ++counters.connections_refused;
  if (refusals_.size() >= kMaxRefusals || socket.native_handle() >= options_.descriptors_below) {
    Request request;
    request.caller = caller;
    count_problem(request, problem.kind);
    if (problem.kind == ProblemKind::too_many_connections) {
      hear_renewal(socket, request);
    }
    Response response;
    response.set_problem(problem);
    std::string text;
    head.append(text, response, Persistence::close, wall_ms());
    text += response.body;
    error_code ignored;
    socket.write_some(asio::buffer(text), ignored);
    return;
  }
  auto connection = std::make_shared<Connection>(std::move(socket), caller, routes_, options_.limits, *this);
  refusals_.emplace(connection.get(), connection);
  connection->refuse(problem);
}

// What a refused caller has sent already may be a heartbeat, which is a sign of life all the same.
void Server::Impl::hear_renewal(Connection::Socket& socket, Request& request) {
  std::array<char, 2'048> bytes;
  error_code nothing_came;
  const std::size_t size = socket.read_some(asio::buffer(bytes), nothing_came);
  RequestReader reader(request, options_.limits.request);
  std::size_t used = 0;
  if (size != 0 && reader.read({bytes.data(), size}, used) == RequestReader::Result::complete) {
    routes_.renew(request);
  }
}

void Server::Impl::caller_gone(Connection& connection) {
  // What a connection that is closed by a stop holds is given time: its caller may find its way to the next agent.
  if (!stopping_ && connections_.contains(&connection)) {
    service_.connection_closed(connection.caller().connection);
  }
}

void Server::Impl::closed(Connection& connection) {
  if (connections_.erase(&connection) != 0) {
    shares_.give_back(connection.caller(), 1);
  }
  refusals_.erase(&connection);
  if (stopping_ && connections_.empty()) {
    finish_stop();
  }
}

void Server::Impl::set_limits(const ServerOptions& options) {
  options_.max_connections = options.max_connections;
  options_.max_connections_per_uid = options.max_connections_per_uid;
  options_.wants_groups = options.wants_groups;
  options_.limits = options.limits;
  options_.body = options.body;
  shares_.set_limits(connection_limits(options_));
}

milliseconds Server::Impl::sweep_interval() const {
  const ConnectionLimits& limits = options_.limits;
  return std::clamp(std::min({limits.request_timeout, limits.write_timeout, limits.linger_timeout}) / 4,
                    milliseconds(5), milliseconds(1'000));
}

// Connections go while one goes through them.
std::vector<std::shared_ptr<Connection>> Server::Impl::all_connections() const {
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto* some : {&connections_, &refusals_}) {
    for (const auto& [address, connection] : *some) {
      all.push_back(connection);
    }
  }
  return all;
}

void Server::Impl::watch_deadlines() {
  if (sweeping_) {
    return;
  }
  sweeping_ = true;
  sweep_timer_.expires_after(sweep_interval());
  sweep_timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (!error) {
      self->sweep();
    }
  });
}

void Server::Impl::sweep() {
  sweeping_ = false;
  const auto now = Connection::Clock::now();
  bool more = false;
  for (const auto& connection : all_connections()) {
    more = connection->sweep(now) || more;
  }
  if (more) {
    watch_deadlines();
  }
}

void Server::Impl::stop(std::function<void()> done) {
  assert(!stopping_);
  stopping_ = true;
  stopped_ = std::move(done);
  error_code ignored;
  acceptor_.close(ignored);
  pause_timer_.cancel();
  socket_timer_.cancel();
  grace_timer_.expires_after(options_.stop_grace);
  grace_timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (!error) {
      self->finish_stop();
    }
  });
  for (const auto& connection : all_connections()) {
    connection->drain();
  }
  if (connections_.empty()) {
    finish_stop();
  }
}

void Server::Impl::finish_stop() {
  auto done = std::exchange(stopped_, nullptr);
  if (!done) {
    return;
  }
  close();
  asio::post(io_, std::move(done));
}

void Server::Impl::close() {
  stopping_ = true;
  error_code ignored;
  acceptor_.close(ignored);
  sweep_timer_.cancel();
  pause_timer_.cancel();
  socket_timer_.cancel();
  grace_timer_.cancel();
  turns_.cancel();
  for (const auto& connection : all_connections()) {
    connection->close();
  }
  listener_.reset();
}

Server::Server(asio::io_context& io, Service& service, ServerOptions options)
    : impl_(std::make_shared<Impl>(io, service, std::move(options))) {}

Server::~Server() {
  impl_->close();
}

Status Server::start() {
  return impl_->start();
}

void Server::stop(std::function<void()> done) {
  impl_->stop(std::move(done));
}

void Server::set_limits(const ServerOptions& options) {
  impl_->set_limits(options);
}

std::size_t Server::connections() const {
  return impl_->connections();
}

bool Server::everybody_waits() const {
  return impl_->everybody_waits();
}

std::size_t Server::output_bytes() const {
  return impl_->output.total();
}

const Counters& Server::counters() const {
  return impl_->counters;
}

}  // namespace limpet::api
