#include "agent/liveness/liveness.h"

#include <utility>

#include "agent/liveness/delegated_cgroup.h"

namespace limpet::liveness {

Liveness::Liveness(boost::asio::io_context& io, Tell tell)
    : tell_(std::move(tell)),
      processes_(io, ProcessWatcher::usual_bounds(),
                 [this](const RegistrationId& id, std::string how) { process_ended(id, std::move(how)); }),
      checks_(io, {},
              [this](const RegistrationId& id, Health::Report report) { health_changed(id, std::move(report)); }) {
  checks_.set_command_cgroup(divide_delegated_cgroup());
  if (Orphans::may_come()) {
    orphans_.emplace(io, [this](std::int32_t pid) { return checks_.command_pids().contains(pid); });
  }
}

void Liveness::watch(const core::Watch& watch) {
  watched_[watch.id] = watch.seq;
  if (watch.process) {
    processes_.watch(watch.id, *watch.process);
  } else {
    processes_.unwatch(watch.id);
  }
  if (!watch.checks.empty() || watch.failing) {
    checks_.watch(watch.id, watch.uid, watch.checks, watch.failing, watch.unproven);
  } else {
    checks_.unwatch(watch.id);
  }
}

void Liveness::unwatch(const core::Unwatch& unwatch) {
  watched_.erase(unwatch.id);
  processes_.unwatch(unwatch.id);
  checks_.unwatch(unwatch.id);
}

void Liveness::stop() {
  watched_.clear();
  processes_.stop();
  checks_.stop();
  if (orphans_) {
    orphans_->stop();
  }
}

void Liveness::process_ended(const RegistrationId& id, std::string how) {
  if (const auto found = watched_.find(id); found != watched_.end()) {
    tell_(core::ProcessEnded{id, found->second, std::move(how)});
  }
}

void Liveness::health_changed(const RegistrationId& id, Health::Report report) {
  if (const auto found = watched_.find(id); found != watched_.end()) {
    tell_(core::HealthChanged{id, found->second, report.passing, std::move(report.message)});
  }
}

}  // namespace limpet::liveness
