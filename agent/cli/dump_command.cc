// The verb `dump`: what the state directory of a stopped agent holds.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "agent/api/json.h"
#include "agent/api/json_writer.h"
#include "agent/cli/command.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"
#include "agent/cli/times.h"
#include "storage/rocks_store.h"

namespace limpet::cli {

namespace {

// What keeps it out of ZooKeeper for now.
void add_holds(const StoredState& stored, core::RegistrationView& view) {
  for (const Hold& hold : stored.holds) {
    if (hold.id && *hold.id != view.registration->id) {
      continue;
    }
    const bool maintenance = hold.cause == HoldCause::maintenance;
    (maintenance ? view.maintenance : view.failing_check) = hold;
    view.state = view.maintenance ? core::State::maintenance : core::State::unhealthy;
  }
}

// Registrations and removals in the order in which they were accepted, as the API would show them while ZooKeeper is
// away: what was confirmed is `suspended`.
std::vector<core::RegistrationView> views_of(const StoredState& stored) {
  std::map<RegistrationId, Outcome> outcomes;
  for (const auto& [id, outcome] : stored.outcomes) {
    outcomes[id] = outcome;
  }
  std::vector<core::RegistrationView> views;
  for (const Registration& registration : stored.registrations) {
    core::RegistrationView view;
    view.registration = registration;
    if (const auto found = outcomes.find(registration.id); found != outcomes.end()) {
      view.znode = found->second;
      view.state = found->second.seq == registration.seq ? core::State::suspended : core::State::pending;
    }
    add_holds(stored, view);
    views.push_back(std::move(view));
  }
  for (const Removal& removal : stored.removals) {
    core::RegistrationView view;
    view.registration = remnant_of(removal);
    view.state = core::State::removing;
    views.push_back(std::move(view));
  }
  std::sort(views.begin(), views.end(),
            [](const auto& a, const auto& b) { return a.registration->seq < b.registration->seq; });
  return views;
}

std::string render(const std::string& directory, const StoredState& stored) {
  std::string out;
  api::JsonWriter json(out);
  json.begin_object();
  json.key("data_dir").string(directory);
  json.key("last_seq").number(stored.last_seq.value);
  json.key("session");
  if (stored.session) {
    json.begin_object();
    json.key("id").hex(stored.session->id.value);
    json.key("timeout_ms").number(stored.session->timeout_ms);
    json.key("host").string(stored.session->host);
    json.end_object();
  } else {
    json.null();
  }
  json.key("former_sessions").begin_array();
  for (const SessionId id : stored.former) {
    json.hex(id.value);
  }
  json.end_array();
  json.key("registrations").begin_array();
  for (const core::RegistrationView& view : views_of(stored)) {
    std::string registration;
    api::render_registration(registration, view);
    json.literal(registration);
  }
  json.end_array();
  json.end_object();
  return out;
}

const char* meaning_of(const std::string& state) {
  return state == "suspended"     ? "was in ZooKeeper"
         : state == "removing"    ? "to be removed"
         : state == "maintenance" ? "in maintenance"
         : state == "unhealthy"   ? "unhealthy"
                                  : "not in ZooKeeper yet";
}

std::string render_for_people(const Json& dump, const Context& context) {
  const Json& registrations = at(dump, "registrations");
  const auto waiting = std::count_if(registrations.begin(), registrations.end(), [](const Json& item) {
    const std::string state = text(item, "state");
    return state == "pending" || state == "removing";
  });
  Block block;
  block.add("State of", text(dump, "data_dir"));
  block.add("Last change", std::to_string(number(dump, "last_seq")));
  const Json& session = at(dump, "session");
  block.add("Session", session.is_null()
                           ? "none"
                           : fmt::format("{}, time-out {}; taken up again at the next start", text(session, "id"),
                                         format_duration(number(session, "timeout_ms"))));
  block.add("Holds", fmt::format("{} registrations and removals, {} of them not yet carried out in ZooKeeper",
                                 registrations.size(), waiting));
  Table table({{"CHANGE", 0, 0, true}, {"REGISTRATION", 1, 12}, {"STATE"}, {"ACCEPTED"}, {"ZNODE", 2, 12}});
  for (const Json& item : registrations) {
    const std::string state = text(item, "state");
    table.add({std::to_string(number(item, "seq")), id_of(item),
               Cell(meaning_of(state), state == "suspended" ? Colour::green : Colour::yellow),
               age_of(item, "accepted_at", context.now_ms), text(item, "path")});
  }
  return block.render(context.terminal) + (table.empty() ? "" : "\n" + table.render(context.terminal));
}

Exit run_dump(Context& context, const std::string& directory) {
  const Result<StoredState> stored = RocksStore::read(directory);
  if (!stored) {
    if (stored.status().code() == Errc::in_use) {
      return failed(context, Exit::failed, "in_use",
                    fmt::format("{} is in use: an agent runs on it, and it alone can say what it holds.\n"
                                "Ask it (limpet list, limpet queue), or stop it first (sudo systemctl stop limpet).",
                                printable(directory)));
    }
    return failed(context, Exit::failed, "cannot_read",
                  fmt::format("cannot read the state: {}", printable(stored.status().message())));
  }
  const std::string dump = render(directory, *stored);
  if (context.json) {
    print_json(context, dump);
  } else {
    context.console.out(render_for_people(parse(dump), context));
  }
  return Exit::done;
}

}  // namespace

void add_dump_command(CLI::App& app, Run& run) {
  CLI::App* verb = app.add_subcommand("dump", "what the state directory of a stopped agent holds");
  auto directory = std::make_shared<std::string>();
  verb->add_option("DATA_DIR", *directory, "the state directory, such as /var/lib/limpet")
      ->required()
      ->option_text(" ");
  verb->footer(
      "Changes nothing there. Every record is verified; what is damaged is said. The session's password is not "
      "shown.\n\n"
      "Examples:\n  limpet dump /var/lib/limpet\n  limpet dump /var/lib/limpet --json | jq '.registrations[].id'\n");
  verb->callback([&run, directory] { run = [=](Context& context) { return run_dump(context, *directory); }; });
}

}  // namespace limpet::cli
