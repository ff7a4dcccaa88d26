// One run of a check, under way: what CheckSchedule knows of it. Core thread only.
#pragma once

#include <functional>
#include <string>

#include "agent/liveness/health.h"

namespace limpet::liveness {

class CheckRun {
 public:
  // Called once, from the event loop, unless the run was dropped before.
  using Done = std::function<void(Finding)>;

  virtual ~CheckRun() = default;

  // Lets go of everything; Done does not come any more. Does not block.
  virtual void drop() = 0;

  // The words for a run that took longer than `limit`, such as "1s": "no answer within 1s". Called before drop().
  virtual std::string timed_out(const std::string& limit) const = 0;

  // Whether something of it is still there, although it was dropped: a process that has still to end.
  virtual bool lingers() const { return false; }
};

}  // namespace limpet::liveness
