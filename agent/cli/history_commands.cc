// The verbs about what happened: history, events.
#include <fmt/format.h>
#include <pwd.h>

#include <memory>

#include "agent/cli/paged.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

// "2026-01-31 03:12:07Z".
std::string shown_clock(const Json& entry) {
  std::string time = text(entry, "time");
  constexpr std::size_t kDay = 10;
  constexpr std::size_t kSeconds = 19;
  if (time.size() > kSeconds && time[kDay] == 'T' && time.back() == 'Z') {
    time.replace(kSeconds, std::string::npos, "Z");
    time[kDay] = ' ';
  }
  return time;
}

// "root, curl 4321": who did it, where somebody did.
std::string shown_who(const Json& entry) {
  const Json& who = at(entry, "who");
  if (!who.is_object()) {
    return {};
  }
  const std::int64_t uid = number(who, "uid");
  const passwd* user = ::getpwuid(static_cast<uid_t>(uid));
  const std::int64_t pid = number(who, "pid");
  std::string program = text(who, "program");
  program += pid > 0 ? fmt::format("{}{}", program.empty() ? "process " : " ", pid) : std::string{};
  return fmt::format("{}{}{}", user == nullptr ? fmt::format("uid {}", uid) : user->pw_name,
                     program.empty() ? "" : ", ", program);
}

std::string subject_of(const Json& entry) {
  const bool named = !text(entry, "id").empty() || !text(entry, "service").empty();
  return named ? id_of(entry) : std::string{};
}

struct HistoryOptions {
  std::string service;
  std::string instance;
  std::string before;
  std::int64_t limit = 100;
};

Exit run_history(Context& context, const HistoryOptions& options) {
  Paged question;
  question.path = "/v1/history";
  question.items = "entries";
  question.cursor = "before_event";
  question.limit = options.limit;
  question.filter("service", options.service);
  question.filter("instance", options.instance);
  question.filter("before", options.before);
  Exit exit = Exit::done;
  const std::optional<Json> answer = fetch_pages(context, question, exit);
  if (!answer || context.json) {
    return exit;
  }
  Table table(
      {{"TIME"}, {"AGE"}, {"WHAT"}, {"REGISTRATION", 1, 12}, {"CHANGE", 0, 0, true}, {"WHY", 2, 20}, {"WHO", 3, 8}});
  for (const Json& entry : at(*answer, "entries")) {
    const std::string what = text(entry, "what");
    const std::int64_t seq = number(entry, "seq");
    table.add({shown_clock(entry), age_of(entry, "time", context.now_ms), Cell(what, colour_of_state(what)),
               subject_of(entry), seq > 0 ? std::to_string(seq) : std::string{}, text(entry, "why"), shown_who(entry)});
  }
  if (table.empty()) {
    context.console.note("nothing like that in the history\n");
    return exit;
  }
  context.console.out(table.render(context.terminal));
  if (const std::string next = next_of(*answer); !next.empty()) {
    context.console.note("… and more: a larger --limit shows them\n");
  }
  return exit;
}

std::string event_line(const Json& event, const Terminal& terminal) {
  const std::string what = text(event, "what");
  std::string line = shown_clock(event) + "  " + terminal.paint(colour_of_state(what), printable(what));
  const std::string why = text(event, "why");
  const std::string who = shown_who(event);
  for (const std::string& part : {subject_of(event), why, who.empty() ? who : "(" + who + ")"}) {
    line += part.empty() ? std::string{} : "  " + printable(part);
  }
  return line;
}

struct EventsOptions {
  std::string since;
  std::string service;
  std::string instance;

  std::string query() const {
    std::string result;
    for (const auto& [key, value] : {std::pair{"since", since}, {"service", service}, {"instance", instance}}) {
      if (!value.empty()) {
        result += fmt::format("{}{}={}", result.empty() ? '?' : '&', key, encode_query_value(value));
      }
    }
    return result;
  }
};

Exit run_events(Context& context, const EventsOptions& options) {
  Request request;
  request.target = "/v1/events" + options.query();
  std::int64_t last = 0;
  bool written = true;
  std::string trouble;  // the agent's last words
  const auto reply = context.client.follow(request, [&](std::string_view line) {
    const Json event = parse(line);
    last = std::max(last, number(event, "event"));
    if (const std::string code = text(event, "error"); !code.empty()) {
      trouble = fmt::format("{} ({})", text(event, "detail"), code);
    }
    if (context.json || !event.is_object()) {
      context.console.json(line);
      context.console.out("\n");
    } else if (trouble.empty()) {
      context.console.out(event_line(event, context.terminal) + "\n");
    }
    written = context.console.flush();
    return written && !context.console.reader_gone();
  });
  if (!trouble.empty()) {
    context.console.error("the events break off: " + printable(trouble));
    return Exit::failed;
  }
  if (const auto* unreachable = std::get_if<Unreachable>(&reply)) {
    const std::string resume = last > 0 ? fmt::format("\nTo go on from here: limpet events --since {}", last) : "";
    return failed(context, Exit::unreachable, "unreachable", unreachable->why + resume);
  }
  const auto& answer = std::get<Answer>(reply);
  if (!answer.ok()) {
    return refused(context, "follow the events", answer);
  }
  if (!written) {
    context.console.error("cannot write to standard output");
  }
  return written ? Exit::done : Exit::failed;
}

std::string check_number(const std::string& value) {
  const bool digits =
      !value.empty() && value.size() <= 18 && value.find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::string{} : fmt::format("'{}' is no number", value);
}

}  // namespace

void add_history_commands(CLI::App& app, Run& run) {
  CLI::App* history = app.add_subcommand("history", "what happened, newest first: to what, when, why, and by whom");
  auto options = std::make_shared<HistoryOptions>();
  history->add_option("--service", options->service, "to this service only")->option_text("S");
  history->add_option("--instance", options->instance, "to this instance only")->option_text("I");
  history->add_option("--before", options->before, "what came before this change (its number)")
      ->option_text("N")
      ->check(check_number);
  history->add_option("--limit", options->limit, "so many at most (100 where not given)")
      ->option_text("N")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}));
  history->footer(
      "Times are UTC. What is older than the agent keeps (seven days by default) is gone.\n\n"
      "Examples:\n  limpet history\n  limpet history --service web --instance i-1 --limit 20\n");
  history->callback([&run, options] { run = [=](Context& context) { return run_history(context, *options); }; });

  CLI::App* events = app.add_subcommand("events", "follow what happens, a line an event, until interrupted");
  auto wanted = std::make_shared<EventsOptions>();
  events->add_option("--since", wanted->since, "first what came after this event (its number; --json shows it)")
      ->option_text("N")
      ->check(check_number);
  events->add_option("--service", wanted->service, "of this service only")->option_text("S");
  events->add_option("--instance", wanted->instance, "of this instance only")->option_text("I");
  events->footer("Examples:\n  limpet events\n  limpet events --json --since 4711 | jq -r .what\n");
  events->callback([&run, wanted] { run = [=](Context& context) { return run_events(context, *wanted); }; });
}

}  // namespace limpet::cli
