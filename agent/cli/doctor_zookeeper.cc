// The doctor's look at ZooKeeper: each server, the session, orphans.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "agent/cli/doctor.h"
#include "agent/cli/times.h"
#include "agent/cli/zk_wire.h"
#include "agent/zk/resolver.h"

namespace limpet::cli {

namespace {

using namespace std::chrono_literals;
constexpr auto kPatience = 2'000ms;

struct Examined {
  std::string mode;     // "leader", "follower", "standalone", "serving"; empty: it does not serve
  std::string trouble;  // why it does not
  std::chrono::duration<double, std::milli> latency{0};
};

// "Mode: follower" of what `srvr` says.
std::string mode_in(const std::string& answer) {
  constexpr std::string_view kMode = "Mode: ";
  const std::size_t at = answer.find(kMode);
  if (at == std::string::npos) {
    return {};
  }
  const std::size_t from = at + kMode.size();
  return answer.substr(from, answer.find('\n', from) - from);
}

Examined examine_server(const zk::Server& server) {
  Examined result;
  const auto started = std::chrono::steady_clock::now();
  std::string word;
  {
    ZkWire wire(server.endpoint, kPatience);
    result.trouble = wire.connect();
    if (!result.trouble.empty()) {
      return result;
    }
    word = wire.ask("srvr");
    result.latency = std::chrono::steady_clock::now() - started;
  }
  result.mode = mode_in(word);
  if (!result.mode.empty()) {
    return result;
  }
  if (word.find("not currently serving") != std::string::npos) {
    result.trouble = "it runs, but serves nobody: it is not part of a quorum";
    return result;
  }
  // The word is not allowed there, or it is a server of another kind: what counts is that it takes a session.
  ZkWire wire(server.endpoint, kPatience);
  if (wire.connect().empty() && wire.open_session()) {
    wire.close_session();
    result.mode = "serving";
    result.latency = std::chrono::steady_clock::now() - started;
  } else {
    result.trouble = "it takes the connection, but gives no session";
  }
  return result;
}

constexpr const char* kMendNames = "Correct the name, or the resolver (/etc/resolv.conf).";

std::string all_of(const std::vector<std::string>& addresses) {
  return fmt::format("{}", fmt::join(addresses, ", "));
}

// The addresses that the agent uses, which a look-up of our own may no longer, or not yet, give.
std::vector<zk::Server> servers_of_agent(const Json& used, Findings& findings) {
  std::vector<zk::Server> servers;
  for (const Json& server : used) {
    const std::string name = text(server, "name");
    std::vector<std::string> addresses;
    for (const Json& address : at(server, "addresses")) {
      addresses.push_back(address.is_string() ? address.get<std::string>() : "");
      const auto numeric = zk::parse_hosts(addresses.back());
      for (zk::Server& found : numeric.ok() ? zk::resolve(*numeric).servers : std::vector<zk::Server>()) {
        found.label = name == addresses.back() ? name : fmt::format("{} ({})", name, addresses.back());
        servers.push_back(std::move(found));
      }
    }
    if (const std::string error = text(server, "error"); !error.empty()) {
      const std::string goes_on = addresses.empty() ? "the agent knows no address of it"
                                                    : "the agent goes on with the last address, " + all_of(addresses);
      findings.push_back({Level::wrong, "ZooKeeper", fmt::format("{}; {}", error, goes_on), kMendNames});
      continue;
    }
    const auto host = zk::parse_hosts(name);
    std::vector<std::string> now;
    for (const zk::Server& found : host.ok() ? zk::resolve(*host).servers : std::vector<zk::Server>()) {
      now.push_back(zk::to_string(found.endpoint));
    }
    std::sort(now.begin(), now.end());
    std::sort(addresses.begin(), addresses.end());
    if (!now.empty() && now != addresses) {
      findings.push_back({Level::note, "ZooKeeper",
                          fmt::format("{} is {} by a look-up now, and the agent uses {}", name, all_of(now),
                                      addresses.empty() ? "none yet" : all_of(addresses)),
                          "It looks names up every minute, and every few seconds while it has no connection."});
    }
  }
  return servers;
}

std::vector<zk::Server> looked_up(const zk::Hosts& hosts, Findings& findings) {
  zk::Resolved resolved = zk::resolve(hosts);
  for (const std::string& failure : resolved.failures) {
    findings.push_back({Level::wrong, "ZooKeeper", failure, kMendNames});
  }
  return std::move(resolved.servers);
}

// How many of `servers` must serve.
std::size_t majority(std::size_t servers) {
  return servers / 2 + 1;
}

// All paths that the agent's registrations want; false where it does not say.
bool add_wanted_paths(const Context& context, std::set<std::string>& paths) {
  std::string after;
  for (bool last = false; !last;) {
    Request request;
    request.target = "/v1/registrations?limit=1000" + after;
    const auto reply = context.client.call(request);
    const auto* answer = std::get_if<Answer>(&reply);
    if (answer == nullptr || !answer->ok()) {
      return false;
    }
    const Json page = parse(answer->body);
    for (const Json& item : at(page, "registrations")) {
      paths.insert(text(item, "path"));
    }
    const std::string next = text(page, "next");
    after = "&after=" + next;
    last = next.empty();
  }
  return true;
}

// What stands where registrations stand: <root>/<service>/<instance>.
struct Standing {
  std::vector<std::string> paths;
  std::vector<std::optional<ZnodeFacts>> facts;
  bool all = true;
};

std::optional<Standing> read_standing(ZkWire& wire, const std::string& top) {
  constexpr std::size_t kMost = 50'000;
  const auto services = wire.children({top.empty() ? "/" : top});
  if (!services) {
    return std::nullopt;
  }
  std::vector<std::string> parents;
  for (const std::string& service : services->front().value_or(std::vector<std::string>())) {
    parents.push_back(fmt::format("{}/{}", top, service));
  }
  const auto instances = wire.children(parents);
  if (!instances) {
    return std::nullopt;
  }
  Standing standing;
  for (std::size_t i = 0; i < parents.size(); ++i) {
    for (const std::string& instance : (*instances)[i].value_or(std::vector<std::string>())) {
      if (standing.paths.size() < kMost) {
        standing.paths.push_back(fmt::format("{}/{}", parents[i], instance));
      } else {
        standing.all = false;
      }
    }
  }
  auto facts = wire.facts(standing.paths);
  if (!facts) {
    return std::nullopt;
  }
  standing.facts = std::move(*facts);
  return standing;
}

std::optional<Standing> read_standing(const Config& config, const zk::Hosts& hosts) {
  const std::string top = hosts.chroot + (config.root == "/" ? "" : config.root);
  for (const zk::Server& server : zk::resolve(hosts).servers) {
    ZkWire wire(server.endpoint, kPatience);
    if (wire.connect().empty() && wire.open_session(config.zookeeper_auth)) {
      std::optional<Standing> standing = read_standing(wire, top);
      wire.close_session();
      if (standing) {
        return standing;
      }
    }
  }
  return std::nullopt;
}

// "/a, /b and 3 more".
std::string some_of(const std::vector<std::string>& paths) {
  constexpr std::size_t kShown = 3;
  std::string result;
  for (std::size_t i = 0; i < std::min(kShown, paths.size()); ++i) {
    result += (i == 0 ? "" : ", ") + paths[i];
  }
  return paths.size() > kShown ? fmt::format("{} and {} more", result, paths.size() - kShown) : result;
}

}  // namespace

void examine_zookeeper(const Patient& patient, Findings& findings) {
  const auto hosts = zk::parse_hosts(patient.config.zookeeper);
  if (!hosts) {
    findings.push_back({Level::wrong, "ZooKeeper", hosts.status().message(), "Correct `zookeeper` in limpet.json."});
    return;
  }
  const Json& used = at(at(patient.status, "zookeeper"), "servers");
  const std::vector<zk::Server> servers = patient.agent_is_up() && used.is_array() && !patient.other_servers
                                              ? servers_of_agent(used, findings)
                                              : looked_up(*hosts, findings);
  std::vector<Examined> examined(servers.size());
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < examined.size(); ++i) {
    threads.emplace_back([&, i] { examined[i] = examine_server(servers[i]); });
  }
  threads.clear();  // joins
  std::size_t serving = 0;
  for (std::size_t i = 0; i < examined.size(); ++i) {
    const std::string& label = servers[i].label;
    if (examined[i].mode.empty()) {
      findings.push_back({Level::wrong, "ZooKeeper", fmt::format("{}: {}", label, examined[i].trouble),
                          "Look at that server: is it started, is its port open to this host?"});
    } else {
      ++serving;
      findings.push_back(
          {Level::ok, "ZooKeeper",
           fmt::format("{}: {}, answers in {:.1f} ms", label, examined[i].mode, examined[i].latency.count()), ""});
    }
  }
  if (serving == 0) {
    findings.push_back({Level::wrong, "ZooKeeper",
                        fmt::format("no server serves: of {} servers, {} must run and reach one another",
                                    hosts->servers.size(), majority(hosts->servers.size())),
                        "Nothing is lost meanwhile: the agent accepts changes, and carries them out when they serve."});
  }
}

void examine_session(const Patient& patient, Findings& findings) {
  if (!patient.agent_is_up()) {
    return;
  }
  const Json& zookeeper = at(patient.status, "zookeeper");
  const std::string state = text(zookeeper, "state");
  const std::string message = text(zookeeper, "message");
  if (state == "connected") {
    findings.push_back(
        {Level::ok, "Session",
         fmt::format("{}, connected to {}, time-out {}", text(zookeeper, "session"), text(zookeeper, "server"),
                     format_duration(number(zookeeper, "session_timeout_ms"))),
         ""});
    if (!message.empty()) {
      const bool disk = at(at(patient.status, "storage"), "healthy") == false;
      findings.push_back({Level::wrong, "Session", message,
                          disk ? "Look at the disk, see Storage."
                               : "What the message names is to be mended: mostly the servers' settings."});
    }
    return;
  }
  findings.push_back({Level::wrong, "Session", fmt::format("{}{}{}", state, message.empty() ? "" : ": ", message),
                      state == "auth_failed"
                          ? "Give or correct the credentials (zookeeper_credentials), then: limpet reload"
                          : "The agent tries again by itself; what to mend is ZooKeeper, see above."});
}

void examine_orphans(const Context& context, const Patient& patient, Findings& findings) {
  const std::string session = text(at(patient.status, "zookeeper"), "session");
  const auto hosts = zk::parse_hosts(patient.config.zookeeper);
  if (text(at(patient.status, "zookeeper"), "state") != "connected" || session.empty() || !hosts) {
    return;  // said elsewhere
  }
  // What is wanted before or after the look: changes go on meanwhile.
  std::set<std::string> wanted;
  const bool asked = add_wanted_paths(context, wanted);
  const std::optional<Standing> standing = read_standing(patient.config, *hosts);
  if (!asked || !standing || !add_wanted_paths(context, wanted)) {
    findings.push_back({Level::note, "Orphans", "could not be looked for: the znodes cannot be read from here", ""});
    return;
  }
  const auto ours = static_cast<std::int64_t>(std::stoull(session, nullptr, 16));
  std::vector<std::string> orphans;
  std::vector<std::string> persistent;
  for (std::size_t i = 0; i < standing->paths.size(); ++i) {
    const std::string path = standing->paths[i].substr(hosts->chroot.size());
    const std::optional<ZnodeFacts>& facts = standing->facts[i];
    if (facts && facts->owner == ours && !wanted.contains(path)) {
      orphans.push_back(path);
    } else if (facts && facts->owner == 0 && facts->children == 0) {
      persistent.push_back(path);
    }
  }
  const std::string& root = patient.config.root;
  if (!orphans.empty()) {
    findings.push_back({Level::wrong, "Orphans",
                        fmt::format("our session owns {} znodes under {} that no registration wants: {}",
                                    orphans.size(), root, some_of(orphans)),
                        "Delete them (zkCli.sh: delete PATH), and report it: this should not happen."});
  }
  if (!persistent.empty()) {
    findings.push_back({Level::note, "Orphans",
                        fmt::format("{} persistent znodes stand under {} where registrations do: {}", persistent.size(),
                                    root, some_of(persistent)),
                        "They belong to no session and go by nobody's end; limpet makes none. Delete those that nobody "
                        "needs."});
  }
  if (orphans.empty() && persistent.empty()) {
    findings.push_back({Level::ok, "Orphans",
                        fmt::format("none among {}{} znodes under {}", standing->all ? "" : "the first ",
                                    standing->paths.size(), root),
                        ""});
  }
}

}  // namespace limpet::cli
