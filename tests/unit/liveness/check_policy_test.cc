// What checks may reach and run.
#include "agent/liveness/check_policy.h"

#include <gtest/gtest.h>
#include <ifaddrs.h>

#include <boost/asio/ip/tcp.hpp>
#include <cstring>

#include "tests/unit/liveness/checks.h"

namespace limpet::liveness {
namespace {

bool allows(const std::vector<std::string>& list, const char* address) {
  return CheckTargets::parse(list)->allow(boost::asio::ip::make_address(address));
}

TEST(CheckTargets, StandForThisHostByDefault) {
  const CheckTargets targets;
  for (const char* address : {"127.0.0.1", "127.200.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(targets.allow(boost::asio::ip::make_address(address))) << address;
  }
  for (const char* address : {"192.0.2.1", "169.254.169.254", "fe80::1", "2001:db8::1", "::ffff:192.0.2.1"}) {
    EXPECT_FALSE(targets.allow(boost::asio::ip::make_address(address))) << address;
  }
}

// What `ip addr` says, of the interfaces that this machine happens to have.
TEST(CheckTargets, StandForEveryAddressOfThisHostThatIsNotLinkLocal) {
  ifaddrs* list = nullptr;
  ASSERT_EQ(::getifaddrs(&list), 0);
  const CheckTargets targets;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const int family = entry->ifa_addr == nullptr ? AF_UNSPEC : entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) {
      continue;
    }
    boost::asio::ip::tcp::endpoint endpoint;
    // The size before the family is set is that of IPv4.
    std::memcpy(endpoint.data(), entry->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    const auto address = endpoint.address();
    const bool link_local =
        address.is_v6() ? address.to_v6().is_link_local() : (address.to_v4().to_uint() >> 16) == 0xA9FE;
    EXPECT_EQ(targets.allow(address), !link_local) << address;
  }
  ::freeifaddrs(list);
}

TEST(CheckTargets, AreNetworksAndAddresses) {
  EXPECT_TRUE(allows({"192.0.2.0/24"}, "192.0.2.77"));
  EXPECT_TRUE(allows({"192.0.2.0/24"}, "::ffff:192.0.2.77"));
  EXPECT_FALSE(allows({"192.0.2.0/24"}, "192.0.3.77"));
  EXPECT_FALSE(allows({"192.0.2.0/24"}, "127.0.0.1"));
  EXPECT_TRUE(allows({"192.0.2.9"}, "192.0.2.9"));
  EXPECT_FALSE(allows({"192.0.2.9"}, "192.0.2.8"));
  EXPECT_TRUE(allows({"10.8.0.0/13"}, "10.15.255.255"));
  EXPECT_FALSE(allows({"10.8.0.0/13"}, "10.16.0.0"));
  EXPECT_TRUE(allows({"2001:db8::/32", "host"}, "2001:db8:1::1"));
  EXPECT_TRUE(allows({"any"}, "192.0.2.1"));
  EXPECT_FALSE(allows({}, "127.0.0.1"));
  EXPECT_TRUE(allows({"0.0.0.0/0"}, "192.0.2.1"));
  EXPECT_FALSE(allows({"0.0.0.0/0"}, "2001:db8::1"));
}

TEST(CheckTargets, LinkLocalMustBeNamed) {
  EXPECT_FALSE(allows({"any"}, "169.254.169.254"));
  EXPECT_FALSE(allows({"any"}, "::ffff:169.254.169.254"));
  EXPECT_FALSE(allows({"host", "any"}, "fe80::1"));
  EXPECT_FALSE(allows({"0.0.0.0/0", "::/0"}, "169.254.169.254"));
  EXPECT_FALSE(allows({"::/0"}, "fe80::1"));
  EXPECT_TRUE(allows({"169.254.169.254"}, "169.254.169.254"));
  EXPECT_TRUE(allows({"fe80::/10"}, "fe80::1"));
}

TEST(CheckTargets, NonsenseIsRefused) {
  for (const char* entry :
       {"", "hosts", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0/8", "::1/129", "a.example"}) {
    EXPECT_FALSE(CheckTargets::parse({entry}).ok()) << entry;
  }
}

TEST(CheckPolicy, SwitchesTypesOff) {
  CheckPolicy policy;
  const Check command = test::command_check({"/bin/true"});
  EXPECT_EQ(permits(policy, command, false).code(), Errc::permission);
  EXPECT_TRUE(permits(policy, command, true).ok()) << "by file";
  policy.command_checks = true;
  EXPECT_TRUE(permits(policy, command, false).ok());
  policy.tcp_checks = false;
  EXPECT_FALSE(permits(policy, test::tcp_check("127.0.0.1:1"), true).ok());
  EXPECT_TRUE(permits(policy, test::http_check("http://127.0.0.1:1"), false).ok());
  policy.http_checks = false;
  EXPECT_FALSE(permits(policy, test::http_check("http://127.0.0.1:1"), false).ok());
}

TEST(CheckPolicy, JudgesTargetsThatAreKnown) {
  CheckPolicy policy;
  policy.own_socket = "/run/limpet/limpet.sock";
  EXPECT_FALSE(permits(policy, test::tcp_check("192.0.2.1:80"), false).ok());
  EXPECT_TRUE(permits(policy, test::tcp_check("name.test:80"), false).ok()) << "judged when it is looked up";
  EXPECT_TRUE(permits(policy, test::tcp_check("unix:/run/app.sock"), false).ok());
  EXPECT_FALSE(permits(policy, test::tcp_check("unix:/run/limpet/limpet.sock"), false).ok());
  EXPECT_FALSE(permits(policy, test::http_check("http+unix://%2Frun%2Flimpet%2Flimpet.sock/"), false).ok());
}

}  // namespace
}  // namespace limpet::liveness
