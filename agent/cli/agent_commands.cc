// The verbs about the agent as a whole: maintenance (of one registration too), reload.
#include <fmt/format.h>

#include <memory>

#include "agent/cli/command.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

struct MaintenanceOptions {
  std::string on_or_off;
  Name name;
  std::string reason;

  bool on() const { return on_or_off == "on"; }
  bool whole_host() const { return name.service.empty(); }
};

void check_maintenance(const MaintenanceOptions& options) {
  if (!options.whole_host() && options.name.instance.empty()) {
    throw CLI::RequiredError("INSTANCE");
  }
  if (!options.on() && !options.reason.empty()) {
    throw CLI::ValidationError("--reason", "goes with `on` only");
  }
}

Exit run_maintenance(Context& context, const MaintenanceOptions& options) {
  Request request;
  request.method = options.on() ? Method::put : Method::del;
  request.target = options.whole_host() ? "/v1/maintenance" : options.name.target() + "/maintenance";
  if (options.on()) {
    Json body = Json::object();
    if (!options.reason.empty()) {
      body["reason"] = options.reason;
    }
    request.body = body.dump();
  }
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  const std::string what = options.whole_host() ? "this host" : options.name.str();
  if (!answer->ok()) {
    return refused(context, fmt::format("{} the maintenance of {}", options.on() ? "begin" : "end", what), *answer);
  }
  if (context.json) {
    print_json(context, answer->body);
    return Exit::done;
  }
  std::string message;
  if (options.on()) {
    message =
        fmt::format("{} is in maintenance: {} from ZooKeeper until `limpet maintenance off{}`", what,
                    options.whole_host() ? "everything is withdrawn" : "withdrawn",
                    options.whole_host() ? "" : fmt::format(" {} {}", options.name.service, options.name.instance));
  } else {
    // Both may hold at a time, and one alone keeps it out of ZooKeeper.
    const bool still = !options.whole_host() && text(parse(answer->body), "state") == "maintenance";
    message = still ? fmt::format(
                          "the maintenance of {} has ended, but that of the whole host still keeps it out of "
                          "ZooKeeper (limpet maintenance off)",
                          what)
                    : fmt::format("the maintenance of {} has ended: {} to ZooKeeper by itself", what,
                                  options.whole_host() ? "what is registered goes back" : "it goes back");
  }
  context.console.out(printable(message) + "\n");
  return Exit::done;
}

std::string joined(const Json& words) {
  std::string result;
  for (const Json& word : words) {
    result += (result.empty() ? "" : ", ") + (word.is_string() ? word.get<std::string>() : word.dump());
  }
  return result;
}

// An error of a registration file: its text, or an object that names the file.
std::string shown_error(const Json& error) {
  if (error.is_string()) {
    return error.get<std::string>();
  }
  const std::string file = text(error, "file");
  const std::string detail = text(error, "detail") + text(error, "error");
  return detail.empty() ? error.dump() : fmt::format("{}{}{}", file, file.empty() ? "" : ": ", detail);
}

Exit run_reload(Context& context, bool force) {
  const Request request{Method::post, force ? "/v1/reload?force=true" : "/v1/reload", std::nullopt, {}};
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  if (!answer->ok()) {
    const Exit exit = refused(context, "reload", *answer);
    if (!context.json) {
      context.console.note("The old configuration stays.\n");
    }
    return exit;
  }
  const std::optional<Json> body = body_of(context, *answer);
  if (!body) {
    return Exit::failed;
  }
  const Json& files = at(*body, "registrations_d");
  const bool faults = !at(files, "errors").empty();
  if (context.json) {
    print_json(context, answer->body);
    return faults ? Exit::failed : Exit::done;
  }
  const std::string applied = joined(at(*body, "applied"));
  const std::string restart = joined(at(*body, "needs_restart"));
  Block block;
  block.add("Applied", applied.empty() ? "nothing: no value has changed that can be applied now" : applied);
  if (!restart.empty()) {
    block.add("Needs a restart", restart + " (sudo systemctl restart limpet: no znode blinks)", Colour::yellow);
  }
  if (files.is_object()) {
    const std::int64_t held = number(files, "held");
    block.add("Registration files",
              fmt::format("{} added, {} changed, {} removed{}", number(files, "added"), number(files, "changed"),
                          number(files, "removed"),
                          held > 0 ? fmt::format("; {} gone from the files and kept", held) : std::string{}));
  }
  for (const Json& error : at(files, "errors")) {
    block.add("Bad file", shown_error(error), Colour::red);
  }
  context.console.out(block.render(context.terminal));
  return faults ? Exit::failed : Exit::done;
}

}  // namespace

void add_agent_commands(CLI::App& app, Run& run) {
  CLI::App* maintenance =
      app.add_subcommand("maintenance", "withdraw a registration, or all of this host, from ZooKeeper for a while");
  auto options = std::make_shared<MaintenanceOptions>();
  maintenance->add_option("SWITCH", options->on_or_off, "on or off")
      ->required()
      ->option_text(" ")
      ->check(CLI::IsMember({"on", "off"}));
  add_name(*maintenance, options->name, /*required=*/false);
  maintenance->add_option("--reason", options->reason, "why, for those who ask")->option_text("TEXT");
  maintenance->footer(
      "Without SERVICE and INSTANCE: the whole host. What is withdrawn stays registered with the agent, also over\n"
      "restarts, and goes back to ZooKeeper with `off`.\n\n"
      "Examples:\n"
      "  limpet maintenance on web i-1 --reason 'new disk'\n"
      "  limpet maintenance off web i-1\n"
      "  limpet maintenance on --reason 'kernel upgrade'\n");
  maintenance->callback([&run, options] {
    check_maintenance(*options);
    run = [options](Context& context) { return run_maintenance(context, *options); };
  });

  CLI::App* reload = app.add_subcommand("reload", "let the agent read its configuration again");
  const auto force = std::make_shared<bool>(false);
  reload->add_flag("--force", *force, "deregister what has gone from the files, even if it is more than half of it");
  reload->footer(
      "A configuration with an error changes nothing. Exit status 1 also where a registration file is bad, or where\n"
      "the directory of registration files is not there, or half empty.\n\n"
      "Examples:\n  limpet reload\n  limpet reload --force\n");
  reload->callback([&run, force] { run = [force](Context& context) { return run_reload(context, *force); }; });
}

}  // namespace limpet::cli
