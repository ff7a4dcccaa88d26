// What limpet relies on of the ZooKeeper library beyond its header, tried on the library that is loaded.
#pragma once

#include <string>

namespace limpet::zk {

enum class Finding { untried, holds, broken };  // untried: no handle or socket could be had

// The library's log tells of a connection that fails, in the words that LibraryLog counts. ZkHandle::stands() goes by
// them: without them a request could overtake others that were lost with their connection. Tried on a connection to an
// address where nobody listens. Precondition: the library logs warnings.
Finding try_log_of_losses();

// A handle that was parked (parking.h) ends no session when it is closed. Tried on a session that a server of our own
// on loopback gives.
Finding try_parking();

// Tries both, each until it was once seen to hold in this process. Returns an empty string, or which assumption the
// library breaks and what to do. Blocks for some milliseconds, or up to ten seconds where one does not hold. Any
// thread. Precondition: as of try_log_of_losses().
std::string broken_assumption();

}  // namespace limpet::zk
