// What health checks may reach and run, by the configuration: a check is carried out by the agent, from the agent's
// place and with its rights, so its user must not get further by it than the administrator means.
//
// Plain values; whether an address is of this host is asked of the kernel, which does not block. Any thread.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/error.h"
#include "storage/record.h"

namespace limpet::liveness {

// The addresses that tcp and http checks may connect to. By default those of this host, without the link-local ones.
class CheckTargets {
 public:
  // A list of "host" (addresses of this host), "any", networks such as "10.0.0.0/8" and addresses. A link-local address
  // (169.254.0.0/16, fe80::/10), where clouds keep their credentials, is allowed only by a network that names it.
  static Result<CheckTargets> parse(const std::vector<std::string>& list);

  bool allow(const boost::asio::ip::address& address) const;
  const std::string& text() const { return text_; }  // the list, separated by commas

 private:
  struct Network {
    boost::asio::ip::address_v6 base;  // IPv4 as mapped into IPv6
    unsigned prefix = 128;
  };

  bool host_ = true;
  bool any_ = false;
  std::vector<Network> networks_;
  std::string text_ = "host";
};

struct CheckPolicy {
  bool tcp_checks = true;
  bool http_checks = true;
  // Of registrations that came by the API. Those of registrations.d have theirs: who writes there is root or the agent.
  bool command_checks = false;
  CheckTargets targets;
  std::string own_socket;  // of the agent's API, which no check connects to
};

// Why `check` is not carried out; an error's words follow the name of the field at fault. `by_agent`: it is for a
// registration of the agent's own user. A host's name is judged by its addresses only, when they are known.
Status permits(const CheckPolicy& policy, const Check& check, bool by_agent);

// Why no check connects to this address.
Status permits_address(const CheckPolicy& policy, const boost::asio::ip::address& address);

}  // namespace limpet::liveness
