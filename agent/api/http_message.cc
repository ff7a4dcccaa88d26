#include "agent/api/http_message.h"

#include <charconv>
#include <ctime>

namespace limpet::api {
namespace {

void append_number(std::string& out, std::uint64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

std::string_view status_line(int status) {
  switch (status) {
    case 200:
      return "HTTP/1.1 200 OK\r\n";
    case 202:
      return "HTTP/1.1 202 Accepted\r\n";
    case 400:
      return "HTTP/1.1 400 Bad Request\r\n";
    case 403:
      return "HTTP/1.1 403 Forbidden\r\n";
    case 404:
      return "HTTP/1.1 404 Not Found\r\n";
    case 405:
      return "HTTP/1.1 405 Method Not Allowed\r\n";
    case 408:
      return "HTTP/1.1 408 Request Timeout\r\n";
    case 409:
      return "HTTP/1.1 409 Conflict\r\n";
    case 410:
      return "HTTP/1.1 410 Gone\r\n";
    case 413:
      return "HTTP/1.1 413 Content Too Large\r\n";
    case 415:
      return "HTTP/1.1 415 Unsupported Media Type\r\n";
    case 417:
      return "HTTP/1.1 417 Expectation Failed\r\n";
    case 422:
      return "HTTP/1.1 422 Unprocessable Content\r\n";
    case 429:
      return "HTTP/1.1 429 Too Many Requests\r\n";
    case 431:
      return "HTTP/1.1 431 Request Header Fields Too Large\r\n";
    case 503:
      return "HTTP/1.1 503 Service Unavailable\r\n";
    case 507:
      return "HTTP/1.1 507 Insufficient Storage\r\n";
    default:
      return "HTTP/1.1 500 Internal Server Error\r\n";
  }
}

// RFC 9110, 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date(std::time_t second) {
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  std::tm utc{};
  if (::gmtime_r(&second, &utc) == nullptr) {
    return {};
  }
  const auto two = [](int n) { return std::string{static_cast<char>('0' + n / 10), static_cast<char>('0' + n % 10)}; };
  return std::string(kDays[utc.tm_wday]) + ", " + two(utc.tm_mday) + " " + kMonths[utc.tm_mon] + " " +
         std::to_string(utc.tm_year + 1900) + " " + two(utc.tm_hour) + ":" + two(utc.tm_min) + ":" + two(utc.tm_sec) +
         " GMT";
}

}  // namespace

void Response::reset() {
  status = 200;
  content_type = "application/json";
  allow.clear();
  retry_after_s = 0;
  problem.reset();
  body.clear();
}

void Response::set_problem(const Problem& told) {
  const ProblemFacts& facts = problem_facts(told.kind);
  reset();
  problem = told.kind;
  status = facts.status;
  content_type = "application/problem+json";
  retry_after_s = facts.retry_after_s;
  allow = told.allow;
  render_problem(body, told);
}

void ResponseHead::append(std::string& out, const Response& response, Persistence persistence, WallMs now,
                          Framing framing) {
  if (const std::int64_t second = now / 1000; second != date_s_) {
    date_s_ = second;
    date_ = "Date: " + http_date(static_cast<std::time_t>(second)) + "\r\n";
  }
  out += status_line(response.status);
  out += "Content-Type: ";
  out += response.content_type;
  out += "\r\n";
  if (framing == Framing::sized) {
    out += "Content-Length: ";
    append_number(out, response.body.size());
    out += "\r\n";
  } else if (framing == Framing::chunked) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  out += date_;
  if (!response.allow.empty()) {
    out += "Allow: ";
    out += response.allow;
    out += "\r\n";
  }
  if (response.retry_after_s != 0) {
    out += "Retry-After: ";
    append_number(out, static_cast<std::uint64_t>(response.retry_after_s));
    out += "\r\n";
  }
  if (persistence == Persistence::close) {
    out += "Connection: close\r\n";
  } else if (persistence == Persistence::keep_alive) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
}

}  // namespace limpet::api
