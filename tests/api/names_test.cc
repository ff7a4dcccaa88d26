#include "agent/api/names.h"

#include <gtest/gtest.h>

#include "agent/api/target.h"

namespace limpet::api {
namespace {

using std::chrono::milliseconds;

TEST(Names, TakesWhatTheContractAllows) {
  for (const std::string name : {"web", "i-1", "a.b_c:d@e+f=g~h%i,j-k", "...", "A", "0", ".a", "%2F"}) {
    EXPECT_EQ(name_error(name), std::nullopt) << name;
  }
  EXPECT_EQ(name_error(std::string(255, 'x')), std::nullopt);
}

TEST(Names, RefusesEverythingElse) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("a b"), std::string("a\nb"),
        std::string("a\0b", 3), std::string("ä"), std::string("a*"), std::string("a?"), std::string("\x7F"),
        std::string("\xFF"), std::string(256, 'x')}) {
    EXPECT_TRUE(name_error(name)) << name;
  }
}

TEST(Names, PathsAreAbsoluteAndClean) {
  for (const std::string path :
       {"/a", "/dubbo/x/providers/y", "/services/zookeeper", "/a/...", "/zookeeper2", "/a b", "/a\u00e4",
        "/a$;[fd00::1]:8080", "/a\"\\*?", "/\u4e2d", "/\ud7ff", "/\uf900", "/\uffef", "/\u00a0"}) {
    EXPECT_EQ(path_error(path), std::nullopt) << path;
  }
  for (const std::string path : {"",
                                 "/",
                                 "a",
                                 "a/b",
                                 "/a/",
                                 "//a",
                                 "/a//b",
                                 "/a/./b",
                                 "/a/../b",
                                 "/zookeeper",
                                 "/zookeeper/quota",
                                 "/a\x01",
                                 "/a\x1f",
                                 "/a\x7f",
                                 "/a\u0080",
                                 "/a\u009f",
                                 "/a\ue000",
                                 "/a\uf8ff",
                                 "/a\ufff0",
                                 "/a\ufffd",
                                 "/a\U00010000",
                                 "/a\U0001f600",
                                 "/a\xff",
                                 "/a\xc3",
                                 "/a\xc0\x80",
                                 "/a\xed\xa0\x80",
                                 "/a\xf4\x90\x80\x80"}) {
    EXPECT_TRUE(path_error(path)) << path;
  }
}

TEST(Names, ErrorNamesTheCharacterAtFault) {
  EXPECT_EQ(*name_error("web$1"),
            "has the character \"$\" (U+0024) at offset 3; a name holds A-Z a-z 0-9 . _ : @ + = ~ % , -");
  EXPECT_NE(name_error("\u202e")->find("the character U+202E at offset 0"), std::string::npos);
  EXPECT_NE(name_error("a\xff")->find("a byte that is not UTF-8 at offset 1"), std::string::npos);
  EXPECT_EQ(*path_error("/a/b\x01"),
            "has a segment, at offset 3, that has the character U+0001 at offset 1, which ZooKeeper does not take");
  EXPECT_NE(path_error("/\U0001f600")->find("U+1F600"), std::string::npos);
}

TEST(Names, PathDepthIsBounded) {
  std::string path;
  for (std::size_t i = 0; i < kMaxPathSegments; ++i) {
    path += "/a";
  }
  EXPECT_EQ(path_error(path), std::nullopt);
  EXPECT_EQ(*path_error(path + "/a"), "has more than 32 segments");
}

TEST(Names, PathLengthIsBoundedAsAWhole) {
  // A provider of Dubbo is one segment.
  EXPECT_EQ(path_error("/" + std::string(kMaxPathBytes - 1, 'x')), std::nullopt);
  EXPECT_TRUE(path_error("/" + std::string(kMaxPathBytes, 'x')));
}

TEST(Names, Durations) {
  EXPECT_EQ(parse_duration("250ms"), milliseconds(250));
  EXPECT_EQ(parse_duration("10s"), milliseconds(10'000));
  EXPECT_EQ(parse_duration("5m"), milliseconds(300'000));
  EXPECT_EQ(parse_duration("24h"), milliseconds(86'400'000));
  EXPECT_EQ(parse_duration("0s"), milliseconds(0));
  for (const std::string text : {"", "s", "10", "-1s", "+1s", "1.5s", "1 s", " 1s", "1s ", "1S", "25h", "1441m",
                                 "86400001ms", "99999999999999999999s", "1d", "0x1s", "1h30m", "1e3s"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Names, AnAgeMayBeInDays) {
  EXPECT_EQ(parse_age("7d"), std::chrono::hours(168));
  EXPECT_EQ(parse_age("0s"), milliseconds(0));
  EXPECT_EQ(parse_age("3650d"), kLongestDuration);
  for (const char* text : {"", "d", "1.5d", "-1d", "3651d", "7 d", "7D"}) {
    EXPECT_EQ(parse_age(text), std::nullopt) << text;
  }
}

TEST(Names, DurationsMayHaveOtherBoundsAndAreWrittenAsTheyAreRead) {
  EXPECT_EQ(parse_duration("168h", kLongestDuration), milliseconds(604'800'000));
  EXPECT_EQ(parse_duration("87600h", kLongestDuration), kLongestDuration);
  EXPECT_EQ(parse_duration("315360000001ms", kLongestDuration), std::nullopt);
  for (const char* text : {"250ms", "10s", "5m", "24h", "0s", "90s"}) {
    EXPECT_EQ(duration_text(*parse_duration(text)), text);
  }
}

TEST(Names, NearestWordIsASlipAway) {
  constexpr std::string_view kKnown[] = {"data", "address", "port", "metadata"};
  EXPECT_EQ(nearest_word("adress", kKnown), "address");
  EXPECT_EQ(nearest_word("prot", kKnown), "port");
  EXPECT_EQ(nearest_word("Data", kKnown), "data");
  EXPECT_EQ(nearest_word("metdata", kKnown), "metadata");
  EXPECT_EQ(nearest_word("colour", kKnown), "");
  EXPECT_EQ(nearest_word("", kKnown), "");
}

TEST(Names, IdsAreTwoNames) {
  EXPECT_EQ(parse_id("web/i-1"), (RegistrationId{"web", "i-1"}));
  for (const std::string text : {"", "web", "web/", "/i", "a/b/c", "a b/c"}) {
    EXPECT_EQ(parse_id(text), std::nullopt) << text;
  }
}

TEST(Target, IsTakenApartAndDecoded) {
  Target target;
  ASSERT_EQ(target.parse("/v1/registrations/a%2Fb/%41%2541?wait=1s"), std::nullopt);
  ASSERT_EQ(target.segments().size(), 4U);
  EXPECT_EQ(target.segments()[0], "v1");
  EXPECT_EQ(target.segments()[2], "a/b");
  EXPECT_EQ(target.segments()[3], "A%41");
  EXPECT_EQ(target.query(), "wait=1s");
}

TEST(Target, AbsoluteFormIsTheSame) {
  Target target;
  ASSERT_EQ(target.parse("http://localhost:80/v1/status?a=b"), std::nullopt);
  ASSERT_EQ(target.segments().size(), 2U);
  EXPECT_EQ(target.segments()[1], "status");
  EXPECT_EQ(target.query(), "a=b");
}

TEST(Target, RefusesBadEscapesAndForms) {
  Target target;
  for (const std::string raw : {"/%", "/%4", "/%zz", "/a%2", "/a%2g", "*", "v1/status", "localhost:80", "/a#b", ""}) {
    EXPECT_TRUE(target.parse(raw)) << raw;
  }
}

TEST(Target, ManySegmentsDoNoHarm) {
  Target target;
  std::string raw;
  for (int i = 0; i < 5'000; ++i) {
    raw += "/%41";
  }
  EXPECT_EQ(target.parse(raw), std::nullopt);
  EXPECT_EQ(target.segments().size(), Target::kMaxSegments);
}

TEST(Query, IsStrict) {
  const auto good = Query::parse("wait=10s&&service=a%2Bb+c&x", {"wait", "service", "x"});
  ASSERT_TRUE(std::holds_alternative<Query>(good));
  EXPECT_EQ(*std::get<Query>(good).find("wait"), "10s");
  EXPECT_EQ(*std::get<Query>(good).find("service"), "a+b+c");
  EXPECT_EQ(*std::get<Query>(good).find("x"), "");
  EXPECT_EQ(std::get<Query>(good).find("y"), nullptr);
  for (const std::string text : {"wiat=1s", "wait=1s&wait=1s", "wait=%", "%zz=1", "Wait=1s"}) {
    EXPECT_TRUE(std::holds_alternative<Problem>(Query::parse(text, {"wait"}))) << text;
  }
  EXPECT_NE(std::get<Problem>(Query::parse("wiat=1s", {"wait"})).detail.find("did you mean \"wait\""),
            std::string::npos);
}

}  // namespace
}  // namespace limpet::api
