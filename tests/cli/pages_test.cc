// Man pages and completions: that they say what the programs say, and that the shells take them.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/cli/fixture.h"
#include "tests/support/shell.h"

namespace limpet::test {
namespace {

std::string man_page(const std::string& name) {
  std::ifstream stream(std::string(LIMPET_PAGES_DIR) + "/" + name);
  std::stringstream content;
  content << stream.rdbuf();
  EXPECT_FALSE(content.str().empty()) << name;
  return content.str();
}

std::string output_of(const std::string& command, int* status = nullptr) {
  std::string out;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  char chunk[4096];
  for (std::size_t count = 0; (count = std::fread(chunk, 1, sizeof(chunk), pipe)) > 0;) {
    out.append(chunk, count);
  }
  const int ended = ::pclose(pipe);
  if (status != nullptr) {
    *status = ended;
  }
  return out;
}

// The long options that a help text offers: at the start of its lines.
std::set<std::string> options_in(const std::string& help) {
  std::set<std::string> options;
  const std::regex option(R"((?:^|\n)  (?:-\w,)?(--[a-z-]+)(?:,(--[a-z-]+))?)");
  for (std::sregex_iterator match(help.begin(), help.end(), option), end; match != end; ++match) {
    options.insert((*match)[1]);
    if ((*match)[2].matched) {
      options.insert((*match)[2]);
    }
  }
  return options;
}

std::set<std::string> verbs() {
  const std::string help = run_limpet({"--help"}).out;
  const std::size_t from = help.find("Commands:\n") + 10;
  std::istringstream lines(help.substr(from, help.find("\n\n", from) - from));
  std::set<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > 2 && line[2] != ' ') {
      names.insert(line.substr(2, line.find(' ', 2) - 2));
    }
  }
  return names;
}

std::string in_roff(const std::string& text) {
  return std::regex_replace(text, std::regex("-"), "\\-");
}

TEST(Pages, LimpetHasEveryCommandAndOption) {
  const std::string man = man_page("limpet.1");
  const std::string bash = man_page("limpet.bash");
  const std::string zsh = man_page("_limpet");
  const std::string fish = man_page("limpet.fish");
  ASSERT_GE(verbs().size(), 15u);
  for (const std::string& option : options_in(run_limpet({"--help"}).out)) {
    EXPECT_TRUE(option == "--help" || has(man, in_roff(option)));
  }
  for (const std::string& verb : verbs()) {
    const std::size_t from = man.find(".SS " + in_roff(verb) + "\n");
    ASSERT_NE(from, std::string::npos) << verb;
    const std::string section = man.substr(from, man.find(".S", from + 3) - from);
    EXPECT_TRUE(has(zsh, "'" + verb + ":"));
    EXPECT_TRUE(has(fish, "__fish_use_subcommand -a " + verb + " "));
    EXPECT_TRUE(has(bash, "    " + verb + ") echo '"));
    for (const std::string& option : options_in(run_limpet({verb, "--help"}).out)) {
      EXPECT_TRUE(option == "--help" || has(section, "\\fB" + in_roff(option) + "\\fR"));
      EXPECT_TRUE(has(bash, option));
      EXPECT_TRUE(has(zsh, option + "["));
      EXPECT_TRUE(has(fish, "-l " + option.substr(2) + " "));
    }
  }
}

TEST(Pages, LimpetdHasEveryFlagAndTheFileEveryKey) {
  const std::string man = man_page("limpetd.8");
  const std::string file = man_page("limpet.json.5");
  const std::set<std::string> flags = options_in(output_of(shell_word(LIMPETD_PATH) + " --help"));
  ASSERT_GE(flags.size(), 12u);
  for (const std::string& flag : flags) {
    EXPECT_TRUE(has(man, "\\fB" + in_roff(flag) + "\\fR"));
    if (flag != "--help" && flag != "--version" && flag != "--config" && flag != "--check-config") {
      std::string key = flag.substr(2);
      std::replace(key.begin(), key.end(), '-', '_');
      EXPECT_TRUE(has(file, "\\fB" + key + "\\fR (default: "));
    }
  }
}

TEST(Pages, RoffIsWithoutFault) {
  if (::access("/usr/bin/groff", X_OK) != 0) {
    GTEST_SKIP() << "groff is not installed";
  }
  for (const std::string name : {"limpet.1", "limpetd.8", "limpet.json.5"}) {
    int status = 0;
    const std::string said =
        output_of("groff -man -Tutf8 -ww -z " + shell_word(LIMPET_PAGES_DIR "/" + name) + " 2>&1", &status);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(said, "");
  }
}

class Completion : public Cli {
 protected:
  Completion() { EXPECT_EQ(::symlink(LIMPET_PATH, (server.directory() + "/limpet").c_str()), 0); }

  // What bash offers for the last of `words`, sorted, in one line.
  std::string bash(const std::vector<std::string>& words) {
    std::string array;
    for (const std::string& word : words) {
      array += " '" + word + "'";
    }
    const std::string script = ". " + shell_word(LIMPET_PAGES_DIR "/limpet.bash") + "; COMP_WORDS=(" + array +
                               "); COMP_CWORD=" + std::to_string(words.size() - 1) +
                               "; _limpet 2>&1; printf \"%s\\n\" \"${COMPREPLY[@]}\" | sort | tr \"\\n\" \" \"";
    const std::string file = server.directory() + "/script";
    std::ofstream(file) << script;
    return output_of("PATH=" + server.directory() + ":$PATH LIMPET_SOCKET=" + server.socket() +
                     " bash --norc --noprofile " + file);
  }
};

TEST_F(Completion, BashKnowsCommandsAndOptions) {
  EXPECT_EQ(bash({"limpet", "st"}), "status ");
  EXPECT_EQ(bash({"limpet", "--json", "he"}), "heartbeat ");
  EXPECT_EQ(bash({"limpet", "register", "--me"}), "--metadata ");
  EXPECT_EQ(bash({"limpet", "register", "--format", "s"}), "serverset spring ");
  EXPECT_EQ(bash({"limpet", "register", "--port", "s"}), " ");
  EXPECT_EQ(bash({"limpet", "maintenance", "o"}), "off on ");
  EXPECT_EQ(bash({"limpet", "list", "--state", "re"}), "registered removing ");
}

TEST_F(Completion, BashAsksTheAgentForNames) {
  const std::string both = R"({"registrations":[{"service":"web","instance":"i-1"},{"service":"web","instance":"i-2"},)"
                           R"({"service":"db","instance":"a"}],"next":null})";
  server.answer(200, both);
  EXPECT_EQ(bash({"limpet", "show", ""}), "db web ");
  EXPECT_EQ(asked(0), "GET /v1/registrations?limit=1000");
  server.answer(200, both);
  EXPECT_EQ(bash({"limpet", "show", "--json", "web", "i-"}), "i-1 i-2 ");
  EXPECT_EQ(asked(1), "GET /v1/registrations?service=web&limit=1000");
  server.answer(200, both);
  EXPECT_EQ(bash({"limpet", "maintenance", "on", "d"}), "db ");
}

TEST_F(Completion, OtherShellsTakeTheirs) {
  int tried = 0;
  for (const auto& [shell, file] : {std::pair{"/usr/bin/zsh", "_limpet"}, {"/usr/bin/fish", "limpet.fish"}}) {
    if (::access(shell, X_OK) == 0) {
      ++tried;
      int status = 0;
      output_of(std::string(shell) + " -n " + shell_word(std::string(LIMPET_PAGES_DIR "/") + file) + " 2>&1", &status);
      EXPECT_EQ(status, 0) << shell;
    }
  }
  if (tried == 0) {
    GTEST_SKIP() << "neither zsh nor fish is installed";
  }
}

}  // namespace
}  // namespace limpet::test
