// What goes wrong with a request, as RFC 9457 problem details. Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/core/types.h"

namespace limpet::api {

// Each is one `code` of the API; problem_facts() gives its status and the rest.
enum class ProblemKind {
  bad_json,
  bad_request,
  not_owner,
  not_allowed,
  not_found,
  method_not_allowed,
  timeout,
  path_taken,
  not_connected,
  too_old,
  too_large,
  unsupported_media_type,
  expectation_failed,
  invalid,
  quota,
  headers_too_large,
  storage_failed,
  shutting_down,
  too_many_connections,
  storage_full,
  queue_full,
};

inline constexpr std::size_t kProblemKinds = static_cast<std::size_t>(ProblemKind::queue_full) + 1;

struct ProblemFacts {
  std::string_view code;
  std::string_view title;
  int status;
  bool retryable;     // the same request may succeed later without anything being changed about it
  int retry_after_s;  // 0: no Retry-After
};
const ProblemFacts& problem_facts(ProblemKind kind);

struct FieldError {
  std::string pointer;  // RFC 6901, into the body
  std::string detail;
};

struct Problem {
  ProblemKind kind = ProblemKind::bad_request;
  std::string detail;                // for a human: what, to what, why, what next
  std::vector<FieldError> errors;    // the fields at fault
  std::optional<std::size_t> index;  // of the operation at fault in a batch
  std::string allow;                 // with method_not_allowed: the methods that there are
};

// What was read, or why it was refused.
template <typename T>
using Parsed = std::variant<T, Problem>;

// The core's refusal in the API's words. `batch`: name the operation at fault.
Problem to_problem(const core::Problem& problem, bool batch);

// Appends the problem as application/problem+json.
void render_problem(std::string& out, const Problem& problem);

}  // namespace limpet::api
