// The verbs about many: list, queue.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "agent/cli/command.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

// A question whose answer comes in pages: {"<items>":[…],"next":…}.
struct Paged {
  std::string path;
  std::vector<std::pair<std::string, std::string>> filters;  // query parameters, not encoded
  const char* items = "";
  std::int64_t limit = 0;  // items in all; 0: every one
};

std::string target_of(const Paged& question, std::int64_t limit, const std::string& after) {
  std::string target = question.path;
  char separator = '?';
  const auto add = [&](std::string_view key, std::string_view value) {
    target += fmt::format("{}{}={}", separator, key, encode_query_value(value));
    separator = '&';
  };
  for (const auto& [key, value] : question.filters) {
    add(key, value);
  }
  add("limit", std::to_string(limit));
  if (!after.empty()) {
    add("after", after);
  }
  return target;
}

// Where the next page starts: an id, or a seq; empty after the last.
std::string next_of(const Json& page) {
  const Json& next = at(page, "next");
  return next.is_string() ? next.get<std::string>() : next.is_number_integer() ? next.dump() : std::string{};
}

// Asks for one page. Nothing where that failed and was reported: `exit` then says how.
std::optional<Answer> ask_page(Context& context, const Paged& question, const std::string& target, Exit& exit) {
  Request request;
  request.target = target;
  std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    exit = Exit::unreachable;
    return std::nullopt;
  }
  if (!answer->ok()) {
    exit = refused(context, fmt::format("read the {}", question.items), *answer);
    return std::nullopt;
  }
  return answer;
}

// All pages as one answer, printed where that is asked for: a single page byte for byte. Nothing as for ask_page.
std::optional<Json> fetch(Context& context, const Paged& question, Exit& exit) {
  constexpr std::int64_t kPage = 1000;
  Json whole;
  std::string as_it_came;
  std::string after;
  std::int64_t count = 0;
  for (bool last = false; !last;) {
    const std::int64_t wanted = question.limit == 0 ? kPage : std::min(kPage, question.limit - count);
    std::optional<Answer> answer = ask_page(context, question, target_of(question, wanted, after), exit);
    if (!answer) {
      return std::nullopt;
    }
    std::optional<Json> page = body_of(context, *answer);
    if (!page) {
      exit = Exit::failed;
      return std::nullopt;
    }
    const Json& items = at(*page, question.items);
    const std::size_t size = items.is_array() ? items.size() : 0;
    count += static_cast<std::int64_t>(size);
    const std::string next = next_of(*page);
    // An agent that gives the same page for ever must not hold us for ever.
    last = size == 0 || next.empty() || next == after || (question.limit != 0 && count >= question.limit);
    if (whole.is_null()) {
      as_it_came = std::move(answer->body);
      whole = std::move(*page);
    } else {
      as_it_came.clear();
      for (Json& item : (*page)[question.items]) {
        whole[question.items].push_back(std::move(item));
      }
      whole["next"] = at(*page, "next");
    }
    after = next;
  }
  if (context.json) {
    print_json(context, as_it_came.empty() ? whole.dump() : as_it_came);
  }
  return whole;
}

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
  if (!options.service.empty()) {
    question.filters.emplace_back("service", options.service);
  }
  if (!options.state.empty()) {
    question.filters.emplace_back("state", options.state);
  }
  Exit exit = Exit::done;
  const std::optional<Json> answer = fetch(context, question, exit);
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
  const std::optional<Json> answer = fetch(context, question, exit);
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
    context.console.note("nothing waits: every change is in ZooKeeper\n");
    return exit;
  }
  context.console.out(table.render(context.terminal));
  if (const std::string next = next_of(*answer); !next.empty()) {
    context.console.note("… and more: `limpet status` counts them, a larger --limit shows them\n");
  }
  return exit;
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
}

}  // namespace limpet::cli
