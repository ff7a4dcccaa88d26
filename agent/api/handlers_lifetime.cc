// What keeps a registration, or withdraws it for a while: processes to be bound to, heartbeats, maintenance.
#include <unistd.h>

#include <unordered_map>

#include "agent/api/handlers.h"
#include "agent/api/pages.h"
#include "agent/liveness/check_target.h"

namespace limpet::api {
namespace {

using WeakExchange = std::weak_ptr<Exchange>;

Problem stopping() {
  return make_problem(ProblemKind::shutting_down,
                      "The agent is stopping and takes no more changes; try again when it is back.");
}

// Answers with the registration as it is now shown.
Service::ChangeDone answer_with(const Call& call, const RegistrationId& id) {
  return [service = &call.service, weak = WeakExchange(call.exchange), id](Service::ChangeResult result) {
    const auto exchange = weak.lock();
    if (!exchange) {
      return;
    }
    if (const auto* problem = std::get_if<core::Problem>(&result)) {
      return refuse(*exchange, to_problem(*problem, false));
    }
    const auto view = service->core().find(id);
    if (!view) {
      return refuse(*exchange, no_registration(id));
    }
    answer_registration(*exchange, *view);
  };
}

Service::ChangeDone answer_with_host_maintenance(const Call& call) {
  return [service = &call.service, weak = WeakExchange(call.exchange)](Service::ChangeResult result) {
    const auto exchange = weak.lock();
    if (!exchange) {
      return;
    }
    if (const auto* problem = std::get_if<core::Problem>(&result)) {
      return refuse(*exchange, to_problem(*problem, false));
    }
    render_host_maintenance(exchange->response().body, service->core().status(service->now()).maintenance);
    exchange->finish();
  };
}

// The registration that is meant, once nothing in query or body stands against a change of it.
Parsed<RegistrationId> read_changed_id(const Call& call) {
  auto id = read_id(call);
  if (std::holds_alternative<Problem>(id)) {
    return id;
  }
  if (auto problem = query_refusal(call)) {
    return std::move(*problem);
  }
  if (auto problem = change_refusal(call)) {
    return std::move(*problem);
  }
  return id;
}

// A process that began after it connected is another one, that was given the caller's number.
bool is_later(const ProcessId& process, std::int64_t connected_ms) {
  const std::int64_t ticks = connected_ms * ::sysconf(_SC_CLK_TCK) / 1000;
  return process.start_ticks > static_cast<std::uint64_t>(ticks);
}

// The processes of one request by their pid: each is looked up once, however many operations bind to it.
using Processes = std::unordered_map<std::int32_t, std::variant<ProcessId, core::Problem>>;

std::optional<core::Problem> resolve(const Call& call, Lifetime& lifetime, Processes& processes) {
  const core::Caller& caller = call.request.caller;
  const bool own = lifetime.process->pid == 0;
  const std::int32_t pid = own ? caller.owner.pid : lifetime.process->pid;
  if (pid <= 0) {
    core::Problem problem;
    problem.detail = "is needed: the process that calls is in another pid namespace, and has no number here";
    problem.pointer = "/pid";
    return problem;
  }
  auto found = processes.find(pid);
  if (found == processes.end()) {
    found = processes.emplace(pid, call.service.find_process(pid, caller)).first;
  }
  if (const auto* problem = std::get_if<core::Problem>(&found->second)) {
    core::Problem refusal = *problem;
    refusal.pointer = refusal.pointer.empty() ? "/pid" : refusal.pointer;
    return refusal;
  }
  lifetime.process = std::get<ProcessId>(found->second);
  if (own && is_later(*lifetime.process, call.request.connected_ms)) {
    core::Problem problem;
    problem.detail = "is needed: the process that connected has ended, and " + std::to_string(pid) + " is another one";
    problem.pointer = "/pid";
    return problem;
  }
  return std::nullopt;
}

// Whether the agent can run the commands that are asked for.
std::optional<core::Problem> commands_refused(const core::Caller& caller, const Lifetime& lifetime) {
  for (std::size_t i = 0; i < lifetime.checks.size(); ++i) {
    if (lifetime.checks[i].type != CheckType::command) {
      continue;
    }
    if (const Status status = liveness::check_command_uid(caller.owner.uid, ::geteuid()); !status.ok()) {
      core::Problem problem;
      problem.detail = status.message();
      problem.pointer = "/checks/" + std::to_string(i) + "/command";
      return problem;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Problem> resolve_lifetimes(const Call& call, std::vector<core::ChangeRequest>& changes, bool batch) {
  Processes processes;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    auto* request = std::get_if<core::RegisterRequest>(&changes[i]);
    if (request == nullptr) {
      continue;
    }
    auto problem = commands_refused(call.request.caller, request->lifetime);
    if (!problem && request->lifetime.process) {
      problem = resolve(call, request->lifetime, processes);
    }
    if (problem) {
      problem->index = i;
      return to_problem(*problem, batch);
    }
  }
  return std::nullopt;
}

void post_heartbeat(const Call& call) {
  auto id = read_changed_id(call);
  if (const auto* problem = std::get_if<Problem>(&id)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = parse_empty(call.request.body)) {
    return refuse(*call.exchange, *problem);
  }
  auto done = answer_with(call, std::get<RegistrationId>(id));
  call.service.heartbeat(call.request.caller, std::get<RegistrationId>(std::move(id)), std::move(done));
}

void put_maintenance(const Call& call) {
  auto id = read_changed_id(call);
  if (const auto* problem = std::get_if<Problem>(&id)) {
    return refuse(*call.exchange, *problem);
  }
  auto reason = parse_maintenance(call.request.body);
  if (const auto* problem = std::get_if<Problem>(&reason)) {
    return refuse(*call.exchange, *problem);
  }
  auto done = answer_with(call, std::get<RegistrationId>(id));
  call.service.set_maintenance(call.request.caller, std::get<RegistrationId>(std::move(id)),
                               std::get<std::string>(std::move(reason)), std::move(done));
}

void delete_maintenance(const Call& call) {
  auto id = read_id(call);
  if (const auto* problem = std::get_if<Problem>(&id)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (!call.service.accepting()) {
    return refuse(*call.exchange, stopping());
  }
  auto done = answer_with(call, std::get<RegistrationId>(id));
  call.service.set_maintenance(call.request.caller, std::get<RegistrationId>(std::move(id)), std::nullopt,
                               std::move(done));
}

void put_host_maintenance(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = change_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  auto reason = parse_maintenance(call.request.body);
  if (const auto* problem = std::get_if<Problem>(&reason)) {
    return refuse(*call.exchange, *problem);
  }
  call.service.set_maintenance(call.request.caller, std::nullopt, std::get<std::string>(std::move(reason)),
                               answer_with_host_maintenance(call));
}

void delete_host_maintenance(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (!call.service.accepting()) {
    return refuse(*call.exchange, stopping());
  }
  call.service.set_maintenance(call.request.caller, std::nullopt, std::nullopt, answer_with_host_maintenance(call));
}

}  // namespace limpet::api
