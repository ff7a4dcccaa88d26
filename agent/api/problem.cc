#include "agent/api/problem.h"

#include <cassert>

#include "agent/api/json_writer.h"

namespace limpet::api {
namespace {

ProblemKind kind_of(core::ProblemCode code) {
  switch (code) {
    case core::ProblemCode::invalid:
      return ProblemKind::invalid;
    case core::ProblemCode::not_found:
      return ProblemKind::not_found;
    case core::ProblemCode::not_owner:
      return ProblemKind::not_owner;
    case core::ProblemCode::not_allowed:
      return ProblemKind::not_allowed;
    case core::ProblemCode::path_taken:
      return ProblemKind::path_taken;
    case core::ProblemCode::quota:
      return ProblemKind::quota;
    case core::ProblemCode::queue_full:
      return ProblemKind::queue_full;
    case core::ProblemCode::storage_failed:
      return ProblemKind::storage_failed;
    case core::ProblemCode::storage_full:
      return ProblemKind::storage_full;
    case core::ProblemCode::shutting_down:
      return ProblemKind::shutting_down;
    case core::ProblemCode::not_connected:
      return ProblemKind::not_connected;
  }
  assert(false);
  return ProblemKind::storage_failed;
}

}  // namespace

const ProblemFacts& problem_facts(ProblemKind kind) {
  // In the order of ProblemKind.
  static constexpr ProblemFacts kFacts[] = {
      {"bad_json", "Malformed JSON", 400, false, 0},
      {"bad_request", "Bad request", 400, false, 0},
      {"not_owner", "Not the owner", 403, false, 0},
      {"not_allowed", "Not allowed", 403, false, 0},
      {"not_found", "Not found", 404, false, 0},
      {"method_not_allowed", "Method not allowed", 405, false, 0},
      {"timeout", "Request timeout", 408, true, 0},
      {"path_taken", "Path already taken", 409, false, 0},
      {"not_connected", "Not connected to ZooKeeper", 409, true, 0},
      {"too_old", "No longer retained", 410, false, 0},
      {"too_large", "Too large", 413, false, 0},
      {"unsupported_media_type", "Unsupported media type", 415, false, 0},
      {"expectation_failed", "Expectation failed", 417, false, 0},
      {"invalid", "Invalid field", 422, false, 0},
      {"quota", "Quota exceeded", 429, true, 10},
      {"headers_too_large", "Request header too large", 431, false, 0},
      {"storage_failed", "Storage failed, outcome unknown", 503, true, 1},
      {"shutting_down", "Agent shutting down", 503, true, 2},
      {"too_many_connections", "Too many connections", 503, true, 1},
      {"storage_full", "Storage full", 507, true, 10},
      {"queue_full", "Queue full", 507, true, 10},
  };
  static_assert(std::size(kFacts) == kProblemKinds);
  return kFacts[static_cast<std::size_t>(kind)];
}

Problem to_problem(const core::Problem& problem, bool batch) {
  Problem answer;
  answer.kind = kind_of(problem.code);
  answer.detail = problem.detail;
  if (batch && answer.kind == ProblemKind::not_found) {
    answer.kind = ProblemKind::invalid;  // the batch was found; what it says is wrong
  }
  // What a disk or a queue refuses is no one operation's fault.
  if (batch && problem_facts(answer.kind).status < 500) {
    answer.index = problem.index;
  }
  if (!problem.pointer.empty()) {
    const std::string prefix = batch ? "/operations/" + std::to_string(problem.index) : "";
    answer.errors.push_back({prefix + problem.pointer, problem.detail});
  }
  return answer;
}

void render_problem(std::string& out, const Problem& problem) {
  const ProblemFacts& facts = problem_facts(problem.kind);
  JsonWriter json(out);
  json.begin_object();
  json.key("type").string("urn:limpet:problem:" + std::string(facts.code));
  json.key("title").string(facts.title);
  json.key("status").number(facts.status);
  json.key("detail").string(problem.detail);
  json.key("code").string(facts.code);
  json.key("retryable").boolean(facts.retryable);
  if (problem.index) {
    json.key("index").number(*problem.index);
  }
  if (!problem.errors.empty()) {
    json.key("errors").begin_array();
    for (const FieldError& error : problem.errors) {
      json.begin_object();
      json.key("pointer").string(error.pointer);
      json.key("detail").string(error.detail);
      json.end_object();
    }
    json.end_array();
  }
  json.end_object();
}

}  // namespace limpet::api
