// Names one process of this machine so that a later one with the same pid is not taken for it: pid, time of start and
// boot. Reads /proc and asks the kernel for pidfds; nothing here blocks beyond that. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "agent/liveness/descriptor.h"
#include "storage/error.h"
#include "storage/record.h"

namespace limpet::liveness {

// The living process `pid`, for a caller of uid `uid`; it must be one of that uid, unless `privileged`.
// Errors, as sentences for the caller: Errc::permission where the process is somebody else's, Errc::io where the agent
// is short of file descriptors, else Errc::invalid.
Result<ProcessId> find_process(std::int32_t pid, std::uint32_t uid, bool privileged);

// Of the machine's present boot; empty where the kernel does not say. The first call reads it, which takes a
// descriptor: the program makes it at its start, as everything bound to a process would pass for dead if it failed
// later.
const std::string& boot_id();

// For how long the machine has been suspended since it was booted, in milliseconds.
std::int64_t asleep_ms();

// ---- For ProcessWatcher

// A process that is to be watched: it lives, or `ended` says how it is known that it does not.
struct Grip {
  std::string ended;  // "pid 4321 has ended"; empty while it lives
  Descriptor pidfd;   // none where it has ended, or no descriptor was to be had
};

// Whether that very process lives, with a pidfd on it where `want_pidfd` and one is to be had. What cannot be told is
// taken to be alive.
Grip grip(const ProcessId& process, bool want_pidfd);

}  // namespace limpet::liveness
