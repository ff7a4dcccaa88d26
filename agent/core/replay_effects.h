// What a step of the replay asks of Core: requests to send, and changes to write and to tell.
#pragma once

#include <vector>

#include "agent/core/event.h"
#include "agent/core/types.h"

namespace limpet::core {

struct ReplayEffects {
  Actions& actions;
  std::vector<PutOutcome> outcomes;    // confirmed
  std::vector<Removal> removals_done;  // by seq and id
  std::vector<HistoryEntry> history;   // what, to what, why; without event and time
  std::vector<Parent> parents = {};    // created, in places of ours; without times, and once more with their czxid
};

}  // namespace limpet::core
