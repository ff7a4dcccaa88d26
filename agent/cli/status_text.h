// `limpet status` in plain words, for someone who looks at 03:12 with ZooKeeper down: what holds, what waits and why,
// and whether anything needs doing. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/cli/fields.h"
#include "agent/cli/terminal.h"

namespace limpet::cli {

struct StatusFacts {
  Json status;  // the answer of GET /v1/status
  // The first few registrations of each state that keeps them out of ZooKeeper (conflict, blocked, unhealthy,
  // maintenance), as the API shows them.
  std::vector<Json> outside;
};

struct StatusText {
  std::string text;             // ends with a line end
  bool needs_somebody = false;  // the agent cannot put it right by itself
};
StatusText describe_status(const StatusFacts& facts, const Terminal& terminal, std::int64_t now_ms);

// The same for --json, where no text is made.
bool needs_somebody(const Json& status, std::int64_t now_ms);

}  // namespace limpet::cli
