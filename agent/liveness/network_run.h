// A run of a tcp or http check. tcp: somebody accepts. http: GET, and the status of the answer is as wanted; redirects
// are not followed, and of an answer at most 16 KiB of head and 4 KiB of body are read.
//
// Core thread only. `off_thread` and the io_context outlive the run.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>

#include "agent/liveness/check_run.h"
#include "agent/liveness/off_thread.h"
#include "storage/record.h"

namespace limpet::liveness {

// Begins it; `done` is not called from within. Unix sockets are connected with the rights of `uid`.
std::shared_ptr<CheckRun> start_network_run(boost::asio::io_context& io, OffThread& off_thread, const Check& check,
                                            std::uint32_t uid, CheckRun::Done done);

}  // namespace limpet::liveness
