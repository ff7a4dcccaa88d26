// The configuration's `policy`: its JSON, with the names of users and groups resolved to numbers.
//
// Asks the system's user database, which may block where that is a directory server: core thread, at start and on
// reload only.
#pragma once

#include <string>
#include <vector>

#include "agent/core/policy.h"
#include "storage/error.h"

namespace limpet {

// [{"user":"deploy","services":["web-*"]},{"group":"java","services":["*"],"paths":["/dubbo/com.acme.*"]}]; a user or
// group that has no name may be given by its number, as a string. Errc::invalid: the JSON is wrong, or there is no such
// user or group.
Result<core::Policy> parse_policy(const std::string& text);

// What is hardly meant, in words: places outside root (the configuration's `paths`) that no rule names, and patterns
// that name nothing in any of them.
std::vector<std::string> policy_gaps(const core::Policy& policy, const std::vector<std::string>& places);

}  // namespace limpet
