// What a health check is to reach, read from its words: "host:port", a URL, a status. Pure; any thread. The API refuses
// by it what a check could never reach.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/error.h"
#include "storage/record.h"

namespace limpet::liveness {

struct Target {
  std::string host;  // a name or a numeric address, without brackets; empty where `socket` says where
  std::uint16_t port = 0;
  std::string socket;     // path of a unix socket
  std::string authority;  // http: the Host header
  std::string resource;   // http: path and query, "/health?deep=1"
};

// "host:port", "[::1]:80" or "unix:/path". Errors say what is wrong, to follow the name of a field: "must be …".
Result<Target> parse_address(std::string_view text);

// "http://host[:port][/path]", or over a unix socket "http+unix://%2Frun%2Fapp.sock/path" (the socket's path is
// percent-encoded where a host would stand) or, as nginx writes it, "http://unix:/run/app.sock:/path".
Result<Target> parse_url(std::string_view text);

// "2xx", "200", or several of them: "200,204,3xx".
Status check_status(std::string_view text);
// Whether an answer with `code` is well. Precondition: check_status(text).ok().
bool status_matches(std::string_view text, unsigned code);

// Whether an agent that runs as `agent_uid` can run commands of a registration of `uid`.
Status check_command_uid(std::uint32_t uid, std::uint32_t agent_uid);

// What names a check to people, in one line: "tcp 127.0.0.1:80", "command /usr/bin/app".
std::string name_of(const Check& check);

}  // namespace limpet::liveness
