// What the verbs of `limpet` have in common.
//
// app.cc lets each add_* function below put its verbs on the command line; parsing sets `run` to the one that was
// chosen, and main calls it with a Context. A new verb is one more such function in a file of its own.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/cli/client.h"
#include "agent/cli/fields.h"
#include "agent/cli/terminal.h"

namespace limpet::cli {

// Exit statuses, as CONTRACT fixes them; `run` passes on any other.
enum class Exit {
  done = 0,
  failed = 1,       // refused, or failed
  usage = 2,        // the command line is wrong
  unreachable = 3,  // no answer from the agent
  timed_out = 4,    // --wait ran out
};

struct Context {
  const Client& client;
  Console& console;
  Terminal terminal;  // of standard output
  bool json = false;  // print the API's answers as they are
  std::int64_t now_ms = 0;
};

using Run = std::function<Exit(Context&)>;

void add_register_command(CLI::App& app, Run& run);  // register
void add_change_commands(CLI::App& app, Run& run);   // deregister, heartbeat, leave
void add_agent_commands(CLI::App& app, Run& run);    // maintenance, reload
void add_prune_command(CLI::App& app, Run& run);     // prune
void add_show_commands(CLI::App& app, Run& run);     // show, wait
void add_list_commands(CLI::App& app, Run& run);     // list, queue
void add_history_commands(CLI::App& app, Run& run);  // history, events
void add_status_command(CLI::App& app, Run& run);    // status
void add_dump_command(CLI::App& app, Run& run);      // dump
void add_doctor_command(CLI::App& app, Run& run);    // doctor
// run; `command` is what stands after --, which the parser is not given.
void add_run_command(CLI::App& app, Run& run, const std::vector<std::string>& command);

// ---- For the verbs

struct Name {
  std::string service;
  std::string instance;
  std::string str() const { return service + "/" + instance; }
  // "/v1/registrations/SERVICE/INSTANCE", percent-encoded.
  std::string target() const;
};
// Adds the two positionals SERVICE and INSTANCE; `name` must outlive the parsing.
void add_name(CLI::App& verb, Name& name, bool required = true);

// How long a caller is ready to wait, as typed (the server parses it again) and in milliseconds.
struct WaitTime {
  std::string typed;  // empty: not asked to wait
  bool asked() const { return !typed.empty(); }
  std::chrono::milliseconds duration() const;
  // "?wait=10s", or empty.
  std::string query() const;
};
// A checker for the parser: a duration as the API takes it.
std::string check_duration(const std::string& value);
// Adds an option (`names`, for example "--wait") that takes a duration; the parser refuses anything else.
CLI::Option* add_wait(CLI::App& verb, const std::string& names, WaitTime& wait, const std::string& description);

// The agent's answer, or nothing after its absence was reported: then return Exit::unreachable.
std::optional<Answer> ask(Context& context, const Request& request);

// Reports that something went wrong without an answer that says so: with --json as a problem like the API's, whose code
// is `code`; else in words.
Exit failed(Context& context, Exit exit, std::string_view code, const std::string& message);

// Reports an answer that is not 2xx: `what` was to be done, as in "cannot WHAT". Always Exit::failed.
Exit refused(Context& context, const std::string& what, const Answer& answer);

// The parsed body of a 2xx answer, or nothing after it was reported not to be JSON: then return Exit::failed.
std::optional<Json> body_of(Context& context, const Answer& answer);

// Puts `body` out as it is, with a line end.
void print_json(Context& context, std::string_view body);

// The registration as it is now; `status` 0 where there is no answer. Reports nothing: for a second look.
Answer look_up(Context& context, const Name& name);

// "change 17" of an answer to a change.
std::string change_number(const Json& body);

// Reports that `wait` was not enough for `name` to be `wanted` ("in ZooKeeper"), and where it stands (`item`: as the
// API shows it). Always Exit::timed_out.
Exit wait_ran_out(Context& context, const Name& name, std::string_view wanted, const WaitTime& wait, const Json& item);

}  // namespace limpet::cli
