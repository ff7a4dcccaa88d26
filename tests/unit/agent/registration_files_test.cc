// What is read from registrations.d, and what is refused.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/agent/files_fixture.h"

namespace limpet {
namespace {

using RegistrationFiles = FilesTest;

std::string wrong_with(std::string_view text) {
  const auto entries = parse_registration_file(text);
  return !entries.ok() ? entries.status().message() : entries->faults.empty() ? "" : entries->faults[0].error;
}

TEST_F(RegistrationFiles, OneRegistrationOrAListOfThem) {
  const auto one = parse_registration_file(R"({"service":"web","instance":"i-1","address":"10.0.0.7","port":80})");
  ASSERT_TRUE(one.ok()) << one.status().message();
  ASSERT_EQ(one->requests.size(), 1U);
  EXPECT_EQ(one->requests[0].id.str(), "web/i-1");
  EXPECT_EQ(one->requests[0].data, R"({"service":"web","instance":"i-1","address":"10.0.0.7","port":80})");
  const auto list =
      parse_registration_file(R"([{"instance":"a","data":"x","service":"s"},{"service":"s","instance":"b"}])");
  ASSERT_TRUE(list.ok()) << list.status().message();
  ASSERT_EQ(list->requests.size(), 2U);
  EXPECT_EQ(list->requests[0].data, "x");
  EXPECT_EQ(list->requests[1].id.str(), "s/b");
  EXPECT_TRUE(parse_registration_file("[]")->requests.empty());
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

TEST_F(RegistrationFiles, EachEntryStandsForItself) {
  const auto entries = parse_registration_file(
      R"([{"service":"web","instance":"a"},{"service":"web","instance":"b","port":70000},{"service":"web"},7,)"
      R"({"service":"web","instance":"c"}])");
  ASSERT_TRUE(entries.ok()) << entries.status().message();
  ASSERT_EQ(entries->requests.size(), 2U);
  EXPECT_EQ(entries->requests[0].id.str(), "web/a");
  EXPECT_EQ(entries->requests[1].id.str(), "web/c");
  ASSERT_EQ(entries->faults.size(), 3U);
  EXPECT_EQ(entries->faults[0].id, (RegistrationId{"web", "b"}));
  EXPECT_TRUE(entries->faults[0].error.starts_with("entry 2 (web/b): /port ")) << entries->faults[0].error;
  EXPECT_EQ(entries->faults[1].id, std::nullopt);
  EXPECT_EQ(entries->faults[1].error, "entry 3: /instance is missing");
  EXPECT_TRUE(entries->faults[2].error.starts_with("entry 4: an object ")) << entries->faults[2].error;
}

TEST_F(RegistrationFiles, OfManyWrongEntriesTheFirstFewAreTold) {
  std::string text = "[";
  for (int i = 0; i < 100; ++i) {
    text += R"({"service":"web","instance":"i-)" + std::to_string(i) + R"(","port":0},)";
  }
  write("a.json", text + entry("good") + "]");
  const auto found = read();
  EXPECT_EQ(found.entries.size(), 1U);
  EXPECT_EQ(found.unusable_ids.size(), 100U);
  ASSERT_EQ(found.problems.size(), 17U);
  EXPECT_EQ(found.problems[16].error, "and 84 more entries that cannot be used");
}

TEST_F(RegistrationFiles, CommentsAreTakenAsInTheConfiguration) {
  const auto entries = parse_registration_file(
      "// our web server\n{\"service\":\"web\", /* the\n first */ \"instance\":\"i\", // \"port\": 1\n"
      "\"data\":\"http://x/*y*/\\\" // z\"} // end");
  ASSERT_TRUE(entries.ok()) << entries.status().message();
  ASSERT_EQ(entries->requests.size(), 1U);
  EXPECT_EQ(entries->requests[0].data, "http://x/*y*/\" // z");
  EXPECT_NE(wrong_with("/* {\"service\":\"web\",\"instance\":\"i\"}"), "");
  // The place of an error is that in the file.
  EXPECT_EQ(wrong_with("// one\n{\"service\": }"), wrong_with("/* 1 */\n{\"service\": }"));
}

TEST_F(RegistrationFiles, NullLeavesAFieldOut) {
  const auto entries = parse_registration_file(
      R"({"service":"web","instance":"i","data":null,"address":"10.0.0.7","port":80,"path":null,"bind":null,)"
      R"("checks":null,"metadata":null,"format":null,"data_base64":null,"ttl":null,"expires":null})");
  ASSERT_TRUE(entries.ok() && entries->faults.empty()) << wrong_with("");
  EXPECT_EQ(entries->requests[0].data, R"({"service":"web","instance":"i","address":"10.0.0.7","port":80})");
  EXPECT_EQ(wrong_with(R"({"service":null,"instance":"i"})"), "/service is missing");
  EXPECT_EQ(wrong_with(R"({"service":"s","instance":null})"), "/instance is missing");
}

TEST_F(RegistrationFiles, ADirectoryThatIsNotThereIsNotAnEmptyOne) {
  using Directory = FileRegistrations::Directory;
  EXPECT_EQ(read_registrations("", ::geteuid()).directory, Directory::readable) << "none is configured";
  std::filesystem::create_symlink(directory() + "/none", directory() + "/dangling");
  for (const std::string& nowhere : {directory() + "/none", directory() + "/dangling"}) {
    const auto found = read_registrations(nowhere, ::geteuid());
    EXPECT_EQ(found.directory, Directory::absent);
    EXPECT_TRUE(found.entries.empty());
    const auto problems = examine_registrations({nowhere, true}, ::geteuid());
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_EQ(problems[0].file, nowhere);
    EXPECT_TRUE(examine_registrations({nowhere, false}, ::geteuid()).empty()) << "by default there need be none";
  }
  write("file", "x");
  EXPECT_EQ(read_registrations(directory() + "/file", ::geteuid()).directory, Directory::unreadable);
}

// As Kubernetes lays a ConfigMap out: each key a link through ..data to the newest copy, in a directory that is open to
// all, but read-only or with the sticky bit.
TEST_F(RegistrationFiles, AConfigMapsDirectoryIsTaken) {
  const std::string copy = directory() + "/..2026_11_29_05_40_53.1";
  ASSERT_EQ(::mkdir(copy.c_str(), 0755), 0);
  std::ofstream(copy + "/web.json") << entry("i");
  std::filesystem::create_directory_symlink("..2026_11_29_05_40_53.1", directory() + "/..data");
  std::filesystem::create_symlink("..data/web.json", directory() + "/web.json");
  ASSERT_EQ(::chmod(directory().c_str(), 0777), 0);
  EXPECT_EQ(read().directory, FileRegistrations::Directory::unreadable);
  ASSERT_EQ(::chmod(directory().c_str(), 01777), 0);
  const auto found = read();
  EXPECT_TRUE(found.problems.empty()) << found.problems[0].error;
  ASSERT_EQ(found.entries.size(), 1U);
  EXPECT_EQ(found.entries[0].file, "web.json");
}

TEST_F(RegistrationFiles, WhatOthersPutIntoAStickyDirectoryIsRefused) {
  write("ours.json", entry("ours"));
  ASSERT_EQ(::chmod(directory().c_str(), 01777), 0);
  ASSERT_EQ(::link((directory() + "/ours.json").c_str(), (directory() + "/again.json").c_str()), 0);
  const auto linked = read();
  EXPECT_EQ(linked.unusable, (std::set<std::string>{"again.json", "ours.json"})) << "nobody knows who made the link";
  erase("again.json");
  EXPECT_EQ(read().entries.size(), 1U);
  if (::geteuid() != 0) {
    GTEST_SKIP() << "takes root, to be another user";
  }
  std::filesystem::create_symlink("ours.json", directory() + "/theirs.json");
  ASSERT_EQ(::lchown((directory() + "/theirs.json").c_str(), 4711, 4711), 0);
  const auto found = read();
  EXPECT_EQ(found.entries.size(), 1U);
  EXPECT_EQ(found.unusable, std::set<std::string>{"theirs.json"});
  EXPECT_NE(found.problems[0].error.find("the link: it belongs to uid 4711"), std::string::npos);
}

// The file system of the test itself, bound to a second place and mounted read-only there, in a process of its own.
TEST_F(RegistrationFiles, OnAReadOnlyMountAModeGivesNobodyARight) {
  write("open.json", entry("i"), 0666);
  ASSERT_EQ(::chmod(directory().c_str(), 0777), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr int kCannot = 77;
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(directory().c_str(), directory().c_str(), nullptr, MS_BIND, nullptr) != 0 ||
        ::mount(nullptr, directory().c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
      ::_exit(kCannot);
    }
    const auto found = read();
    ::_exit(found.entries.size() == 1 && found.problems.empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 77) {
    GTEST_SKIP() << "takes the right to mount";
  }
  EXPECT_EQ(status, 0);
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
  EXPECT_EQ(found.directory, FileRegistrations::Directory::unreadable);
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
  EXPECT_EQ(read_registrations(directory(), 4712).directory, FileRegistrations::Directory::unreadable);
}

}  // namespace
}  // namespace limpet
