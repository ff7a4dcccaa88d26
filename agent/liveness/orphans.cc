#include "agent/liveness/orphans.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "agent/liveness/descriptor.h"

namespace limpet::liveness {
namespace {

constexpr auto kRetryEvery = std::chrono::milliseconds(100);

sigset_t child_signal() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGCHLD);
  return signals;
}

}  // namespace

bool Orphans::may_come() {
  return ::getpid() == 1;
}

void Orphans::prepare() {
  const sigset_t signals = child_signal();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

Orphans::Orphans(boost::asio::io_context& io, std::function<bool(std::int32_t)> own)
    : own_(std::move(own)), signals_(io), retry_timer_(io) {
  const sigset_t signals = child_signal();
  if (Descriptor fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)); fd) {
    boost::system::error_code error;
    signals_.assign(fd.get(), error);
    if (!error) {
      fd.release();
      await_signal();
    }
  }
  reap();  // what ended before
}

void Orphans::stop() {
  alive_ = nullptr;
  boost::system::error_code ignored;
  signals_.close(ignored);
  retry_timer_.cancel();
}

void Orphans::await_signal() {
  signals_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [this, alive = std::weak_ptr<char>(alive_)](boost::system::error_code error) {
                        if (error || alive.expired()) {
                          return;
                        }
                        signalfd_siginfo info;
                        while (::read(signals_.native_handle(), &info, sizeof info) > 0) {
                        }
                        reap();
                        await_signal();
                      });
}

// The kernel tells the zombies one after the other. One of the agent's own, which its run waits for at once, hides
// those behind it for a moment.
void Orphans::reap() {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) {
      return;
    }
    if (own_(info.si_pid)) {
      retry_timer_.expires_after(kRetryEvery);
      retry_timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](boost::system::error_code error) {
        if (!error && !alive.expired()) {
          reap();
        }
      });
      return;
    }
    ::waitpid(info.si_pid, nullptr, WNOHANG);
  }
}

}  // namespace limpet::liveness
