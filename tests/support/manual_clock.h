// A clock that stands until it is told to go on. Owned by the test; whatever shall share its time keeps a reference.
// Plain value, one thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "agent/core/types.h"

namespace limpet::test {

class ManualClock {
 public:
  core::Now now() const { return now_; }
  std::int64_t steady_ms() const { return now_.steady_ms; }

  // Lets `ms` >= 0 pass on both clocks.
  void advance(std::int64_t ms) {
    now_.steady_ms += ms;
    now_.wall_ms += ms;
  }

  // Lets time pass until `steady_ms`; nothing where that is past.
  void advance_to(std::int64_t steady_ms) { advance(std::max<std::int64_t>(0, steady_ms - now_.steady_ms)); }

  // The machine is suspended for so long: the monotonic clock stands.
  void suspend(std::int64_t ms) {
    now_.asleep_ms += ms;
    now_.wall_ms += ms;
  }

  // Somebody set the wall clock; the monotonic one does not care.
  void jump_wall(std::int64_t ms) { now_.wall_ms += ms; }

 private:
  core::Now now_{1'000'000, 1'800'000'000'000, 0};
};

}  // namespace limpet::test
