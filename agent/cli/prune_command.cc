// prune: the parents that this agent created and that are empty.
#include <fmt/format.h>

#include <memory>

#include "agent/api/names.h"
#include "agent/cli/command.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

struct PruneOptions {
  std::string older_than;
  std::string service;
  bool dry_run = false;
};

std::string check_age(const std::string& value) {
  return api::parse_age(value) ? std::string() : "must be a duration such as 12h or 7d (units: ms s m h d)";
}

std::string render(const Json& report, const Terminal& terminal) {
  const std::int64_t examined = number(report, "examined");
  const std::int64_t removed = number(report, "removed");
  const bool dry = at(report, "dry_run") == true;
  std::string out = examined == 0
                        ? std::string("this agent remembers no parent that it created and that this is about\n")
                        : fmt::format("{} of {} {} {}\n", removed, examined, examined == 1 ? "parent" : "parents",
                                      dry ? "would be removed" : "removed");
  Table table({{"PARENT", 1, 12}, {"OUTCOME"}, {"WHY", 2, 12}});
  for (const Json& item : at(report, "parents")) {
    const bool gone = text(item, "outcome") == "removed";
    table.add({text(item, "path"),
               Cell(gone && dry ? "would be removed" : text(item, "outcome"), gone ? Colour::green : Colour::yellow),
               text(item, "message")});
  }
  if (!table.empty()) {
    out += "\n" + table.render(terminal);
  }
  if (at(report, "more") == true) {
    out += fmt::format("\nonly {} of {} are shown\n", at(report, "parents").size(), examined);
  }
  return out;
}

Exit run_prune(Context& context, const PruneOptions& options) {
  Json body = Json::object();
  if (!options.older_than.empty()) {
    body["older_than"] = options.older_than;
  }
  if (options.dry_run) {
    body["dry_run"] = true;
  }
  if (!options.service.empty()) {
    body["service"] = options.service;
  }
  const Request request{Method::post, "/v1/prune", body.dump(), std::chrono::minutes(5)};
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  if (!answer->ok()) {
    return refused(context, "prune", *answer);
  }
  if (context.json) {
    print_json(context, answer->body);
    return Exit::done;
  }
  const std::optional<Json> report = body_of(context, *answer);
  if (!report) {
    return Exit::failed;
  }
  context.console.out(render(*report, context.terminal));
  return Exit::done;
}

}  // namespace

void add_prune_command(CLI::App& app, Run& run) {
  CLI::App* verb = app.add_subcommand("prune", "remove empty znodes that this agent created above registrations");
  auto options = std::make_shared<PruneOptions>();
  verb->add_option("--older-than", options->older_than,
                   "only those without a registration of this host for so long (default: 7d)")
      ->option_text("DURATION")
      ->check(CLI::Validator(check_age, ""));
  verb->add_flag("--dry-run", options->dry_run, "say what would be removed, and remove nothing");
  verb->add_option("--service", options->service, "only those of this service")->option_text("SERVICE");
  verb->footer(
      "For root. The agent never does this by itself. It removes only what it created and what is empty at that\n"
      "moment, also for other hosts, and says of everything else why it is left. It takes ZooKeeper.\n\n"
      "Examples:\n"
      "  limpet prune --dry-run\n"
      "  limpet prune --older-than 30d --service web\n");
  verb->callback([&run, options] { run = [options](Context& context) { return run_prune(context, *options); }; });
}

}  // namespace limpet::cli
