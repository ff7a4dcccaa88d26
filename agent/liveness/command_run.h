// Runs of command checks: processes of the registration's user, each in a session of its own, with nothing of the
// agent's but a pipe for what they say, of which the first 4 KiB count. When the command ends, or is dropped, all that
// it started is killed, so that nothing is left behind; see check_child.h.
//
// Core thread only; nothing blocks. The io_context outlives it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/liveness/check_run.h"

namespace limpet::liveness {

// What all command runs have in common.
struct CommandRuns {
  explicit CommandRuns(boost::asio::io_context& event_loop) : io(event_loop) {}

  boost::asio::io_context& io;
  std::string cgroup;              // below which each run has one of its own; empty: none
  std::set<std::int32_t> running;  // pids of the agent's children, until they are waited for
};

// Begins it; `done` is not called from within.
std::shared_ptr<CheckRun> start_command_run(const std::shared_ptr<CommandRuns>& shared,
                                            const std::vector<std::string>& command, std::uint32_t uid,
                                            CheckRun::Done done);

}  // namespace limpet::liveness
