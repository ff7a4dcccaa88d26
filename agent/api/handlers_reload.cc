// POST /v1/reload.
#include "agent/api/handlers.h"
#include "agent/api/json.h"
#include "agent/api/json_writer.h"
#include "agent/core/contained.h"

namespace limpet::api {
namespace {

void render_keys(JsonWriter& json, const std::vector<std::string>& keys) {
  json.begin_array();
  for (const std::string& key : keys) {
    json.string(key);
  }
  json.end_array();
}

void render_reload(std::string& out, const ReloadReport& report) {
  JsonWriter json(out);
  json.begin_object();
  json.key("applied");
  render_keys(json, report.applied);
  json.key("needs_restart");
  render_keys(json, report.needs_restart);
  json.key("registrations_d").begin_object();
  json.key("added").number(report.registrations_d.added);
  json.key("changed").number(report.registrations_d.changed);
  json.key("removed").number(report.registrations_d.removed);
  if (report.registrations_d.held > 0) {
    json.key("held").number(report.registrations_d.held);
  }
  json.key("errors").begin_array();
  for (const FileProblem& problem : report.registrations_d.errors) {
    json.begin_object();
    json.key("file").string(problem.file);
    json.key("error").string(problem.error);
    json.end_object();
  }
  json.end_array();
  json.end_object();
  json.end_object();
}

// ?force=true: also what the guard against mass removal would keep.
Parsed<Removals> read_force(const Call& call) {
  const auto parsed = Query::parse(call.target.query(), {"force"});
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    return *problem;
  }
  const std::string* const force = std::get<Query>(parsed).find("force");
  if (force != nullptr && *force != "true" && *force != "false") {
    return make_problem(ProblemKind::bad_request, "force must be true or false.");
  }
  return force != nullptr && *force == "true" ? Removals::forced : Removals::guarded;
}

}  // namespace

void post_reload(const Call& call) {
  const auto removals = read_force(call);
  if (const auto* problem = std::get_if<Problem>(&removals)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = change_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = parse_empty(call.request.body)) {
    return refuse(*call.exchange, *problem);
  }
  if (!call.request.caller.privileged) {
    return refuse(*call.exchange, make_problem(ProblemKind::not_allowed,
                                               "Only root and the agent's own user may have the configuration read "
                                               "again." +
                                                   std::string(core::words_if_contained(call.request.caller))));
  }
  call.service.reload(std::get<Removals>(removals),
                      [weak = std::weak_ptr<Exchange>(call.exchange)](Service::ReloadResult result) {
                        const auto exchange = weak.lock();
                        if (!exchange) {
                          return;
                        }
                        if (const auto* problem = std::get_if<core::Problem>(&result)) {
                          return refuse(*exchange, to_problem(*problem, false));
                        }
                        render_reload(exchange->response().body, std::get<ReloadReport>(result));
                        exchange->finish();
                      });
}

}  // namespace limpet::api
