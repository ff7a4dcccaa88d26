// Connects to unix sockets with the rights of the user whose check it is: an agent that runs as root must not open for
// a user what is closed to them, and the program at the other end sees that user, not root.
#pragma once

#include <cstdint>
#include <string>

#include "agent/liveness/descriptor.h"
#include "storage/error.h"

namespace limpet::liveness {

// A connected stream socket, close-on-exec and not blocking; an error is a few words for people, Errc::full where the
// agent itself is short of something. The agent's own socket, by whatever path, is refused: the agent must not ask
// itself for what its user may not ask. An agent that is not root connects as itself. Changes the credentials of the
// calling thread for a moment, never those of others; may block, on the user database and the file system: never called
// on the core thread. Any other thread.
Result<Descriptor> connect_unix_as(std::uint32_t uid, const std::string& path, const std::string& own_socket);

}  // namespace limpet::liveness
