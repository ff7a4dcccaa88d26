// The configured list of servers, and the list that the library gets.
#include "agent/zk/hosts.h"

#include <gtest/gtest.h>

#include <boost/asio/ip/address.hpp>

#include "agent/zk/resolver.h"

namespace limpet::zk {
namespace {

using boost::asio::ip::make_address;
using boost::asio::ip::tcp;

TEST(ParseHosts, NamesAddressesPortsAndChroot) {
  const auto hosts = parse_hosts("zk1.example:2181, 10.0.0.2:2182 ,[fd00::3]:2183,zk4/limpet/prod");
  ASSERT_TRUE(hosts.ok()) << hosts.status().message();
  EXPECT_EQ(hosts.value().servers,
            (std::vector<HostPort>{{"zk1.example", 2181}, {"10.0.0.2", 2182}, {"fd00::3", 2183}, {"zk4", 2181}}));
  EXPECT_EQ(hosts.value().chroot, "/limpet/prod");
}

TEST(ParseHosts, ListsAsOtherProgramsWriteThemAreTaken) {
  const std::vector<HostPort> three = {{"a", 1}, {"b", 2}, {"c", 2181}};
  for (const char* text :
       {"a:1,b:2,c/x/y", "zk://a:1,b:2,c:2181/x/y", "ZooKeeper://a:1,b:2,c/x/y", "a:1/x/y,b:2/x/y,c/x/y",
        "a:1, b:2 ,\tc/x/y,", " ,a:1,,b:2,c/x/y/ , ", "a:1 b:2 c/x/y", "a:1\nb:2\nc/x/y\n", "a:1/x/y/,b:2/x/y,c/x/y"}) {
    const auto hosts = parse_hosts(text);
    ASSERT_TRUE(hosts.ok()) << text << ": " << hosts.status().message();
    EXPECT_EQ(hosts.value().servers, three) << text;
    EXPECT_EQ(hosts.value().chroot, "/x/y") << text;
  }
  const auto dubbo = parse_hosts("zookeeper://a:1?backup=b:2,c:2181");
  ASSERT_TRUE(dubbo.ok()) << dubbo.status().message();
  EXPECT_EQ(dubbo.value().servers, three);
  EXPECT_EQ(dubbo.value().chroot, "");
}

TEST(ParseHosts, CredentialsInTheListAreRefusedAndNotRepeated) {
  const auto hosts = parse_hosts("zk://user:secret@a:1/x");
  ASSERT_FALSE(hosts.ok());
  EXPECT_NE(hosts.status().message().find("zookeeper_credentials"), std::string::npos);
  EXPECT_EQ(hosts.status().message().find("secret"), std::string::npos);
}

TEST(ParseHosts, ChrootsThatDifferAreRefused) {
  for (const char* text : {"a/x,b/y", "a/x,b", "a,b/x,c/x"}) {
    const auto hosts = parse_hosts(text);
    EXPECT_FALSE(hosts.ok()) << text;
    EXPECT_NE(hosts.status().message().find("chroot"), std::string::npos) << hosts.status().message();
  }
}

TEST(ParseHosts, ALoneSlashIsNoChroot) {
  const auto hosts = parse_hosts("127.0.0.1:2181/");
  ASSERT_TRUE(hosts.ok());
  EXPECT_EQ(hosts.value().chroot, "");
}

TEST(ParseHosts, AServerNamedTwiceCountsOnce) {
  EXPECT_EQ(parse_hosts("a:1,a:1,a:2").value().servers.size(), 2U);
}

TEST(ParseHosts, WhatIsWrongIsNamed) {
  const auto message = [](const std::string& text) {
    const auto hosts = parse_hosts(text);
    EXPECT_FALSE(hosts.ok()) << text;
    EXPECT_TRUE(hosts.ok() || hosts.status().code() == Errc::invalid);
    return hosts.ok() ? "" : hosts.status().message();
  };
  for (const char* text : {"", ",", " , ,", "zk://", "/chroot", "a:1 ,  /x"}) {
    EXPECT_NE(message(text).find("a server is missing"), std::string::npos) << text;
  }
  for (const char* text : {"a:0", "a:65536", "a:", "a:1x", "a:-1", "a: 1", "[::1]:", "a:99999999999999999999"}) {
    EXPECT_NE(message(text).find("the port of"), std::string::npos) << text;
  }
  for (const char* text : {"a:1/b//", "a:1//b", "a:1/./b", "a:1/b/..", "a:1/b c", "a:1/zookeeper", "a:1/zookeeper/x"}) {
    EXPECT_NE(message(text).find("chroot"), std::string::npos) << text;
  }
  EXPECT_NE(message("fd00::1:2181").find("brackets"), std::string::npos);
  EXPECT_NE(message("[fd00::1").find("no ]"), std::string::npos);
  EXPECT_NE(message("[zk1]:2181").find("no IPv6"), std::string::npos);
  EXPECT_NE(message("[::1]2181").find("only :port"), std::string::npos);
  EXPECT_NE(message("a!b:1").find("no host name"), std::string::npos);
  EXPECT_NE(message("http://a:1").find("scheme"), std::string::npos);
  EXPECT_NE(message("zookeeper://a:1?timeout=5").find("the port of"), std::string::npos);
  EXPECT_NE(message(":2181").find("no host name"), std::string::npos);
  EXPECT_NE(message("a:1/" + std::string(2000, 'x')).find("longer"), std::string::npos);
}

TEST(ParseHosts, TooManyServersAreRefused) {
  std::string text = "a0";
  for (int i = 1; i < 65; ++i) {
    text += ",a" + std::to_string(i);
  }
  EXPECT_FALSE(parse_hosts(text).ok());
}

TEST(PadToOdd, OneEntryIsRepeatedInEvenListsOnly) {
  for (std::uint16_t n = 1; n <= 6; ++n) {
    std::vector<tcp::endpoint> endpoints;
    for (std::uint16_t i = 0; i < n; ++i) {
      endpoints.emplace_back(make_address("127.0.0.1"), static_cast<std::uint16_t>(1000 + i));
    }
    const auto padded = pad_to_odd(endpoints);
    EXPECT_EQ(padded.size(), n % 2 == 1 ? n : n + 1U);
    EXPECT_TRUE(std::equal(endpoints.begin(), endpoints.end(), padded.begin()));
    EXPECT_EQ(padded.back(), n % 2 == 1 ? endpoints.back() : endpoints.front());
  }
  EXPECT_TRUE(pad_to_odd({}).empty());
}

TEST(LibraryList, HasNoBracketsAndNumericScopes) {
  EXPECT_EQ(library_list({{make_address("10.0.0.1"), 2181}, {make_address("fd00::1"), 2182}}),
            "10.0.0.1:2181,fd00::1:2182");
  auto scoped = make_address("fe80::1").to_v6();
  scoped.scope_id(4);
  EXPECT_EQ(library_list({{scoped, 1}}), "fe80::1%4:1");
}

TEST(ToString, BracketsStandAroundIPv6) {
  EXPECT_EQ(to_string(tcp::endpoint(make_address("::1"), 2181)), "[::1]:2181");
  EXPECT_EQ(to_string(tcp::endpoint(make_address("127.0.0.1"), 2181)), "127.0.0.1:2181");
}

TEST(Resolve, NumericAddressesNeedNoResolver) {
  const auto resolved = resolve(parse_hosts("127.0.0.2:1,[::1]:2,127.0.0.2:1").value());
  ASSERT_EQ(resolved.servers.size(), 2U);
  EXPECT_TRUE(resolved.failures.empty());
  EXPECT_EQ(resolved.servers[0].label, "127.0.0.2:1");
  EXPECT_EQ(resolved.servers[1].label, "[::1]:2");
}

TEST(Resolve, NamesAreShownWithTheirAddress) {
  const auto resolved = resolve(parse_hosts("localhost:7").value());
  ASSERT_FALSE(resolved.servers.empty());
  EXPECT_EQ(resolved.servers[0].label, "localhost:7 (" + resolved.servers[0].endpoint.address().to_string() + ")");
  EXPECT_EQ(resolved.servers[0].endpoint.port(), 7);
}

TEST(Resolve, AFailureSaysWhatFailed) {
  const auto resolved = resolve(parse_hosts("nowhere.invalid:1,127.0.0.1:1").value());
  EXPECT_EQ(resolved.servers.size(), 1U);
  ASSERT_EQ(resolved.failures.size(), 1U);
  EXPECT_EQ(resolved.failures[0].find("cannot resolve nowhere.invalid: "), 0U) << resolved.failures[0];
}

}  // namespace
}  // namespace limpet::zk
