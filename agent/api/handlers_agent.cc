// The calls that are about the agent as a whole, or about many registrations at once.
#include <limits>

#include "agent/api/handlers.h"
#include "agent/api/json_writer.h"
#include "agent/api/names.h"
#include "agent/api/openapi.h"
#include "agent/api/pages.h"

namespace limpet::api {
namespace {

using WeakExchange = std::weak_ptr<Exchange>;
using Accepted = std::vector<core::AcceptedChange>;

void answer_changes(const Service& service, const WeakExchange& weak, Accepted accepted, int status) {
  const auto exchange = weak.lock();
  if (!exchange) {
    return;
  }
  exchange->response().status = status;
  exchange->finish_in_pieces(std::make_shared<Results>(service.core(), std::move(accepted)));
}

// What follows when a batch or a leave was accepted or refused: wait for ZooKeeper where asked, and answer.
Service::ChangeDone answer_when_done(const Call& call, Wait wait, bool batch) {
  return [service = &call.service, weak = WeakExchange(call.exchange), wait, batch](Service::ChangeResult result) {
    if (const auto* problem = std::get_if<core::Problem>(&result)) {
      if (const auto exchange = weak.lock()) {
        refuse(*exchange, to_problem(*problem, batch));
      }
      return;
    }
    auto& accepted = std::get<Accepted>(result);
    bool changed = false;
    std::vector<std::pair<RegistrationId, Seq>> unsettled;
    for (const core::AcceptedChange& change : accepted) {
      changed = changed || change.changed;
      if (wait && !service->core().settled(change.id, change.seq)) {
        unsettled.emplace_back(change.id, change.seq);
      }
    }
    if (!wait || unsettled.empty()) {
      return answer_changes(*service, weak, std::move(accepted), wait || !changed ? 200 : 202);
    }
    if (weak.expired()) {
      return;
    }
    service->wait_settled(std::move(unsettled), *wait,
                          [service, weak, accepted = std::move(accepted)](bool settled) mutable {
                            answer_changes(*service, weak, std::move(accepted), settled ? 200 : 202);
                          });
  };
}

}  // namespace

void post_batch(const Call& call) {
  const auto wait = read_wait(call);
  if (const auto* problem = std::get_if<Problem>(&wait)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = change_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  auto parsed = parse_batch(call.request.body, call.limits);
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    return refuse(*call.exchange, *problem);
  }
  auto& requests = std::get<std::vector<core::ChangeRequest>>(parsed);
  if (requests.empty()) {
    return answer_changes(call.service, call.exchange, {}, 200);
  }
  if (const auto problem = resolve_lifetimes(call, requests, true)) {
    return refuse(*call.exchange, *problem);
  }
  call.service.submit(call.request.caller, std::move(requests), answer_when_done(call, std::get<Wait>(wait), true));
}

void post_leave(const Call& call) {
  const auto wait = read_wait(call);
  if (const auto* problem = std::get_if<Problem>(&wait)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = change_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = parse_empty(call.request.body)) {
    return refuse(*call.exchange, *problem);
  }
  call.service.leave(call.request.caller, answer_when_done(call, std::get<Wait>(wait), false));
}

void get_status(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  render_status(call.exchange->response().body, call.service.core().status(call.service.now()),
                call.service.process_info());
  call.exchange->finish();
}

void get_queue(const Call& call) {
  const auto parsed = Query::parse(call.target.query(), {"limit", "after"});
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    return refuse(*call.exchange, *problem);
  }
  const auto& query = std::get<Query>(parsed);
  const auto limit = read_limit(query);
  if (const auto* problem = std::get_if<Problem>(&limit)) {
    return refuse(*call.exchange, *problem);
  }
  Seq after;
  if (const std::string* text = query.find("after")) {
    const auto seq = parse_number(*text, 0, std::numeric_limits<std::uint64_t>::max());
    if (!seq) {
      return refuse(*call.exchange,
                    make_problem(ProblemKind::bad_request, "The query parameter after must be a seq: a whole number."));
    }
    after.value = *seq;
  }
  if (const auto problem = large_answer_refusal(*call.exchange)) {
    return refuse(*call.exchange, *problem);
  }
  call.exchange->finish_in_pieces(
      std::make_shared<QueuePage>(call.service.core(), after, std::get<std::size_t>(limit)));
}

void get_healthz(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  call.exchange->response().body = R"({"status":"ok"})";
  call.exchange->finish();
}

void get_readyz(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (!call.service.accepting()) {
    return refuse(*call.exchange, make_problem(ProblemKind::shutting_down, "The agent is stopping."));
  }
  const core::StatusView status = call.service.core().status(call.service.now());
  if (!status.storage_healthy()) {
    return refuse(*call.exchange, make_problem(ProblemKind::storage_failed,
                                               "Changes cannot be made durable now: " + status.storage_error));
  }
  JsonWriter json(call.exchange->response().body);
  json.begin_object();
  json.key("status").string("ready");
  // Connected is not enough: a new session serves only once it is on disk, and the servers may refuse everything.
  json.key("degraded")
      .boolean(status.session_state != core::SessionState::connected || !status.session_message.empty());
  json.key("message").string(status.session_message);
  json.end_object();
  call.exchange->finish();
}

void get_openapi(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  call.exchange->response().body = openapi_document();
  call.exchange->finish();
}

void get_metrics(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  Response& response = call.exchange->response();
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  call.service.append_metrics(response.body);
  call.exchange->finish();
}

}  // namespace limpet::api
