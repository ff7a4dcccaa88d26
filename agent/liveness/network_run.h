// A run of a tcp or http check. tcp: somebody accepts. http: GET, and the status of the answer is as wanted; redirects
// are not followed, and of an answer at most 16 KiB of head are read and no body: what a service says is for its own
// callers, not for whoever has it checked.
//
// Core thread only. `shared` outlives the run.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>

#include "agent/liveness/blocking_pool.h"
#include "agent/liveness/check_policy.h"
#include "agent/liveness/check_run.h"
#include "agent/liveness/name_lookups.h"
#include "storage/record.h"

namespace limpet::liveness {

// What all network runs have in common.
struct NetworkRuns {
  explicit NetworkRuns(boost::asio::io_context& event_loop) : io(event_loop), names(event_loop) {}

  boost::asio::io_context& io;
  CheckPolicy policy;
  NameLookups names;
  BlockingPool connects{{}};  // of unix sockets: a dead network drive holds up nobody's look-ups
};

// Begins it; neither `begun` nor `done` is called from within. Unix sockets are connected with the rights of `uid`.
std::shared_ptr<CheckRun> start_network_run(NetworkRuns& shared, const Check& check, std::uint32_t uid,
                                            CheckRun::Begun begun, CheckRun::Done done);

}  // namespace limpet::liveness
