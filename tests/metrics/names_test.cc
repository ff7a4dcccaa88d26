// The names that people go by: agent/docs/METRICS.md, the Grafana dashboard and the alert rules, held against what a
// real agent gives.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "tests/metrics/exposition.h"
#include "tests/support/agent_process.h"
#include "tests/support/shell.h"

namespace limpet::test {
namespace {

using Words = std::set<std::string>;

const std::string kTop = LIMPET_SOURCE_DIR;
// What the rules use of others: Prometheus' own, and node_exporter's.
const Words kOthers = {"up", "node_textfile_mtime_seconds"};
const Words kOthersLabels = {"instance", "job", "file"};

std::string content(const std::string& file) {
  std::ifstream stream(file);
  EXPECT_TRUE(stream) << file;
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

// What the groups of each match are, with the whole of it first.
std::vector<std::vector<std::string>> matches(const std::string& text, const std::regex& shape) {
  std::vector<std::vector<std::string>> all;
  for (std::sregex_iterator it(text.begin(), text.end(), shape), end; it != end; ++it) {
    all.emplace_back(it->begin(), it->end());
  }
  return all;
}

class MetricsNames : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(agent_.start()) << agent_.log(); }

  std::string scrape() { return UnixHttp(agent_.socket()).get("/metrics").body; }
  // What stands between the quotes of a shell, of a document's command with the paths of this test in it.
  std::string here(std::string command) const {
    for (const auto& [from, to] : {std::pair<std::string, std::string>{"/run/limpet/limpet.sock", agent_.socket()},
                                   {"/var/lib/prometheus/node-exporter", agent_.directory()}}) {
      for (std::size_t at = command.find(from); at != std::string::npos; at = command.find(from, at + to.size())) {
        command.replace(at, from.size(), to);
      }
    }
    return command;
  }
  void expect_known(const std::string& expression);
  void expect_known_matchers(const std::string& name, const std::string& matchers, const Family* family);

  AgentProcess agent_{"127.0.0.1:1"};
};

// `name{label="value",…}`; the value may be a list for =~.
void MetricsNames::expect_known_matchers(const std::string& name, const std::string& matchers, const Family* family) {
  static const std::regex kMatcher(R"re(([a-z_]+)(=~|!~|!=|=)"([^"]*)")re");
  for (const auto& matcher : matches(matchers, kMatcher)) {
    const std::string label = matcher[1];
    if (kOthersLabels.contains(label)) {
      continue;
    }
    ASSERT_NE(family, nullptr) << name << matchers;
    const auto known = family->labels.find(label);
    ASSERT_NE(known, family->labels.end()) << name << matchers;
    std::istringstream values(matcher[3]);
    for (std::string value; std::getline(values, value, '|');) {
      EXPECT_TRUE(known->second.contains(value)) << name << matchers << ": " << value;
    }
  }
}

void MetricsNames::expect_known(const std::string& expression) {
  static const Exposition exposition(scrape());
  static const std::regex kSelector(R"((limpet_[a-z0-9_]+|[a-z_][a-z0-9_]*(?=\{))(\{[^}]*\})?)");
  static const std::regex kGrouping(R"(\b(?:by|on|without|ignoring) ?\(([^)]*)\))");
  Words labels = kOthersLabels;
  for (const auto& selector : matches(expression, kSelector)) {
    std::string name = selector[1];
    const Family* family = nullptr;
    for (const char* suffix : {"", "_bucket", "_sum", "_count"}) {
      const std::string stem = name.ends_with(suffix) ? name.substr(0, name.size() - std::string(suffix).size()) : "";
      const auto found = exposition.families().find(stem);
      if (found != exposition.families().end() && (*suffix == '\0' || found->second.type == "histogram")) {
        family = &found->second;
      }
    }
    EXPECT_TRUE(family != nullptr || kOthers.contains(name)) << name << " in " << expression;
    expect_known_matchers(name, selector[2], family);
    if (family != nullptr) {
      for (const auto& [label, values] : family->labels) {
        labels.insert(label);
      }
    }
  }
  for (const auto& grouping : matches(expression, kGrouping)) {
    for (const auto& label : matches(grouping[1], std::regex("[a-z_]+"))) {
      EXPECT_TRUE(labels.contains(label[0])) << label[0] << " in " << expression;
    }
  }
}

TEST_F(MetricsNames, AreThoseOfTheDocument) {
  const Exposition exposition(scrape());
  ASSERT_TRUE(exposition.errors().empty()) << exposition.errors().front();
  const std::regex row(R"(^\| `([a-z0-9_]+)` \| ([a-z]+) \|([^|]*)\| .+ \|$)");
  const std::regex word("`([^`]+)`");
  std::istringstream lines(content(kTop + "/agent/docs/METRICS.md"));
  std::map<std::string, Words> above;
  Words documented;
  for (std::string line; std::getline(lines, line);) {
    std::smatch cells;
    if (!std::regex_match(line, cells, row)) {
      continue;
    }
    const std::string name = cells[1];
    documented.insert(name);
    const auto found = exposition.families().find(name);
    ASSERT_NE(found, exposition.families().end()) << name;
    const Family& family = found->second;
    EXPECT_EQ(family.type, cells[2]) << name;
    const std::string told = cells[3];
    const auto words = matches(told, word);
    Words labels;
    for (const auto& [label, values] : family.labels) {
      labels.insert(label);
    }
    EXPECT_EQ(labels, words.empty() ? Words{} : Words{words[0][1]}) << name;
    if (words.empty() || told.find(':') == std::string::npos) {
      continue;
    }
    Words& values = above[words[0][1]];
    if (told.find("as above") == std::string::npos) {
      values.clear();
      for (std::size_t i = 1; i < words.size(); ++i) {
        values.insert(words[i][1]);
      }
    }
    EXPECT_EQ(family.labels.at(words[0][1]), values) << name;
  }
  for (const auto& [name, family] : exposition.families()) {
    EXPECT_TRUE(documented.contains(name)) << name << " is not in METRICS.md";
    EXPECT_TRUE(name.starts_with("limpet_")) << name;
  }
}

TEST_F(MetricsNames, OfTheDashboardAreThere) {
  const auto dashboard = nlohmann::json::parse(content(kTop + "/agent/packaging/grafana-dashboard.json"));
  int expressions = 0;
  std::set<int> ids;
  for (const auto& panel : dashboard["panels"]) {
    EXPECT_TRUE(ids.insert(panel["id"].get<int>()).second);
    for (const auto& target : panel.value("targets", nlohmann::json::array())) {
      std::string expression = target["expr"];
      expect_known(expression);
      ++expressions;
    }
  }
  EXPECT_GT(expressions, 20);
  for (const auto& variable : dashboard["templating"]["list"]) {
    expect_known(variable.value("definition", ""));
  }
  for (const auto& annotation : dashboard["annotations"]["list"]) {
    expect_known(annotation["expr"]);
  }
}

TEST_F(MetricsNames, OfTheAlertsAreThereAndEachSaysWhatToDo) {
  std::istringstream lines(content(kTop + "/agent/packaging/alerts.yml"));
  const std::regex entry(R"(^\s+(?:- )?(alert|expr|summary|action): (.+)$)");
  Words alerts;
  std::map<std::string, int> seen;
  for (std::string line; std::getline(lines, line);) {
    std::smatch parts;
    if (!std::regex_match(line, parts, entry)) {
      continue;
    }
    ++seen[parts[1]];
    if (parts[1] == "alert") {
      EXPECT_TRUE(alerts.insert(parts[2]).second) << line;
    } else if (parts[1] == "expr") {
      expect_known(parts[2]);
    } else {
      EXPECT_TRUE(parts[2].str().starts_with('"') && parts[2].str().ends_with(".\"")) << line;
    }
  }
  EXPECT_GT(alerts.size(), 10U);
  for (const char* part : {"alert", "expr", "summary", "action"}) {
    EXPECT_EQ(seen[part], static_cast<int>(alerts.size())) << part;
  }
  EXPECT_NE(content(kTop + "/agent/docs/METRICS.md").find("LimpetMetricsStale"), std::string::npos);
  EXPECT_TRUE(alerts.contains("LimpetMetricsStale"));
}

TEST_F(MetricsNames, TheCommandsOfTheDocumentWork) {
  const std::string document = content(kTop + "/agent/docs/METRICS.md");
  std::smatch curl;
  ASSERT_TRUE(std::regex_search(document, curl, std::regex("```sh\n(curl .*)\n```")));
  const std::string output = agent_.directory() + "/output";
  ASSERT_EQ(std::system((here(curl[1]) + " >" + output).c_str()), 0);
  EXPECT_TRUE(Exposition(content(output)).errors().empty());
  std::smatch timer;
  ASSERT_TRUE(std::regex_search(document, timer, std::regex("ExecStart=(/bin/sh -c '.*')\n")));
  ASSERT_EQ(std::system(here(timer[1]).c_str()), 0);
  const std::string written = agent_.directory() + "/limpet.prom";
  EXPECT_TRUE(Exposition(content(written)).errors().empty());
  // Without an agent the old file stays, whole.
  agent_.kill();
  EXPECT_NE(std::system(here(timer[1]).c_str()), 0);
  EXPECT_TRUE(Exposition(content(written)).errors().empty());
}

TEST_F(MetricsNames, PrometheusOwnToolTakesThem) {
  if (std::system("command -v promtool >/dev/null") != 0) {
    GTEST_SKIP() << "promtool is not installed (Debian: prometheus)";
  }
  const std::string rules = kTop + "/agent/packaging/alerts.yml";
  EXPECT_EQ(std::system(("promtool check rules " + shell_word(rules)).c_str()), 0);
  const std::string output = agent_.directory() + "/output";
  std::ofstream(output) << scrape();
  EXPECT_EQ(std::system(("promtool check metrics <" + output).c_str()), 0);
}

}  // namespace
}  // namespace limpet::test
