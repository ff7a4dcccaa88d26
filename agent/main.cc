// limpetd: reads the configuration, opens the store, runs the agent until a signal.
//
// Exit codes: 0 normal stop, 2 bad usage or configuration, 3 state directory in use, 4 state damaged, 1 anything else;
// one line on stderr says why.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>

#include "agent/agent.h"
#include "agent/agent_options.h"
#include "agent/config.h"
#include "agent/config_policy.h"
#include "agent/config_values.h"
#include "agent/liveness/check_child.h"
#include "agent/liveness/program.h"
#include "agent/log.h"
#include "agent/service_manager.h"
#include "storage/rocks_store.h"

namespace {

using limpet::Status;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr unsigned kStopSeconds = 4;

int fail(int code, const std::string& why) {
  limpet::complain("limpetd", why);
  limpet::tell_manager("STATUS=" + limpet::harmless(why));
  return code;
}

int exit_code(limpet::Errc code) {
  switch (code) {
    case limpet::Errc::in_use:
      return 3;
    case limpet::Errc::damaged:
    case limpet::Errc::newer_format:
      return 4;
    case limpet::Errc::invalid:
      return kUsage;
    case limpet::Errc::ok:
    case limpet::Errc::full:
    case limpet::Errc::io:
    case limpet::Errc::permission:
      break;
  }
  return 1;
}

// A thread, memory or file descriptor that the system does not give. What was acknowledged is on disk.
std::string no_more(const std::exception& error) {
  return std::string("the system gives no more: ") + error.what() +
         "; look at its limits of threads, memory and open files (systemd: TasksMax, MemoryMax, LimitNOFILE)";
}

std::string flag_of(std::string key) {
  for (char& c : key) {
    if (c == '_') {
      c = '-';
    }
  }
  return "--" + key;
}

Status load_config(const std::string& file, bool file_named, const std::map<std::string, std::string>& flags,
                   limpet::Config& config) {
  if (Status status = limpet::read_config_file(file, file_named, config); !status.ok()) {
    return status;
  }
  if (Status status = limpet::read_config_environment(config); !status.ok()) {
    return status;
  }
  for (const auto& [key, text] : flags) {
    if (Status status = limpet::set_config_key(config, key, text, flag_of(key)); !status.ok()) {
      return status;
    }
  }
  return limpet::complete_config(config);
}

// Leaves without running destructors: closing the ZooKeeper handle would end the session, and stop is not leave.
[[noreturn]] void leave_now(int code) {
  std::fflush(nullptr);
  ::_exit(code);
}

// Waits for the next SIGHUP, and reloads; the agent logs what it came to.
void reload_on_signal(boost::asio::signal_set& signals, limpet::Agent& agent, limpet::ServiceManager& manager) {
  signals.async_wait([&](boost::system::error_code error, int) {
    if (error) {
      return;
    }
    manager.reloading();
    agent.reload(limpet::api::Removals::guarded, [&](const limpet::Agent::ReloadResult&) { manager.reloaded(); });
    reload_on_signal(signals, agent, manager);
  });
}

// A SIGHUP that comes before the agent serves ends nothing: it is made up for when it does.
volatile std::sig_atomic_t early_hangup = 0;

void note_early_hangup(int) {
  early_hangup = 1;
}

void prepare_process() {
  // The state directory holds the session's password: nobody else reads what we write.
  ::umask(0077);
  // A reader that went away, or a file size limit, is an error of one call and not the end of the agent.
  ::signal(SIGHUP, note_early_hangup);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
}

void stop_on_signal(boost::asio::signal_set& signals, limpet::Agent& agent, limpet::ServiceManager& manager) {
  signals.async_wait([&](boost::system::error_code error, int signal) {
    if (error) {
      return;
    }
    limpet::log(limpet::LogLevel::info, "stopping",
                std::string("signal=") + limpet::log_value(signal == SIGTERM ? "SIGTERM" : "SIGINT") +
                    " meaning=\"the session is kept; registrations stay in ZooKeeper for its time-out\"");
    manager.stopping();
    // A disk that hangs must not hang the stop: whoever still waits for it then has no answer, which promises nothing.
    ::signal(SIGALRM, [](int) { ::_exit(0); });
    ::alarm(kStopSeconds);
    agent.stop([] {
      limpet::log(limpet::LogLevel::info, "stopped");
      leave_now(0);
    });
  });
}

// The socket that the service manager listens on for us, in place of the one that is configured.
Status take_socket(const limpet::Config& config, int& listen_fd) {
  const auto inherited = limpet::inherited_socket();
  if (!inherited.ok()) {
    return inherited.status();
  }
  if (*inherited) {
    listen_fd = (*inherited)->fd;
    if (const std::string& path = (*inherited)->path; path != config.socket) {
      limpet::log(limpet::LogLevel::warn, "socket_is_the_service_managers",
                  "socket=" + limpet::quoted_value(path) + " configured=" + limpet::quoted_value(config.socket) +
                      " meaning=\"limpet.socket says where the socket is: change ListenStream= there, too\"");
    }
  }
  return Status();
}

// The uid that the agent has, where it has run: root may check for it.
uid_t agent_uid(const limpet::Config& config) {
  struct stat state {};
  return ::stat(config.data_dir.c_str(), &state) == 0 ? state.st_uid : ::geteuid();
}

// For --check-config: what can be told of the configuration without running it.
int check(const limpet::Config& config, const std::string& file) {
  if (const std::string fault = limpet::config_file_fault(file, agent_uid(config)); !fault.empty()) {
    return fail(kUsage, fault);
  }
  const auto problems = limpet::examine_registrations(limpet::files_source(config), agent_uid(config));
  for (const limpet::api::FileProblem& problem : problems) {
    limpet::complain("limpetd", "registrations_dir: " + problem.file + ": " + problem.error);
  }
  if (!problems.empty()) {
    return kUsage;
  }
  for (const std::string& gap : limpet::policy_gaps(config.policy, config.paths)) {
    limpet::complain("limpetd", "note: " + gap);
  }
  std::printf("limpetd: the configuration is good\n");
  return 0;
}

int run(const limpet::Config& config, const limpet::ConfigSource& source, int listen_fd) {
  auto opened = limpet::RocksStore::open(config.data_dir, {config.history_size_bytes, config.history_age_ms / 1'000});
  if (!opened.ok()) {
    return fail(exit_code(opened.status().code()), opened.status().message());
  }
  auto stored = (*opened)->load();
  if (!stored.ok()) {
    return fail(exit_code(stored.status().code()), stored.status().message());
  }
  const std::size_t held = stored->registrations.size();
  boost::asio::io_context io(1);
  limpet::Agent agent(io, config, source, std::move(*opened), std::move(*stored));
  limpet::ServiceManager manager(io, [&] { return agent.core().status(agent.now()); });
  agent.when_changed([&] { manager.changed(); });
  if (Status status = agent.start(listen_fd); !status.ok()) {
    leave_now(fail(exit_code(status.code()), status.message()));
  }
  limpet::log(limpet::LogLevel::info, "started",
              "version=" LIMPET_VERSION " socket=" + limpet::log_value(config.socket) +
                  " data_dir=" + limpet::log_value(config.data_dir) +
                  " zookeeper=" + limpet::log_value(config.zookeeper) + " registrations=" + std::to_string(held));
  boost::asio::signal_set stops(io, SIGTERM, SIGINT);
  stop_on_signal(stops, agent, manager);
  boost::asio::signal_set reloads(io, SIGHUP);
  reload_on_signal(reloads, agent, manager);
  if (early_hangup != 0) {
    boost::asio::post(io, [] { ::raise(SIGHUP); });
  }
  // From the loop, which takes callers from here on.
  boost::asio::post(io, [&] { manager.serving(); });
  try {
    io.run();
  } catch (const std::exception& error) {
    // To unwind would close what must stay as it is, above all the session.
    fail(kFailed, no_more(error));
  }
  leave_now(kFailed);
}

}  // namespace

int main(int argc, char** argv) {
  if (limpet::liveness::is_check_child(argc, argv)) {
    return limpet::liveness::run_check_child(argc, argv);
  }
  limpet::liveness::prepare_program();
  prepare_process();
  CLI::App app{"limpetd: keeps this host's service registrations in ZooKeeper, also while ZooKeeper is away"};
  app.set_version_flag("--version", "limpetd " LIMPET_VERSION);
  std::string file = limpet::kDefaultConfigFile;
  bool check_only = false;
  auto* file_option =
      app.add_option("--config", file, "configuration file [/etc/limpet/limpet.json]")->type_name("FILE");
  std::map<std::string, std::string> texts;
  std::map<std::string, CLI::Option*> options;
  const limpet::Config defaults;
  for (const limpet::ConfigKey& key : limpet::config_keys()) {
    const std::string standard = key.text(defaults);
    options[key.name] =
        app.add_option(flag_of(key.name), texts[key.name], key.help + (standard.empty() ? "" : " [" + standard + "]"))
            ->type_name(key.argument);
  }
  app.add_flag("--check-config", check_only, "check the configuration and end");
  app.allow_extras();
  app.footer(
      "Every flag is also a key of the file and a variable of the environment: --data-dir, \"data_dir\",\n"
      "LIMPET_DATA_DIR. Flags win over the environment, the environment over the file.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return fail(kUsage, std::string(error.what()) + "; see limpetd --help");
  }
  if (const auto unknown = app.remaining(); !unknown.empty()) {
    std::vector<std::string> known = {"--config", "--check-config", "--version", "--help"};
    for (const auto& [key, option] : options) {
      known.push_back(flag_of(key));
    }
    const std::string nearest = limpet::nearest_name(unknown.front().substr(0, unknown.front().find('=')), known);
    return fail(kUsage, "unknown argument \"" + unknown.front() + "\"" +
                            (nearest.empty() ? "; see limpetd --help" : "; did you mean " + nearest + "?"));
  }
  std::map<std::string, std::string> flags;
  for (const auto& [key, option] : options) {
    if (option->count() > 0) {
      flags[key] = texts[key];
    }
  }
  const bool file_named = file_option->count() > 0;
  const limpet::ConfigSource source = [&](limpet::Config& config) {
    if (!check_only && !limpet::config_file_fault(file, ::geteuid()).empty()) {
      return Status(limpet::Errc::invalid, limpet::config_file_fault(file, ::geteuid()));
    }
    return load_config(file, file_named, flags, config);
  };
  limpet::Config config;
  if (Status status = source(config); !status.ok()) {
    return fail(kUsage, status.message());
  }
  if (check_only) {
    return check(config, file);
  }
  limpet::set_log_level(config.log_level);
  int listen_fd = -1;
  if (Status status = take_socket(config, listen_fd); !status.ok()) {
    return fail(kUsage, status.message());
  }
  try {
    return run(config, source, listen_fd);
  } catch (const std::exception& error) {
    return fail(kFailed, no_more(error));
  }
}
