#include "agent/liveness/command_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "agent/liveness/check_child.h"
#include "agent/liveness/check_target.h"
#include "agent/liveness/descriptor.h"
#include "agent/liveness/text.h"
#include "agent/liveness/want.h"

namespace limpet::liveness {
namespace {

using boost::system::error_code;

constexpr std::size_t kMaxOutput = 4096;
constexpr std::size_t kMaxWords = 300;
// What is said beyond what counts is thrown away, at this pace: a command that writes without end must not keep the
// agent busy.
constexpr auto kThrowAwayEvery = std::chrono::milliseconds(10);
constexpr auto kReapEvery = std::chrono::milliseconds(50);

// Attributes and actions of posix_spawn, as every command is started.
class Recipe {
 public:
  explicit Recipe(int output) {
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, output, STDERR_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1);
  }
  ~Recipe() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }
  Recipe(const Recipe&) = delete;
  Recipe& operator=(const Recipe&) = delete;

  // An error number, or 0.
  int spawn(pid_t& pid, std::vector<std::string> arguments) const {
    std::vector<char*> pointers;
    for (std::string& argument : arguments) {
      pointers.push_back(argument.data());
    }
    pointers.push_back(nullptr);
    return ::posix_spawn(&pid, "/proc/self/exe", &actions_, &attributes_, pointers.data(), environ);
  }

 private:
  posix_spawnattr_t attributes_;
  posix_spawn_file_actions_t actions_;
};

class CommandRun : public CheckRun, public std::enable_shared_from_this<CommandRun> {
 public:
  CommandRun(const std::shared_ptr<CommandRuns>& shared, Done done)
      : shared_(shared),
        done_(std::move(done)),
        output_(shared->io),
        process_(shared->io),
        pause_(shared->io),
        reap_timer_(shared->io) {}
  ~CommandRun() override;

  void start(const std::vector<std::string>& command, std::uint32_t uid);
  void drop() override;
  std::string timed_out(const std::string& limit) const override {
    return with_output("killed, as it did not end within " + limit);
  }
  bool lingers() const override { return pid_ > 0; }

 private:
  int spawn(const std::vector<std::string>& command, std::uint32_t uid);
  void listen();
  void keep(const char* bytes, std::size_t count);
  void await_end();
  void reap();
  void read_rest();
  Finding judge(int status) const;
  std::string with_output(std::string words) const;
  void finish(Finding finding);

  const std::shared_ptr<CommandRuns> shared_;
  Done done_;      // empty once it was called, or is not to be
  pid_t pid_ = 0;  // until it is reaped
  std::string said_;
  std::array<char, 16384> buffer_;
  boost::asio::posix::stream_descriptor output_;
  boost::asio::posix::stream_descriptor process_;  // a pidfd
  boost::asio::steady_timer pause_;
  boost::asio::steady_timer reap_timer_;
};

CommandRun::~CommandRun() {
  if (pid_ > 0) {  // the event loop is gone
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
}

void CommandRun::start(const std::vector<std::string>& command, std::uint32_t uid) {
  const Status allowed = check_command_uid(uid, ::geteuid());
  const int error = allowed.ok() ? spawn(command, uid) : 0;
  if (allowed.ok() && error == 0) {
    listen();
    await_end();
    return;
  }
  Finding finding{false, printable(allowed.ok() ? std::strerror(error) : allowed.message(), kMaxWords)};
  if (error == EAGAIN || is_want(error)) {
    finding = Finding::nothing();
  }
  boost::asio::post(shared_->io, [self = shared_from_this(), finding] { self->finish(finding); });
}

int CommandRun::spawn(const std::vector<std::string>& command, std::uint32_t uid) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return errno;
  }
  Descriptor ours(ends[0]);
  const Descriptor theirs(ends[1]);
  error_code error;
  output_.assign(ours.get(), error);
  if (error) {
    return error.value();
  }
  ours.release();
  const int failed = Recipe(theirs.get()).spawn(pid_, check_child_arguments(command, uid, shared_->cgroup));
  if (failed != 0) {
    pid_ = 0;
    return failed;
  }
  shared_->running.insert(pid_);
  // Without a pidfd the process is asked from time to time instead.
  if (Descriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0))); pidfd) {
    process_.assign(pidfd.get(), error);
    if (!error) {
      pidfd.release();
    }
  }
  return 0;
}

void CommandRun::listen() {
  output_.async_read_some(boost::asio::buffer(buffer_),
                          [self = shared_from_this()](error_code error, std::size_t count) {
                            if (error) {
                              return;  // closed: by all who held it, or by ourselves
                            }
                            self->keep(self->buffer_.data(), count);
                            if (self->said_.size() < kMaxOutput) {
                              return self->listen();
                            }
                            self->pause_.expires_after(kThrowAwayEvery);
                            self->pause_.async_wait([self](error_code stopped) {
                              if (!stopped && self->output_.is_open()) {
                                self->listen();
                              }
                            });
                          });
}

void CommandRun::keep(const char* bytes, std::size_t count) {
  said_.append(bytes, std::min(count, kMaxOutput - said_.size()));
}

void CommandRun::await_end() {
  if (process_.is_open()) {
    process_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                        [self = shared_from_this()](error_code error) {
                          if (!error) {
                            self->reap();
                          }
                        });
    return;
  }
  reap_timer_.expires_after(kReapEvery);
  reap_timer_.async_wait([self = shared_from_this()](error_code) { self->reap(); });
}

void CommandRun::reap() {
  int status = 0;
  const pid_t waited = ::waitpid(pid_, &status, WNOHANG);
  if (waited == 0) {
    return await_end();
  }
  const bool known = waited == pid_;
  shared_->running.erase(pid_);
  pid_ = 0;
  error_code ignored;
  process_.close(ignored);
  if (done_) {
    read_rest();
    finish(known ? judge(status) : Finding::nothing());
  }
}

// What it said last may still be in the pipe.
void CommandRun::read_rest() {
  error_code error;
  output_.non_blocking(true, error);
  while (!error && said_.size() < kMaxOutput) {
    const std::size_t count = output_.read_some(boost::asio::buffer(buffer_), error);
    keep(buffer_.data(), count);
  }
}

Finding CommandRun::judge(int status) const {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return {true, {}};
  }
  if (WIFSIGNALED(status)) {
    return {false,
            with_output(fmt::format("ended by signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status))))};
  }
  return {false, with_output(fmt::format("exit status {}", WEXITSTATUS(status)))};
}

std::string CommandRun::with_output(std::string words) const {
  const std::string said = printable(said_, kMaxWords);
  return said.empty() ? words : words + ": " + said;
}

void CommandRun::finish(Finding finding) {
  const Done done = std::exchange(done_, nullptr);
  drop();
  if (done) {
    done(std::move(finding));
  }
}

// The process is reaped when it ends, and nothing of the command is left.
void CommandRun::drop() {
  done_ = nullptr;
  error_code ignored;
  output_.close(ignored);
  pause_.cancel();
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    ::kill(pid_, SIGCONT);  // should the command have stopped it
  }
}

}  // namespace

std::shared_ptr<CheckRun> start_command_run(const std::shared_ptr<CommandRuns>& shared,
                                            const std::vector<std::string>& command, std::uint32_t uid,
                                            CheckRun::Done done) {
  auto run = std::make_shared<CommandRun>(shared, std::move(done));
  run->start(command, uid);
  return run;
}

}  // namespace limpet::liveness
