// The process of a command check. The agent starts itself anew under another name: that is the run's supervisor, and
// has one child, which becomes the registration's user, sheds what it inherited, and turns into the command. So nothing
// needs to be done between fork and exec in a program with threads, and nothing that may block (the user database, a
// command on a dead network drive) holds up the agent.
//
// The supervisor ends as the command did, when nothing of it is left: it is the reaper of all that the command started,
// also of what left the command's session, and kills that. SIGTERM, or the end of the agent, has it kill the command.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace limpet::liveness {

// Whether this program was started to be such a supervisor: main asks first of all.
bool is_check_child(int argc, char** argv);

// What main then does. Does not return but for an error.
int run_check_child(int argc, char** argv);

// The arguments to start it with. `cgroup`: an existing cgroup, below which it makes one for the command; may be empty.
std::vector<std::string> check_child_arguments(const std::vector<std::string>& command, std::uint32_t uid,
                                               const std::string& cgroup);

}  // namespace limpet::liveness
