// The verb `status`.
#include "agent/cli/command.h"
#include "agent/cli/status_text.h"

namespace limpet::cli {

namespace {

// Adds the first few registrations in `state`. Without an answer the status is shown without their names.
void add_some(const Context& context, const std::string& state, std::vector<Json>& named) {
  Request request;
  request.target = "/v1/registrations?limit=3&state=" + state;
  const auto reply = context.client.call(request);
  const auto* answer = std::get_if<Answer>(&reply);
  if (answer == nullptr || !answer->ok()) {
    return;
  }
  const Json page = parse(answer->body);
  for (const Json& item : at(page, "registrations")) {
    named.push_back(item);
  }
}

Exit run_status(Context& context) {
  Request request;
  request.target = "/v1/status";
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  if (!answer->ok()) {
    return refused(context, "read the status", *answer);
  }
  std::optional<Json> status = body_of(context, *answer);
  if (!status) {
    return Exit::failed;
  }
  if (context.json) {
    print_json(context, answer->body);
    return needs_somebody(*status, context.now_ms) ? Exit::failed : Exit::done;
  }
  StatusFacts facts;
  for (const char* state : {"conflict", "blocked", "unhealthy", "maintenance"}) {
    // With the whole host in maintenance, a few names would say nothing.
    const bool whole_host = at(*status, "maintenance").is_object() && std::string_view(state) == "maintenance";
    if (number(at(*status, "registrations"), state) > 0 && !whole_host) {
      add_some(context, state, facts.outside);
    }
  }
  facts.status = std::move(*status);
  const StatusText described = describe_status(facts, context.terminal, context.now_ms);
  context.console.out(described.text);
  return described.needs_somebody ? Exit::failed : Exit::done;
}

}  // namespace

void add_status_command(CLI::App& app, Run& run) {
  CLI::App* verb = app.add_subcommand("status", "how the agent, its ZooKeeper session, its queue and its disk are");
  verb->footer(
      "Exit status: 1 where somebody has to do something, as the first line then says: the disk or the credentials\n"
      "do not work, or ZooKeeper refuses a registration. 0 otherwise, also while ZooKeeper is away: the agent goes on\n"
      "by itself then.\n\n"
      "Examples:\n  limpet status\n  limpet status --json | jq .queue.depth\n");
  verb->callback([&run] { run = run_status; });
}

}  // namespace limpet::cli
