// What registrations live with, watched: their processes and their checks. It only says what happened; every decision
// is the core's.
//
// Owned by Agent; core thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "agent/core/event.h"
#include "agent/liveness/check_schedule.h"
#include "agent/liveness/orphans.h"
#include "agent/liveness/process_watcher.h"

namespace limpet::liveness {

class Liveness {
 public:
  // `tell` is given core::ProcessEnded and core::HealthChanged, from the event loop, never from within a call. `io`
  // outlives this.
  using Tell = std::function<void(core::Event)>;

  Liveness(boost::asio::io_context& io, Tell tell);

  // Carries out the core's action of that name. ProcessEnded comes once for a Watch at most.
  void watch(const core::Watch& watch);
  void unwatch(const core::Unwatch& unwatch);
  void void_failure(const core::VoidFailure& void_failure) { checks_.void_failures(void_failure.id); }
  void recheck(const core::Recheck& recheck) { checks_.recheck(recheck.all); }

  // What checks may reach and run from now on.
  void set_policy(CheckPolicy policy) { checks_.set_policy(std::move(policy)); }

  CheckSchedule::Stats checks() const { return checks_.stats(); }
  ProcessWatcher::Use processes() const { return processes_.use(); }

  // Nothing is told after this, and the commands of checks are killed. Does not block.
  void stop();

 private:
  void process_ended(const RegistrationId& id, std::string how);
  void health_changed(const RegistrationId& id, Health::Report report);

  const Tell tell_;
  std::unordered_map<RegistrationId, Seq> watched_;  // the newest Watch of each
  ProcessWatcher processes_;
  CheckSchedule checks_;
  std::optional<Orphans> orphans_;  // where they may come
};

}  // namespace limpet::liveness
