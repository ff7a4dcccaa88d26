// A stream of bytes through the reader of HTTP requests, and what it finds through target, query and answer head. The
// outcome must not depend on how the stream was cut, and every limit must hold.
#include <optional>
#include <string>
#include <vector>

#include "agent/api/json_document.h"
#include "agent/api/names.h"
#include "agent/api/request_reader.h"
#include "agent/api/target.h"
#include "tests/fuzz/fuzz.h"

namespace limpet::api {
namespace {

using fuzz::require;
using Result = RequestReader::Result;

// Small, so that inputs reach them.
constexpr RequestLimits kLimits{512, 2048};
constexpr std::size_t kMaxKeptBytes = 1024;  // of a line that is not whole yet: a header, or the size of a chunk

struct Outcome {
  std::vector<Request> requests;
  std::optional<ProblemKind> problem;
  bool in_request = false;
};

Outcome read_in_pieces(std::string_view stream, std::size_t piece) {
  Request request;
  RequestReader reader(request, kLimits);
  Outcome outcome;
  std::string buffer;
  for (std::size_t at = 0; at < stream.size(); at += piece) {
    buffer += stream.substr(at, piece);
    for (bool more = true; more;) {
      std::size_t used = 0;
      const Result result = reader.read(buffer, used);
      require(used <= buffer.size(), "no more is taken than there is");
      buffer.erase(0, used);
      require(request.body.size() <= kLimits.max_body_bytes, "a body within the limit");
      if (result == Result::refused) {
        outcome.problem = reader.problem().kind;
        return outcome;
      }
      more = result == Result::complete;
      if (more) {
        require(!reader.in_request(), "after a request there is none");
        outcome.requests.push_back(request);
        reader.take_expects_continue();
      }
    }
    require(buffer.size() <= kMaxKeptBytes + 2, "what is kept for later is bounded");
  }
  outcome.in_request = reader.in_request();
  return outcome;
}

void compare(const Outcome& a, const Outcome& b) {
  require(a.requests.size() == b.requests.size(), "as many requests however it is cut");
  require(a.problem == b.problem, "the same refusal however it is cut");
  for (std::size_t i = 0; i < a.requests.size(); ++i) {
    const Request& one = a.requests[i];
    const Request& other = b.requests[i];
    require(one.method == other.method && one.target == other.target && one.content_type == other.content_type &&
                one.body == other.body && one.keep_alive == other.keep_alive && one.http_1_0 == other.http_1_0,
            "the same requests however it is cut");
  }
}

void check_problem(const Problem& problem) {
  Response response;
  response.set_problem(problem);
  std::string error;
  require(JsonDocument::parse(response.body, error).has_value(), "a problem is JSON");
}

void take_apart(const Request& request) {
  Target target;
  if (const auto problem = target.parse(request.target)) {
    return check_problem(*problem);
  }
  require(target.segments().size() <= Target::kMaxSegments, "segments within their bound");
  for (const std::string_view segment : target.segments()) {
    name_error(segment);
  }
  const auto query = Query::parse(target.query(), {"wait", "limit", "after", "service"});
  if (const auto* problem = std::get_if<Problem>(&query)) {
    check_problem(*problem);
  } else if (const std::string* wait = std::get<Query>(query).find("wait")) {
    parse_duration(*wait);
  }
}

}  // namespace
}  // namespace limpet::api

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace limpet::api;
  const std::string_view stream = limpet::fuzz::text_of(data, size);
  if (stream.empty()) {
    return 0;
  }
  const Outcome whole = read_in_pieces(stream, stream.size());
  compare(whole, read_in_pieces(stream, 1 + size % 37));
  compare(whole, read_in_pieces(stream, 1));
  for (const Request& request : whole.requests) {
    take_apart(request);
  }
  return 0;
}
