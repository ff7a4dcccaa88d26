// The verb `doctor`: examines everything that the agent needs, and says what to do about what it finds.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>

#include "agent/agent_options.h"
#include "agent/cli/doctor.h"
#include "agent/cli/table.h"
#include "agent/cli/text.h"
#include "agent/cli/times.h"
#include "agent/config_policy.h"

namespace limpet::cli {

namespace {

// The flags of the agent that runs, where its command line can be read: {"data_dir", "/var/lib/limpet"}, …
std::vector<std::pair<std::string, std::string>> flags_of(std::int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", pid), std::ios::binary);
  std::vector<std::string> words;
  for (std::string word; std::getline(file, word, '\0');) {
    words.push_back(word);
  }
  std::vector<std::pair<std::string, std::string>> flags;
  if (words.empty() || words[0].find("limpetd") == std::string::npos) {
    return flags;
  }
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (!words[i].starts_with("--")) {
      continue;
    }
    const std::size_t equals = words[i].find('=');
    std::string key = words[i].substr(2, equals == std::string::npos ? equals : equals - 2);
    std::replace(key.begin(), key.end(), '-', '_');
    if (equals != std::string::npos) {
      flags.emplace_back(key, words[i].substr(equals + 1));
    } else if (i + 1 < words.size()) {
      flags.emplace_back(key, words[++i]);
    }
  }
  return flags;
}

void read_configuration(const DoctorOptions& options, Patient& patient, Findings& findings) {
  const auto flags = flags_of(number(patient.status, "pid"));
  std::string file = options.config_file;
  for (const auto& [key, value] : flags) {
    file = file.empty() && key == "config" ? value : file;
  }
  Status status = read_config_file(file.empty() ? kDefaultConfigFile : file, !file.empty(), patient.config);
  if (status.ok()) {
    status = read_config_environment(patient.config);
  }
  for (const auto& [key, value] : flags) {
    if (status.ok() && key != "config") {
      status = set_config_key(patient.config, key, value, "--" + key);
    }
  }
  for (const auto& [key, value] : {std::pair{"zookeeper", options.zookeeper}, {"data_dir", options.data_dir}}) {
    if (status.ok() && !value.empty()) {
      status = set_config_key(patient.config, key, value, fmt::format("--{}", key));
    }
  }
  if (status.ok()) {
    status = complete_config(patient.config);
  }
  if (!status.ok()) {
    findings.push_back({Level::wrong, "Configuration", status.message(),
                        "Mend it; `limpetd --check-config` says whether it is right."});
  } else {
    findings.push_back({Level::ok, "Configuration",
                        fmt::format("zookeeper {}, data_dir {}", patient.config.zookeeper, patient.config.data_dir),
                        ""});
    for (const std::string& gap : policy_gaps(patient.config.policy, patient.config.paths)) {
      findings.push_back({Level::note, "Policy", gap, "Give a rule `paths`, or correct it."});
    }
  }
}

void examine_storage_and_queue(const Patient& patient, Findings& findings) {
  if (!patient.agent_is_up()) {
    return;
  }
  const Json& storage = at(patient.status, "storage");
  if (at(storage, "healthy") == false) {
    const bool hangs = text(storage, "state") == "hung";
    findings.push_back({Level::wrong, "Storage", "the agent cannot write: " + text(storage, "error"),
                        hangs
                            ? "Changes are refused until it answers. Look at dmesg, and at what the disk is made of: a "
                              "path that is down, a frozen file system. The agent goes on by itself."
                            : "Changes are refused until it can. Look at the disk: df, dmesg. It goes on by itself."});
  } else {
    findings.push_back({Level::ok, "Storage",
                        fmt::format("healthy, {}", format_bytes(static_cast<std::uint64_t>(number(storage, "bytes")))),
                        ""});
  }
  const Json& queue = at(patient.status, "queue");
  const std::int64_t depth = number(queue, "depth");
  const std::int64_t most = number(queue, "max_operations");
  const std::string text =
      depth == 0 ? "empty: all is carried out"
                 : fmt::format("{} {}, the oldest for {}", depth, depth == 1 ? "change waits" : "changes wait",
                               format_duration(number(queue, "oldest_age_ms")));
  const bool full = most > 0 && depth >= most / 10 * 8;
  findings.push_back({full ? Level::wrong : Level::ok, "Queue", text,
                      full ? fmt::format("Past {} it refuses changes (queue_full).", most) : ""});
}

// What the agent says of its registration files; where it is down, what it would find.
void examine_files(const Patient& patient, Findings& findings) {
  constexpr const char* kAdvice =
      "Mend it, then: sudo limpet reload. Until then what came from there stays registered. What is to go although "
      "more "
      "than half would: sudo limpet reload --force.";
  std::vector<api::FileProblem> problems;
  std::string directory = patient.config.registrations_dir;
  if (patient.agent_is_up()) {
    const Json& files = at(patient.status, "registrations_d");
    directory = text(files, "directory");
    for (const Json& error : at(files, "errors")) {
      problems.push_back({text(error, "file"), text(error, "error")});
    }
  } else {
    struct stat state {};
    const bool known = ::stat(patient.config.data_dir.c_str(), &state) == 0;
    problems = examine_registrations(files_source(patient.config), known ? state.st_uid : ::geteuid());
  }
  constexpr std::size_t kNamed = 16;  // as many as the agent names
  for (std::size_t i = 0; i < std::min(problems.size(), kNamed); ++i) {
    findings.push_back({Level::wrong, "Registration files", fmt::format("{}: {}", problems[i].file, problems[i].error),
                        i == 0 ? kAdvice : ""});
  }
  if (problems.empty() && !directory.empty()) {
    findings.push_back({Level::ok, "Registration files", directory, ""});
  }
}

// What the packets that name all znodes at once would hold, against what they may.
void examine_limits(const Patient& patient, Findings& findings) {
  const Json& usage = at(patient.status, "usage");
  const Json& paths = at(usage, "path_bytes");
  const std::int64_t limit = number(paths, "limit");
  if (!patient.agent_is_up() || limit <= 0) {
    return;
  }
  const std::int64_t used = number(paths, "used");
  const std::int64_t session = number(usage, "session_path_bytes");
  const std::int64_t held = number(usage, "held_back");
  const std::string sum = fmt::format(
      "{} of {} bytes (max_path_bytes) in the packet that ends the session, {} as it stands, {} for the watches", used,
      limit, session, number(usage, "watch_path_bytes"));
  if (held > 0 || used > limit || session > limit) {
    findings.push_back(
        {Level::wrong, "Paths", fmt::format("{}; {} held back", sum, held),
         "Deregister some, shorten root, chroot or paths, or raise max_path_bytes (768KiB at most): a session that "
         "holds more could stop the ZooKeeper servers when it ends."});
  } else {
    findings.push_back({used > limit / 10 * 9 ? Level::note : Level::ok, "Paths", sum, ""});
  }
  const Json& data = at(usage, "data_bytes");
  findings.push_back(
      {number(data, "used") > number(data, "limit") / 10 * 9 ? Level::note : Level::ok, "Data",
       fmt::format("{} of {} (max_data_bytes)", format_bytes(static_cast<std::uint64_t>(number(data, "used"))),
                   format_bytes(static_cast<std::uint64_t>(number(data, "limit")))),
       ""});
}

void examine_checks(const Patient& patient, Findings& findings) {
  const Json& checks = at(patient.status, "checks");
  const std::int64_t all = number(checks, "passing") + number(checks, "failing");
  if (!patient.agent_is_up() || all == 0) {
    return;
  }
  if (const std::int64_t late = number(checks, "late"); late > 0) {
    findings.push_back(
        {Level::wrong, "Checks",
         fmt::format("{} of {} checks are overdue: they wait for others of their user", late, all),
         "Checks that hang hold the slots: limpet list --state unhealthy names them. A shorter timeout, or "
         "a longer interval, makes room."});
  } else {
    findings.push_back(
        {Level::ok, "Checks", fmt::format("{} {}, none overdue", all, all == 1 ? "check" : "checks"), ""});
  }
}

bool all_registered(const Patient& patient) {
  const Json& counts = at(patient.status, "registrations");
  return number(counts, "registered") == number(counts, "total");
}

bool examine_and_report(Context& context, const DoctorOptions& options) {
  Findings findings;
  const Patient patient = admit(context, options, findings);
  examine_socket(context, patient, findings);
  examine_state_directory(patient, findings);
  examine_storage_and_queue(patient, findings);
  examine_limits(patient, findings);
  examine_clock(context, patient, findings);
  examine_zookeeper(patient, findings);
  examine_session(patient, findings);
  examine_registrations(context, patient, findings);
  examine_files(patient, findings);
  examine_checks(patient, findings);
  examine_orphans(context, patient, findings);
  examine_parents(context, patient, findings);
  const auto wrong = std::count_if(findings.begin(), findings.end(),
                                   [](const Finding& finding) { return finding.level == Level::wrong; });
  const auto word_of = [](Level level) { return level == Level::ok ? "ok" : level == Level::note ? "note" : "wrong"; };
  if (context.json) {
    Json report = {{"ok", wrong == 0}, {"findings", Json::array()}};
    for (const Finding& finding : findings) {
      report["findings"].push_back({{"level", word_of(finding.level)},
                                    {"area", finding.area},
                                    {"text", finding.text},
                                    {"advice", finding.advice.empty() ? Json() : Json(finding.advice)}});
    }
    print_json(context, report.dump(-1, ' ', false, Json::error_handler_t::replace));
    return wrong == 0;
  }
  Block block;
  for (const Finding& finding : findings) {
    const Colour colour = finding.level == Level::ok     ? Colour::green
                          : finding.level == Level::note ? Colour::yellow
                                                         : Colour::red;
    block.add(finding.level == Level::wrong ? "WRONG" : word_of(finding.level),
              fmt::format("{}: {}", finding.area, finding.text), colour);
    if (!finding.advice.empty()) {
      block.add("", "-> " + finding.advice);
    }
  }
  const std::string verdict = wrong > 0 ? fmt::format("{} {} wrong.", wrong, wrong == 1 ? "thing is" : "things are")
                              : all_registered(patient) ? "All is well."
                                                        : "Nothing is wrong, but not everything is in ZooKeeper.";
  context.console.out(block.render(context.terminal) + "\n" +
                      context.terminal.paint(wrong == 0 ? Colour::green : Colour::red, verdict) + "\n");
  return wrong == 0;
}

// What waits a moment is no trouble; what waits longer while ZooKeeper serves is.
Finding count_registered(const Patient& patient) {
  constexpr std::int64_t kLongMs = 30'000;
  const Json& counts = at(patient.status, "registrations");
  const std::int64_t waiting = number(counts, "pending") + number(counts, "suspended") + number(counts, "removing");
  const std::string text = fmt::format("{} of {} in ZooKeeper", number(counts, "registered"),
                                       number(counts, "total") - number(counts, "removing"));
  if (waiting == 0) {
    return {Level::ok, "Registrations", text, ""};
  }
  const bool connected = limpet::cli::text(at(patient.status, "zookeeper"), "state") == "connected";
  const bool stuck =
      connected && (number(counts, "suspended") > 0 || number(at(patient.status, "queue"), "oldest_age_ms") >= kLongMs);
  return {stuck ? Level::wrong : Level::note, "Registrations",
          fmt::format("{}; {} {} not carried out", text, waiting, waiting == 1 ? "change is" : "changes are"),
          connected ? "limpet queue says which, and why." : "They are carried out when ZooKeeper is back."};
}

}  // namespace

Patient admit(const Context& context, const DoctorOptions& options, Findings& findings) {
  Patient patient;
  Request request;
  request.target = "/v1/status";
  const auto reply = context.client.call(request);
  if (const auto* unreachable = std::get_if<Unreachable>(&reply)) {
    const std::size_t end = unreachable->why.find('\n');
    std::string advice = end == std::string::npos ? "" : unreachable->why.substr(end + 1);
    std::replace(advice.begin(), advice.end(), '\n', ' ');
    findings.push_back({Level::wrong, "Agent", unreachable->why.substr(0, end), advice});
  } else {
    const auto& answer = std::get<Answer>(reply);
    patient.status = answer.ok() ? parse(answer.body) : Json();
    if (patient.agent_is_up()) {
      findings.push_back(
          {Level::ok, "Agent",
           fmt::format("limpetd {} runs, pid {}", text(patient.status, "version"), number(patient.status, "pid")), ""});
    } else {
      findings.push_back({Level::wrong, "Agent", fmt::format("it answered {} when asked how it is", answer.status),
                          "Is this limpetd's socket?"});
    }
  }
  read_configuration(options, patient, findings);
  patient.other_servers = !options.zookeeper.empty();
  return patient;
}

void examine_registrations(const Context& context, const Patient& patient, Findings& findings) {
  struct Kind {
    const char* state;
    Level level;
  };
  const Json& counts = at(patient.status, "registrations");
  for (const Kind& kind : {Kind{"conflict", Level::wrong},
                           {"blocked", Level::wrong},
                           {"unhealthy", Level::wrong},
                           {"maintenance", Level::note}}) {
    const std::int64_t count = number(counts, kind.state);
    if (count == 0) {
      continue;
    }
    constexpr std::int64_t kNamed = 5;
    Request request;
    request.target = fmt::format("/v1/registrations?limit={}&state={}", kNamed, kind.state);
    const auto reply = context.client.call(request);
    const auto* answer = std::get_if<Answer>(&reply);
    const Json page = answer != nullptr && answer->ok() ? parse(answer->body) : Json();
    for (const Json& item : at(page, "registrations")) {
      findings.push_back({kind.level, "Registration",
                          fmt::format("{}: {}", id_of(item), state_with_reason(item, context.now_ms)),
                          advice_for(kind.state, text(at(item, "reason"), "code"), text(item, "path"))});
    }
    if (count > kNamed) {
      findings.push_back({kind.level, "Registration", fmt::format("{} more in state {}", count - kNamed, kind.state),
                          fmt::format("limpet list --state {}", kind.state)});
    }
  }
  if (patient.agent_is_up()) {
    findings.push_back(count_registered(patient));
  }
}

void examine_parents(const Context& context, const Patient& patient, Findings& findings) {
  if (!patient.agent_is_up()) {
    return;
  }
  const Request request{Method::post, "/v1/prune", R"({"dry_run":true,"older_than":"0s"})", std::chrono::minutes(1)};
  const auto reply = context.client.call(request);
  const auto* answer = std::get_if<Answer>(&reply);
  const Json report = answer != nullptr ? parse(answer->body) : Json();
  if (answer == nullptr || !answer->ok()) {
    const std::string why = text(report, "detail");
    findings.push_back({Level::note, "Parents", "not examined: " + (why.empty() ? "no answer" : why), ""});
    return;
  }
  const std::int64_t examined = number(report, "examined");
  const std::int64_t empty = number(report, "empty");
  // So many that somebody must be making them all the time.
  constexpr std::int64_t kMany = 1'000;
  findings.push_back(
      {empty > kMany ? Level::wrong
       : empty > 0   ? Level::note
                     : Level::ok,
       "Parents",
       fmt::format("{} of {} znodes that this agent created above registrations {} empty", empty, examined,
                   empty == 1 ? "is" : "are"),
       empty == 0 ? "" : "They do no harm, and stay. sudo limpet prune removes those unused for 7 days."});
}

void add_doctor_command(CLI::App& app, Run& run) {
  CLI::App* verb =
      app.add_subcommand("doctor", "examine agent, host and ZooKeeper, and say what to do about what is wrong");
  auto options = std::make_shared<DoctorOptions>();
  verb->add_option("--config", options->config_file,
                   fmt::format("limpetd's configuration (default: {})", kDefaultConfigFile))
      ->option_text("FILE");
  verb->add_option("--zookeeper", options->zookeeper, "these servers instead of the configured ones")
      ->option_text("HOSTS");
  verb->add_option("--data-dir", options->data_dir, "this state directory instead of the configured one")
      ->option_text("DIR");
  verb->footer(
      "Changes nothing. It works without an agent, too; as root it sees more. Where the agent runs, its command line\n"
      "is heeded. Exit status: 0 all is well, 1 something is wrong.\n\n"
      "Examples:\n  sudo limpet doctor\n  limpet doctor --json | jq '.findings[] | select(.level==\"wrong\")'\n");
  verb->callback([&run, options] {
    run = [options](Context& context) { return examine_and_report(context, *options) ? Exit::done : Exit::failed; };
  });
}

}  // namespace limpet::cli
