// Who is at the other end of a unix socket, as the kernel says. Any thread.
#pragma once

#include <optional>

#include "agent/core/types.h"

namespace limpet::api {

// Stands for every user that has no number here, of another user namespace or of a file system over the network: it is
// nobody in particular, and may do nothing.
inline constexpr std::uint32_t kOverflowUid = 65'534;

// uid, pid and privilege of the process that connected `fd`; nullopt where the kernel does not say.
std::optional<core::Caller> identify_peer(int fd);

// Its groups, its own first, into caller.groups; none where the kernel does not say.
void read_peer_groups(int fd, core::Caller& caller);

// The name of the process caller.owner.pid, fit for printing, into caller.program; none where it has ended.
void read_program(core::Caller& caller);

}  // namespace limpet::api
