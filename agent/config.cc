// The table of keys. How a file and the environment are read is in config_file.cc.
#include "agent/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <limits>

#include "agent/api/names.h"
#include "agent/config_policy.h"
#include "agent/config_values.h"
#include "agent/core/path_budget.h"
#include "agent/zk/hosts.h"

namespace limpet {

namespace {

using Wrong = std::optional<std::string>;

// ---- Keys of a kind

std::string duration_text(std::int64_t ms) {
  return api::duration_text(std::chrono::milliseconds(ms));
}

template <typename Member>
ConfigKey count_key(const char* name, Member Config::*member, std::uint64_t least, std::uint64_t most,
                    const char* help) {
  return {name,
          "N",
          help,
          ConfigKey::Kind::number,
          [=](Config& config, const std::string& text) -> Wrong {
            const auto count = parse_count(text);
            if (!count || *count < least || *count > most) {
              return fmt::format("a whole number from {} to {} is needed, not \"{}\"", least, most, text);
            }
            config.*member = static_cast<Member>(*count);
            return std::nullopt;
          },
          [=](const Config& config) { return std::to_string(config.*member); }};
}

template <typename Member>
ConfigKey size_key(const char* name, Member Config::*member, std::uint64_t least, std::uint64_t most,
                   const char* help) {
  return {name,
          "SIZE",
          help,
          ConfigKey::Kind::size,
          [=](Config& config, const std::string& text) -> Wrong {
            const auto size = parse_size(text);
            if (!size || *size < least || *size > most) {
              return fmt::format("a size from {} to {} is needed, such as \"64KiB\", not \"{}\"", size_text(least),
                                 size_text(most), text);
            }
            config.*member = static_cast<Member>(*size);
            return std::nullopt;
          },
          [=](const Config& config) { return size_text(config.*member); }};
}

ConfigKey duration_key(const char* name, std::int64_t Config::*member, std::int64_t least_ms, std::int64_t most_ms,
                       const char* help) {
  return {name,
          "DURATION",
          help,
          ConfigKey::Kind::text,
          [=](Config& config, const std::string& text) -> Wrong {
            const auto duration = api::parse_duration(text, std::chrono::milliseconds(most_ms));
            if (!duration || duration->count() < least_ms) {
              return fmt::format("a duration from {} to {} is needed, such as \"10s\" (units: ms s m h), not \"{}\"",
                                 duration_text(least_ms), duration_text(most_ms), text);
            }
            config.*member = duration->count();
            return std::nullopt;
          },
          [=](const Config& config) { return duration_text(config.*member); }};
}

ConfigKey file_key(const char* name, std::string Config::*member, bool may_be_empty, const char* argument,
                   const char* help) {
  return {name,
          argument,
          help,
          ConfigKey::Kind::text,
          [=](Config& config, const std::string& text) -> Wrong {
            if (text.empty() ? !may_be_empty : text.front() != '/') {
              return "an absolute path is needed, not \"" + text + "\"";
            }
            config.*member = text;
            return std::nullopt;
          },
          [=](const Config& config) { return config.*member; }};
}

ConfigKey boolean_key(const char* name, bool Config::*member, const char* help) {
  return {name,
          "BOOLEAN",
          help,
          ConfigKey::Kind::boolean,
          [=](Config& config, const std::string& text) -> Wrong {
            const bool on = text == "true" || text == "on";
            if (!on && text != "false" && text != "off") {
              return "true or false is needed, not \"" + text + "\"";
            }
            config.*member = on;
            return std::nullopt;
          },
          [=](const Config& config) { return config.*member ? "true" : "false"; }};
}

// ---- Keys with rules of their own

Wrong set_zookeeper(Config& config, const std::string& text) {
  if (auto hosts = zk::parse_hosts(text); !hosts.ok()) {
    return hosts.status().message();
  }
  config.zookeeper = text;
  return std::nullopt;
}

Wrong set_root(Config& config, const std::string& text) {
  if (!is_znode_path(text)) {
    return "a znode path such as /services is needed, not \"" + text + "\"";
  }
  config.root = text;
  return std::nullopt;
}

Wrong set_paths(Config& config, const std::string& text) {
  auto paths = split_list(text);
  for (const std::string& path : paths) {
    if (path.empty()) {
      return "there is an empty entry in \"" + text + "\": a comma too many";
    }
    if (!is_znode_path(path)) {
      return "znode paths such as /dubbo,/nerve are needed, not \"" + path + "\"";
    }
  }
  config.paths = std::move(paths);
  return std::nullopt;
}

Wrong set_acl(Config& config, const std::string& text) {
  auto acl = zk::parse_acl(text);
  if (!acl) {
    return acl.status().message();
  }
  config.acl = std::move(*acl);
  return std::nullopt;
}

Wrong set_parents_acl(Config& config, const std::string& text) {
  if (text == "shared") {
    config.parents_acl.reset();
    return std::nullopt;
  }
  auto acl = zk::parse_acl(text);
  if (!acl) {
    return "shared, " + acl.status().message();
  }
  config.parents_acl = std::move(*acl);
  return std::nullopt;
}

Wrong set_parents(Config& config, const std::string& text) {
  if (text != "persistent" && text != "container") {
    return "one of persistent, container is needed, not \"" + text + "\"";
  }
  config.container_parents = text == "container";
  return std::nullopt;
}

Wrong set_policy(Config& config, const std::string& text) {
  auto policy = parse_policy(text);
  if (!policy) {
    return policy.status().message();
  }
  config.policy = std::move(*policy);
  config.policy_text = text;
  return std::nullopt;
}

Wrong set_check_targets(Config& config, const std::string& text) {
  auto targets = liveness::CheckTargets::parse(split_list(text));
  if (!targets) {
    return targets.status().message();
  }
  config.check_targets = std::move(*targets);
  return std::nullopt;
}

Wrong set_log_level_key(Config& config, const std::string& text) {
  if (!parse_log_level(text, config.log_level)) {
    return "one of debug, info, warn, error is needed, not \"" + text + "\"";
  }
  return std::nullopt;
}

std::string log_level_text(const Config& config) {
  return log_level_name(config.log_level);
}

std::vector<ConfigKey> zookeeper_keys() {
  using Kind = ConfigKey::Kind;
  return {
      {"zookeeper", "HOSTS[/chroot]", "ZooKeeper servers, host:port separated by commas", Kind::list, set_zookeeper,
       [](const Config& config) { return config.zookeeper; }},
      duration_key("session_timeout", &Config::session_timeout_ms, 1'000, 600'000,
                   "ZooKeeper session time-out to ask for"),
      file_key("zookeeper_credentials", &Config::zookeeper_credentials, true, "FILE",
               "file with user:password, given to ZooKeeper by its digest scheme"),
      {"acl", "ACL", "ACL of registrations: open, creator, or scheme:id:permissions separated by commas", Kind::list,
       set_acl, [](const Config& config) { return zk::to_string(config.acl); }},
      {"parents_acl", "ACL", "ACL of the znodes above them: shared, or as for acl", Kind::list, set_parents_acl,
       [](const Config& config) { return config.parents_acl ? zk::to_string(*config.parents_acl) : "shared"; }},
      {"parents", "MODE", "znodes above registrations: persistent, or container, which the servers sweep once empty",
       Kind::text, set_parents,
       [](const Config& config) { return config.container_parents ? "container" : "persistent"; }},
      {"root", "PATH", "znode under which registrations stand", Kind::text, set_root,
       [](const Config& config) { return config.root; }},
      {"paths", "LIST", "further places where a registration's own path may lie", Kind::list, set_paths,
       [](const Config& config) { return fmt::format("{}", fmt::join(config.paths, ",")); }},
      count_key("replay_rate", &Config::replay_rate, 0, 1'000'000,
                "changes sent to ZooKeeper a second at most; 0: no limit"),
  };
}

std::vector<ConfigKey> host_keys() {
  constexpr std::int64_t kHour = 3'600'000;
  using Kind = ConfigKey::Kind;
  return {
      file_key("data_dir", &Config::data_dir, false, "DIR", "where the state is kept"),
      file_key("socket", &Config::socket, false, "PATH", "unix socket of the API"),
      file_key("registrations_dir", &Config::registrations_dir, true, "DIR",
               "directory with registrations by file, *.json"),
      {"log_level", "LEVEL", "debug, info, warn or error", Kind::text, set_log_level_key, log_level_text},
      duration_key("connection_grace", &Config::connection_grace_ms, 0, kHour,
                   "after a start: time for callers of bind \"connection\" to come back"),
      duration_key("history_age", &Config::history_age_ms, 1'000, 87'600 * kHour, "how long the history is kept"),
      size_key("history_size", &Config::history_size_bytes, 64 * 1024, 1ULL << 40, "how much of the history is kept"),
      {"policy", "RULES", R"(who may register what, as JSON: [{"user":"deploy","services":["web-*"]}])", Kind::rules,
       set_policy, [](const Config& config) { return config.policy_text; }},
  };
}

std::vector<ConfigKey> check_keys() {
  using Kind = ConfigKey::Kind;
  return {
      boolean_key("tcp_checks", &Config::tcp_checks, "whether registrations may have tcp checks"),
      boolean_key("http_checks", &Config::http_checks, "whether registrations may have http checks"),
      boolean_key("command_checks", &Config::command_checks,
                  "whether registrations by the API may have command checks; those by file always may"),
      {"check_targets", "LIST", "what checks may connect to: host, any, networks and addresses", Kind::list,
       set_check_targets, [](const Config& config) { return config.check_targets.text(); }},
      count_key("max_checks_per_uid", &Config::max_checks_per_uid, 0, 1'000'000,
                "health checks of one user; root is exempt"),
  };
}

std::vector<ConfigKey> limit_keys() {
  constexpr std::uint64_t kKiB = 1024;
  return {
      size_key("max_body", &Config::max_body_bytes, kKiB, 64 * kKiB * kKiB, "a request's body"),
      // A server with its default settings takes no more in one packet.
      size_key("max_data", &Config::max_znode_data_bytes, 1, 1'000'000, "a znode's data"),
      size_key("max_data_bytes", &Config::max_data_bytes, 1, 1ULL << 40, "the data of all registrations together"),
      count_key("max_connections", &Config::max_connections, 1, 100'000, "connections to the API"),
      count_key("max_connections_per_uid", &Config::max_connections_per_uid, 1, 100'000,
                "connections of one user; root is exempt"),
      duration_key("request_timeout", &Config::request_timeout_ms, 100, 3'600'000, "for a request to arrive whole"),
      count_key("max_registrations", &Config::max_registrations, 1, 1'000'000, "registrations on this host"),
      count_key("max_registrations_per_uid", &Config::max_registrations_per_uid, 0, 1'000'000,
                "registrations of one user; 0: max_share_per_uid of max_registrations"),
      // The servers must name all paths of a session in one packet of 1 MiB when it ends.
      size_key("max_path_bytes", &Config::max_path_bytes, kKiB, core::kMostPathBytes,
               "all znode paths together, with the chroot and 4 bytes for each"),
      count_key("max_operations", &Config::max_operations, 1, 1'000'000'000, "changes that wait for ZooKeeper"),
      count_key("max_share_per_uid", &Config::max_share_per_uid, 1, 100,
                "percent of registrations, paths, data and changes for one user; root is exempt"),
      count_key("max_new_parents", &Config::max_new_parents, 1, 1'000'000,
                "znodes that one user's registrations may add above them in an hour"),
  };
}

Status wrong(const std::string& where, const std::string& key, const std::string& what) {
  // A flag or a variable names the key by itself.
  const bool names_key = where.starts_with("--") || where.starts_with("LIMPET_");
  return Status(Errc::invalid,
                names_key ? fmt::format("{}: {}", where, what) : fmt::format("{}: {}: {}", where, key, what));
}

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = [] {
    std::vector<ConfigKey> all = zookeeper_keys();
    for (auto& part : {host_keys(), check_keys(), limit_keys()}) {
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }();
  return keys;
}

Status set_config_key(Config& config, const std::string& key, const std::string& text, const std::string& where) {
  for (const ConfigKey& known : config_keys()) {
    if (known.name == key) {
      const auto what = known.set(config, text);
      return what ? wrong(where, key, *what) : Status();
    }
  }
  std::vector<std::string> names;
  for (const ConfigKey& known : config_keys()) {
    names.push_back(known.name);
  }
  if (key.find("tls") != std::string::npos || key.find("ssl") != std::string::npos) {
    // What Debian's library does not have was not built, and could not be tested.
    const char* const why = LIMPET_ZOOKEEPER_HAS_TLS
                                ? "limpetd does not speak TLS, although the ZooKeeper client library here could"
                                : "the ZooKeeper client library that limpetd is built with has no TLS (Debian's is "
                                  "made without)";
    return Status(Errc::invalid,
                  fmt::format("{}: unknown key \"{}\": {}; put a TLS tunnel, such as stunnel, before the "
                              "servers, and name its end in zookeeper",
                              where, key, why));
  }
  const std::string nearest = nearest_name(key, names);
  return Status(Errc::invalid,
                fmt::format("{}: unknown key \"{}\"{}", where, key,
                            nearest.empty() ? "; the keys are " + fmt::format("{}", fmt::join(names, ", "))
                                            : "; did you mean \"" + nearest + "\"?"));
}

std::vector<std::string> differing_keys(const Config& a, const Config& b) {
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys()) {
    // The same name may have become another user, the same file may hold another password.
    const bool same = key.text(a) == key.text(b) && (key.name != "policy" || a.policy == b.policy) &&
                      (key.name != "zookeeper_credentials" || a.zookeeper_auth == b.zookeeper_auth);
    if (!same) {
      names.push_back(key.name);
    }
  }
  return names;
}

void copy_config_key(const std::string& key, const Config& from, Config& to) {
  for (const ConfigKey& known : config_keys()) {
    if (known.name == key) {
      [[maybe_unused]] const auto wrong = known.set(to, known.text(from));
      assert(!wrong);
    }
  }
  if (key == "policy") {
    to.policy = from.policy;
  } else if (key == "zookeeper_credentials") {
    to.zookeeper_auth = from.zookeeper_auth;
  }
}

}  // namespace limpet
