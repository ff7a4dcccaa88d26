#include "agent/zk/hosts.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>

namespace limpet::zk {
namespace {

using boost::asio::ip::tcp;

constexpr std::size_t kMaxServers = 64;
constexpr std::size_t kMaxHostName = 253;  // RFC 1035 without the root's dot
constexpr std::size_t kMaxChroot = 1024;

Status invalid(std::string message) {
  return {Errc::invalid, "zookeeper: " + std::move(message)};
}

std::string in_quotes(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_host_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxHostName &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; });
}

// The characters that CONTRACT allows in a znode's name.
bool is_segment(std::string_view segment) {
  constexpr std::string_view kOther = "._:@+=~%,-";
  return !segment.empty() && segment != "." && segment != ".." &&
         std::all_of(segment.begin(), segment.end(),
                     [&](char c) { return is_alnum(c) || kOther.find(c) != std::string_view::npos; });
}

Status check_chroot(std::string_view chroot) {
  if (chroot.size() > kMaxChroot) {
    return invalid("the chroot is longer than " + std::to_string(kMaxChroot) + " bytes");
  }
  if (chroot.find(',') != std::string_view::npos) {
    return invalid("the chroot " + in_quotes(chroot) + " holds a comma; it stands once, behind the last server");
  }
  std::string_view rest = chroot;
  bool first = true;
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view segment = rest.substr(0, rest.find('/'));
    if (!is_segment(segment)) {
      return invalid("the chroot " + in_quotes(chroot) + " is not a path of a znode");
    }
    if (first && segment == "zookeeper") {
      return invalid("the chroot " + in_quotes(chroot) + " lies in ZooKeeper's own tree");
    }
    first = false;
    rest.remove_prefix(segment.size());
  }
  return {};
}

Result<std::uint16_t> parse_port(std::string_view text, std::string_view entry) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0 || port > 65535) {
    return invalid("the port of " + in_quotes(entry) + " is not a number from 1 to 65535");
  }
  return static_cast<std::uint16_t>(port);
}

Result<HostPort> parse_entry(std::string_view entry) {
  HostPort out;
  std::string_view port;
  bool has_port = false;
  if (entry.starts_with('[')) {
    const auto end = entry.find(']');
    if (end == std::string_view::npos) {
      return invalid("no ] after the address in " + in_quotes(entry));
    }
    out.host = std::string(entry.substr(1, end - 1));
    boost::system::error_code error;
    boost::asio::ip::make_address_v6(out.host, error);
    if (error) {
      return invalid("no IPv6 address within the brackets of " + in_quotes(entry));
    }
    const std::string_view rest = entry.substr(end + 1);
    has_port = !rest.empty();
    if (has_port && rest.front() != ':') {
      return invalid("only :port may follow the ] in " + in_quotes(entry));
    }
    port = has_port ? rest.substr(1) : rest;
  } else {
    const auto colon = entry.find(':');
    if (colon != entry.rfind(':')) {
      return invalid(in_quotes(entry) + " has more than one colon; an IPv6 address stands in brackets: [fd00::1]:2181");
    }
    has_port = colon != std::string_view::npos;
    out.host = std::string(entry.substr(0, colon));
    port = has_port ? entry.substr(colon + 1) : std::string_view();
    if (!is_host_name(out.host)) {
      return invalid("no host name or address in " + in_quotes(entry));
    }
  }
  if (has_port) {
    const auto parsed = parse_port(port, entry);
    if (!parsed) {
      return parsed.status();
    }
    out.port = parsed.value();
  }
  return out;
}

std::string address_text(const boost::asio::ip::address& address) {
  // The number of the interface, not its name: the library looks the text up again and again, and spins if that fails
  // because the interface has gone.
  if (address.is_v6() && address.to_v6().scope_id() != 0) {
    auto plain = address.to_v6();
    plain.scope_id(0);
    return plain.to_string() + "%" + std::to_string(address.to_v6().scope_id());
  }
  return address.to_string();
}

}  // namespace

Result<Hosts> parse_hosts(std::string_view text) {
  Hosts hosts;
  text = trim(text);
  const auto slash = text.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view chroot = text.substr(slash);
    if (chroot != "/") {
      if (Status status = check_chroot(chroot); !status) {
        return status;
      }
      hosts.chroot = std::string(chroot);
    }
    text = text.substr(0, slash);
  }
  for (;;) {
    const auto comma = text.find(',');
    const std::string_view entry = trim(text.substr(0, comma));
    if (entry.empty()) {
      return invalid("a server is missing; it looks like \"zk1:2181,zk2:2181,zk3:2181\"");
    }
    auto parsed = parse_entry(entry);
    if (!parsed) {
      return parsed.status();
    }
    if (std::find(hosts.servers.begin(), hosts.servers.end(), parsed.value()) == hosts.servers.end()) {
      hosts.servers.push_back(std::move(parsed.value()));
    }
    if (comma == std::string_view::npos) {
      break;
    }
    text.remove_prefix(comma + 1);
  }
  if (hosts.servers.size() > kMaxServers) {
    return invalid("more than " + std::to_string(kMaxServers) + " servers");
  }
  return hosts;
}

std::string chroot_of(std::string_view text) {
  const auto hosts = parse_hosts(text);
  return hosts.ok() ? hosts->chroot : "";
}

std::string to_string(const HostPort& host) {
  const bool v6 = host.host.find(':') != std::string::npos;
  return (v6 ? "[" + host.host + "]" : host.host) + ":" + std::to_string(host.port);
}

std::string to_string(const tcp::endpoint& endpoint) {
  return to_string(HostPort{address_text(endpoint.address()), endpoint.port()});
}

std::vector<tcp::endpoint> pad_to_odd(std::vector<tcp::endpoint> endpoints) {
  if (!endpoints.empty() && endpoints.size() % 2 == 0) {
    endpoints.push_back(endpoints.front());
  }
  return endpoints;
}

std::string library_list(const std::vector<tcp::endpoint>& endpoints) {
  std::string list;
  for (const auto& endpoint : endpoints) {
    if (!list.empty()) {
      list += ',';
    }
    list += address_text(endpoint.address()) + ":" + std::to_string(endpoint.port());
  }
  return list;
}

}  // namespace limpet::zk
