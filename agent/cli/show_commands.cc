// The verbs about one registration: show, wait.
#include <fmt/format.h>
#include <pwd.h>

#include <memory>

#include "agent/cli/command.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"

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

void add_life(Block& block, const Json& item) {
  const std::string bind = text(item, "bind");
  if (!bind.empty() && bind != "none") {
    block.add("Bound to", fmt::format("its {}: deregistered when that ends", bind));
  }
  if (const std::string ttl = text(item, "ttl"); !ttl.empty()) {
    block.add("Heartbeat", fmt::format("at least every {}, else deregistered", ttl));
  }
  if (const std::string expires = text(item, "expires_at"); !expires.empty()) {
    block.add("Expires", fmt::format("{}, if not in ZooKeeper by then", expires));
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
  add_life(block, item);
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
  add_wait(*wait, "--timeout", *time, "so long at most (30s where not given); else exit 4");
  wait->footer("Example:\n  limpet wait web i-1 --timeout 1m && echo 'web/i-1 can be found'\n");
  wait->callback(
      [&run, wait_name, time] { run = [=](Context& context) { return run_wait(context, *wait_name, *time); }; });
}

}  // namespace limpet::cli
