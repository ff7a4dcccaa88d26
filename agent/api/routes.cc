#include "agent/api/routes.h"

#include <algorithm>

#include "agent/api/handlers.h"
#include "agent/api/names.h"

namespace limpet::api {
namespace {

struct Route {
  static constexpr std::size_t kMaxDepth = 5;

  Method method;
  std::size_t depth;
  std::array<std::string_view, kMaxDepth> segments;  // "*" stands for any
  void (*handler)(const Call&);

  bool matches(std::span<const std::string_view> path) const {
    if (path.size() != depth) {
      return false;
    }
    for (std::size_t i = 0; i < depth; ++i) {
      if (segments[i] != "*" && segments[i] != path[i]) {
        return false;
      }
    }
    return true;
  }
};

constexpr Route kRoutes[] = {
    {Method::put, 4, {"v1", "registrations", "*", "*"}, put_registration},
    {Method::get, 4, {"v1", "registrations", "*", "*"}, get_registration},
    {Method::delete_, 4, {"v1", "registrations", "*", "*"}, delete_registration},
    {Method::get, 2, {"v1", "registrations"}, list_registrations},
    {Method::post, 5, {"v1", "registrations", "*", "*", "heartbeat"}, post_heartbeat},
    {Method::put, 5, {"v1", "registrations", "*", "*", "maintenance"}, put_maintenance},
    {Method::delete_, 5, {"v1", "registrations", "*", "*", "maintenance"}, delete_maintenance},
    {Method::put, 2, {"v1", "maintenance"}, put_host_maintenance},
    {Method::delete_, 2, {"v1", "maintenance"}, delete_host_maintenance},
    {Method::get, 2, {"v1", "history"}, get_history},
    {Method::get, 2, {"v1", "events"}, get_events},
    {Method::post, 2, {"v1", "batch"}, post_batch},
    {Method::get, 2, {"v1", "status"}, get_status},
    {Method::get, 2, {"v1", "queue"}, get_queue},
    {Method::post, 2, {"v1", "leave"}, post_leave},
    {Method::post, 2, {"v1", "reload"}, post_reload},
    {Method::post, 2, {"v1", "prune"}, post_prune},
    {Method::get, 2, {"v1", "openapi.json"}, get_openapi},
    {Method::get, 1, {"metrics"}, get_metrics},
    {Method::get, 1, {"healthz"}, get_healthz},
    {Method::get, 1, {"readyz"}, get_readyz},
};

std::string_view allowed_as(Method method) {
  switch (method) {
    case Method::get:
      return "GET, HEAD";
    case Method::put:
      return "PUT";
    case Method::post:
      return "POST";
    case Method::delete_:
      return "DELETE";
    case Method::head:
    case Method::other:
      return "";
  }
  return "";
}

// No route has this path with this method: is there one with another?
Problem no_route(const Target& target) {
  Problem problem;
  for (const Route& route : kRoutes) {
    if (route.matches(target.segments())) {
      problem.allow += problem.allow.empty() ? "" : ", ";
      problem.allow += allowed_as(route.method);
    }
  }
  constexpr std::size_t kMaxShownBytes = 200;
  const std::string path(target.path().substr(0, kMaxShownBytes));
  if (problem.allow.empty()) {
    problem.kind = ProblemKind::not_found;
    problem.detail = "There is no resource " + path + ".";
  } else {
    problem.kind = ProblemKind::method_not_allowed;
    problem.detail = path + " takes " + problem.allow + ".";
  }
  return problem;
}

}  // namespace

std::vector<KnownRoute> known_routes() {
  std::vector<KnownRoute> known;
  for (const Route& route : kRoutes) {
    const std::string_view methods = allowed_as(route.method);
    KnownRoute& one = known.emplace_back(KnownRoute{methods.substr(0, methods.find(',')), ""});
    for (std::size_t i = 0; i < route.depth; ++i) {
      one.path += '/';
      one.path += route.segments[i];
    }
  }
  return known;
}

void Routes::renew(const Request& request) {
  constexpr std::size_t kService = 2;
  constexpr std::size_t kInstance = 3;
  if (request.method != Method::post || target_.parse(request.target)) {
    return;
  }
  const auto segments = target_.segments();
  const auto is_heartbeat = [](const Route& route) { return route.handler == post_heartbeat; };
  const Route& heartbeat = *std::find_if(std::begin(kRoutes), std::end(kRoutes), is_heartbeat);
  if (heartbeat.matches(segments) && !name_error(segments[kService]) && !name_error(segments[kInstance])) {
    RegistrationId id{std::string(segments[kService]), std::string(segments[kInstance])};
    service_.heartbeat(request.caller, std::move(id), [](const Service::ChangeResult&) {});
  }
}

void Routes::handle(const Request& request, const std::shared_ptr<Exchange>& exchange) {
  if (auto problem = target_.parse(request.target)) {
    return refuse(*exchange, *problem);
  }
  const Method method = request.method == Method::head ? Method::get : request.method;
  for (const Route& route : kRoutes) {
    if (route.method == method && route.matches(target_.segments())) {
      return route.handler(Call{service_, limits_, streams_, request, target_, exchange});
    }
  }
  refuse(*exchange, no_route(target_));
}

}  // namespace limpet::api
