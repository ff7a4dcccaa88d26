#include "agent/cli/status_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/cli/table.h"
#include "agent/cli/text.h"
#include "agent/cli/times.h"

namespace limpet::cli {

namespace {

// The numbers and words of a status, taken out once.
struct Facts {
  Facts(const Json& status, std::int64_t now_ms_)
      : zookeeper(at(status, "zookeeper")),
        queue(at(status, "queue")),
        storage(at(status, "storage")),
        now_ms(now_ms_),
        session_state(text(zookeeper, "state")),
        session(text(zookeeper, "session")),
        host_maintenance(at(status, "maintenance").is_object()) {
    const Json& counts = at(status, "registrations");
    registered = number(counts, "registered");
    pending = number(counts, "pending");
    suspended = number(counts, "suspended");
    conflict = number(counts, "conflict");
    blocked = number(counts, "blocked");
    unhealthy = number(counts, "unhealthy");
    maintenance = number(counts, "maintenance");
    removing = number(counts, "removing");
    live = number(counts, "total") - removing;
    depth = number(queue, "depth");
    const Json& files = at(status, "registrations_d");
    file_problems = number(files, "problems");
    // A directory that is not there, and that nothing ever came from, keeps nothing out of ZooKeeper.
    const Json& first = at(files, "errors");
    files_matter = file_problems > 1 || number(files, "registrations") > 0 ||
                   (file_problems == 1 && first.is_array() && !first.empty() &&
                    text(first[0], "file") != text(files, "directory"));
    // Only a plain "no" counts: an agent that does not say is not called broken.
    storage_failed = at(storage, "healthy") == false;
    storage_hangs = storage_failed && text(storage, "state") == "hung";
    const auto silent_ms = parse_time_ms(text(storage, "since"));
    silent = silent_ms ? format_duration(now_ms - *silent_ms) : std::string{};
    const auto since_ms = parse_time_ms(text(zookeeper, "since"));
    lasting = since_ms ? format_duration(now_ms - *since_ms) : std::string{};
    timeout = format_duration(number(zookeeper, "session_timeout_ms"));
  }

  bool connected() const { return session_state == "connected"; }
  // Requests are sent: a new session is used only once it is on disk. (The message may also name a setting of the
  // servers, and then something is stuck.)
  bool sends() const { return connected() && (stuck() || text(zookeeper, "message").empty()); }
  bool stuck() const { return conflict + blocked > 0; }
  // Queued changes that nothing but time holds up.
  std::int64_t moving() const { return std::max<std::int64_t>(depth - conflict - blocked, 0); }
  // Live registrations that are wanted in ZooKeeper, and are not known to be there.
  std::int64_t missing() const { return std::max<std::int64_t>(live - registered - unhealthy - maintenance, 0); }

  const Json& zookeeper;
  const Json& queue;
  const Json& storage;
  const std::int64_t now_ms;
  const std::string session_state;
  const std::string session;
  const bool host_maintenance;  // all of the host is withdrawn
  std::int64_t registered = 0, pending = 0, suspended = 0, conflict = 0, blocked = 0, unhealthy = 0, maintenance = 0,
               removing = 0, live = 0, depth = 0, file_problems = 0;
  bool storage_failed = false;
  bool files_matter = false;   // the problems keep something that the files say from being registered, or may
  bool storage_hangs = false;  // it has failed for want of an answer
  std::string silent;          // for how long
  std::string lasting;         // how long session_state has lasted, or empty
  std::string timeout;         // the session's
};

std::string counted(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

// Red: somebody has to do something.
struct Headline {
  Colour colour;
  std::string text;
};

Headline moving_headline(const Facts& facts) {
  constexpr std::int64_t kLongMs = 30'000;
  const std::int64_t oldest_ms = number(facts.queue, "oldest_age_ms");
  const std::string first = fmt::format("Connected; {} {} on the way to ZooKeeper.", counted(facts.depth, "change"),
                                        facts.depth == 1 ? "is" : "are");
  if (oldest_ms < kLongMs) {
    return {Colour::green, first};
  }
  return {Colour::yellow, fmt::format("{} The oldest was accepted {} ago: `limpet queue` says why it waits.", first,
                                      format_duration(oldest_ms))};
}

Headline connected_headline(const Facts& facts) {
  if (const std::string message = text(facts.zookeeper, "message"); !message.empty() && facts.stuck()) {
    return {Colour::red, "Needs a hand: " + message + "."};
  }
  if (!facts.sends()) {
    return {Colour::yellow,
            fmt::format("Connected, but nothing is registered yet: {}.", text(facts.zookeeper, "message"))};
  }
  if (facts.stuck()) {
    const std::int64_t count = facts.conflict + facts.blocked;
    return {Colour::red, fmt::format("Needs a look: {} cannot get into ZooKeeper. {}", counted(count, "registration"),
                                     count == 1 ? "It holds up no other." : "They hold up no others.")};
  }
  if (facts.host_maintenance && facts.moving() == 0) {
    return {Colour::yellow,
            "This host is in maintenance: everything that it has registered is withdrawn from ZooKeeper until "
            "`limpet maintenance off`."};
  }
  if (facts.moving() > 0) {
    return moving_headline(facts);
  }
  if (facts.missing() > 0) {
    return {Colour::red, fmt::format("Needs a look: {} of {} not in ZooKeeper. `limpet list` says which, and why.",
                                     counted(facts.missing(), "registration"), facts.live)};
  }
  if (facts.unhealthy > 0) {
    return {Colour::yellow,
            fmt::format("Connected; {} withdrawn because {} fails. All others are in ZooKeeper{}.",
                        counted(facts.unhealthy, "registration"), facts.unhealthy == 1 ? "its check" : "their checks",
                        facts.maintenance > 0 ? ", or in maintenance" : "")};
  }
  if (facts.maintenance > 0) {
    return {Colour::yellow, fmt::format("Connected; {} withdrawn for now, all others are in ZooKeeper.",
                                        counted(facts.maintenance, "registration"))};
  }
  if (facts.file_problems > 0 && facts.files_matter) {
    return {Colour::yellow, "Connected, but not all that the registration files say could be taken: see Files below."};
  }
  if (facts.live == 0) {
    return {Colour::green, "Connected; nothing is registered on this host yet."};
  }
  return {Colour::green, "All is well: everything that this host has registered is in ZooKeeper."};
}

Headline storage_headline(const Facts& facts) {
  const std::string trouble = !facts.storage_hangs
                                  ? "the agent cannot write to its disk, so new changes are refused"
                                  : fmt::format("the agent's disk has not answered{}, so new changes are refused",
                                                facts.silent.empty() ? "" : " for " + facts.silent);
  std::string there;
  if (!facts.connected()) {
    there = " ZooKeeper is away as well.";
  } else if (facts.missing() > 0) {
    there = fmt::format(" {} of {} not in ZooKeeper.", counted(facts.missing(), "registration"), facts.live);
  }
  return {Colour::red, fmt::format("Needs a hand: {}. What it accepted before stands.{}", trouble, there)};
}

Headline headline(const Facts& facts) {
  if (facts.storage_failed) {
    return storage_headline(facts);
  }
  if (facts.session_state == "auth_failed") {
    return {
        Colour::red,
        "Needs a hand: ZooKeeper refuses the agent's credentials, or demands some that it does not have, so nothing "
        "reaches it. Changes are accepted and wait on disk."};
  }
  if (facts.session_state == "connecting") {
    return {Colour::yellow,
            "The agent has not reached ZooKeeper yet. It accepts changes, keeps them on disk, and sends them in order, "
            "by itself, once ZooKeeper serves."};
  }
  if (facts.session_state == "suspended") {
    return {Colour::yellow,
            "ZooKeeper is away. Nothing is lost: the agent goes on accepting, keeps it on disk, and sends it in order, "
            "by itself, once ZooKeeper serves again."};
  }
  if (facts.session_state == "expired") {
    return {
        Colour::yellow,
        "ZooKeeper is away, or has ended this host's session. Nothing is lost: the agent goes on accepting, keeps it "
        "on disk, and by itself registers again, in order, what is not there."};
  }
  return connected_headline(facts);
}

void add_zookeeper(Block& block, const Facts& facts) {
  // Where the agent says what it knows, that follows the state; our own words are for where it does not.
  const std::string message = text(facts.zookeeper, "message");
  const std::string lasting = facts.lasting.empty() ? std::string{} : " for " + facts.lasting;
  if (facts.connected()) {
    const std::string server = text(facts.zookeeper, "server");
    block.add("ZooKeeper",
              fmt::format("connected{}{}{}", server.empty() ? "" : " to " + server, lasting,
                          message.empty() ? "" : ": " + message),
              facts.sends() ? Colour::green : Colour::yellow);
    return;
  }
  std::string state = facts.session_state;
  std::string meaning;
  if (state == "connecting") {
    meaning = "no server has been reached yet";
  } else if (state == "suspended") {
    meaning = "the connection is lost, the session may live";
  } else if (state == "expired") {
    meaning = "the session has ended, or is presumed to have";
  } else if (state == "auth_failed") {
    state = "credentials refused";
    meaning = "correct them in limpet.json and reload the agent";
  }
  const std::string& why = message.empty() ? meaning : message;
  block.add("ZooKeeper", fmt::format("{}{}{}", state, lasting, why.empty() ? "" : ": " + why),
            facts.session_state == "auth_failed" ? Colour::red : Colour::yellow);
}

// The addresses behind the names of servers. Where the configuration has addresses there is nothing to say.
void add_servers(Block& block, const Facts& facts) {
  std::string line;
  bool named = false;
  bool failing = false;
  for (const Json& server : at(facts.zookeeper, "servers")) {
    const std::string name = text(server, "name");
    const std::string error = text(server, "error");
    std::string addresses;
    for (const Json& address : at(server, "addresses")) {
      const std::string shown = address.is_string() ? address.get<std::string>() : std::string{};
      named = named || shown != name;
      addresses += (addresses.empty() ? "" : ", ") + shown;
    }
    if (!error.empty()) {
      named = failing = true;
      addresses = (addresses.empty() ? "no address known: " : "last " + addresses + ": ") + error;
    } else if (addresses.empty()) {
      addresses = "being looked up";
    }
    line += (line.empty() ? "" : ", ") + name + (addresses == name ? "" : " (" + addresses + ")");
  }
  if (named) {
    block.add("Servers", line, failing ? Colour::yellow : Colour::none);
  }
}

std::string session_text(const Facts& facts) {
  if (facts.session.empty()) {
    return facts.session_state == "expired" ? "none: the last one has ended, and its znodes with it" : "none yet";
  }
  if (facts.connected()) {
    const std::int64_t sessions = number(facts.zookeeper, "sessions");
    std::string history;
    if (flag(facts.zookeeper, "reattached")) {
      history = ", taken over from the agent's earlier run";
    } else if (sessions > 1) {
      history = fmt::format(", number {} since the agent started", sessions);
    }
    return fmt::format("{}, time-out {}{}", facts.session, facts.timeout, history);
  }
  if (facts.session_state == "connecting") {
    return fmt::format("{} (kept on disk from the earlier run; the agent tries to take it up again)", facts.session);
  }
  if (facts.session_state == "suspended") {
    return fmt::format("{} (kept on disk; it ends only if a working quorum hears nothing from this agent for {})",
                       facts.session, facts.timeout);
  }
  if (facts.session_state == "expired") {
    return fmt::format("{} (presumed gone: tried again first, and replaced if it has ended)", facts.session);
  }
  return facts.session;
}

std::string registered_text(const Facts& facts) {
  if (facts.live <= 0) {
    return "none";
  }
  if (facts.connected()) {
    std::string result = fmt::format("{} of {} in ZooKeeper", facts.registered, facts.live);
    return facts.registered == facts.live && facts.live > 1 ? fmt::format("all {} in ZooKeeper", facts.live) : result;
  }
  const std::int64_t before = facts.suspended + facts.registered;
  if (before == 0) {
    return fmt::format("{} accepted, none of them known to be in ZooKeeper", facts.live);
  }
  const bool one = before == 1;
  if (facts.session_state == "expired" || facts.session_state == "auth_failed") {
    return fmt::format("{} of {} in ZooKeeper before; {} created again where the session has ended", before, facts.live,
                       one ? "it is" : "they are");
  }
  return fmt::format("{} of {} in ZooKeeper before the loss; {} as long as the session lives", before, facts.live,
                     one ? "it stays" : "they stay");
}

std::string waiting_text(const Facts& facts) {
  const std::string oldest = format_duration(number(facts.queue, "oldest_age_ms"));
  const std::string volume = fmt::format(
      "{} ({}), the oldest accepted {} ago", counted(facts.depth, "change"),
      format_bytes(static_cast<std::uint64_t>(std::max<std::int64_t>(number(facts.queue, "bytes"), 0))), oldest);
  std::string result;
  if (!facts.connected()) {
    const std::string when = facts.session_state == "auth_failed" ? "once the credentials are right"
                             : facts.session_state == "expired"   ? "once a session stands again"
                             : facts.session_state == "suspended" ? "when the quorum is back"
                                                                  : "once ZooKeeper serves";
    result = fmt::format("{}; all are on disk, and go out in order {}", volume, when);
  } else if (!facts.sends()) {
    result = fmt::format("{}; all are on disk, and go out in order once the new session is, too", volume);
  } else if (facts.moving() == 0) {
    result = fmt::format("{}; set aside, see below", volume);
  } else {
    result = fmt::format("{}; going out now, in order", volume);
  }
  const std::int64_t most = number(facts.queue, "max_operations");
  if (most > 0 && facts.depth >= most / 10 * 8) {
    result += fmt::format(". The queue is nearly full: past {} changes it refuses more (queue_full)", most);
  }
  return result;
}

// A state that keeps registrations out of ZooKeeper, with the first few by name.
void add_outside(Block& block, const std::vector<Json>& named, const char* label, const char* state, std::int64_t count,
                 const std::string& meaning, Colour colour) {
  if (count <= 0) {
    return;
  }
  block.add(label, fmt::format("{}: {}", count, meaning), colour);
  std::int64_t shown = 0;
  for (const Json& item : named) {
    if (text(item, "state") == state) {
      const std::string why = reason_of(item);
      block.add("", fmt::format("{}{} (limpet show {} {})", id_of(item), why.empty() ? "" : " " + why,
                                text(item, "service"), text(item, "instance")));
      ++shown;
    }
  }
  if (shown < count) {
    block.add("", fmt::format("{}: limpet list --state {}", shown == 0 ? "which" : "and others", state));
  }
}

void add_troubles(Block& block, const Facts& facts, const StatusFacts& status_facts) {
  const std::vector<Json>& named = status_facts.outside;
  add_outside(block, named, "Conflict", "conflict", facts.conflict, "another owner has the path; taken when it goes",
              Colour::red);
  add_outside(block, named, "Blocked", "blocked", facts.blocked,
              "ZooKeeper refuses, or the session has no room; tried again slowly", Colour::red);
  add_outside(block, named, "Unhealthy", "unhealthy", facts.unhealthy,
              "withdrawn while a check fails; back by itself when it passes", Colour::yellow);
  if (facts.host_maintenance) {
    const Json& maintenance = at(status_facts.status, "maintenance");
    const std::string reason = text(maintenance, "reason");
    const std::string since = age_of(maintenance, "since", facts.now_ms);
    block.add("Maintenance",
              fmt::format("of the whole host{}{}; ended by `limpet maintenance off`",
                          since.empty() ? "" : ", since " + since, reason.empty() ? "" : ": " + reason),
              Colour::yellow);
    return;
  }
  add_outside(block, named, "Maintenance", "maintenance", facts.maintenance, "withdrawn by hand until that is ended",
              Colour::yellow);
}

// What the agent could not take from its registration files; nothing where all is well with them.
void add_files(Block& block, const Json& files) {
  constexpr std::size_t kNamed = 3;
  const std::int64_t problems = number(files, "problems");
  if (problems <= 0) {
    return;
  }
  block.add("Files",
            fmt::format("{} with {}; what came from there before stays registered", counted(problems, "problem"),
                        text(files, "directory")),
            Colour::red);
  std::size_t named = 0;
  for (const Json& error : at(files, "errors")) {
    if (named++ == kNamed) {
      block.add("", "and more: limpet --json status, or limpet doctor");
      break;
    }
    block.add("", fmt::format("{}: {}", text(error, "file"), text(error, "error")));
  }
}

// What is nearly used up, or more than that.
void add_usage(Block& block, const Json& usage) {
  struct Kind {
    const char* key;
    const char* text;
  };
  for (const Kind& kind : {Kind{"registrations", "registrations (max_registrations)"},
                           {"path_bytes", "bytes of znode paths (max_path_bytes)"},
                           {"data_bytes", "bytes of data (max_data_bytes)"}}) {
    const Json& of = at(usage, kind.key);
    const std::int64_t used = number(of, "used");
    const std::int64_t limit = number(of, "limit");
    if (limit > 0 && used > limit / 10 * 9) {
      block.add("Limit", fmt::format("{} of {} {}", used, limit, kind.text), Colour::yellow);
    }
  }
  if (const std::int64_t held = number(usage, "held_back"); held > 0) {
    block.add("Held back",
              fmt::format("{}: the session has no room for {}; see Limit", counted(held, "registration"),
                          held == 1 ? "its path" : "their paths"),
              Colour::red);
  }
}

void add_storage(Block& block, const Facts& facts) {
  const std::string size =
      format_bytes(static_cast<std::uint64_t>(std::max<std::int64_t>(number(facts.storage, "bytes"), 0)));
  if (!facts.storage_failed) {
    block.add("Storage", fmt::format("healthy, {}", size), Colour::green);
    return;
  }
  const std::string error = text(facts.storage, "error");
  if (facts.storage_hangs) {
    block.add("Storage",
              fmt::format("HANGS: {}. Changes are refused until it answers; the agent then goes on by itself: look at "
                          "dmesg, and at what the disk is made of",
                          error),
              Colour::red);
    return;
  }
  block.add("Storage",
            fmt::format("FAILED{}. Changes are refused until it works again, which the agent tries by "
                        "itself: look at the disk's space and health",
                        error.empty() ? "" : ": " + error),
            Colour::red);
}

}  // namespace

bool needs_somebody(const Json& status, std::int64_t now_ms) {
  return headline(Facts(status, now_ms)).colour == Colour::red;
}

StatusText describe_status(const StatusFacts& status_facts, const Terminal& terminal, std::int64_t now_ms) {
  const Json& status = status_facts.status;
  const Facts facts(status, now_ms);
  const Headline first = headline(facts);
  std::string out;
  for (const std::string& line : wrap(first.text, prose_width(terminal))) {
    out += terminal.paint(first.colour, line) + "\n";
  }
  out += "\n";

  Block block;
  add_zookeeper(block, facts);
  add_servers(block, facts);
  block.add("Session", session_text(facts));
  block.add("Registered", registered_text(facts));
  if (facts.depth > 0) {
    block.add("Waiting", waiting_text(facts), facts.connected() ? Colour::none : Colour::yellow);
  } else {
    block.add("Waiting", "nothing");
  }
  add_troubles(block, facts, status_facts);
  add_usage(block, at(status, "usage"));
  add_files(block, at(status, "registrations_d"));
  add_storage(block, facts);
  const auto started_ms = parse_time_ms(text(status, "started_at"));
  block.add("Agent", fmt::format("limpetd {}, pid {}{}", text(status, "version"), number(status, "pid"),
                                 started_ms ? ", up for " + format_duration(now_ms - *started_ms) : ""));
  return {out + block.render(terminal), first.colour == Colour::red};
}

}  // namespace limpet::cli
