// The first life of a command check's process. The agent starts itself anew under another name, and that becomes the
// registration's user, sheds what it inherited, and turns into the command. So nothing needs to be done between fork
// and exec in a program with threads, nothing that may block (the user database, a command on a dead network drive)
// holds up the agent, and the command's exit is that of the agent's own child.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace limpet::liveness {

// Whether this program was started to be such a child: main asks first of all.
bool is_check_child(int argc, char** argv);

// What main then returns, if at all: mostly it turns into the command.
int run_check_child(int argc, char** argv);

// The arguments to start it with.
std::vector<std::string> check_child_arguments(const std::vector<std::string>& command, std::uint32_t uid);

}  // namespace limpet::liveness
