#include "agent/api/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <optional>
#include <unordered_map>

#include "agent/api/listener.h"

namespace limpet::api {
namespace {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;
using boost::system::error_code;
using std::chrono::milliseconds;

// Connections beyond the limit that are told so at a time; those beyond these too are just closed.
constexpr std::size_t kMaxRefusals = 64;
// Taken in one go, so that a rush of callers does not keep those waiting who are already there.
constexpr int kAcceptsInOneGo = 64;
// When there are no file descriptors left: until then somebody may have closed one.
constexpr milliseconds kAcceptPause{100};

// What the kernel knows of who is at the other end.
std::optional<core::Caller> identify(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return std::nullopt;
  }
  core::Caller caller;
  caller.owner.uid = credentials.uid;
  caller.owner.pid = credentials.pid;
  caller.privileged = credentials.uid == 0 || credentials.uid == ::geteuid();
  return caller;
}

}  // namespace

// Held by the handlers of its timers too, so that the last of them still finds it.
class Server::Impl final : public Connection::Host, public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& io, Service& service, ServerOptions options)
      : options_(std::move(options)),
        sweep_interval_(std::clamp(
            std::min({options_.limits.request_timeout, options_.limits.write_timeout, options_.limits.linger_timeout}) /
                4,
            milliseconds(5), milliseconds(1'000))),
        io_(io),
        service_(service),
        routes_(service, options_.body),
        acceptor_(io),
        sweep_timer_(io),
        pause_timer_(io),
        grace_timer_(io) {}

  Status start();
  void stop(std::function<void()> done);
  void close();
  std::size_t connections() const { return connections_.size(); }

 private:
  // Connection::Host
  void connection_closed(Connection& connection) override;
  void watch_deadlines() override;
  WallMs wall_ms() override { return service_.now().wall_ms; }

  using Connections = std::unordered_map<Connection*, std::shared_ptr<Connection>>;

  void wait_for_connection();
  void accept();
  void pause();
  void add_connection(int fd);
  void sweep();
  void finish_stop();
  std::vector<std::shared_ptr<Connection>> all_connections() const;

  // Constant after construction
  const ServerOptions options_;
  const milliseconds sweep_interval_;

  // Core thread only
  asio::io_context& io_;
  Service& service_;
  Routes routes_;
  std::optional<Listener> listener_;
  Protocol::acceptor acceptor_;
  asio::steady_timer sweep_timer_;
  asio::steady_timer pause_timer_;
  asio::steady_timer grace_timer_;
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
  listener_.emplace(std::move(*listener));
  error_code error;
  acceptor_.assign(Protocol(), listener_->fd(), error);
  if (error) {
    listener_.reset();
    return Status(Errc::io, "cannot wait for connections: " + error.message());
  }
  listener_->release();  // the acceptor has it now
  wait_for_connection();
  return Status();
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
  auto caller = identify(fd);
  if (error || !caller) {
    return;
  }
  const bool refuse = connections_.size() >= options_.max_connections;
  if (refuse && refusals_.size() >= kMaxRefusals) {
    return;
  }
  caller->connection = core::ConnectionId{++last_connection_};
  auto connection = std::make_shared<Connection>(std::move(socket), *caller, routes_, options_.limits, *this);
  (refuse ? refusals_ : connections_).emplace(connection.get(), connection);
  if (!refuse) {
    return connection->start();
  }
  Problem problem;
  problem.kind = ProblemKind::too_many_connections;
  problem.detail = "There are " + std::to_string(options_.max_connections) +
                   " connections already, as many as are allowed; close some or try again later.";
  connection->refuse(problem);
}

void Server::Impl::connection_closed(Connection& connection) {
  connections_.erase(&connection);
  refusals_.erase(&connection);
  if (stopping_ && connections_.empty()) {
    finish_stop();
  }
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
  sweep_timer_.expires_after(sweep_interval_);
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
  error_code ignored;
  acceptor_.close(ignored);
  sweep_timer_.cancel();
  pause_timer_.cancel();
  grace_timer_.cancel();
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

std::size_t Server::connections() const {
  return impl_->connections();
}

}  // namespace limpet::api
