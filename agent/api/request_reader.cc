#include "agent/api/request_reader.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <optional>

namespace limpet::api {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::size_t kMaxChunkLineBytes = 1024;  // size and extensions

Method to_method(http::verb verb) {
  switch (verb) {
    case http::verb::get:
      return Method::get;
    case http::verb::head:
      return Method::head;
    case http::verb::put:
      return Method::put;
    case http::verb::post:
      return Method::post;
    case http::verb::delete_:
      return Method::delete_;
    default:  // the many that the API does not use
      return Method::other;
  }
}

// RFC 9110, 5.6.2: tchar.
bool is_method_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

int chunk_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

// Beast's parser of one head, and what is kept of it. Its body functions are never reached.
class RequestReader::Head : public http::basic_parser<true> {
 public:
  Head(Request& request, std::size_t max_bytes) : request_(request) {
    request_.content_type.clear();
    eager(false);
    header_limit(static_cast<std::uint32_t>(max_bytes));
    body_limit(boost::none);
  }

  std::size_t hosts = 0;
  std::size_t lengths = 0;
  std::size_t codings = 0;
  bool other_coding = false;
  bool list_of_lengths = false;
  bool expects_continue = false;
  bool expects_other = false;
  bool encoded = false;

 private:
  using error_code = beast::error_code;

  void on_request_impl(http::verb verb, beast::string_view, beast::string_view target, int version,
                       error_code&) override {
    request_.method = to_method(verb);
    request_.target.assign(target.data(), target.size());
    request_.http_1_0 = version == 10;
  }
  void on_field_impl(http::field name, beast::string_view, beast::string_view value, error_code&) override {
    switch (name) {
      case http::field::host:
        ++hosts;
        break;
      case http::field::content_length:
        ++lengths;
        list_of_lengths = list_of_lengths || value.find(',') != beast::string_view::npos;
        break;
      case http::field::transfer_encoding:
        ++codings;
        other_coding = other_coding || !beast::iequals(value, "chunked");
        break;
      case http::field::content_encoding:
        encoded = encoded || !beast::iequals(value, "identity");
        break;
      case http::field::content_type:
        request_.content_type.assign(value.data(), value.size());
        break;
      case http::field::expect:
        expects_continue = beast::iequals(value, "100-continue");
        expects_other = expects_other || !expects_continue;
        break;
      default:  // no other field means anything to the API
        break;
    }
  }
  void on_response_impl(int, beast::string_view, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(beast::string_view, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}

  Request& request_;
};

RequestReader::RequestReader(Request& request, const RequestLimits& limits) : request_(request), limits_(limits) {}

void RequestReader::discard_body() {
  discarding_ = true;
  request_.body = std::string();
}

void RequestReader::take_body(std::string_view bytes) {
  body_bytes_ += bytes.size();
  body_left_ -= bytes.size();
  if (!discarding_) {
    request_.body += bytes;
  }
}

bool RequestReader::take_expects_continue() {
  return std::exchange(expects_continue_, false);
}

RequestReader::Result RequestReader::refuse(ProblemKind kind, std::string detail) {
  problem_ = Problem();
  problem_.kind = kind;
  problem_.detail = std::move(detail);
  return Result::refused;
}

RequestReader::Result RequestReader::read(std::string_view bytes, std::size_t& used) {
  used = 0;
  if (stage_ == Stage::idle) {
    // RFC 9112, 2.2: empty lines before a request are to be ignored.
    while (bytes.substr(used).starts_with("\r\n")) {
      used += 2;
    }
    if (used == bytes.size() || bytes.substr(used) == "\r") {
      return Result::need_more;
    }
    request_.body.clear();
    body_bytes_ = 0;
    discarding_ = false;
    searched_ = 0;
    expects_continue_ = false;
    stage_ = Stage::head;
  }
  if (stage_ == Stage::head) {
    const Result result = read_head(bytes, used);
    if (result != Result::need_more || stage_ == Stage::head) {
      return result;
    }
  }
  const Result result = stage_ == Stage::sized_body ? read_sized_body(bytes, used) : read_chunks(bytes, used);
  if (result == Result::complete) {
    stage_ = Stage::idle;
  }
  if (result != Result::need_more || body_bytes_ != 0) {
    expects_continue_ = false;  // the sender did not wait
  }
  return result;
}

// need_more with another stage than `head`: the head is whole and a body follows.
RequestReader::Result RequestReader::read_head(std::string_view bytes, std::size_t& used) {
  const std::string_view rest = bytes.substr(used);
  if (!is_method_character(rest.front())) {
    return refuse(ProblemKind::bad_request, "This is not an HTTP/1.1 request.");
  }
  const bool new_line = rest.find('\n', std::exchange(searched_, rest.size())) != std::string_view::npos;
  // Nothing past the limit is looked at: whether it would have been well formed must not decide.
  const std::string_view within = rest.substr(0, limits_.max_header_bytes);
  const std::size_t end_of_head = new_line ? within.find("\r\n\r\n") : std::string_view::npos;
  const std::string_view lines = end_of_head != std::string_view::npos
                                     ? within.substr(0, end_of_head + 4)
                                     : within.substr(0, new_line ? within.rfind('\n') + 1 : 0);
  beast::error_code error = http::error::need_more;
  Head head(request_, limits_.max_header_bytes);
  header_bytes_ = lines.empty() ? 0 : head.put(boost::asio::const_buffer(lines.data(), lines.size()), error);
  const std::size_t size = error == http::error::need_more ? rest.size() : header_bytes_;
  if (error == http::error::header_limit || size > limits_.max_header_bytes) {
    return refuse(ProblemKind::headers_too_large,
                  "Request line and headers together may have " + std::to_string(limits_.max_header_bytes) + " bytes.");
  }
  if (error == http::error::need_more) {
    return Result::need_more;
  }
  if (error) {
    return refuse(ProblemKind::bad_request, "This is not an HTTP/1.1 request: " + error.message() + ".");
  }
  used += header_bytes_;
  return begin_body(head);
}

RequestReader::Result RequestReader::begin_body(const Head& head) {
  if (head.hosts > 1 || (head.hosts == 0 && !request_.http_1_0)) {
    return refuse(ProblemKind::bad_request, "An HTTP/1.1 request has exactly one Host header; any value will do.");
  }
  if (head.lengths > 1 || head.list_of_lengths || (head.lengths != 0 && head.codings != 0)) {
    return refuse(ProblemKind::bad_request, "The length of the body is given more than once.");
  }
  if (head.codings != 0 && (head.codings != 1 || head.other_coding || request_.http_1_0)) {
    return refuse(ProblemKind::bad_request, "The only transfer coding that is understood is chunked, in HTTP/1.1.");
  }
  if (head.expects_other) {
    return refuse(ProblemKind::expectation_failed, "The only expectation that is understood is 100-continue.");
  }
  if (head.encoded) {
    return refuse(ProblemKind::unsupported_media_type, "The body must not be compressed or otherwise encoded.");
  }
  request_.keep_alive = head.keep_alive();
  const bool chunked = head.codings != 0;
  const std::uint64_t length = head.lengths != 0 ? head.content_length().value_or(0) : 0;
  const bool expects_continue = head.expects_continue && !request_.http_1_0;
  if (length > limits_.max_body_bytes) {
    return refuse(ProblemKind::too_large, "The body has " + std::to_string(length) + " bytes; at most " +
                                              std::to_string(limits_.max_body_bytes) + " are allowed.");
  }
  if (!chunked && length == 0) {
    stage_ = Stage::idle;
    return Result::complete;
  }
  expects_continue_ = expects_continue;
  body_left_ = length;
  stage_ = chunked ? Stage::chunk_size : Stage::sized_body;
  return Result::need_more;
}

RequestReader::Result RequestReader::read_sized_body(std::string_view bytes, std::size_t& used) {
  const std::size_t taken = static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, bytes.size() - used));
  if (body_bytes_ + taken > kSmallBodyBytes && !discarding_) {
    // Not before so much has come: a length that is only claimed takes no memory.
    request_.body.reserve(request_.body.size() + static_cast<std::size_t>(body_left_));
  }
  take_body(bytes.substr(used, taken));
  used += taken;
  return body_left_ == 0 ? Result::complete : Result::need_more;
}

RequestReader::Line RequestReader::take_line(std::string_view bytes, std::size_t& used, std::size_t max_bytes,
                                             std::string_view& line) {
  const std::string_view rest = bytes.substr(used);
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) {
    return rest.size() > max_bytes ? Line::bad : Line::partial;
  }
  if (end > max_bytes || end == 0 || rest[end - 1] != '\r') {
    return Line::bad;
  }
  line = rest.substr(0, end - 1);
  used += end + 1;
  return Line::whole;
}

// chunk-size [ ";" extensions ]
bool RequestReader::parse_chunk_size(std::string_view line) {
  constexpr std::size_t kMaxDigits = 15;
  std::size_t digits = 0;
  body_left_ = 0;
  while (digits < line.size() && chunk_digit(line[digits]) >= 0) {
    body_left_ = body_left_ * 16 + static_cast<std::uint64_t>(chunk_digit(line[digits]));
    if (++digits > kMaxDigits) {
      return false;
    }
  }
  const std::string_view rest = line.substr(digits);
  const std::size_t extension = std::min(rest.find_first_not_of(" \t"), rest.size());
  const bool clean = std::none_of(rest.begin(), rest.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F;
  });
  return digits != 0 && clean && (rest.empty() || (extension < rest.size() && rest[extension] == ';'));
}

RequestReader::Result RequestReader::read_chunks(std::string_view bytes, std::size_t& used) {
  std::string_view line;
  while (true) {
    switch (stage_) {
      case Stage::chunk_data: {
        const std::size_t taken = static_cast<std::size_t>(std::min<std::uint64_t>(body_left_, bytes.size() - used));
        take_body(bytes.substr(used, taken));
        used += taken;
        if (body_left_ != 0) {
          return Result::need_more;
        }
        stage_ = Stage::chunk_end;
        break;
      }
      case Stage::chunk_end:
      case Stage::chunk_size: {
        const bool is_end = stage_ == Stage::chunk_end;
        const Line found = take_line(bytes, used, is_end ? 1 : kMaxChunkLineBytes, line);
        if (found == Line::partial) {
          return Result::need_more;
        }
        if (found == Line::bad || (!is_end && !parse_chunk_size(line))) {
          return refuse(ProblemKind::bad_request, "The body is not well-formed chunks.");
        }
        if (is_end) {
          stage_ = Stage::chunk_size;
        } else if (body_left_ > limits_.max_body_bytes - body_bytes_) {
          return refuse(ProblemKind::too_large,
                        "The body may have at most " + std::to_string(limits_.max_body_bytes) + " bytes.");
        } else {
          stage_ = body_left_ == 0 ? Stage::trailer : Stage::chunk_data;
        }
        break;
      }
      case Stage::trailer: {
        const std::size_t before = used;
        const Line found = take_line(bytes, used, limits_.max_header_bytes, line);
        header_bytes_ += used - before;
        if (found == Line::partial) {
          return Result::need_more;
        }
        if (found == Line::bad) {
          return refuse(ProblemKind::bad_request, "The trailer behind the body is not well-formed.");
        }
        if (line.empty()) {
          return Result::complete;
        }
        if (header_bytes_ > limits_.max_header_bytes) {
          return refuse(ProblemKind::headers_too_large, "Headers and trailer together may have " +
                                                            std::to_string(limits_.max_header_bytes) + " bytes.");
        }
        break;
      }
      case Stage::idle:
      case Stage::head:
      case Stage::sized_body:
        return refuse(ProblemKind::bad_request, "The body is not well-formed chunks.");
    }
  }
}

}  // namespace limpet::api
