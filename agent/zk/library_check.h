// What limpet relies on of the ZooKeeper library beyond its header, tried on the library that is loaded.
#pragma once

namespace limpet::zk {

// Whether the library's log tells of a connection that fails, in the words that LibraryLog counts. ZkHandle::stands()
// goes by them: without them a request could overtake others that were lost with their connection. Tries it with a
// connection to an address where nothing listens, once in a process that succeeds. False only where that was seen to
// fail, and not where the library could make no handle. Blocks for some milliseconds, or, where it fails, for ten
// seconds. Any thread. Precondition: the library logs warnings.
bool library_tells_of_losses();

}  // namespace limpet::zk
