// The verb `run`: a command in the foreground, registered for as long as it lives.
//
// The registration is bound to the command's process, not to ours. The child registers itself between fork and exec
// (so the agent has its pid from the kernel, also out of a container's pid namespace) and then becomes the command.
// Thus whatever ends the command takes the registration with it, within a second, whether or not we, or the agent, are
// there at that moment. Our own end takes the command along by PR_SET_PDEATHSIG; a command that changes its user keeps
// living then, and is rightly still registered. What we do at the end (deregister) only makes it quicker.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "agent/cli/register_options.h"
#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

// As shells say it.
constexpr int kCannotExecute = 126;
constexpr int kNoSuchCommand = 127;
constexpr int kSignalBase = 128;

struct RunOptions {
  RegisterOptions registration;
  WaitTime look_every;
  std::vector<std::string> command;
};

// 0, or the errno for which execvp would fail, found out before anything is registered.
int find_command(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return ::access(name.c_str(), X_OK) == 0 ? 0 : errno;
  }
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "/usr/local/bin:/bin:/usr/bin" : path;
  int failure = ENOENT;
  while (!name.empty()) {
    const std::size_t colon = rest.find(':');
    const std::string directory(rest.substr(0, colon));
    if (::access(((directory.empty() ? "." : directory) + "/" + name).c_str(), X_OK) == 0) {
      return 0;
    }
    failure = errno == EACCES ? EACCES : failure;
    if (colon == std::string_view::npos) {
      break;
    }
    rest.remove_prefix(colon + 1);
  }
  return failure;
}

int report_no_command(Context& context, const std::string& name, int error_number) {
  const bool missing = error_number == ENOENT || error_number == ENOTDIR;
  (void)failed(context, Exit::failed, "cannot_run",
               fmt::format("cannot run {}: {}", printable(name),
                           missing ? "there is no such command" : std::strerror(error_number)));
  return missing ? kNoSuchCommand : kCannotExecute;
}

// In the child: registers, and becomes the command. `report` gets the registration's owner once it is accepted.
[[noreturn]] void become_command(Context& context, const RunOptions& options, pid_t parent, int report,
                                 const sigset_t& former_mask) {
  const auto leave = [&](int status) {
    (void)context.console.flush();
    ::_exit(status);
  };
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    leave(kSignalBase + SIGKILL);  // it ended before this could take effect
  }
  ::sigprocmask(SIG_SETMASK, &former_mask, nullptr);
  const std::string& name = options.command.front();
  if (const int error_number = find_command(name); error_number != 0) {
    leave(report_no_command(context, name, error_number));
  }
  Json registered;
  const Exit exit = register_now(context, options.registration, /*quiet=*/true, registered);
  if (!registered.is_null()) {
    const std::string owner = at(registered, "owner").dump();
    (void)!::write(report, owner.data(), owner.size());
  }
  if (exit != Exit::done) {
    leave(static_cast<int>(exit));
  }
  std::vector<char*> words;
  for (const std::string& word : options.command) {
    words.push_back(const_cast<char*>(word.c_str()));
  }
  words.push_back(nullptr);
  ::setenv("LIMPET_SOCKET", context.client.socket_path().c_str(), 1);
  ::setenv("LIMPET_SERVICE", options.registration.name.service.c_str(), 1);
  ::setenv("LIMPET_INSTANCE", options.registration.name.instance.c_str(), 1);
  std::signal(SIGPIPE, SIG_DFL);
  ::execvp(words.front(), words.data());
  leave(report_no_command(context, name, errno));
  ::abort();
}

// What the child registered, as long as it lasts: looks now and then whether it still stands, so that nobody believes a
// command to be registered whose place another has taken; and ends it.
class HeldRegistration {
 public:
  // `report`: where the child writes the registration's owner, once it is accepted. Kept open by the caller.
  HeldRegistration(const Context& context, const Name& name, int report)
      : console_(context.console), socket_(context.client.socket_path()), name_(name), report_(report) {}

  // Says so, once, where the registration has gone. Blocks for a second at most.
  void look();
  // Deregisters it, unless it has gone, or has been taken over. That it fails is worth a remark only: the agent drops
  // it by itself.
  void end();

 private:
  // The owner of what was accepted; null where nothing was, or not yet.
  const Json& owner();
  // Why what the agent answered is not this run's registration; empty where it is.
  std::string lost(const Answer& answer);
  void remark(const std::string& text) const { console_.note(fmt::format("limpet: {}\n", text)); }

  Console& console_;
  const std::string socket_;
  const Name& name_;
  const int report_;
  std::string reported_;
  Json owner_;
  bool said_ = false;  // that it has gone
};

const Json& HeldRegistration::owner() {
  std::array<char, 4096> chunk{};
  for (ssize_t count = 0; (count = ::read(report_, chunk.data(), chunk.size())) > 0;) {
    reported_.append(chunk.data(), static_cast<std::size_t>(count));
  }
  if (owner_.is_null() && !reported_.empty()) {
    owner_ = parse(reported_);
  }
  return owner_;
}

std::string HeldRegistration::lost(const Answer& answer) {
  const Json body = parse(answer.body);
  if (answer.status == 404 || (answer.ok() && text(body, "state") == "removing")) {
    return fmt::format("{} is no longer registered; see: limpet history --service {} --instance {}", name_.str(),
                       name_.service, name_.instance);
  }
  const std::string bind = text(body, "bind");
  // What the command has registered anew, bound to nothing, is its own.
  const bool bound = !bind.empty() && bind != "none";
  if (answer.ok() && bound && at(body, "owner") != owner()) {
    return fmt::format("{} was registered anew by process {}, and is that one's now", name_.str(),
                       number(at(body, "owner"), "pid"));
  }
  return {};
}

void HeldRegistration::look() {
  constexpr std::chrono::seconds kPatience{1};  // signals wait for it
  if (said_ || owner().is_null()) {
    return;
  }
  Request request;
  request.target = name_.target();
  const auto reply = Client(socket_, "", kPatience).call(request);
  const auto* answer = std::get_if<Answer>(&reply);
  const std::string why = answer == nullptr ? std::string{} : lost(*answer);
  if (!why.empty()) {
    said_ = true;
    remark(printable(why) + ". The command goes on.");
  }
}

void HeldRegistration::end() {
  constexpr std::chrono::seconds kPatience{5};
  if (owner().is_null()) {
    return;
  }
  const Client client(socket_, "", kPatience);
  const auto failed = [&](const std::string& why) {
    remark(fmt::format("{} is not deregistered yet: {}\nThe agent does so by itself: its process has ended.",
                       printable(name_.str()), printable(why.substr(0, why.find('\n')))));
  };
  Request request;
  request.target = name_.target();
  for (const Method method : {Method::get, Method::del}) {
    request.method = method;
    const auto reply = client.call(request);
    if (const auto* unreachable = std::get_if<Unreachable>(&reply)) {
      return failed(unreachable->why);
    }
    const auto& answer = std::get<Answer>(reply);
    if (answer.status == 404) {
      return;
    }
    if (method == Method::get) {
      if (const std::string why = lost(answer); !why.empty()) {
        if (!said_ && text(parse(answer.body), "state") != "removing") {
          remark(printable(why) + ".");
        }
        return;
      }
    } else if (!answer.ok()) {
      const std::string detail = text(parse(answer.body), "detail");
      failed(detail.empty() ? fmt::format("the agent answered {}", answer.status) : detail);
    }
  }
}

// Waits for the end of `child`, passes on to it what is sent to us, and looks at the registration every so often;
// `signals` are blocked. The wait status.
int supervise(pid_t child, const sigset_t& signals, std::chrono::milliseconds look_every, HeldRegistration& standing) {
  using std::chrono::duration_cast;
  const auto seconds = duration_cast<std::chrono::seconds>(look_every);
  const timespec pause{seconds.count(), duration_cast<std::chrono::nanoseconds>(look_every - seconds).count()};
  for (;;) {
    siginfo_t info{};
    const int signal = ::sigtimedwait(&signals, &info, &pause);
    if (signal < 0 && errno == EAGAIN) {
      standing.look();
    } else if (signal == SIGCHLD) {
      // All that ended: as the first process of a container we are the parent of orphans, too.
      int status = 0;
      for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
        if (ended == child) {
          return status;
        }
      }
    } else if (signal > 0) {
      // What the terminal sends (Ctrl-C) it sends to the command as well, which is in the same process group. A pipe
      // that broke under our own words is nobody else's.
      if (info.si_code <= 0 && info.si_pid != ::getpid()) {
        ::kill(child, signal);
      }
      if (signal == SIGTSTP) {
        ::raise(SIGSTOP);
      }
    }
  }
}

Exit run_run(Context& context, const RunOptions& options) {
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) {
    return failed(context, Exit::failed, "cannot_run", fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  sigset_t signals;
  sigset_t former_mask;
  ::sigfillset(&signals);
  for (const int ours : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGTTIN, SIGTTOU}) {
    ::sigdelset(&signals, ours);
  }
  std::signal(SIGCHLD, SIG_DFL);  // ignored, it would let nobody wait
  ::sigprocmask(SIG_BLOCK, &signals, &former_mask);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) {
    return failed(context, Exit::failed, "cannot_run", fmt::format("cannot fork: {}", std::strerror(errno)));
  }
  if (child == 0) {
    become_command(context, options, parent, report[1], former_mask);
  }
  ::close(report[1]);
  ::fcntl(report[0], F_SETFL, O_NONBLOCK);
  HeldRegistration standing(context, options.registration.name, report[0]);
  const int status = supervise(child, signals, options.look_every.duration(), standing);
  standing.end();
  ::close(report[0]);
  return static_cast<Exit>(WIFSIGNALED(status) ? kSignalBase + WTERMSIG(status) : WEXITSTATUS(status));
}

}  // namespace

void add_run_command(CLI::App& app, Run& run, const std::vector<std::string>& command) {
  CLI::App* verb = app.add_subcommand("run", "run a command, registered for as long as it lives");
  auto options = std::make_shared<RunOptions>();
  options->registration.bind_to_sender = true;
  add_register_options(*verb, options->registration);
  options->look_every.typed = "1m";
  add_wait(*verb, "--look-every", options->look_every,
           "how often to look whether the registration still stands (1m where not given)");
  verb->add_option("COMMAND", options->command, "the command and its words, after --")
      ->option_text(" ")
      ->allow_extra_args(false);
  verb->footer(
      "Registers, runs the command in the foreground, and deregisters when it ends, however it ends. Signals are\n"
      "passed on to the command. Kill `limpet run`, and the command is killed; a restart of limpetd, or of\n"
      "ZooKeeper, does not touch it. With --wait the command starts once it is in ZooKeeper. With --ttl the command\n"
      "sends the heartbeats; LIMPET_SERVICE, LIMPET_INSTANCE and LIMPET_SOCKET in its environment name what it "
      "needs.\n"
      "Registered anew by another process, such as a second `limpet run` of the same name, it is that one's, and goes\n"
      "with it; this one says so on standard error within --look-every, and the command goes on.\n\n"
      "Exit status: the command's, 128+N where signal N ended it, 127 where there is no such command, 126 where it\n"
      "cannot be executed; 1 and 3 where it could not be registered, and was not run.\n\n"
      "Examples:\n"
      "  limpet run web i-1 --port 8080 -- python3 -m http.server 8080\n"
      "  limpet run db primary --metadata role=primary -- /usr/sbin/mydb --foreground\n");
  verb->callback([&run, &command, options] {
    check_register_options(options->registration);
    options->command.insert(options->command.end(), command.begin(), command.end());
    if (options->command.empty()) {
      throw CLI::RequiredError("COMMAND");
    }
    run = [options](Context& context) { return run_run(context, *options); };
  });
}

}  // namespace limpet::cli
