#include "agent/service_manager.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "agent/core/harmless_text.h"
#include "agent/liveness/descriptor.h"

namespace limpet {

namespace {

constexpr int kFirstInherited = 3;  // SD_LISTEN_FDS_START
// A busy agent changes many times a second, and nobody reads that.
constexpr std::chrono::seconds kBetweenStatuses(1);
constexpr std::chrono::milliseconds kSayAgainAfter(100);
// Of the watchdog's time: one that comes late, or is lost, is not yet the end.
constexpr int kFeedsPerWatchdog = 3;

std::optional<std::int64_t> number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) {
    return std::nullopt;
  }
  std::int64_t value = 0;
  const char* const end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, value);
  return error == std::errc() && at == end ? std::optional(value) : std::nullopt;
}

// Variables that are meant for another process, the one that started us, name it.
bool meant_for_us(const char* variable) {
  const auto pid = number_in(variable);
  return pid && *pid == ::getpid();
}

std::chrono::microseconds watchdog_time() {
  const auto time = number_in("WATCHDOG_USEC");
  const bool ours = std::getenv("WATCHDOG_PID") == nullptr || meant_for_us("WATCHDOG_PID");
  return std::chrono::microseconds(time && *time > 0 && ours ? *time : 0);
}

std::string path_of(int fd) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 || address.sun_family != AF_UNIX ||
      size <= offsetof(sockaddr_un, sun_path)) {
    return "";
  }
  return std::string(address.sun_path, ::strnlen(address.sun_path, size - offsetof(sockaddr_un, sun_path)));
}

std::string waiting(const core::StatusView& status) {
  return status.queue_depth == 0 ? ", nothing waits" : fmt::format(", {} waiting", status.queue_depth);
}

std::string session_words(const core::StatusView& status, WallMs away_since) {
  switch (status.session_state) {
    case core::SessionState::connecting:
      return "ZooKeeper not reached yet" + waiting(status);
    case core::SessionState::suspended:
    case core::SessionState::expired:
      return fmt::format("ZooKeeper away since {:%Y-%m-%d %H:%M:%S} UTC{}", fmt::gmtime(away_since / 1'000),
                         waiting(status));
    case core::SessionState::auth_failed:
      return "ZooKeeper refuses the agent's credentials" + waiting(status);
    case core::SessionState::connected:
      break;
  }
  const auto count = [&](core::State state) { return status.by_state[static_cast<std::size_t>(state)]; };
  std::string words = fmt::format("connected, {} registered", count(core::State::registered));
  const std::pair<std::uint64_t, const char*> others[] = {{status.queue_depth, "waiting"},
                                                          {count(core::State::conflict), "in conflict"},
                                                          {count(core::State::blocked), "blocked"},
                                                          {count(core::State::unhealthy), "unhealthy"},
                                                          {count(core::State::maintenance), "in maintenance"}};
  for (const auto& [number, what] : others) {
    if (number > 0) {
      words += fmt::format(", {} {}", number, what);
    }
  }
  if (!status.session_message.empty()) {
    words += ": " + status.session_message;
  }
  return words;
}

}  // namespace

Result<std::optional<InheritedSocket>> inherited_socket() {
  const auto count = number_in("LISTEN_FDS");
  const bool ours = meant_for_us("LISTEN_PID");
  for (const char* variable : {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}) {
    ::unsetenv(variable);
  }
  if (!ours || !count || *count == 0) {
    return std::optional<InheritedSocket>();
  }
  if (*count != 1) {
    return Status(Errc::invalid, fmt::format("{} sockets are handed over (LISTEN_FDS), and the API has one: let "
                                             "limpet.socket have one ListenStream=",
                                             *count));
  }
  return std::optional(InheritedSocket{kFirstInherited, path_of(kFirstInherited)});
}

bool tell_manager(const std::string& lines) {
  const char* const name = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name == nullptr || (name[0] != '/' && name[0] != '@') || std::strlen(name) >= sizeof address.sun_path) {
    return true;  // nobody wants to know
  }
  const std::size_t length = std::strlen(name);
  std::memcpy(address.sun_path, name, length);
  if (name[0] == '@') {
    address.sun_path[0] = '\0';  // of the abstract namespace, unix(7)
  }
  const liveness::Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  const bool sent = socket && ::sendto(socket.get(), lines.data(), lines.size(), MSG_NOSIGNAL,
                                       reinterpret_cast<const sockaddr*>(&address), size) >= 0;
  return sent || (socket && errno != EAGAIN && errno != ENOBUFS);  // else it will not take it later either
}

std::string service_status(const core::StatusView& status, WallMs away_since) {
  std::string words = session_words(status, away_since);
  if (!status.storage_healthy()) {
    words += "; changes are refused: " + status.storage_error;
  }
  return harmless(words);  // a line is a message of its own
}

ServiceManager::ServiceManager(boost::asio::io_context& io, Look look)
    : look_(std::move(look)),
      present_(std::getenv("NOTIFY_SOCKET") != nullptr),
      watchdog_every_(present_ ? watchdog_time() / kFeedsPerWatchdog : std::chrono::microseconds(0)),
      status_timer_(io),
      watchdog_timer_(io),
      again_timer_(io) {}

void ServiceManager::serving() {
  serving_ = true;
  say("READY=1");
  say_status();
  if (watchdog_every_.count() > 0) {
    feed_watchdog();
  }
}

void ServiceManager::reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  say(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000LL + now.tv_nsec / 1'000));
}

void ServiceManager::reloaded() {
  say("READY=1");
}

void ServiceManager::stopping() {
  say("STOPPING=1\nSTATUS=stopping; the ZooKeeper session is kept");
  serving_ = false;
  status_timer_.cancel();
}

void ServiceManager::changed() {
  if (!present_ || !serving_ || status_due_) {
    return;
  }
  status_due_ = true;
  status_timer_.expires_after(kBetweenStatuses);
  status_timer_.async_wait([this](boost::system::error_code error) {
    status_due_ = false;
    if (!error && serving_) {
      say_status();
    }
  });
}

void ServiceManager::say_status() {
  if (!present_) {
    return;
  }
  const core::StatusView status = look_();
  const bool away =
      status.session_state == core::SessionState::suspended || status.session_state == core::SessionState::expired;
  if (!away) {
    away_since_ = 0;
  } else if (away_since_ == 0) {
    away_since_ = status.session_since;
  }
  std::string words = service_status(status, away_since_);
  if (words == status_) {
    return;
  }
  if (tell_manager("STATUS=" + words)) {
    status_ = std::move(words);
  } else {
    changed();
  }
}

// The order is kept: what comes while something is unsaid goes behind it.
void ServiceManager::say(const std::string& lines) {
  if (!unsaid_.empty()) {
    unsaid_ += "\n" + lines;
  } else if (!tell_manager(lines)) {
    unsaid_ = lines;
    say_again();
  }
}

void ServiceManager::say_again() {
  again_timer_.expires_after(kSayAgainAfter);
  again_timer_.async_wait([this](boost::system::error_code error) {
    if (error) {
      return;
    }
    if (tell_manager(unsaid_)) {
      unsaid_.clear();
    } else {
      say_again();
    }
  });
}

void ServiceManager::feed_watchdog() {
  tell_manager("WATCHDOG=1");
  watchdog_timer_.expires_after(watchdog_every_);
  watchdog_timer_.async_wait([this](boost::system::error_code error) {
    if (!error) {
      feed_watchdog();
    }
  });
}

}  // namespace limpet
