// What a check may be asked to reach.
#include "agent/liveness/check_target.h"

#include <gtest/gtest.h>

#include "tests/unit/liveness/checks.h"

namespace limpet::liveness {
namespace {

std::string said(const Target& target) {
  const std::string at = target.socket.empty() ? target.host + " " + std::to_string(target.port) : target.socket;
  return target.resource.empty() ? at : at + " " + target.authority + " " + target.resource;
}

std::string address(std::string_view text) {
  const auto target = parse_address(text);
  return target.ok() ? said(*target) : "refused";
}

std::string url(std::string_view text) {
  const auto target = parse_url(text);
  return target.ok() ? said(*target) : "refused";
}

TEST(CheckTarget, Addresses) {
  EXPECT_EQ(address("127.0.0.1:80"), "127.0.0.1 80");
  EXPECT_EQ(address("db-1.example:65535"), "db-1.example 65535");
  EXPECT_EQ(address("[::1]:80"), "::1 80");
  EXPECT_EQ(address("[fe80::1%eth0]:80"), "fe80::1%eth0 80");
  EXPECT_EQ(address("unix:/run/app.sock"), "/run/app.sock");
}

TEST(CheckTarget, BadAddressesAreRefused) {
  for (const std::string text : {"",           ":80",     "host",          "host:",    "host:0",
                                 "host:65536", "host:+1", "host:08080808", "host:80x", "::1:80",
                                 "[::1]",      "[::1]80", "[::1",          "[]:80",    "[host]:80",
                                 "a b:80",     "a/b:80",  "u@h:80",        "unix:",    "unix:run/app.sock",
                                 "h\n:80"}) {
    EXPECT_EQ(address(text), "refused") << text;
  }
  EXPECT_EQ(address("unix:/" + std::string(107, 'a')), "refused");
  EXPECT_EQ(address(std::string(254, 'a') + ":80"), "refused");
}

TEST(CheckTarget, Urls) {
  EXPECT_EQ(url("http://127.0.0.1"), "127.0.0.1 80 127.0.0.1 /");
  EXPECT_EQ(url("http://host:8080/health?deep=1&x=%20"), "host 8080 host:8080 /health?deep=1&x=%20");
  EXPECT_EQ(url("http://host?x"), "host 80 host /?x");
  EXPECT_EQ(url("http://[::1]:8080/"), "::1 8080 [::1]:8080 /");
  EXPECT_EQ(url("http+unix://%2Frun%2fapp.sock/health"), "/run/app.sock localhost /health");
  EXPECT_EQ(url("http+unix://%2Frun%2fapp.sock"), "/run/app.sock localhost /");
  EXPECT_EQ(url("http://unix:/run/app.sock:/health?x"), "/run/app.sock localhost /health?x");
  EXPECT_EQ(url("http://unix:/run/app.sock"), "/run/app.sock localhost /");
  EXPECT_EQ(url("http://unix.example/x"), "unix.example 80 unix.example /x");
}

TEST(CheckTarget, BadUrlsAreRefused) {
  for (const std::string text :
       {"", "host/health", "ftp://host/", "http://", "http:///x", "http://:80/", "http://host:0/", "http://host:x/",
        "http://user:pw@host/", "http://host/a b", "http://host/\r\nX: y", "http://host/#top", "http://höst/",
        "http://::1/", "http+unix://run%2Fapp.sock/", "http+unix://%2/", "http+unix://%zz/", "http+unix://%2Fa%00b/",
        "http://unix:run/app.sock:/"}) {
    EXPECT_EQ(url(text), "refused") << text;
  }
  EXPECT_EQ(url("http://host/" + std::string(2048, 'a')), "refused");
  EXPECT_NE(parse_url("https://host/").status().message().find("command check"), std::string::npos);
}

TEST(CheckTarget, Statuses) {
  for (const char* text : {"200", "2xx", "200,204", "1xx,3xx,404", "599"}) {
    EXPECT_TRUE(check_status(text).ok()) << text;
  }
  for (const char* text :
       {"", "2", "20", "2000", "600", "0xx", "2x0", "xxx", "200,", ",200", "200, 204", "2XX", "+20"}) {
    EXPECT_FALSE(check_status(text).ok()) << text;
  }
  EXPECT_TRUE(status_matches("2xx", 204));
  EXPECT_FALSE(status_matches("2xx", 301));
  EXPECT_TRUE(status_matches("200,301", 301));
  EXPECT_FALSE(status_matches("200,301", 201));
}

TEST(CheckTarget, OnlyRootRunsCommandsOfOthers) {
  EXPECT_TRUE(check_command_uid(1000, 0).ok());
  EXPECT_TRUE(check_command_uid(0, 0).ok());
  EXPECT_TRUE(check_command_uid(1000, 1000).ok());
  EXPECT_FALSE(check_command_uid(0, 1000).ok());
  EXPECT_NE(check_command_uid(1001, 1000).message().find("uid 1001"), std::string::npos);
}

TEST(CheckTarget, NamesAreOneShortLine) {
  EXPECT_EQ(name_of(test::tcp_check("127.0.0.1:80")), "tcp 127.0.0.1:80");
  EXPECT_LE(name_of(test::http_check("http://host/" + std::string(1000, 'a'))).size(), 120u);
  EXPECT_EQ(name_of(test::command_check({"/bin/a\nb", "secret"})), "command /bin/a b");
}

}  // namespace
}  // namespace limpet::liveness
