#include "bench/load/protocol.h"

#include <charconv>

namespace limpet::bench {

namespace {

constexpr std::size_t kDigits = 12;

void append_number(std::string& out, std::uint64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

// Of one length, whatever `value` is.
void append_padded(std::string& out, std::uint64_t value) {
  char digits[kDigits];
  for (std::size_t i = kDigits; i > 0; --i) {
    digits[i - 1] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  out.append(digits, kDigits);
}

// A registration's content in JSON, without its braces, so that with them it has workload.body_bytes bytes.
class Content {
 public:
  explicit Content(const Workload& workload) {
    constexpr std::size_t kFrame = sizeof(R"({"data":""})") - 1;
    const std::size_t rest = workload.body_bytes > kFrame + kDigits ? workload.body_bytes - kFrame - kDigits : 0;
    for (std::size_t i = 0; i < rest; ++i) {
      filler_ += static_cast<char>('a' + i % 26);
    }
  }
  void append(std::string& out, std::uint64_t count) const {
    out += R"("data":")";
    append_padded(out, count);
    out += filler_;
    out += '"';
  }
  std::size_t bytes() const { return sizeof(R"({"data":""})") - 1 + kDigits + filler_.size(); }

 private:
  std::string filler_;
};

class Http : public Protocol {
 public:
  explicit Http(const Workload& workload) : workload_(workload), content_(workload) {}

  void append_request(std::string& out, std::uint64_t count) override {
    if (workload_.kind == "get") {
      out.append("GET ").append(workload_.target).append(" HTTP/1.1\r\nHost: limpet\r\n\r\n");
    } else if (workload_.kind == "batch") {
      append_batch(out, count);
    } else {
      out += "PUT /v1/registrations/bench/i-";
      append_number(out, count % workload_.names);
      out += " HTTP/1.1\r\nHost: limpet\r\nContent-Length: ";
      append_number(out, content_.bytes());
      out += "\r\n\r\n{";
      content_.append(out, count);
      out += '}';
    }
  }

  Answer read_answer(std::string_view bytes, std::size_t& used) const override {
    constexpr std::string_view kLength = "Content-Length: ";
    const std::size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      return Answer::none;
    }
    const std::size_t at = bytes.find(kLength);
    std::size_t length = 0;
    if (at < end) {
      std::from_chars(bytes.data() + at + kLength.size(), bytes.data() + end, length);
    }
    if (bytes.size() < end + 4 + length) {
      return Answer::none;
    }
    used = end + 4 + length;
    return bytes.starts_with("HTTP/1.1 20") ? Answer::good : Answer::bad;
  }

 private:
  void append_batch(std::string& out, std::uint64_t count) {
    body_ = R"({"operations":[)";
    for (std::size_t i = 0; i < workload_.batch_size; ++i) {
      const std::uint64_t number = count * workload_.batch_size + i;
      body_ += i == 0 ? R"({"op":"register","service":"bench","instance":"i-)"
                      : R"(,{"op":"register","service":"bench","instance":"i-)";
      append_number(body_, number % workload_.names);
      body_ += R"(",)";
      content_.append(body_, number);
      body_ += '}';
    }
    body_ += "]}";
    out += "POST /v1/batch HTTP/1.1\r\nHost: limpet\r\nContent-Length: ";
    append_number(out, body_.size());
    out += "\r\n\r\n";
    out += body_;
  }

  const Workload workload_;
  const Content content_;
  std::string body_;
};

// Redis: SET of the same bytes under the same name, or PING.
class Resp : public Protocol {
 public:
  explicit Resp(const Workload& workload) : workload_(workload), content_(workload) {}

  void append_request(std::string& out, std::uint64_t count) override {
    if (workload_.kind == "get") {
      out += "*1\r\n$4\r\nPING\r\n";
      return;
    }
    std::string key = "bench/i-";
    append_number(key, count % workload_.names);
    out += "*3\r\n$3\r\nSET\r\n$";
    append_number(out, key.size());
    out.append("\r\n").append(key).append("\r\n$");
    append_number(out, content_.bytes());
    out += "\r\n{";
    content_.append(out, count);
    out += "}\r\n";
  }

  Answer read_answer(std::string_view bytes, std::size_t& used) const override {
    const std::size_t end = bytes.find("\r\n");
    if (end == std::string_view::npos) {
      return Answer::none;
    }
    used = end + 2;
    return bytes.front() == '+' ? Answer::good : Answer::bad;
  }

 private:
  const Workload workload_;
  const Content content_;
};

}  // namespace

std::unique_ptr<Protocol> Protocol::make(const std::string& name, const Workload& workload) {
  if (name == "resp") {
    return std::make_unique<Resp>(workload);
  }
  return std::make_unique<Http>(workload);
}

}  // namespace limpet::bench
