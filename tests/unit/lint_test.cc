// What the house keeps to and a compiler does not see: which layer may include what, shapes of coroutine that g++ 12
// miscompiles, no paths of a machine, nothing beside the agreed entries at the top.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace {

namespace fs = std::filesystem;

const fs::path kTop = LIMPET_SOURCE_DIR;

void each_line(const fs::path& folder, const std::function<void(const fs::path&, int, const std::string&)>& check) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string extension = entry.path().extension();
    if (!entry.is_regular_file() || (extension != ".h" && extension != ".cc")) {
      continue;
    }
    std::ifstream stream(entry.path());
    int number = 0;
    for (std::string line; std::getline(stream, line);) {
      check(fs::relative(entry.path(), kTop), ++number, line);
    }
  }
}

void no_include_but(const std::string& folder, const std::string& allowed) {
  const std::regex include(R"(^\s*#\s*include\s+([<"][^>"]+[>"]))");
  const std::regex good(allowed);
  each_line(kTop / folder, [&](const fs::path& file, int number, const std::string& line) {
    std::smatch match;
    if (std::regex_search(line, match, include)) {
      EXPECT_TRUE(std::regex_match(match[1].str(), good)) << file << ":" << number << " includes " << match[1];
    }
  });
}

TEST(Lint, TheCoreSeesTheRecordsAndTheStandardLibraryOnly) {
  no_include_but("agent/core", R"(<[a-z_]+>|"agent/core/[a-z_]+\.h"|"storage/(error|record)\.h")");
}

TEST(Lint, StorageKnowsNothingOfTheAgent) {
  no_include_but("storage", R"(<.*>|"storage/[a-z0-9_]+\.h")");
}

TEST(Lint, EachLibraryHasItsOnePlace) {
  each_line(kTop / "agent", [](const fs::path& file, int number, const std::string& line) {
    EXPECT_EQ(line.find("#include <rocksdb/"), std::string::npos) << file << ":" << number;
    if (line.find("#include <zookeeper/") != std::string::npos) {
      EXPECT_EQ(file.parent_path(), "agent/zk") << file << ":" << number;
    }
  });
  each_line(kTop / "storage", [](const fs::path& file, int number, const std::string& line) {
    if (line.find("#include <rocksdb/") != std::string::npos) {
      EXPECT_EQ(file.filename().string().rfind("rocks_", 0), 0u) << file << ":" << number;
    }
  });
}

TEST(Lint, NoCoroutineShapeThatTheCompilerGetsWrong) {
  // g++ 12.2 destroys aggregates and capturing lambdas twice when they are temporaries in a co_await's expression, and
  // frees too early in a conditional one.
  const std::regex bad(R"(co_await[^;]*\b[A-Z]\w*\{|co_await[^;]*\[[^\]]|co_await\s*\([^;]*\?)");
  each_line(kTop / "agent", [&](const fs::path& file, int number, const std::string& line) {
    EXPECT_FALSE(std::regex_search(line, bad)) << file << ":" << number << ": " << line;
  });
}

std::string content_of(const fs::path& file) {
  std::ifstream stream(file);
  std::stringstream content;
  content << stream.rdbuf();
  return content.str();
}

void expect_none(const std::string& text, const std::regex& bad, const fs::path& file) {
  for (std::sregex_iterator it(text.begin(), text.end(), bad), end; it != end; ++it) {
    ADD_FAILURE() << fs::relative(file, kTop) << ":"
                  << std::count(text.begin(), text.begin() + it->position(), '\n') + 1 << ": " << it->str();
  }
}

// A caller's text, a check's output or a server's answer in a line of the log could forge a field.
TEST(Lint, ValuesInLogLinesAreEscapedByTheOneFunction) {
  const std::regex unescaped(
      R"--("(?:[^"\\\n]* )?[a-z_]+="\s*\+\s*(?=\S)(?!(?:limpet::)?(?:quoted_value|log_value)\(|hex\(|std::to_string\(|\([^"?;]*\?\s*"))--");
  const std::regex quoted_by_hand(R"--([a-z_]+=\\"(?:"\s*\+|\{\}))--");
  const std::regex formatted(R"--("(?:[^"\\\n]* )?[a-z_]+=\{)--");
  for (const auto& entry : fs::recursive_directory_iterator(kTop / "agent")) {
    const std::string path = fs::relative(entry.path(), kTop);
    if (entry.path().extension() != ".cc" || path.starts_with("agent/cli/") || path.starts_with("agent/packaging/")) {
      continue;
    }
    const std::string text = content_of(entry.path());
    expect_none(text, unescaped, entry.path());
    expect_none(text, quoted_by_hand, entry.path());
    expect_none(text, formatted, entry.path());
  }
}

// Everything that is said goes through agent/log.cc, or through the console of the command line.
TEST(Lint, NothingIsWrittenToATerminalButThroughItsSink) {
  const std::regex direct(R"(std::cerr|std::cout|\bf?printf\(|\bf?puts\(|fmt::print|perror\()");
  const std::set<std::string> sinks = {"agent/main.cc", "agent/liveness/check_child.cc"};
  each_line(kTop / "agent", [&](const fs::path& file, int number, const std::string& line) {
    if (!sinks.contains(file.string()) && !file.string().starts_with("agent/packaging/")) {
      EXPECT_FALSE(std::regex_search(line, direct)) << file << ":" << number << ": " << line;
    }
  });
}

TEST(Lint, NothingElseStandsAtTheTop) {
  const std::set<std::string> agreed = {"CMakeLists.txt", "agent",     "storage", "tests",           "bench",
                                        "findings",       "README.md", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md"};
  for (const auto& entry : fs::directory_iterator(kTop)) {
    const std::string name = entry.path().filename();
    if (name[0] != '.' && name.rfind("build", 0) != 0) {
      EXPECT_TRUE(agreed.contains(name)) << name;
    }
  }
}

TEST(Lint, SimulatedTimeNeverSleeps) {
  for (const char* folder : {"tests/unit/core", "tests/sim"}) {
    each_line(kTop / folder, [](const fs::path& file, int number, const std::string& line) {
      EXPECT_EQ(line.find("sleep_for"), std::string::npos) << file << ":" << number;
    });
  }
}

}  // namespace
