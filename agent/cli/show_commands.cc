// The verbs about one registration: show, wait.
#include <fmt/format.h>
#include <pwd.h>

#include <memory>

#include "agent/cli/command.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"
#include "agent/cli/times.h"

namespace limpet::cli {

namespace {

// What `show` says of the data: all of it, or on a terminal its beginning.
std::string shown_data(const Json& item, const Terminal& terminal) {
  constexpr std::size_t kEnough = 600;
  const Json& data = at(item, "data");
  if (data.is_null() && at(item, "data_base64").is_string()) {
    return fmt::format("not text, {} bytes of base64: --json shows them", text(item, "data_base64").size());
  }
  std::string whole = data.is_string() ? data.get<std::string>() : data.is_null() ? "" : data.dump();
  if (whole.empty()) {
    return "none";
  }
  if (!terminal.tty || display_width(whole) <= kEnough) {
    return whole;
  }
  return fmt::format("{} ({} in all: --json shows it)", truncate(whole, kEnough), format_bytes(whole.size()));
}

std::string shown_owner(const Json& owner) {
  if (!at(owner, "uid").is_number_integer()) {
    return {};
  }
  const std::int64_t uid = number(owner, "uid");
  const passwd* entry = ::getpwuid(static_cast<uid_t>(uid));
  const std::int64_t pid = number(owner, "pid");
  return fmt::format("{} (uid {}{})", entry == nullptr ? "a user without a name" : entry->pw_name, uid,
                     pid > 0 ? fmt::format(", by process {}", pid) : "");
}

// "3m ago (2024-…)", or empty.
std::string shown_time(const Json& item, const char* key, std::int64_t now_ms) {
  const std::string age = age_of(item, key, now_ms);
  return age.empty() ? age : fmt::format("{} ({})", age, text(item, key));
}

// "12s": until the time in `key`, or empty.
std::string time_left(const Json& item, const char* key, std::int64_t now_ms) {
  const auto time_ms = parse_time_ms(text(item, key));
  return time_ms ? format_duration(*time_ms - now_ms) : std::string{};
}

// "tcp 127.0.0.1:80 every 10s"; what it last said, where the agent tells.
std::string shown_check(const Json& check) {
  std::string what = text(check, "address") + text(check, "url");
  for (const Json& word : at(check, "command")) {
    what += (what.empty() ? "" : " ") + (word.is_string() ? word.get<std::string>() : word.dump());
  }
  const std::string interval = text(check, "interval");
  return fmt::format("{} {}{}", text(check, "type"), what, interval.empty() ? "" : " every " + interval);
}

void add_life(Block& block, const Json& item, std::int64_t now_ms) {
  const std::string bind = text(item, "bind");
  if (!bind.empty() && bind != "none") {
    const std::int64_t pid = number(at(item, "process"), "pid");
    block.add("Bound to", fmt::format("{}: deregistered when that ends",
                                      bind == "process" && pid > 0 ? fmt::format("process {}", pid) : "its " + bind));
  }
  if (const std::string ttl = text(item, "ttl"); !ttl.empty()) {
    const std::string left = time_left(item, "ttl_expires_at", now_ms);
    block.add("Heartbeat", fmt::format("at least every {}, else deregistered{}", ttl,
                                       left.empty() ? "" : fmt::format(" ({} left)", left)));
  }
  if (const std::string left = time_left(item, "expires_at", now_ms); !left.empty()) {
    block.add("Expires", fmt::format("in {}, if not in ZooKeeper by then", left));
  }
  for (const Json& check : at(item, "checks")) {
    block.add("Check", shown_check(check));
  }
  if (const Json& maintenance = at(item, "maintenance"); maintenance.is_object()) {
    const std::string since = age_of(maintenance, "since", now_ms);
    const std::string reason = text(maintenance, "reason");
    block.add("Maintenance",
              fmt::format("{}{}{}", since.empty() ? "on" : "since " + since, reason.empty() ? "" : ": ", reason),
              Colour::yellow);
  }
}

std::string render(const Json& item, const Context& context) {
  const std::string state = text(item, "state");
  Block block;
  block.add("State", state_with_reason(item, context.now_ms), colour_of_state(state));
  block.add("Znode", text(item, "path"));
  const std::string format = text(item, "format");
  block.add(format.empty() ? "Data" : fmt::format("Data ({})", format), shown_data(item, context.terminal));
  const std::string accepted = shown_time(item, "accepted_at", context.now_ms);
  block.add("Change", fmt::format("{}{}", number(item, "seq"), accepted.empty() ? "" : ", accepted " + accepted));
  const std::string registered = shown_time(item, "registered_at", context.now_ms);
  block.add("Registered", registered.empty() ? "not yet" : registered);
  if (const Json& znode = at(item, "znode"); znode.is_object()) {
    block.add("In ZooKeeper", fmt::format("session {}, czxid {}, mzxid {}, version {}", text(znode, "session"),
                                          text(znode, "czxid"), text(znode, "mzxid"), number(znode, "version")));
  }
  if (const std::string owner = shown_owner(at(item, "owner")); !owner.empty()) {
    block.add("Owner", owner);
  }
  add_life(block, item, context.now_ms);
  const std::string advice = advice_for(state, text(at(item, "reason"), "code"), text(item, "path"));
  if (!advice.empty()) {
    block.add("What now", advice, Colour::bold);
  }
  return context.terminal.paint(Colour::bold, printable(id_of(item))) + "\n" + block.render(context.terminal);
}

Exit run_show(Context& context, const Name& name) {
  Request request;
  request.target = name.target();
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  if (!answer->ok()) {
    return refused(context, "show " + name.str(), *answer);
  }
  const std::optional<Json> item = body_of(context, *answer);
  if (!item) {
    return Exit::failed;
  }
  if (context.json) {
    print_json(context, answer->body);
  } else {
    context.console.out(render(*item, context));
  }
  return Exit::done;
}

Exit run_wait(Context& context, const Name& name, const WaitTime& wait) {
  Request request;
  request.target = name.target() + wait.query();
  request.server_wait = wait.duration();
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  if (!answer->ok()) {
    return refused(context, "wait for " + name.str(), *answer);
  }
  const std::optional<Json> item = body_of(context, *answer);
  if (!item) {
    return Exit::failed;
  }
  if (context.json) {
    print_json(context, answer->body);
  }
  if (text(*item, "state") != "registered") {
    return wait_ran_out(context, name, "in ZooKeeper", wait, *item);
  }
  if (!context.json) {
    context.console.out(printable(fmt::format("{} is registered in ZooKeeper as {}", name.str(), text(*item, "path"))) +
                        "\n");
  }
  return Exit::done;
}

}  // namespace

void add_show_commands(CLI::App& app, Run& run) {
  CLI::App* show = app.add_subcommand("show", "all about one registration, and what to do about its state");
  auto name = std::make_shared<Name>();
  add_name(*show, *name);
  show->footer("Example:\n  limpet show web i-1\n");
  show->callback([&run, name] { run = [=](Context& context) { return run_show(context, *name); }; });

  CLI::App* wait = app.add_subcommand("wait", "wait until a registration is in ZooKeeper");
  auto wait_name = std::make_shared<Name>();
  auto time = std::make_shared<WaitTime>();
  time->typed = "30s";
  add_name(*wait, *wait_name);
  add_wait(*wait, "--timeout,--wait", *time, "so long at most (30s where not given); else exit 4");
  wait->footer("Example:\n  limpet wait web i-1 --timeout 1m && echo 'web/i-1 can be found'\n");
  wait->callback(
      [&run, wait_name, time] { run = [=](Context& context) { return run_wait(context, *wait_name, *time); }; });
}

}  // namespace limpet::cli
