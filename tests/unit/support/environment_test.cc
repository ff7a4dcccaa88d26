// tests/support/environment.cc: whatever a test program is started with, it and its children find the same.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/shell.h"

namespace limpet::test {
namespace {

// Names the file that a child of this test writes its surroundings into.
constexpr char kReportVariable[] = "LIMPET_TEST_REPORT";

// What this process has: its variables but for those that this test is run by, its umask, and its standard input.
std::string surroundings() {
  std::vector<std::string> lines;
  for (char** variable = ::environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!text.starts_with("GTEST_") && !text.starts_with(kReportVariable)) {
      lines.emplace_back(*variable);
    }
  }
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) {
    text += line + "\n";
  }
  const mode_t mask = ::umask(0);
  ::umask(mask);
  char byte = 0;
  return text + "umask " + std::to_string(mask) + ", standard input " +
         (::read(STDIN_FILENO, &byte, 1) == 0 ? "empty" : "not empty") + "\n";
}

// What this program has when a shell starts it by `command`, with $0 for the program and $1 for what makes it report.
std::string surroundings_under(const std::string& command) {
  const std::string out = ::testing::TempDir() + "limpet-surroundings-" + std::to_string(::getpid());
  const std::string program = "/proc/" + std::to_string(::getpid()) + "/exe";
  const int status =
      std::system(("sh -c " + shell_word(command) + " " + program + " " + kReportVariable + "=" + out).c_str());
  EXPECT_EQ(status, 0) << command;
  std::stringstream text;
  text << std::ifstream(out).rdbuf();
  ::unlink(out.c_str());
  return text.str();
}

// In a child of this test, takes over before the first test.
class Reporter : public ::testing::Environment {
 public:
  void SetUp() override {
    if (const char* file = std::getenv(kReportVariable); file != nullptr) {
      std::ofstream(file) << surroundings();
      ::_exit(0);
    }
  }
};

const ::testing::Environment* const kReporter = ::testing::AddGlobalTestEnvironment(new Reporter);

TEST(Environment, IsTheSameWhateverTheMachineHas) {
  const std::string here = surroundings();
  EXPECT_NE(here.find("LC_ALL=C.UTF-8\n"), std::string::npos) << here;
  EXPECT_EQ(surroundings_under("env -i $1 $0"), here);
  EXPECT_EQ(surroundings_under("env -i LANG=C LC_ALL=C PATH=/nowhere TMPDIR=/nowhere LIMPET_SOCKET=/nowhere "
                               "JAVA_TOOL_OPTIONS=-Dx=y $1 $0"),
            here);
  EXPECT_EQ(surroundings_under("umask 077; env -i $1 $0"), here);
  EXPECT_EQ(surroundings_under("env -i $1 $0 <&-"), here);
  EXPECT_EQ(surroundings_under("echo something | env -i $1 $0"), here);
}

TEST(Environment, KeepsTheSettingsOfTests) {
  EXPECT_NE(surroundings_under("env -i LIMPET_CRASH_SEED=7 $1 $0").find("LIMPET_CRASH_SEED=7\n"), std::string::npos);
}

TEST(ShellWord, IsOneWordWhateverItHolds) {
  EXPECT_EQ(shell_word("a b"), "'a b'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(std::system(("test " + shell_word("a 'b' $HOME `id`") + " = " + shell_word("a 'b' $HOME `id`")).c_str()),
            0);
}

}  // namespace
}  // namespace limpet::test
