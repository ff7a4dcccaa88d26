// The other verbs that change something: deregister, heartbeat, leave.
#include <fmt/format.h>

#include <memory>

#include "agent/cli/command.h"
#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

Exit run_deregister(Context& context, const Name& name, const WaitTime& wait) {
  const Request request{Method::del, name.target() + wait.query(), std::nullopt, wait.duration()};
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  if (!answer->ok()) {
    return refused(context, "deregister " + name.str(), *answer);
  }
  if (context.json && !answer->body.empty()) {
    print_json(context, answer->body);
  }
  // No body is needed here: that it is 200 or 202 says all.
  const Json body = parse(answer->body);
  const std::string state = text(body, "state");
  bool gone = answer->status == 200 || state == "removed";
  if (wait.asked() && answer->status != 200) {
    const Answer now = look_up(context, name);
    gone = now.status == 404;  // in the last moment
    if (!gone) {
      return wait_ran_out(context, name, "gone from ZooKeeper", wait, now.ok() ? parse(now.body) : body);
    }
  }
  if (!context.json) {
    const std::string message = gone ? fmt::format("{} is deregistered: nothing of it is in ZooKeeper", name.str())
                                     : fmt::format("{} is deregistered: {} is on disk and goes to ZooKeeper by itself",
                                                   name.str(), change_number(body));
    context.console.out(printable(message) + "\n");
  }
  return Exit::done;
}

Exit run_heartbeat(Context& context, const Name& name) {
  const Request request{Method::post, name.target() + "/heartbeat", std::nullopt, {}};
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  if (!answer->ok()) {
    return refused(context, "renew " + name.str(), *answer);
  }
  if (context.json) {
    print_json(context, answer->body);
    return Exit::done;
  }
  const std::string ttl = text(parse(answer->body), "ttl");
  const std::string message = ttl.empty() ? fmt::format("{} has no ttl: it needs no heartbeat", name.str())
                                          : fmt::format("{} is renewed for {}", name.str(), ttl);
  context.console.out(printable(message) + "\n");
  return Exit::done;
}

// Where things stand, from GET /v1/status, for a `leave` that ran out of time.
Exit leave_ran_out(Context& context, const WaitTime& wait) {
  Request request;
  request.target = "/v1/status";
  const auto reply = context.client.call(request);
  const auto* answer = std::get_if<Answer>(&reply);
  const Json status = answer != nullptr && answer->ok() ? parse(answer->body) : Json();
  const Json& zookeeper = at(status, "zookeeper");
  std::string message = fmt::format("not everything is gone from ZooKeeper after {}", wait.typed);
  if (const std::int64_t depth = number(at(status, "queue"), "depth"); depth > 0) {
    message += fmt::format(": {} {} wait{}", depth, depth == 1 ? "change" : "changes", depth == 1 ? "s" : "");
  }
  if (const std::string state = text(zookeeper, "state"); !state.empty()) {
    const std::string why = text(zookeeper, "message");
    message += printable(fmt::format("; ZooKeeper is {}{}", state, why.empty() ? "" : ": " + why));
  }
  context.console.error(message + "\nThey are on disk and go out by themselves. See: limpet queue");
  return Exit::timed_out;
}

Exit run_leave(Context& context, const WaitTime& wait) {
  const Request request{Method::post, "/v1/leave" + wait.query(), std::nullopt, wait.duration()};
  const std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    return Exit::unreachable;
  }
  if (!answer->ok()) {
    return refused(context, "leave", *answer);
  }
  if (context.json) {
    print_json(context, answer->body);
  }
  const Json body = parse(answer->body);
  const Json& results = at(body, "results");
  const bool nothing_to_do = results.is_array() && results.empty();
  if (wait.asked() && answer->status != 200 && !nothing_to_do) {
    return leave_ran_out(context, wait);
  }
  if (!context.json) {
    const std::string count = results.is_array() ? fmt::format("{}", results.size()) : std::string("all");
    const std::string noun = results.size() == 1 && results.is_array() ? "registration" : "registrations";
    context.console.out(nothing_to_do ? std::string("nothing is registered on this host\n")
                        : answer->status == 200
                            ? fmt::format("{} {} gone from ZooKeeper\n", count, noun)
                            : fmt::format("{} {} deregistered: on disk, going to ZooKeeper in order\n", count, noun));
  }
  return Exit::done;
}

}  // namespace

void add_change_commands(CLI::App& app, Run& run) {
  CLI::App* deregister = app.add_subcommand("deregister", "take an instance out again");
  auto name = std::make_shared<Name>();
  auto wait = std::make_shared<WaitTime>();
  add_name(*deregister, *name);
  add_wait(*deregister, "--wait", *wait, "wait until it is gone from ZooKeeper, so long at most; else exit 4");
  deregister->footer("Example:\n  limpet deregister web i-1 --wait 10s\n");
  deregister->callback(
      [&run, name, wait] { run = [=](Context& context) { return run_deregister(context, *name, *wait); }; });

  CLI::App* heartbeat = app.add_subcommand("heartbeat", "renew a registration that has a --ttl");
  auto living = std::make_shared<Name>();
  add_name(*heartbeat, *living);
  heartbeat->footer("Example:\n  limpet heartbeat web i-1\n");
  heartbeat->callback([&run, living] { run = [=](Context& context) { return run_heartbeat(context, *living); }; });

  CLI::App* leave = app.add_subcommand("leave", "deregister everything that this host holds, in order");
  auto leave_wait = std::make_shared<WaitTime>();
  add_wait(*leave, "--wait", *leave_wait, "wait until all is gone from ZooKeeper, so long at most; else exit 4");
  leave->footer(
      "For a host that is taken out of service. The agent goes on running, and takes new registrations.\n\n"
      "Example:\n  limpet leave --wait 30s\n");
  leave->callback([&run, leave_wait] { run = [=](Context& context) { return run_leave(context, *leave_wait); }; });
}

}  // namespace limpet::cli
