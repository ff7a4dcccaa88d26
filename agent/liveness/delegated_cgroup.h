// The cgroup that a service manager lets the agent divide (systemd: Delegate=), for the processes of command checks.
// Main thread, at start.
#pragma once

#include <string>

namespace limpet::liveness {

// Moves this program into a cgroup `agent` below its own, as one that holds processes cannot have controllers for those
// below it, and makes `checks` beside it; what an earlier run left there is killed. Returns the path of `checks`, or
// nothing where no cgroup of version 2 was delegated.
std::string divide_delegated_cgroup();

}  // namespace limpet::liveness
