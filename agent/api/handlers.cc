#include "agent/api/handlers.h"

#include <algorithm>

#include "agent/api/names.h"

namespace limpet::api {
namespace {

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [lower](char left, char right) { return lower(left) == lower(right); });
}

bool is_json_type(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) {
    type.remove_suffix(1);
  }
  constexpr std::string_view kPrefix = "application/";
  constexpr std::string_view kSuffix = "+json";
  return type.empty() || equals_ignoring_case(type, "application/json") ||
         equals_ignoring_case(type, "application/x-www-form-urlencoded") ||
         (type.size() > kPrefix.size() + kSuffix.size() &&
          equals_ignoring_case(type.substr(0, kPrefix.size()), kPrefix) &&
          equals_ignoring_case(type.substr(type.size() - kSuffix.size()), kSuffix));
}

}  // namespace

void refuse(Exchange& exchange, const Problem& problem) {
  exchange.response().set_problem(problem);
  exchange.finish();
}

Problem make_problem(ProblemKind kind, std::string detail) {
  Problem problem;
  problem.kind = kind;
  problem.detail = std::move(detail);
  return problem;
}

Parsed<RegistrationId> read_id(const Call& call) {
  const auto segments = call.target.segments();
  const std::string_view service = segments[2];
  const std::string_view instance = segments[3];
  if (const auto error = name_error(service)) {
    return make_problem(ProblemKind::invalid, "The service's name " + *error + ".");
  }
  if (const auto error = name_error(instance)) {
    return make_problem(ProblemKind::invalid, "The instance's name " + *error + ".");
  }
  return RegistrationId{std::string(service), std::string(instance)};
}

Problem no_registration(const RegistrationId& id) {
  return make_problem(ProblemKind::not_found, "There is no registration " + id.str() + " on this host.");
}

std::optional<Problem> query_refusal(const Call& call) {
  auto query = Query::parse(call.target.query(), {});
  auto* problem = std::get_if<Problem>(&query);
  return problem == nullptr ? std::nullopt : std::optional(std::move(*problem));
}

Parsed<Wait> read_wait(const Call& call) {
  if (call.target.query().empty()) {
    return Wait();
  }
  auto query = Query::parse(call.target.query(), {"wait"});
  if (auto* problem = std::get_if<Problem>(&query)) {
    return std::move(*problem);
  }
  const std::string* text = std::get<Query>(query).find("wait");
  if (text == nullptr) {
    return Wait();
  }
  const Wait wait = parse_duration(*text);
  if (!wait) {
    return make_problem(ProblemKind::bad_request,
                        "The query parameter wait must be a duration such as 250ms, 10s or 5m, of at most 24h.");
  }
  return wait;
}

Parsed<std::size_t> read_limit(const Query& query) {
  constexpr std::size_t kDefault = 1'000;
  constexpr std::size_t kMax = 10'000;
  const std::string* text = query.find("limit");
  if (text == nullptr) {
    return kDefault;
  }
  const auto limit = parse_number(*text, 1, kMax);
  if (!limit) {
    return make_problem(ProblemKind::bad_request, "The query parameter limit must be a number from 1 to 10000.");
  }
  return static_cast<std::size_t>(*limit);
}

std::optional<Problem> large_answer_refusal(const Exchange& exchange) {
  if (exchange.has_room()) {
    return std::nullopt;
  }
  return make_problem(ProblemKind::too_many_connections,
                      "Answers that this user has not read hold as much memory as one user's may; read them, or close "
                      "their connections, and try again.");
}

std::optional<Problem> change_refusal(const Call& call) {
  if (!call.request.body.empty() && !is_json_type(call.request.content_type)) {
    return make_problem(ProblemKind::unsupported_media_type,
                        "The body must be JSON, with Content-Type: application/json or none.");
  }
  if (!call.service.accepting()) {
    return make_problem(ProblemKind::shutting_down,
                        "The agent is stopping and takes no more changes; try again when it is back.");
  }
  return std::nullopt;
}

}  // namespace limpet::api
