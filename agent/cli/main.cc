// limpet: the command line to limpetd. Parses, connects nothing until a verb asks, and turns what the verb came to into
// an exit status.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <vector>

#include "agent/cli/app.h"

namespace limpet::cli {

namespace {

// The parser's complaint, in our words where it has none that help.
Exit report_usage(Console& console, const CLI::App& app, const CLI::ParseError& error) {
  const auto verbs = app.get_subcommands();
  if (!verbs.empty()) {
    console.error(fmt::format("{}\nTry: limpet {} --help", error.what(), verbs.front()->get_name()));
    return Exit::usage;
  }
  const auto rest = app.remaining();
  if (rest.empty() && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    console.note(app.help());
  } else if (!rest.empty()) {
    const bool option = rest.front().rfind('-', 0) == 0;
    console.error(fmt::format("there is no {} '{}'\nTry: limpet --help", option ? "option" : "command", rest.front()));
  } else {
    console.error(fmt::format("{}\nTry: limpet --help", error.what()));
  }
  return Exit::usage;
}

Client make_client(const Globals& globals) {
  const auto timeout = globals.answer_timeout.duration();
  if (globals.socket) {
    return {*globals.socket, "--socket", timeout};
  }
  const char* from_environment = std::getenv("LIMPET_SOCKET");
  if (from_environment != nullptr && *from_environment != '\0') {
    return {from_environment, "LIMPET_SOCKET", timeout};
  }
  return {kDefaultSocket, "", timeout};
}

Exit run_program(int argc, char** argv, Console& console) {
  CLI::App app;
  Globals globals;
  Run run;
  build_app(app, globals, run);
  try {
    parse_words(app, globals, {argv + 1, argv + argc});
  } catch (const CLI::CallForHelp&) {
    console.out(app.help());
    return Exit::done;
  } catch (const CLI::CallForVersion& version) {
    console.out(fmt::format("{}\n", version.what()));
    return Exit::done;
  } catch (const CLI::ParseError& error) {
    return report_usage(console, app, error);
  }

  const Client client = make_client(globals);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  Context context{client, console, Terminal::of(STDOUT_FILENO), globals.json,
                  std::chrono::duration_cast<std::chrono::milliseconds>(now).count()};
  return run(context);
}

}  // namespace

}  // namespace limpet::cli

int main(int argc, char** argv) {
  using limpet::cli::Exit;
  // A reader that has gone away must not kill us before the exit status says what the agent did.
  std::signal(SIGPIPE, SIG_IGN);
  limpet::cli::Console console;
  Exit exit = Exit::failed;
  try {
    exit = limpet::cli::run_program(argc, argv, console);
  } catch (const std::exception& error) {
    console.error(fmt::format("internal error: {}", error.what()));
  }
  if (!console.flush()) {
    console.error("cannot write to standard output");
    exit = exit == Exit::done ? Exit::failed : exit;
  }
  return static_cast<int>(exit);
}
