#include "agent/liveness/check_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "agent/liveness/text.h"

namespace limpet::liveness {
namespace {

constexpr std::size_t kMaxHost = 253;    // RFC 1035, 2.3.4
constexpr std::size_t kMaxSocket = 107;  // sockaddr_un.sun_path, unix(7)
constexpr std::size_t kMaxUrl = 2048;
constexpr std::size_t kMaxName = 120;
constexpr std::uint16_t kHttpPort = 80;

constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttpUnix = "http+unix://";

Status wrong(std::string why) {
  return {Errc::invalid, std::move(why)};
}

bool printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool whole = error == std::errc() && end == text.data() + text.size() && text.size() <= 5;
  return whole && port > 0 ? std::optional(port) : std::nullopt;
}

// "host", "host:port", "[address]:port". Port 0 where there is none.
Result<Target> parse_endpoint(std::string_view text) {
  Target target;
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    target.host = text.substr(1, end == std::string_view::npos ? end : end - 1);
    rest = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const bool address = target.host.find(':') != std::string::npos &&
                         target.host.find_first_of("[]/?#@") == std::string::npos && printable_ascii(target.host);
    if (end == std::string_view::npos || !address) {
      return wrong("must have an IPv6 address between its brackets, such as [::1]:80");
    }
  } else {
    const std::size_t colon = text.find(':');
    target.host = text.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
    if (target.host.empty() || target.host.size() > kMaxHost || !printable_ascii(target.host) ||
        target.host.find_first_of("[]/?#@%\\") != std::string::npos) {
      return wrong("must name a host: a name, an IPv4 address, or an IPv6 address in brackets");
    }
  }
  if (!rest.empty()) {
    const auto port = rest.starts_with(':') ? parse_port(rest.substr(1)) : std::nullopt;
    if (!port) {
      return wrong("must have a port from 1 to 65535 behind its host, and an IPv6 address in brackets");
    }
    target.port = *port;
  }
  return target;
}

Status check_socket(std::string_view path) {
  if (!path.starts_with('/') || path.find('\0') != std::string_view::npos) {
    return wrong("names a unix socket, whose path must be absolute");
  }
  if (path.size() > kMaxSocket) {
    return wrong(fmt::format("names a unix socket, whose path may have {} bytes at most", kMaxSocket));
  }
  return {};
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const char* begin = text.data() + i + 1;
    const char* end = begin + std::min<std::size_t>(2, text.size() - i - 1);
    if (end - begin != 2 || std::from_chars(begin, end, value, 16).ptr != end) {
      return wrong("has a bad percent escape in its socket");
    }
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

// Where the authority of a URL ends, and what stands behind it: "/path?query".
std::string resource_of(std::string_view behind) {
  return behind.starts_with('/') ? std::string(behind) : "/" + std::string(behind);
}

Result<Target> http_over(std::string_view socket, std::string_view behind) {
  if (Status status = check_socket(socket); !status.ok()) {
    return status;
  }
  Target target;
  target.socket = socket;
  target.authority = "localhost";
  target.resource = resource_of(behind);
  return target;
}

bool status_term(std::string_view term) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return term.size() == 3 && term[0] >= '1' && term[0] <= '5' &&
         (term.substr(1) == "xx" || (digit(term[1]) && digit(term[2])));
}

// Calls `each` with what stands between the commas, until it says true.
template <typename Each>
bool any_term(std::string_view text, Each each) {
  while (true) {
    const std::size_t comma = text.find(',');
    if (each(text.substr(0, comma))) {
      return true;
    }
    if (comma == std::string_view::npos) {
      return false;
    }
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

Result<Target> parse_address(std::string_view text) {
  if (text.starts_with(kUnix)) {
    const std::string_view path = text.substr(kUnix.size());
    Target target;
    target.socket = path;
    Status status = check_socket(path);
    return status.ok() ? Result<Target>(std::move(target)) : Result<Target>(std::move(status));
  }
  auto target = parse_endpoint(text);
  if (target.ok() && target->port == 0) {
    return wrong("must be host:port, [IPv6 address]:port or unix:/path");
  }
  return target;
}

Result<Target> parse_url(std::string_view text) {
  if (text.size() > kMaxUrl) {
    return wrong(fmt::format("has {} bytes; at most {} are allowed", text.size(), kMaxUrl));
  }
  if (text.starts_with("https:")) {
    return wrong("is https, and a check speaks http only: use a command check, with curl for instance");
  }
  const bool over_unix = text.starts_with(kHttpUnix);
  if (!over_unix && !text.starts_with(kHttp)) {
    return wrong("must start with http:// or http+unix://");
  }
  if (!printable_ascii(text) || text.find('#') != std::string_view::npos) {
    return wrong("must hold no spaces, control or non-ASCII characters, and no fragment (#…)");
  }
  text.remove_prefix(over_unix ? kHttpUnix.size() : kHttp.size());
  if (!over_unix && text.starts_with(kUnix)) {
    text.remove_prefix(kUnix.size());
    const std::size_t colon = text.find(':');
    return http_over(text.substr(0, colon), colon == std::string_view::npos ? "" : text.substr(colon + 1));
  }
  const std::size_t end = std::min(text.find_first_of("/?"), text.size());
  const std::string_view authority = text.substr(0, end);
  if (over_unix) {
    auto socket = percent_decode(authority);
    return socket.ok() ? http_over(*socket, text.substr(end)) : Result<Target>(socket.status());
  }
  if (authority.find('@') != std::string_view::npos) {
    return wrong("must hold no user name and password: everybody who may see the registration would see them");
  }
  auto target = parse_endpoint(authority);
  if (target.ok()) {
    target->authority = authority;
    target->resource = resource_of(text.substr(end));
    target->port = target->port == 0 ? kHttpPort : target->port;
  }
  return target;
}

Status check_status(std::string_view text) {
  if (any_term(text, [](std::string_view term) { return !status_term(term); })) {
    return wrong("must be a status such as \"200\", a class of them such as \"2xx\", or several: \"200,204,3xx\"");
  }
  return {};
}

bool status_matches(std::string_view text, unsigned code) {
  const std::string digits = std::to_string(code);
  return any_term(text, [&](std::string_view term) {
    return term == digits || (term.substr(1) == "xx" && digits.size() == 3 && term[0] == digits[0]);
  });
}

Status check_command_uid(std::uint32_t uid, std::uint32_t agent_uid) {
  if (agent_uid == 0 || agent_uid == uid) {
    return {};
  }
  return wrong(
      fmt::format("cannot be run as uid {}: the agent runs as uid {}, and only as root could it run commands of "
                  "others; use a tcp or http check, or a ttl with heartbeats",
                  uid, agent_uid));
}

std::string name_of(const Check& check) {
  switch (check.type) {
    case CheckType::tcp:
      return printable("tcp " + check.target, kMaxName);
    case CheckType::http:
      return printable(check.target, kMaxName);
    case CheckType::command:
      return printable("command " + (check.command.empty() ? std::string() : check.command.front()), kMaxName);
  }
  return {};
}

}  // namespace limpet::liveness
