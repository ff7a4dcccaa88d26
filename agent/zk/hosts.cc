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
constexpr std::string_view kMissing = "a server is missing; it looks like \"zk1:2181,zk2:2181,zk3:2181\"";

Status invalid(std::string message) {
  return {Errc::invalid, "zookeeper: " + std::move(message)};
}

std::string in_quotes(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
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

// The chroots behind each server must be the same. A slash at the end is ignored.
Result<std::string> common_chroot(const std::vector<std::string_view>& chroots) {
  std::string common;
  for (std::size_t i = 0; i < chroots.size(); ++i) {
    std::string_view chroot = chroots[i];
    if (chroot.ends_with('/')) {
      chroot.remove_suffix(1);
    }
    if (Status status = check_chroot(chroot); !status) {
      return status;
    }
    if (i != 0 && chroot != common) {
      return invalid("two chroots, " + in_quotes(common) + " and " + in_quotes(chroot) + "; all servers have the same");
    }
    common = std::string(chroot);
  }
  return common;
}

bool same_but_for_case(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b; });
}

// Takes off the scheme that Mesos and Dubbo use: "zk://zk1:2181/chroot",
// "zookeeper://zk1:2181?backup=zk2:2181,zk3:2181".
Result<std::string_view> without_scheme(std::string_view text) {
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) {
    return text;
  }
  const std::string_view scheme = text.substr(0, colon);
  if (!same_but_for_case(scheme, "zk") && !same_but_for_case(scheme, "zookeeper")) {
    return invalid(in_quotes(scheme) + " is not ZooKeeper's scheme; the list looks like \"zk1:2181,zk2:2181/chroot\"");
  }
  return text.substr(colon + 3);
}

// Cuts the text at commas and blanks, and leaves out empty entries. At least one.
Result<std::vector<std::string_view>> entries_of(std::string_view text) {
  if (text.find('@') != std::string_view::npos) {
    return invalid("there is an @: credentials do not belong here, but into the file that zookeeper_credentials names");
  }
  auto rest = without_scheme(trim(text));
  if (!rest) {
    return rest.status();
  }
  constexpr std::string_view kBetween = ", \t\r\n";
  constexpr std::string_view kBackup = "?backup=";
  std::vector<std::string_view> entries;
  const auto cut = [&](std::string_view list) {
    for (std::size_t from = 0; (from = list.find_first_not_of(kBetween, from)) != std::string_view::npos;) {
      const std::size_t to = std::min(list.find_first_of(kBetween, from), list.size());
      entries.push_back(list.substr(from, to - from));
      from = to;
    }
  };
  const auto backup = rest.value().find(kBackup);
  cut(rest.value().substr(0, backup));
  if (backup != std::string_view::npos) {
    cut(rest.value().substr(backup + kBackup.size()));
  }
  if (entries.empty()) {
    return invalid(std::string(kMissing));
  }
  return entries;
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
  if (entry.empty()) {
    return invalid(std::string(kMissing));
  }
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
  auto entries = entries_of(text);
  if (!entries) {
    return entries.status();
  }
  Hosts hosts;
  std::vector<std::string_view> chroots;
  for (std::string_view entry : entries.value()) {
    const auto slash = entry.find('/');
    if (slash != std::string_view::npos) {
      chroots.push_back(entry.substr(slash));
    }
    auto parsed = parse_entry(entry.substr(0, slash));
    if (!parsed) {
      return parsed.status();
    }
    if (std::find(hosts.servers.begin(), hosts.servers.end(), parsed.value()) == hosts.servers.end()) {
      hosts.servers.push_back(std::move(parsed.value()));
    }
  }
  if (hosts.servers.size() > kMaxServers) {
    return invalid("more than " + std::to_string(kMaxServers) + " servers");
  }
  const bool last_has_one = entries.value().back().find('/') != std::string_view::npos;
  if (!chroots.empty() && (!last_has_one || (chroots.size() != 1 && chroots.size() != entries.value().size()))) {
    return invalid("the chroot " + in_quotes(chroots.front()) +
                   " stands behind some servers only; it stands once, behind " + "the last server, or behind each");
  }
  auto chroot = common_chroot(chroots);
  if (!chroot) {
    return chroot.status();
  }
  hosts.chroot = std::move(chroot.value());
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
