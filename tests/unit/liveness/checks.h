// Checks for the tests, with the defaults of the API.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "storage/record.h"

namespace limpet::liveness::test {

inline Check tcp_check(std::string address) {
  Check check;
  check.target = std::move(address);
  return check;
}

inline Check http_check(std::string url, std::string status = "2xx") {
  Check check;
  check.type = CheckType::http;
  check.target = std::move(url);
  check.status = std::move(status);
  return check;
}

inline Check command_check(std::vector<std::string> command) {
  Check check;
  check.type = CheckType::command;
  check.command = std::move(command);
  return check;
}

}  // namespace limpet::liveness::test
