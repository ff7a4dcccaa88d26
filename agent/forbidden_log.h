// Callers who ask for what they have no right to are in the log once a minute each: enough to see it, too little to
// fill a disk with it. What comes in between is counted, and the next line tells how many there were.
//
// Pure; owned by Agent, core thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "agent/core/types.h"

namespace limpet {

class ForbiddenLog {
 public:
  static constexpr std::int64_t kPeriodMs = 60'000;
  static constexpr std::size_t kMaxUsers = 256;  // beyond them, new ones wait for a place

  // `caller` was told `code` at `steady_ms`. The details of a line for the log, where one is due.
  std::optional<std::string> note(const core::Caller& caller, std::string_view code, std::string_view target,
                                  std::int64_t steady_ms);

 private:
  struct User {
    std::int64_t written_ms = 0;
    std::uint64_t left_out = 0;  // since then
  };

  std::map<std::uint32_t, User> users_;  // by uid
};

}  // namespace limpet
