// A body as each call of the API reads it. What is accepted must be within the contract's limits and make a znode that
// its readers can read; what is refused must say so in JSON; and nothing may depend on chance.
#include <string>

#include "agent/api/json.h"
#include "agent/api/json_document.h"
#include "agent/api/json_writer.h"
#include "agent/api/names.h"
#include "tests/fuzz/fuzz.h"

namespace limpet::api {
namespace {

using fuzz::require;

const RegistrationId kId{"web", "i-1"};

void check_problem(const Problem& problem) {
  std::string text;
  render_problem(text, problem);
  std::string error;
  require(JsonDocument::parse(text, error).has_value(), "a problem is JSON");
  require(problem.kind != ProblemKind::invalid || !problem.errors.empty(), "what is invalid has a place");
}

void check_accepted(const core::RegisterRequest& request) {
  require(request.data.size() <= BodyLimits().max_data_bytes, "data within the limit");
  require(!name_error(request.id.service) && !name_error(request.id.instance), "names are names");
  require(!request.path || !path_error(*request.path), "a path is a path");
  require(request.leaf.empty() || !path_error("/" + request.leaf), "a leaf is a segment");
  if (request.format != Format::raw) {
    std::string data = request.data;
    if (request.time_at) {
      require(*request.time_at <= data.size(), "the time has a place in the data");
      data.insert(*request.time_at, "1760000000000");
    }
    std::string error;
    require(JsonDocument::parse(data, error).has_value(), "the formats are JSON");
  }
  Registration registration;
  registration.id = request.id;
  registration.path = request.path.value_or("/services/web/i-1");
  registration.format = request.format;
  registration.data = request.data;
  core::RegistrationView view;
  view.registration = std::move(registration);
  std::string shown;
  render_registration(shown, view);
  std::string error;
  require(JsonDocument::parse(shown, error).has_value(), "a registration is shown as JSON");
}

// The short way and the library's must not differ in anything.
void check_both_ways(std::string_view body) {
  std::string error;
  std::string library_error;
  const auto document = JsonDocument::parse(body, error);
  const auto expected = JsonDocument::parse_by_library(body, library_error);
  require(document.has_value() == expected.has_value() && error == library_error, "both ways take the same");
  if (document) {
    std::string text;
    std::string expected_text;
    JsonWriter writer(text);
    JsonWriter expected_writer(expected_text);
    document->root().write(writer);
    expected->root().write(expected_writer);
    require(text == expected_text && document->root().kind() == expected->root().kind(), "both ways read the same");
  }
}

void check_registration(std::string_view body) {
  const auto parsed = parse_registration(kId, body);
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    return check_problem(*problem);
  }
  const auto& request = std::get<core::RegisterRequest>(parsed);
  check_accepted(request);
  const auto again = parse_registration(kId, body);
  require(std::get<core::RegisterRequest>(again).data == request.data, "the same body, the same bytes");
}

void check_batch(std::string_view body) {
  const auto parsed = parse_batch(body);
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    return check_problem(*problem);
  }
  for (const core::ChangeRequest& request : std::get<std::vector<core::ChangeRequest>>(parsed)) {
    if (const auto* registration = std::get_if<core::RegisterRequest>(&request)) {
      check_accepted(*registration);
    }
  }
}

// What was read and written is read again as the same.
void check_document(std::string_view body) {
  std::string error;
  const auto document = JsonDocument::parse(body, error);
  if (!document) {
    require(!error.empty(), "an error has words");
    return;
  }
  std::string once;
  JsonWriter writer(once);
  document->root().write(writer);
  const auto again = JsonDocument::parse(once, error);
  require(again.has_value(), "what was written can be read");
  std::string twice;
  JsonWriter second(twice);
  again->root().write(second);
  require(once == twice, "writing is stable");
}

}  // namespace
}  // namespace limpet::api

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace limpet::api;
  const std::string_view body = limpet::fuzz::text_of(data, size);
  check_document(body);
  check_both_ways(body);
  check_registration(body);
  check_batch(body);
  if (const auto problem = parse_empty(body)) {
    check_problem(*problem);
  }
  const auto maintenance = parse_maintenance(body);
  if (const auto* problem = std::get_if<Problem>(&maintenance)) {
    check_problem(*problem);
  }
  return 0;
}
