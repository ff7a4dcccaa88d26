// The configuration read again: what can be applied is applied, the rest is said to need a restart. And the
// registrations by file, which are read with it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <cassert>

#include "agent/agent.h"
#include "agent/agent_options.h"
#include "agent/config_policy.h"
#include "agent/log.h"

namespace limpet {

namespace {

// What the parts of the agent are made with and keep as long as they live.
constexpr std::array<std::string_view, 7> kForARestart = {"session_timeout",  "root",        "data_dir",    "socket",
                                                          "connection_grace", "history_age", "history_size"};

bool applies_at_once(const std::string& key, const Config& before, const Config& now) {
  if (key == "zookeeper") {
    // Under another chroot every path is another znode; that is a matter for a restart.
    return zk::chroot_of(before.zookeeper) == zk::chroot_of(now.zookeeper);
  }
  return std::find(kForARestart.begin(), kForARestart.end(), key) == kForARestart.end();
}

std::string joined(const std::vector<std::string>& keys) {
  return fmt::format("{}", fmt::join(keys, ","));
}

bool contains(const std::vector<std::string>& keys, const std::string& key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

}  // namespace

void log_policy_gaps(const Config& config) {
  for (const std::string& gap : policy_gaps(config.policy, config.paths)) {
    log(LogLevel::warn, "policy_gap", "meaning=" + quoted_value(gap));
  }
}

void Agent::reload(api::Removals removals, ReloadDone done) {
  Config config;
  if (const Status status = config_source_(config); !status.ok()) {
    log(LogLevel::error, "reload_failed",
        "error=" + quoted_value(status.message()) + " meaning=\"the old configuration stays\"");
    core::Problem problem;
    problem.detail = "Nothing was changed: " + status.message();
    boost::asio::post(io_, [done = std::move(done), problem = std::move(problem)] { done(problem); });
    return;
  }
  api::ReloadReport report = apply(config);
  apply_registration_files(removals,
                           [done = std::move(done), report = std::move(report)](api::FilesReport files) mutable {
                             report.registrations_d = std::move(files);
                             done(std::move(report));
                           });
}

api::ReloadReport Agent::apply(const Config& config) {
  api::ReloadReport report;
  for (const std::string& key : differing_keys(config_, config)) {
    (applies_at_once(key, config_, config) ? report.applied : report.needs_restart).push_back(key);
  }
  for (const std::string& key : report.applied) {
    copy_config_key(key, config, config_);
  }
  set_log_level(config_.log_level);
  apply_zookeeper(config_, report.applied);
  feed(reconfigured(config_));
  log_policy_gaps(config_);
  server_->set_limits(server_options(config_));
  check_policy_ = limpet::check_policy(config_);
  liveness_.set_policy(check_policy_);
  log(LogLevel::info, "reloaded",
      "applied=" + quoted_value(joined(report.applied)) +
          " needs_restart=" + quoted_value(joined(report.needs_restart)));
  return report;
}

void Agent::apply_zookeeper(const Config& config, const std::vector<std::string>& keys) {
  const bool access = contains(keys, "zookeeper_credentials") || contains(keys, "acl") ||
                      contains(keys, "parents_acl") || contains(keys, "parents");
  if (contains(keys, "zookeeper")) {
    [[maybe_unused]] const Status status = zookeeper_.set_servers(config.zookeeper);
    assert(status.ok());
  }
  if (access) {
    zookeeper_.set_access(zookeeper_access(config));
  }
  if (access || contains(keys, "zookeeper")) {
    feed(core::ServersChanged{});
  }
}

void Agent::apply_registration_files(api::Removals removals, RegistrationsDir::Done done) {
  registrations_dir_.apply(files_source(config_), removals, std::move(done));
}

// What was found again by itself and is known is not logged again.
void Agent::note_registration_files(const api::FilesReport& report, bool again) {
  const std::vector<api::FileProblem>& known = files_status_->errors;
  for (const api::FileProblem& problem : report.errors) {
    if (!again || std::find(known.begin(), known.end(), problem) == known.end()) {
      log(LogLevel::error, "registration_file_refused",
          "file=" + quoted_value(problem.file) + " error=" + quoted_value(problem.error));
    }
  }
  if (report.added + report.changed + report.removed > 0) {
    log(LogLevel::info, "registration_files_applied",
        "added=" + std::to_string(report.added) + " changed=" + std::to_string(report.changed) +
            " removed=" + std::to_string(report.removed));
  }
  files_status_ = std::make_shared<const api::FilesStatus>(
      api::FilesStatus{config_.registrations_dir, registrations_dir_.remembered(), report.held, report.errors});
}

void Agent::in_background(std::function<void()> work, std::function<void()> then) {
  if (commit_ == nullptr) {
    return;  // stopped
  }
  background_->run([this, work = std::move(work), then = std::move(then)]() mutable {
    work();
    mailbox_.leave(std::move(then));
  });
}

}  // namespace limpet
