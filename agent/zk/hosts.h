// The list of ZooKeeper servers as it is configured, "zk1:2181,10.0.0.2:2181,[fd00::3]:2181/chroot", and the list as
// the C library is given it.
//
// Pure functions and plain values; any thread.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/error.h"

namespace limpet::zk {

inline constexpr std::uint16_t kDefaultPort = 2181;

struct HostPort {
  std::string host;  // a name, or a numeric address without brackets
  std::uint16_t port = kDefaultPort;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

struct Hosts {
  std::vector<HostPort> servers;  // at least one
  std::string chroot;             // empty, or "/a/b": what is put in front of every path
  friend bool operator==(const Hosts&, const Hosts&) = default;
};

// A server that can be connected to, and what people call it.
struct Server {
  boost::asio::ip::tcp::endpoint endpoint;
  std::string label;  // "10.0.0.2:2181" or "zk1:2181 (10.0.0.1)"
  friend bool operator==(const Server&, const Server&) = default;
};

// Errc::invalid with a message that names the part at fault, and no credentials. A port may be left out: 2181. Taken as
// well, because people have them in other programs' configuration: blanks between servers, commas too many, "zk://" or
// "zookeeper://" in front, the same chroot behind each server, a slash behind it, and Dubbo's "?backup=".
Result<Hosts> parse_hosts(std::string_view text);

// The chroot of such a list; empty where it has none, or does not parse.
std::string chroot_of(std::string_view text);

// "host:port", with brackets around an IPv6 address.
std::string to_string(const HostPort& host);
std::string to_string(const boost::asio::ip::tcp::endpoint& endpoint);

// The same list with one entry repeated if its length was even. The library moves its cursor two steps after a failed
// connect (ZOOKEEPER-2466): in a list of even length it never comes to half of the servers, and never pauses.
std::vector<boost::asio::ip::tcp::endpoint> pad_to_odd(std::vector<boost::asio::ip::tcp::endpoint> endpoints);

// Numeric, comma-separated, in the library's own spelling: no brackets, the port after the last colon.
std::string library_list(const std::vector<boost::asio::ip::tcp::endpoint>& endpoints);

}  // namespace limpet::zk
