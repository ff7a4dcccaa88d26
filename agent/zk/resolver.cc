#include "agent/zk/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

namespace limpet::zk {
namespace {

using boost::asio::ip::tcp;

// A name with very many addresses is a mistake; more than these help nobody.
constexpr std::size_t kMaxResolved = 63;

}  // namespace

LookedUp look_up(const std::string& name) {
  boost::system::error_code error;
  if (const auto address = boost::asio::ip::make_address(name, error); !error) {
    return {{address}, ""};
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int rc = ::getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (rc != 0) {
    const std::string why = rc == EAI_SYSTEM ? std::generic_category().message(errno) : ::gai_strerror(rc);
    return {{}, "cannot resolve " + name + ": " + why};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  LookedUp result;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    tcp::endpoint endpoint;
    if ((entry->ai_family != AF_INET && entry->ai_family != AF_INET6) || entry->ai_addrlen > endpoint.capacity()) {
      continue;
    }
    endpoint.resize(entry->ai_addrlen);
    std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
    result.addresses.push_back(endpoint.address());
  }
  if (result.addresses.empty()) {
    result.failure = "cannot resolve " + name + ": it has no address";
  }
  return result;
}

std::vector<Server> servers_of(const Hosts& hosts, const AddressesOf& addresses_of) {
  std::vector<Server> servers;
  for (const HostPort& host : hosts.servers) {
    boost::system::error_code error;
    boost::asio::ip::make_address(host.host, error);
    const bool named = static_cast<bool>(error);
    for (const auto& address : addresses_of(host.host)) {
      const tcp::endpoint endpoint(address, host.port);
      const bool known =
          std::any_of(servers.begin(), servers.end(), [&](const Server& other) { return other.endpoint == endpoint; });
      if (!known && servers.size() < kMaxResolved) {
        servers.push_back({endpoint, named ? to_string(host) + " (" + address.to_string() + ")" : to_string(endpoint)});
      }
    }
  }
  return servers;
}

Resolved resolve(const Hosts& hosts) {
  Resolved out;
  out.servers = servers_of(hosts, [&](const std::string& name) {
    LookedUp found = look_up(name);
    if (!found.failure.empty()) {
      out.failures.push_back(std::move(found.failure));
    }
    return std::move(found.addresses);
  });
  return out;
}

}  // namespace limpet::zk
