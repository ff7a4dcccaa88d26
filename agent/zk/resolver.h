// Looks up the names of ZooKeeper servers. The C library does so too, in its own I/O thread and again and again; it is
// given numeric addresses only.
//
// Blocks for as long as the system's resolver does, half a minute where its name servers are gone; any thread.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <functional>
#include <string>
#include <vector>

#include "agent/zk/hosts.h"

namespace limpet::zk {

struct LookedUp {
  std::vector<boost::asio::ip::address> addresses;
  std::string failure;  // "cannot resolve zk1: Name or service not known"; empty: it resolves
};

// The addresses of one name. A numeric address is not looked up.
LookedUp look_up(const std::string& name);

// Every address that `addresses_of` gives for a host of the list, with the host's port: in the order of the list, each
// endpoint once, no more than a bound.
using AddressesOf = std::function<std::vector<boost::asio::ip::address>(const std::string& host)>;
std::vector<Server> servers_of(const Hosts& hosts, const AddressesOf& addresses_of);

struct Resolved {
  std::vector<Server> servers;        // as servers_of(); may be empty
  std::vector<std::string> failures;  // of names, as in LookedUp
};

// All names, one after the other.
Resolved resolve(const Hosts& hosts);

}  // namespace limpet::zk
