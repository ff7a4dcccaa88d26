#include "agent/liveness/off_thread.h"

#include <fcntl.h>
#include <netdb.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "agent/liveness/unix_connect.h"
#include "agent/liveness/want.h"

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
    const int error = errno;
    const Descriptor free(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!free && is_want(errno)) {  // which look-ups do not tell from a name server that does not answer
      return Status(Errc::full, std::generic_category().message(errno));
    }
    const std::string why = rc == EAI_SYSTEM ? std::generic_category().message(error) : ::gai_strerror(rc);
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

Status no_thread() {
  return {Errc::full, "the system has no thread to give"};
}

}  // namespace

OffThread::OffThread(boost::asio::io_context& io) : io_(io) {}

OffThread::~OffThread() {
  work_.stop();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

// As many as the system gives; false where it gives none at all.
bool OffThread::start_threads() {
  while (threads_.size() < kThreads) {
    try {
      threads_.emplace_back([this] { work_.run(); });
    } catch (const std::system_error&) {
      break;
    }
  }
  return !threads_.empty();
}

void OffThread::run(std::function<void()> work) {
  boost::asio::post(work_, std::move(work));
}

void OffThread::look_up(const std::string& name, LookedUp done) {
  auto& waiting = asked_[name];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) {
    return;
  }
  const auto answer = [this, name, alive = std::weak_ptr<char>(alive_)](const Result<Addresses>& found) {
    if (!alive.expired()) {
      looked_up(name, found);
    }
  };
  if (!start_threads()) {
    return boost::asio::post(io_, [answer] { answer(no_thread()); });
  }
  run([name, answer, work = boost::asio::make_work_guard(io_)] {
    boost::asio::post(work.get_executor(), [answer, found = resolve(name)] { answer(found); });
  });
}

void OffThread::looked_up(const std::string& name, const Result<Addresses>& found) {
  const auto waiting = asked_.extract(name);
  for (const LookedUp& done : waiting.mapped()) {
    done(found);
  }
}

// `done` belongs to the core thread: it is moved from here to there and back, and never copied.
void OffThread::connect_unix(std::uint32_t uid, const std::string& path, Connected done) {
  auto answer = [alive = std::weak_ptr<char>(alive_), done = std::move(done)](Result<Descriptor>& socket) {
    if (!alive.expired()) {
      done(std::move(socket));
    }
  };
  if (!start_threads()) {
    return boost::asio::post(
        io_, [answer = std::move(answer), none = Result<Descriptor>(no_thread())]() mutable { answer(none); });
  }
  run([uid, path, answer = std::move(answer), work = boost::asio::make_work_guard(io_)]() mutable {
    boost::asio::post(work.get_executor(),
                      [answer = std::move(answer), socket = connect_unix_as(uid, path)]() mutable { answer(socket); });
  });
}

}  // namespace limpet::liveness
