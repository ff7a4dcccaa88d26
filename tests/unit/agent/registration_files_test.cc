// What is read from registrations.d, and what is refused.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/agent/files_fixture.h"

namespace limpet {
namespace {

using RegistrationFiles = FilesTest;

std::string wrong_with(std::string_view text) {
  const auto requests = parse_registration_file(text);
  return requests.ok() ? "" : requests.status().message();
}

TEST_F(RegistrationFiles, OneRegistrationOrAListOfThem) {
  const auto one = parse_registration_file(R"({"service":"web","instance":"i-1","address":"10.0.0.7","port":80})");
  ASSERT_TRUE(one.ok()) << one.status().message();
  ASSERT_EQ(one->size(), 1U);
  EXPECT_EQ((*one)[0].id.str(), "web/i-1");
  EXPECT_EQ((*one)[0].data, R"({"service":"web","instance":"i-1","address":"10.0.0.7","port":80})");
  const auto list =
      parse_registration_file(R"([{"instance":"a","data":"x","service":"s"},{"service":"s","instance":"b"}])");
  ASSERT_TRUE(list.ok()) << list.status().message();
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ((*list)[0].data, "x");
  EXPECT_EQ((*list)[1].id.str(), "s/b");
  EXPECT_TRUE(parse_registration_file("[]")->empty());
}

TEST_F(RegistrationFiles, WhatIsWrongIsSaidWithItsPlace) {
  EXPECT_NE(wrong_with("{").find("it is not valid JSON"), std::string::npos);
  EXPECT_NE(wrong_with(""), "");
  EXPECT_NE(wrong_with("7"), "");
  EXPECT_EQ(wrong_with(R"({"service":"web"})"), "/instance is missing");
  EXPECT_EQ(wrong_with(R"({"instance":"i"})"), "/service is missing");
  EXPECT_NE(wrong_with(R"({"service":"a/b","instance":"i"})").find("/service "), std::string::npos);
  EXPECT_EQ(wrong_with(R"({"service":1,"instance":"i"})"), "/service must be a string");
  EXPECT_NE(wrong_with(R"({"service":"s","instance":"i","port":70000})").find("/port"), std::string::npos);
  EXPECT_NE(wrong_with(R"({"service":"s","instance":"i","prot":7})").find("port"), std::string::npos);
  EXPECT_NE(wrong_with(R"([{"service":"s","instance":"i"},{"service":"s"}])").find("entry 2: /instance"),
            std::string::npos);
  EXPECT_NE(wrong_with(R"({"service":"s","instance":"i","bind":"process","pid":1})").find("/bind"), std::string::npos);
}

TEST_F(RegistrationFiles, ADirectoryThatIsNotThereHoldsNothing) {
  for (const std::string& nowhere : {std::string(), directory() + "/none"}) {
    const auto found = read_registrations(nowhere, ::geteuid());
    EXPECT_TRUE(found.readable);
    EXPECT_TRUE(found.entries.empty());
    EXPECT_TRUE(found.problems.empty());
  }
}

TEST_F(RegistrationFiles, FilesAreReadInOrderAndABadOneStopsNothing) {
  write("20-b.json", entry("b"));
  write("10-a.json", entry("a"));
  write("30-bad.json", "{");
  write("40-c.json", entry("c"));
  write("README", "not for us");
  write(".hidden.json", "{");
  write("50-d.json.new", "{");
  const auto found = read();
  ASSERT_EQ(found.entries.size(), 3U);
  EXPECT_EQ(found.entries[0].file, "10-a.json");
  EXPECT_EQ(found.entries[2].request.id.instance, "c");
  ASSERT_EQ(found.problems.size(), 1U);
  EXPECT_EQ(found.problems[0].file, "30-bad.json");
  EXPECT_EQ(found.unusable, std::set<std::string>{"30-bad.json"});
}

TEST_F(RegistrationFiles, AnIdThatStandsTwiceIsTheFirstFiles) {
  write("a.json", entry("i", "first"));
  write("b.json", "[" + entry("i", "second") + "," + entry("j") + "]");
  const auto found = read();
  ASSERT_EQ(found.entries.size(), 2U);
  EXPECT_EQ(found.entries[0].request.data, "first");
  ASSERT_EQ(found.problems.size(), 1U);
  EXPECT_EQ(found.problems[0].file, "b.json");
  EXPECT_NE(found.problems[0].error.find("web/i stands in a.json already"), std::string::npos);
}

TEST_F(RegistrationFiles, WhatOthersCanWriteIsRefused) {
  write("open.json", entry("open"), 0664);
  write("world.json", entry("world"), 0646);
  write("fine.json", entry("fine"), 0644);
  ASSERT_EQ(::mkdir((directory() + "/folder.json").c_str(), 0755), 0);
  auto found = read();
  ASSERT_EQ(found.entries.size(), 1U);
  EXPECT_EQ(found.unusable, (std::set<std::string>{"folder.json", "open.json", "world.json"}));
  EXPECT_NE(found.problems[1].error.find("chmod go-w"), std::string::npos);
  ASSERT_EQ(::chmod(directory().c_str(), 0777), 0);
  found = read();
  EXPECT_FALSE(found.readable);
  EXPECT_TRUE(found.entries.empty());
  ASSERT_EQ(found.problems.size(), 1U);
  EXPECT_EQ(found.problems[0].file, directory());
}

TEST_F(RegistrationFiles, WhatBelongsToAnotherUserIsRefused) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "takes root, to give a file away";
  }
  write("theirs.json", entry("theirs"));
  write("agents.json", entry("agents"));
  ASSERT_EQ(::chown((directory() + "/theirs.json").c_str(), 4711, 0), 0);
  ASSERT_EQ(::chown((directory() + "/agents.json").c_str(), 4712, 0), 0);
  auto found = read_registrations(directory(), 4712);
  ASSERT_EQ(found.entries.size(), 1U);
  EXPECT_EQ(found.entries[0].file, "agents.json");
  EXPECT_NE(found.problems[0].error.find("it belongs to uid 4711"), std::string::npos);
  ASSERT_EQ(::chown(directory().c_str(), 4711, 0), 0);
  EXPECT_FALSE(read_registrations(directory(), 4712).readable);
}

}  // namespace
}  // namespace limpet
