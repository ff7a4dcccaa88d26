// The handlers behind routes.cc, one for each call of the API, and what they share. Internal to agent/api.
//
// A handler answers through call.exchange: at once, or later from a callback of the service, which then holds the
// exchange weakly and the service by pointer (the service outlives its own callbacks), and nothing else of the Call.
#pragma once

#include <chrono>
#include <memory>

#include "agent/api/event_stream.h"
#include "agent/api/http_message.h"
#include "agent/api/json.h"
#include "agent/api/service.h"
#include "agent/api/target.h"

namespace limpet::api {

struct Call {
  Service& service;
  const BodyLimits& limits;
  const std::shared_ptr<OpenStreams>& streams;
  const Request& request;
  const Target& target;
  const std::shared_ptr<Exchange>& exchange;
};

// ---- handlers_registrations.cc
void put_registration(const Call& call);
void get_registration(const Call& call);
void delete_registration(const Call& call);
void list_registrations(const Call& call);

// ---- handlers_lifetime.cc
void post_heartbeat(const Call& call);
void put_maintenance(const Call& call);
void delete_maintenance(const Call& call);
void put_host_maintenance(const Call& call);
void delete_host_maintenance(const Call& call);

// Puts the process that is meant in the place of each pid that a change is to be bound to, and sees whether commands
// can be run for this caller. What stands against it: with `batch`, names the operation at fault.
std::optional<Problem> resolve_lifetimes(const Call& call, std::vector<core::ChangeRequest>& changes, bool batch);

// ---- handlers_history.cc
void get_history(const Call& call);
void get_events(const Call& call);

// ---- handlers_agent.cc
void post_batch(const Call& call);
void post_leave(const Call& call);
void get_status(const Call& call);
void get_queue(const Call& call);
void get_healthz(const Call& call);
void get_readyz(const Call& call);
void get_openapi(const Call& call);
void get_metrics(const Call& call);

// ---- handlers_reload.cc
void post_reload(const Call& call);

// ---- handlers_prune.cc
void post_prune(const Call& call);

// ---- handlers.cc

using Wait = std::optional<std::chrono::milliseconds>;  // as ?wait= says

void refuse(Exchange& exchange, const Problem& problem);

Problem make_problem(ProblemKind kind, std::string detail);

// The registration that the path names: /v1/registrations/{service}/{instance}….
Parsed<RegistrationId> read_id(const Call& call);
Problem no_registration(const RegistrationId& id);

// What stands against a query where nothing is to be asked.
std::optional<Problem> query_refusal(const Call& call);

// The query where `wait` is all that it may hold.
Parsed<Wait> read_wait(const Call& call);

// `limit` of a listing: 1 to 10,000, 1,000 where it is not given.
Parsed<std::size_t> read_limit(const Query& query);

// What stands against making a large answer now: large ones that the caller's user has not read yet.
std::optional<Problem> large_answer_refusal(const Exchange& exchange);

// What stands against taking a change with this body now: its Content-Type, or the agent stopping.
std::optional<Problem> change_refusal(const Call& call);

}  // namespace limpet::api
