// Who is at the other end of a unix socket, as the kernel says. Any thread.
#pragma once

#include <optional>

#include "agent/core/types.h"

namespace limpet::api {

// Stands for every user that has no number here, of another user namespace or of a file system over the network: it is
// nobody in particular, and may do nothing.
inline constexpr std::uint32_t kOverflowUid = 65'534;

// uid, pid and privilege of the process that connected `fd`; nullopt where the kernel does not say. To the kernel the
// root of a container is root, unless the container has a user namespace: privileged is who shares the agent's
// user and pid namespace. Mount namespaces are not compared: a service manager gives the agent one of its own.
std::optional<core::Caller> identify_peer(int fd);

// Where the process that connected runs, beside the agent.
struct PeerPlace {
  bool known = false;  // it could be looked at: it lives, and the agent sees it. Otherwise nothing below holds
  bool shares_namespaces = false;  // user and pid namespace
  bool shares_pid_namespace = false;
  std::int32_t pid = 0;      // in the agent's pid namespace
  std::int32_t own_pid = 0;  // in its own
};

// By /proc, and by a pidfd of the process that connected (SO_PEERPIDFD, from Linux 6.5 on; before that by its number).
PeerPlace locate_peer(int fd);

// Its groups, its own first, into caller.groups; none where the kernel does not say.
void read_peer_groups(int fd, core::Caller& caller);

// The name of the process caller.owner.pid, fit for printing, into caller.program; none where it has ended.
void read_program(core::Caller& caller);

}  // namespace limpet::api
