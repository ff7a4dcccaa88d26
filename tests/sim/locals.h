// The programs of the simulated host: processes that registrations are bound to, connections to the API, clients that
// send heartbeats, services that health checks look at. What agent/liveness and agent/api would tell the core of them
// comes from here, a little late, and also of what the core has ceased to ask for. Owned by Simulation.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/core/event.h"
#include "tests/support/manual_clock.h"
#include "tests/support/rng.h"

namespace limpet::test {

class Locals {
 public:
  // `clock` must outlive this object.
  Locals(const ManualClock& clock, std::uint64_t seed) : clock_(clock), rng_(seed) {}

  // ---- Processes
  ProcessId any_process();  // one that lives, perhaps a new one
  bool alive(const ProcessId& process) const { return alive_.contains(process.start_ticks); }
  bool process_dies();  // one of them; false: there is none
  void reboot();        // everything that ran is gone

  // ---- Connections to this run of the agent
  core::ConnectionId any_connection();
  bool open(core::ConnectionId connection) const { return connections_.contains(connection); }
  bool connection_closes();

  // ---- Clients with heartbeats, every third of the ttl
  void client_begins(const RegistrationId& id, std::int64_t ttl_ms);
  void client_ends(const RegistrationId& id) { clients_.erase(id); }
  bool client_dies();  // one of them
  bool client_lives(const RegistrationId& id) const { return clients_.contains(id); }

  // ---- Health
  bool health_turns();  // of one that is looked at
  bool failing(const RegistrationId& id) const { return failing_.contains(id); }

  // ---- The agent
  void agent_started();
  void agent_died();
  void watch(const core::Watch& watch);
  void unwatch(const RegistrationId& id) { watched_.erase(id); }
  void void_failure(const RegistrationId& id);
  void recheck();

  // When there is something to be told to an agent that runs; the greatest number: never.
  std::int64_t next_at() const;
  // What is to be told by now, one by one. A Heartbeat has no token yet.
  std::optional<core::Event> take_due();

 private:
  struct Watched {
    core::Watch watch;
    bool told_failing = false;
    bool doubtful = false;  // fails, and is not told before a recheck
  };
  struct Client {
    std::int64_t every_ms = 0;
    std::int64_t next_at = 0;
  };
  struct Look {  // at the health of `id`
    RegistrationId id;
  };
  using Due = std::variant<core::ProcessEnded, core::ConnectionClosed, Look>;

  void soon(Due due, std::int64_t within_ms);

  const ManualClock& clock_;
  Rng rng_;
  std::set<std::uint64_t> alive_;  // by start time, which names a process here
  std::uint64_t next_process_ = 1;
  std::uint64_t boots_ = 1;
  std::set<core::ConnectionId> connections_;
  std::uint64_t next_connection_ = 1;
  std::map<RegistrationId, Client> clients_;
  std::set<RegistrationId> failing_;

  std::map<RegistrationId, Watched> watched_;
  std::multimap<std::int64_t, Due> due_;
};

}  // namespace limpet::test
