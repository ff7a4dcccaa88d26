// What the API asks of the agent. agent/agent.h implements it; tests of the API have a small one of their own.
//
// Everything here is called on the core thread and returns at once; answers come later, on the same thread, never from
// within the call.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "agent/api/reload_report.h"
#include "agent/core/core.h"
#include "agent/liveness/check_policy.h"
#include "storage/store.h"

namespace limpet::api {

// A server of the configured list, and the addresses that the agent connects to.
struct ServerInfo {
  std::string name;                    // "zk1:2181"
  std::vector<std::string> addresses;  // "10.0.0.1:2181"; empty: none is known yet
  std::string error;                   // why its name could not be looked up the last time, or empty
};

// Health checks, as they are.
struct CheckCounts {
  std::uint64_t passing = 0;
  std::uint64_t failing = 0;
  std::uint64_t late = 0;  // overdue by more than their interval, for want of a slot
};

// Facts about this run of the agent that the core does not know.
struct ProcessInfo {
  std::string version;
  std::int32_t pid = 0;
  WallMs started_at = 0;
  std::uint64_t storage_bytes = 0;
  std::vector<ServerInfo> zookeeper_servers = {};
  std::shared_ptr<const FilesStatus> files = nullptr;  // null: there are none
  CheckCounts checks = {};
};

class Service {
 public:
  using ChangeResult = std::variant<std::vector<core::AcceptedChange>, core::Problem>;
  using ChangeDone = std::function<void(ChangeResult)>;
  using WaitDone = std::function<void(bool settled)>;

  virtual ~Service() = default;

  // Submits changes, all or none; `done` is called once, when they are on stable storage or were refused.
  virtual void submit(core::Caller caller, std::vector<core::ChangeRequest> changes, ChangeDone done) = 0;

  // Deregisters everything that this host holds, in order. `done` as for submit.
  virtual void leave(core::Caller caller, ChangeDone done) = 0;

  // Begins a registration's ttl anew. `done` as for submit, soon.
  virtual void heartbeat(core::Caller caller, RegistrationId id, ChangeDone done) = 0;

  // Withdraws one registration, or without `id` everything on this host, for `reason`; without a reason, ends that.
  // `done` as for submit; for the whole host with an empty list.
  virtual void set_maintenance(core::Caller caller, std::optional<RegistrationId> id, std::optional<std::string> reason,
                               ChangeDone done) = 0;

  // Removes empty parents that this agent created, or looks for them; `prune.token` is set here. `done` is called once.
  using PruneResult = std::variant<core::PruneReport, core::Problem>;
  using PruneDone = std::function<void(PruneResult)>;
  virtual void prune(core::Prune prune, PruneDone done) = 0;

  // The process `pid` as it can be bound to, or why not: it must live, and be one of uid `uid` unless that is root's
  // or the agent's. Reads /proc.
  virtual std::variant<ProcessId, core::Problem> find_process(std::int32_t pid, const core::Caller& caller) = 0;

  // The connection that calls came from is closed.
  virtual void connection_closed(core::ConnectionId connection) = 0;

  // Reads a part of the history; `done` is called once.
  using HistoryDone = std::function<void(Result<HistoryPage>)>;
  virtual void history(HistoryQuery query, HistoryDone done) = 0;

  // Calls `listener` with each entry of the history from now on, until `stop_listening` with the same number.
  using HistoryListener = std::function<void(const HistoryEntry&)>;
  virtual std::uint64_t listen(HistoryListener listener) = 0;
  virtual void stop_listening(std::uint64_t listener) = 0;

  // Calls `done` once: with true as soon as Core::settled() holds for all of `what`, with false after `timeout`.
  virtual void wait_settled(std::vector<std::pair<RegistrationId, Seq>> what, std::chrono::milliseconds timeout,
                            WaitDone done) = 0;

  // Reads the configuration and the registrations by file again, and applies what can be applied; `done` is called
  // once. A configuration that is wrong changes nothing: a Problem `invalid` says what is wrong. `removals` is about
  // the registrations by file.
  using ReloadResult = std::variant<ReloadReport, core::Problem>;
  using ReloadDone = std::function<void(ReloadResult)>;
  virtual void reload(Removals removals, ReloadDone done) = 0;

  // A caller was told `code`: it has no right to what it asked for. `target`: of the request; empty where the
  // connection itself was refused.
  virtual void forbidden(const core::Caller& caller, std::string_view code, const std::string& target) = 0;

  // Appends what is counted and measured, in the text format of Prometheus.
  virtual void append_metrics(std::string& out) = 0;

  // For reads. Valid until the next return to the event loop.
  virtual const core::Core& core() const = 0;
  virtual core::Now now() const = 0;
  virtual ProcessInfo process_info() = 0;

  // What health checks may reach and run.
  virtual const liveness::CheckPolicy& check_policy() const = 0;

  // False once the agent is shutting down: changes are then refused with `shutting_down`.
  virtual bool accepting() const = 0;
};

}  // namespace limpet::api
