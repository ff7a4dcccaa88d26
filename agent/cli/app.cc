#include "agent/cli/app.h"

#include <fmt/format.h>

#include <algorithm>

namespace limpet::cli {

namespace {

void add_globals(CLI::App& app, Globals& globals) {
  app.add_option("--socket", globals.socket,
                 fmt::format("limpetd's socket (or LIMPET_SOCKET; default: {})", kDefaultSocket))
      ->option_text("PATH")
      ->check(
          [](const std::string& value) { return value.empty() ? std::string("must not be empty") : std::string{}; });
  app.add_flag("--json", globals.json, "print the API's answer as it is, errors too");
  add_wait(app, "--answer-timeout", globals.answer_timeout,
           "for an answer of the agent, on top of --wait (default: 30s)");
  app.set_version_flag("--version", std::string("limpet " LIMPET_VERSION), "print the version");
  app.set_help_flag("-h,--help", "print this help; after a command, the command's");
}

void describe(CLI::App& app) {
  app.name("limpet");
  app.description("limpet talks to limpetd, which registers this host's services in ZooKeeper and keeps them there.\n");
  app.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app.get_formatter()->column_width(28);
  app.footer(
      "Options may stand before or after the command. `limpet COMMAND --help` says more.\n\n"
      "Examples:\n"
      "  limpet register web i-1 --port 8080     on disk at once, in ZooKeeper as soon as that serves\n"
      "  limpet wait web i-1 --timeout 10s       until it can be found\n"
      "  limpet list                             what this host has registered\n"
      "  limpet status                           is ZooKeeper there, and what waits?\n"
      "  limpet run web i-1 -- ./web             registered for as long as the command lives\n"
      "  limpet deregister web i-1               take it out again\n\n"
      "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 limpetd cannot be reached, 4 --wait ran out.\n");
}

// Whether the first word that is neither an option of `app` nor the value of one is `run`.
bool is_run(const CLI::App& app, const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].empty() || words[i][0] != '-') {
      return words[i] == "run";
    }
    const CLI::Option* option = app.get_option_no_throw(words[i]);
    i += option != nullptr && option->get_items_expected_max() > 0 ? 1 : 0;
  }
  return false;
}

// Last word first, as CLI11 takes it. It reads `--data=` as an option whose value is the next word; here that is an
// empty value.
std::vector<std::string> for_the_parser(const std::vector<std::string>& words) {
  std::vector<std::string> result;
  bool options = true;
  for (const std::string& word : words) {
    options = options && word != "--";
    if (options && word.size() > 3 && word.starts_with("--") && word.find('=') == word.size() - 1) {
      result.push_back(word.substr(0, word.size() - 1));
      result.emplace_back();
    } else {
      result.push_back(word);
    }
  }
  std::reverse(result.begin(), result.end());
  return result;
}

}  // namespace

void build_app(CLI::App& app, Globals& globals, Run& run) {
  describe(app);
  add_globals(app, globals);
  app.require_subcommand(1);
  app.fallthrough();  // global options after the verb; handed down to the verbs, so set before they are made
  add_register_command(app, run);
  add_run_command(app, run, globals.command);
  add_change_commands(app, run);
  add_list_commands(app, run);
  add_show_commands(app, run);
  add_status_command(app, run);
  add_history_commands(app, run);
  add_agent_commands(app, run);
  add_prune_command(app, run);
  add_dump_command(app, run);
  add_doctor_command(app, run);
  for (CLI::App* verb : app.get_subcommands([](CLI::App* one) { return !one->get_group().empty(); })) {
    verb->group("Commands");
  }
}

void parse_words(CLI::App& app, Globals& globals, std::vector<std::string> words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes != words.end() && is_run(app, words)) {
    globals.command.assign(dashes + 1, words.end());
    words.erase(dashes, words.end());
  }
  app.parse(for_the_parser(words));
}

}  // namespace limpet::cli
