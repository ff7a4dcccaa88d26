// POST /v1/prune.
#include <array>
#include <string_view>

#include "agent/api/handlers.h"
#include "agent/api/json.h"
#include "agent/api/json_writer.h"

namespace limpet::api {
namespace {

std::string_view outcome_name(core::PruneReport::Outcome outcome) {
  constexpr std::array<std::string_view, 8> kNames = {"removed", "in_use", "too_recent", "not_empty",
                                                      "changed", "gone",   "refused",    "not_connected"};
  return kNames[static_cast<std::size_t>(outcome)];
}

void render_report(std::string& out, const core::PruneReport& report) {
  JsonWriter json(out);
  json.begin_object();
  json.key("dry_run").boolean(report.dry_run);
  json.key("examined").number(report.examined);
  json.key("empty").number(report.empty);
  json.key("removed").number(report.removed);
  json.key("parents").begin_array();
  for (const core::PruneReport::Item& item : report.items) {
    const bool removed = item.outcome == core::PruneReport::Outcome::removed;
    json.begin_object();
    json.key("path").string(item.path);
    json.key("outcome").string(removed ? "removed" : "left");
    json.key("reason").text_or_null(removed ? std::string_view() : outcome_name(item.outcome));
    json.key("message").text_or_null(item.message);
    json.end_object();
  }
  json.end_array();
  json.key("more").boolean(report.examined > report.items.size());
  json.end_object();
}

}  // namespace

void post_prune(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = change_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  auto prune = parse_prune(call.request.body);
  if (const auto* problem = std::get_if<Problem>(&prune)) {
    return refuse(*call.exchange, *problem);
  }
  auto& asked = std::get<core::Prune>(prune);
  asked.caller = call.request.caller;
  call.service.prune(std::move(asked), [weak = std::weak_ptr<Exchange>(call.exchange)](Service::PruneResult result) {
    const auto exchange = weak.lock();
    if (!exchange) {
      return;
    }
    if (const auto* problem = std::get_if<core::Problem>(&result)) {
      return refuse(*exchange, to_problem(*problem, false));
    }
    render_report(exchange->response().body, std::get<core::PruneReport>(result));
    exchange->finish();
  });
}

}  // namespace limpet::api
