#include "agent/liveness/off_thread.h"

#include <netdb.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "agent/liveness/unix_connect.h"

namespace limpet::liveness {
namespace {

using boost::asio::ip::tcp;

constexpr std::size_t kThreads = 4;
constexpr std::size_t kMaxAddresses = 16;

Result<OffThread::Addresses> resolve(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int rc = ::getaddrinfo(name.c_str(), nullptr, &hints, &found); rc != 0) {
    const std::string why = rc == EAI_SYSTEM ? std::generic_category().message(errno) : ::gai_strerror(rc);
    return Status(Errc::io, "cannot resolve " + name + ": " + why);
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  OffThread::Addresses addresses;
  for (const addrinfo* entry = found; entry != nullptr && addresses.size() < kMaxAddresses; entry = entry->ai_next) {
    tcp::endpoint endpoint;
    if ((entry->ai_family == AF_INET || entry->ai_family == AF_INET6) && entry->ai_addrlen <= endpoint.capacity()) {
      endpoint.resize(entry->ai_addrlen);
      std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
      addresses.push_back(endpoint.address());
    }
  }
  if (addresses.empty()) {
    return Status(Errc::io, "cannot resolve " + name + ": it has no address");
  }
  return addresses;
}

}  // namespace

OffThread::OffThread(boost::asio::io_context& io) : io_(io) {}

OffThread::~OffThread() {
  if (threads_ != nullptr) {
    threads_->stop();
    threads_->join();
  }
}

boost::asio::thread_pool& OffThread::threads() {
  if (threads_ == nullptr) {
    threads_ = std::make_unique<boost::asio::thread_pool>(kThreads);
  }
  return *threads_;
}

void OffThread::look_up(const std::string& name, LookedUp done) {
  auto& waiting = asked_[name];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) {
    return;
  }
  boost::asio::post(
      threads(), [this, name, alive = std::weak_ptr<char>(alive_), work = boost::asio::make_work_guard(io_)]() mutable {
        auto found = resolve(name);
        boost::asio::post(work.get_executor(), [this, name, alive, found = std::move(found)] {
          if (!alive.expired()) {
            looked_up(name, found);
          }
        });
      });
}

void OffThread::looked_up(const std::string& name, const Result<Addresses>& found) {
  const auto waiting = asked_.extract(name);
  for (const LookedUp& done : waiting.mapped()) {
    done(found);
  }
}

void OffThread::connect_unix(std::uint32_t uid, const std::string& path, Connected done) {
  boost::asio::post(threads(), [uid, path, done = std::move(done), alive = std::weak_ptr<char>(alive_),
                                work = boost::asio::make_work_guard(io_)]() mutable {
    auto socket = connect_unix_as(uid, path);
    boost::asio::post(work.get_executor(), [alive, done = std::move(done), socket = std::move(socket)]() mutable {
      if (!alive.expired()) {
        done(std::move(socket));
      }
    });
  });
}

}  // namespace limpet::liveness
