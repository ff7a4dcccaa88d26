// Runs of command checks: processes of the registration's user, each a group of its own, with nothing of the agent's
// but a pipe for what they say, of which the first 4 KiB count. When the command ends, or is dropped, the whole group
// is killed, so that nothing is left behind.
//
// Core thread only; nothing blocks. The io_context outlives it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/liveness/check_run.h"

namespace limpet::liveness {

// Begins it; `done` is not called from within.
std::shared_ptr<CheckRun> start_command_run(boost::asio::io_context& io, const std::vector<std::string>& command,
                                            std::uint32_t uid, CheckRun::Done done);

}  // namespace limpet::liveness
