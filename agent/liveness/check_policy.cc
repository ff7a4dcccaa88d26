#include "agent/liveness/check_policy.h"

#include <fmt/format.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <optional>

#include "agent/liveness/check_target.h"
#include "agent/liveness/descriptor.h"

namespace limpet::liveness {
namespace {

namespace ip = boost::asio::ip;

constexpr unsigned kMappedBits = 96;  // of an IPv6 address in front of an IPv4 one

// IPv4 addresses are compared as IPv6 has them, ::ffff:a.b.c.d, so that none slips through in the other form.
ip::address_v6 unified(const ip::address& address) {
  return address.is_v4() ? ip::make_address_v6(ip::v4_mapped, address.to_v4()) : address.to_v6();
}

ip::address plain(const ip::address& address) {
  return address.is_v6() && address.to_v6().is_v4_mapped() ? ip::make_address_v4(ip::v4_mapped, address.to_v6())
                                                           : address;
}

bool begins_alike(const ip::address_v6& a, const ip::address_v6& b, unsigned bits) {
  const auto x = a.to_bytes();
  const auto y = b.to_bytes();
  const unsigned whole = bits / 8;
  const unsigned rest = bits % 8;
  const auto mask = static_cast<unsigned char>(0xFF00u >> rest);
  return std::equal(x.begin(), x.begin() + whole, y.begin()) && (rest == 0 || ((x[whole] ^ y[whole]) & mask) == 0);
}

bool link_local(const ip::address& address) {
  if (address.is_v6()) {
    return address.to_v6().is_link_local();
  }
  const auto bytes = address.to_v4().to_bytes();
  return bytes[0] == 169 && bytes[1] == 254;
}

// Whether an interface of this host has the IPv4 address; netdevice(7). Not by netlink, which the unit does without.
bool assigned_v4(const ip::address_v4& address) {
  constexpr std::size_t kMostAddresses = 4096;
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (std::size_t room = 64; socket && room <= kMostAddresses; room *= 4) {
    std::vector<ifreq> found(room);
    ifconf query{};
    query.ifc_len = static_cast<int>(found.size() * sizeof(ifreq));
    query.ifc_req = found.data();
    if (::ioctl(socket.get(), SIOCGIFCONF, &query) != 0) {
      return false;
    }
    const std::size_t count = static_cast<std::size_t>(query.ifc_len) / sizeof(ifreq);
    for (std::size_t i = 0; i < count; ++i) {
      const auto* entry = reinterpret_cast<const sockaddr_in*>(&found[i].ifr_addr);
      if (ntohl(entry->sin_addr.s_addr) == address.to_uint()) {
        return true;
      }
    }
    if (count < room) {
      return false;
    }
  }
  return false;
}

// The same for IPv6: a line of /proc/net/if_inet6 begins with 32 hexadecimal digits, proc(5).
bool assigned_v6(const ip::address_v6& address) {
  std::string digits;
  for (const unsigned char byte : address.to_bytes()) {
    digits += fmt::format("{:02x}", byte);
  }
  std::ifstream stream("/proc/net/if_inet6");
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(digits)) {
      return true;
    }
  }
  return false;
}

bool assigned(const ip::address& address) {
  return address.is_v4() ? assigned_v4(address.to_v4()) : assigned_v6(address.to_v6());
}

// An unspecified address is taken by the kernel for the loopback.
bool of_this_host(const ip::address& address) {
  return address.is_loopback() || address.is_unspecified() || assigned(address);
}

std::optional<unsigned> parse_prefix(std::string_view text, unsigned most) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && value <= most ? std::optional(value) : std::nullopt;
}

std::string_view name_of_switch(CheckType type) {
  switch (type) {
    case CheckType::tcp:
      return "tcp_checks";
    case CheckType::http:
      return "http_checks";
    case CheckType::command:
      return "command_checks";
  }
  return "";
}

Status refused(std::string why) {
  return {Errc::permission, std::move(why)};
}

}  // namespace

Result<CheckTargets> CheckTargets::parse(const std::vector<std::string>& list) {
  CheckTargets targets;
  targets.host_ = false;
  targets.text_.clear();
  for (const std::string& entry : list) {
    targets.text_ += (targets.text_.empty() ? "" : ",") + entry;
    if (entry == "host" || entry == "any") {
      (entry == "host" ? targets.host_ : targets.any_) = true;
      continue;
    }
    const std::size_t slash = entry.find('/');
    boost::system::error_code error;
    const ip::address base = ip::make_address(entry.substr(0, slash), error);
    const unsigned most = !error && base.is_v4() ? 32 : 128;
    const auto prefix = slash == std::string::npos ? std::optional(most) : parse_prefix(entry.substr(slash + 1), most);
    if (error || !prefix) {
      return Status(Errc::invalid,
                    fmt::format("\"host\", \"any\", a network such as 10.0.0.0/8 or an address is needed, "
                                "not \"{}\"",
                                entry));
    }
    targets.networks_.push_back({unified(base), *prefix + (base.is_v4() ? kMappedBits : 0)});
  }
  return targets;
}

bool CheckTargets::allow(const ip::address& given) const {
  const ip::address address = plain(given);
  const bool named = std::any_of(networks_.begin(), networks_.end(), [&](const Network& network) {
    return begins_alike(unified(address), network.base, network.prefix) &&
           (!link_local(address) || link_local(plain(network.base)));
  });
  return named || (!link_local(address) && (any_ || (host_ && of_this_host(address))));
}

Status permits_address(const CheckPolicy& policy, const ip::address& address) {
  if (policy.targets.allow(address)) {
    return {};
  }
  return refused(fmt::format("{} is not among the addresses that checks may connect to (check_targets: {})",
                             address.to_string(), policy.targets.text().empty() ? "none" : policy.targets.text()));
}

Status permits(const CheckPolicy& policy, const Check& check, bool by_agent) {
  const bool on = check.type == CheckType::tcp    ? policy.tcp_checks
                  : check.type == CheckType::http ? policy.http_checks
                                                  : policy.command_checks || by_agent;
  if (!on) {
    return refused(fmt::format("checks of this type are switched off in the agent's configuration ({}{})",
                               name_of_switch(check.type),
                               check.type == CheckType::command ? "; files in registrations.d may have them" : ""));
  }
  if (check.type == CheckType::command) {
    return {};
  }
  const auto target = check.type == CheckType::tcp ? parse_address(check.target) : parse_url(check.target);
  if (!target.ok()) {
    return target.status();
  }
  if (!target->socket.empty()) {
    return target->socket == policy.own_socket
               ? refused("the target is the agent's own socket, which no check connects to")
               : Status();
  }
  boost::system::error_code not_numeric;
  const ip::address address = ip::make_address(target->host, not_numeric);
  if (!not_numeric) {
    return permits_address(policy, address);
  }
  return {};
}

}  // namespace limpet::liveness
