// PUT, GET and DELETE of one registration, and the listing.
#include <algorithm>
#include <cassert>

#include "agent/api/handlers.h"
#include "agent/api/names.h"
#include "agent/api/pages.h"

namespace limpet::api {
namespace {

using WeakExchange = std::weak_ptr<Exchange>;

// What one call is about, from its start to its answer.
struct Change {
  Service* service;
  WeakExchange exchange;
  RegistrationId id;
  Wait wait;
};

// `settled_status` where the change is done in ZooKeeper as far as was asked for, 202 otherwise.
void answer_put(const Change& change, Seq seq, bool done) {
  const auto exchange = change.exchange.lock();
  if (!exchange) {
    return;
  }
  Response& response = exchange->response();
  if (const auto view = change.service->core().find(change.id)) {
    response.status = done ? 200 : 202;
    return answer_registration(*exchange, *view);
  }
  response.status = 202;
  render_removed(response.body, change.id, seq);
  exchange->finish();
}

void answer_delete(const Change& change, Seq seq, bool settled) {
  const auto exchange = change.exchange.lock();
  if (!exchange) {
    return;
  }
  Response& response = exchange->response();
  response.status = settled && change.wait ? 200 : 202;
  const auto view = change.service->core().find(change.id);
  // Anything but a removal is a later registration of the same name.
  if (view && view->state == core::State::removing) {
    render_registration(response.body, *view);
  } else {
    render_removed(response.body, change.id, seq);
  }
  exchange->finish();
}

using Answer = void (*)(const Change&, Seq, bool);

// Submits one change, waits for ZooKeeper where the caller asked for it, and answers.
template <typename Request>
void submit_one(const Call& call, Change&& change, Request&& request, Answer answer) {
  std::vector<core::ChangeRequest> requests;
  requests.emplace_back(std::forward<Request>(request));
  if (const auto problem = resolve_lifetimes(call, requests, false)) {
    return refuse(*call.exchange, *problem);
  }
  auto done = [change = std::move(change), answer](Service::ChangeResult result) {
    if (const auto* problem = std::get_if<core::Problem>(&result)) {
      if (const auto exchange = change.exchange.lock()) {
        refuse(*exchange, to_problem(*problem, false));
      }
      return;
    }
    const auto& accepted = std::get<std::vector<core::AcceptedChange>>(result);
    assert(accepted.size() == 1);
    const Seq seq = accepted.front().seq;
    if (!change.wait) {
      return answer(change, seq, !accepted.front().changed);
    }
    if (change.service->core().settled(change.id, seq)) {
      return answer(change, seq, true);
    }
    if (change.exchange.expired()) {
      return;
    }
    change.service->wait_settled({{change.id, seq}}, *change.wait,
                                 [change, answer, seq](bool settled) { answer(change, seq, settled); });
  };
  call.service.submit(call.request.caller, std::move(requests), std::move(done));
}

void answer_get(const Service& service, Exchange& exchange, const RegistrationId& id) {
  const auto view = service.core().find(id);
  if (!view) {
    return refuse(exchange, no_registration(id));
  }
  if (view->registration->data.size() > kPieceBytes) {
    if (const auto problem = large_answer_refusal(exchange)) {
      return refuse(exchange, *problem);
    }
  }
  answer_registration(exchange, *view);
}

using Filter = ListingPage::Filter;

Parsed<Filter> read_filter(const Call& call) {
  auto parsed = Query::parse(call.target.query(), {"service", "state", "limit", "after"});
  if (auto* problem = std::get_if<Problem>(&parsed)) {
    return std::move(*problem);
  }
  const auto& query = std::get<Query>(parsed);
  Filter filter;
  if (const std::string* service = query.find("service")) {
    if (const auto error = name_error(*service)) {
      return make_problem(ProblemKind::bad_request, "The query parameter service " + *error + ".");
    }
    filter.service = *service;
  }
  if (const std::string* state = query.find("state")) {
    filter.state = parse_state(*state);
    if (!filter.state) {
      return make_problem(ProblemKind::bad_request,
                          "The query parameter state must be one of pending, registered, suspended, conflict, blocked, "
                          "unhealthy, maintenance, removing.");
    }
  }
  if (const std::string* after = query.find("after")) {
    filter.after = parse_id(*after);
    if (!filter.after) {
      return make_problem(ProblemKind::bad_request, "The query parameter after must be an id: service/instance.");
    }
  }
  auto limit = read_limit(query);
  if (auto* problem = std::get_if<Problem>(&limit)) {
    return std::move(*problem);
  }
  filter.limit = std::get<std::size_t>(limit);
  return filter;
}

}  // namespace

void put_registration(const Call& call) {
  auto id = read_id(call);
  if (const auto* problem = std::get_if<Problem>(&id)) {
    return refuse(*call.exchange, *problem);
  }
  auto wait = read_wait(call);
  if (const auto* problem = std::get_if<Problem>(&wait)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = change_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  auto request = parse_registration(std::get<RegistrationId>(id), call.request.body, call.limits);
  if (const auto* problem = std::get_if<Problem>(&request)) {
    return refuse(*call.exchange, *problem);
  }
  Change change{&call.service, call.exchange, std::get<RegistrationId>(std::move(id)), std::get<Wait>(wait)};
  submit_one(call, std::move(change), std::get<core::RegisterRequest>(std::move(request)), answer_put);
}

void delete_registration(const Call& call) {
  auto id = read_id(call);
  if (const auto* problem = std::get_if<Problem>(&id)) {
    return refuse(*call.exchange, *problem);
  }
  auto wait = read_wait(call);
  if (const auto* problem = std::get_if<Problem>(&wait)) {
    return refuse(*call.exchange, *problem);
  }
  if (!call.service.accepting()) {
    return refuse(*call.exchange, make_problem(ProblemKind::shutting_down,
                                               "The agent is stopping and takes no more changes; try again when it is "
                                               "back."));
  }
  Change change{&call.service, call.exchange, std::get<RegistrationId>(id), std::get<Wait>(wait)};
  submit_one(call, std::move(change), core::DeregisterRequest{std::get<RegistrationId>(std::move(id))}, answer_delete);
}

void get_registration(const Call& call) {
  const auto parsed_id = read_id(call);
  if (const auto* problem = std::get_if<Problem>(&parsed_id)) {
    return refuse(*call.exchange, *problem);
  }
  const auto wait = read_wait(call);
  if (const auto* problem = std::get_if<Problem>(&wait)) {
    return refuse(*call.exchange, *problem);
  }
  const auto& id = std::get<RegistrationId>(parsed_id);
  if (const Wait limit = std::get<Wait>(wait)) {
    const auto view = call.service.core().find(id);
    if (view && !call.service.core().settled(id, view->registration->seq)) {
      return call.service.wait_settled(
          {{id, view->registration->seq}}, *limit,
          [service = &call.service, weak = WeakExchange(call.exchange), id](bool /*settled*/) {
            if (const auto exchange = weak.lock()) {
              answer_get(*service, *exchange, id);
            }
          });
    }
  }
  answer_get(call.service, *call.exchange, id);
}

void list_registrations(const Call& call) {
  auto parsed = read_filter(call);
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = large_answer_refusal(*call.exchange)) {
    return refuse(*call.exchange, *problem);
  }
  call.exchange->finish_in_pieces(
      std::make_shared<ListingPage>(call.service.core(), std::get<Filter>(std::move(parsed))));
}

}  // namespace limpet::api
