// What the core has counted in this run, and how things stand beyond StatusView: for those who watch many agents.
//
// Plain integers that are counted where things happen; a copy is made when somebody asks. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "agent/core/types.h"

namespace limpet::core {

inline constexpr std::size_t kReasonCodes = static_cast<std::size_t>(ReasonCode::storage) + 1;
inline constexpr std::size_t kSessionStates = static_cast<std::size_t>(SessionState::auth_failed) + 1;

// By ZooKeeper's answers.
struct ReplayFigures {
  std::uint64_t created = 0;  // znodes of registrations
  std::uint64_t set = 0;
  std::uint64_t removed = 0;
  std::array<std::uint64_t, kReasonCodes> refused = {};  // each time that a change was set aside, by why
  std::uint32_t in_flight = 0;                           // now
  std::uint32_t window = 0;                              // how many may be, now
};

struct SessionFigures {
  std::array<std::uint64_t, kSessionStates> entered = {};
  std::array<std::int64_t, kSessionStates> spent_ms = {};  // with the state that is not over yet
};

// Live registrations that end or step back by themselves; one may be in several.
struct LifetimeFigures {
  std::uint64_t process = 0;
  std::uint64_t connection = 0;
  std::uint64_t ttl = 0;
  std::uint64_t checks = 0;
  std::uint64_t expires = 0;
};

// The znodes above registrations that this agent created.
struct ParentFigures {
  std::uint64_t remembered = 0;  // now
  std::uint64_t created = 0;     // in this run
  std::uint64_t pruned = 0;      // in this run
  std::uint64_t forgotten = 0;   // in this run, because there were too many to remember
};

struct Figures {
  ReplayFigures replay;
  SessionFigures session;
  LifetimeFigures lifetimes;
  ParentFigures parents;
};

}  // namespace limpet::core
