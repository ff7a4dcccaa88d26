// What a return code of the ZooKeeper C library means for a request: it happened, it was refused, it was not sent, or
// nobody knows.
//
// Pure functions of numbers; any thread. The numbers themselves are in <zookeeper/zookeeper.h>.
#pragma once

#include <string>

#include "agent/core/types.h"

namespace limpet::zk {

// The code that a completion was called with. Where it is not certain that a request did not happen, the answer is
// `unknown_outcome`; what a server refuses is `refused` or a closer word.
core::ZkCode completion_code(int rc);

// True for the answer of a server that takes no request from a client that has not authenticated itself, and closes its
// connection (enforce.auth.enabled).
bool demands_authentication(int rc);

// True for the answer to an ephemeral create on a local session that the servers may not make a global one.
bool demands_global_session(int rc);

// The code that a call of the library returned instead of taking the request: it certainly did not go out.
// Precondition: rc is not ZOK.
core::ZkCode submit_code(int rc);

// The library's own words and the number, for people: "not authenticated (-102)".
std::string describe_code(int rc);

}  // namespace limpet::zk
