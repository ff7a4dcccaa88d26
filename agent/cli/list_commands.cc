// The verbs about many: list, queue.
#include <fmt/format.h>

#include <memory>
#include <set>
#include <vector>

#include "agent/cli/paged.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

struct ListOptions {
  std::string service;
  std::string state;
  std::int64_t limit = 0;
};

Exit run_list(Context& context, const ListOptions& options) {
  Paged question;
  question.path = "/v1/registrations";
  question.items = "registrations";
  question.limit = options.limit;
  question.filter("service", options.service);
  question.filter("state", options.state);
  Exit exit = Exit::done;
  const std::optional<Json> answer = fetch_pages(context, question, exit);
  if (!answer || context.json) {
    return exit;
  }
  Table table({{"REGISTRATION", 1, 12}, {"STATE"}, {"ACCEPTED"}, {"ZNODE", 2, 12}, {"REASON", 3, 16}});
  for (const Json& item : at(*answer, "registrations")) {
    const std::string state = text(item, "state");
    table.add({id_of(item), Cell(state, colour_of_state(state)), age_of(item, "accepted_at", context.now_ms),
               text(item, "path"), reason_of(item)});
  }
  if (table.empty()) {
    context.console.note(question.filters.empty() ? "nothing is registered on this host\n"
                                                  : "no registration like that on this host\n");
    return exit;
  }
  context.console.out(table.render(context.terminal));
  if (const std::string next = next_of(*answer); !next.empty()) {
    context.console.note("… and more: a larger --limit shows them\n");
  }
  return exit;
}

Exit run_queue(Context& context, std::int64_t limit) {
  Paged question;
  question.path = "/v1/queue";
  question.items = "operations";
  question.limit = limit;
  Exit exit = Exit::done;
  const std::optional<Json> answer = fetch_pages(context, question, exit);
  if (!answer || context.json) {
    return exit;
  }
  Table table({{"CHANGE", 0, 0, true}, {"DOES"}, {"REGISTRATION", 1, 12}, {"STATE"}, {"ACCEPTED"}, {"REASON", 3, 16}});
  for (const Json& item : at(*answer, "operations")) {
    const std::string state = text(item, "state");
    const std::string verb = text(item, "op");
    table.add({std::to_string(number(item, "seq")),
               verb.empty() ? std::string(flag(item, "deregister") ? "deregister" : "register") : verb, id_of(item),
               Cell(state, colour_of_state(state)), age_of(item, "accepted_at", context.now_ms), reason_of(item)});
  }
  if (table.empty()) {
    context.console.note("nothing waits: every change has reached ZooKeeper\n");
    return exit;
  }
  context.console.out(table.render(context.terminal));
  if (const std::string next = next_of(*answer); !next.empty()) {
    context.console.note("… and more: `limpet status` counts them, a larger --limit shows them\n");
  }
  return exit;
}

// For the shells' completions: the names of the services, or of the instances of one, a line each. Says nothing where
// there is no agent.
Exit run_names(Context& context, const std::string& service) {
  std::set<std::string> names;
  std::string after;
  for (bool last = false; !last;) {
    Request request;
    request.target = "/v1/registrations?" +
                     (service.empty() ? std::string() : "service=" + encode_query_value(service) + "&") + "limit=1000" +
                     after;
    const auto reply = context.client.call(request);
    const auto* answer = std::get_if<Answer>(&reply);
    const Json page = answer != nullptr && answer->ok() ? parse(answer->body) : Json();
    for (const Json& item : at(page, "registrations")) {
      names.insert(text(item, service.empty() ? "service" : "instance"));
    }
    const std::string next = next_of(page);
    last = next.empty();
    after = "&after=" + encode_query_value(next);
  }
  for (const std::string& name : names) {
    context.console.out(name + "\n");
  }
  return Exit::done;
}

}  // namespace

void add_list_commands(CLI::App& app, Run& run) {
  CLI::App* list = app.add_subcommand("list", "what this host has registered");
  auto options = std::make_shared<ListOptions>();
  list->add_option("--service", options->service, "of this service only")->option_text("S");
  list->add_option("--state", options->state,
                   "in this state only: pending, registered, suspended, conflict, blocked, unhealthy, maintenance, "
                   "removing")
      ->option_text("S");
  list->add_option("--limit", options->limit, "so many at most (all where not given)")
      ->option_text("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}));
  list->footer(
      "Examples:\n  limpet list\n  limpet list --state conflict\n  limpet list --json | jq -r '.registrations[].id'\n");
  list->callback([&run, options] { run = [=](Context& context) { return run_list(context, *options); }; });

  CLI::App* queue = app.add_subcommand("queue", "accepted changes that are not in ZooKeeper yet, in their order");
  auto limit = std::make_shared<std::int64_t>(1000);
  queue->add_option("--limit", *limit, "so many at most (1000 where not given)")
      ->option_text("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}));
  queue->footer("Example:\n  limpet queue --limit 10\n");
  queue->callback([&run, limit] { run = [=](Context& context) { return run_queue(context, *limit); }; });

  CLI::App* names = app.add_subcommand("names", "names of services, or of the instances of one: for completions");
  names->group("");  // not shown
  auto service = std::make_shared<std::string>();
  names->add_option("SERVICE", *service, "of this service")->option_text(" ");
  names->callback([&run, service] { run = [=](Context& context) { return run_names(context, *service); }; });
}

}  // namespace limpet::cli
