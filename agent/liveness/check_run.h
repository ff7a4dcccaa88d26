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
  // Likewise, before Done, where the run queued for a thread when it was started.
  using Begun = std::function<void()>;

  virtual ~CheckRun() = default;

  // Whether it queues for a thread, and has not looked at anything yet: its time begins with Begun.
  virtual bool queued() const { return false; }

  // Lets go of everything; nothing is called any more. Does not block.
  virtual void drop() = 0;

  // The words for a run that took longer than `limit`, such as "1s": "no answer within 1s". Called before drop().
  virtual std::string timed_out(const std::string& limit) const = 0;

  // Whether something of it is still there, although it was dropped: a process that has still to end.
  virtual bool lingers() const { return false; }
};

}  // namespace limpet::liveness
