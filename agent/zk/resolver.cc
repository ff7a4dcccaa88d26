#include "agent/zk/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

namespace limpet::zk {
namespace {

using boost::asio::ip::tcp;

// A name with very many addresses is a mistake; more than these help nobody.
constexpr std::size_t kMaxServers = 63;

void add(Resolved& out, Server server) {
  const bool known = std::any_of(out.servers.begin(), out.servers.end(),
                                 [&](const Server& other) { return other.endpoint == server.endpoint; });
  if (!known && out.servers.size() < kMaxServers) {
    out.servers.push_back(std::move(server));
  }
}

void look_up(const HostPort& host, Resolved& out) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int rc = ::getaddrinfo(host.host.c_str(), nullptr, &hints, &found);
  if (rc != 0) {
    const std::string why = rc == EAI_SYSTEM ? std::generic_category().message(errno) : ::gai_strerror(rc);
    out.failures.push_back("cannot resolve " + host.host + ": " + why);
    return;
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    tcp::endpoint endpoint;
    if ((entry->ai_family != AF_INET && entry->ai_family != AF_INET6) || entry->ai_addrlen > endpoint.capacity()) {
      continue;
    }
    endpoint.resize(entry->ai_addrlen);
    std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
    endpoint.port(host.port);
    add(out, {endpoint, to_string(host) + " (" + endpoint.address().to_string() + ")"});
  }
}

}  // namespace

Resolved resolve(const Hosts& hosts) {
  Resolved out;
  for (const auto& host : hosts.servers) {
    boost::system::error_code error;
    const auto address = boost::asio::ip::make_address(host.host, error);
    if (error) {
      look_up(host, out);
    } else {
      const tcp::endpoint endpoint(address, host.port);
      add(out, {endpoint, to_string(endpoint)});
    }
  }
  return out;
}

}  // namespace limpet::zk
