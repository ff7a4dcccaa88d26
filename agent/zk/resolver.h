// Looks up the names of ZooKeeper servers. The C library does so too, in its own I/O thread and again and again; it is
// given numeric addresses only.
//
// Blocks for as long as the system's resolver does: called on the zk-life thread.
#pragma once

#include <string>
#include <vector>

#include "agent/zk/hosts.h"

namespace limpet::zk {

struct Resolved {
  std::vector<Server> servers;        // in the order of the configuration, each endpoint once; may be empty
  std::vector<std::string> failures;  // "cannot resolve zk1: Name or service not known"
};

// Every address of every host. Numeric addresses are not looked up.
Resolved resolve(const Hosts& hosts);

}  // namespace limpet::zk
