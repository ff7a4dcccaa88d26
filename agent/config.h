// The configuration of limpetd: defaults, then the file, then the environment, then the flags; the later wins.
//
// Every key has the same name everywhere: `data_dir` in the file, `--data-dir` as a flag, `LIMPET_DATA_DIR` in the
// environment. The file is one JSON object with // comments; unknown keys and wrong types are refused. What each key
// means stands in agent/packaging/limpet.json. Plain values; core thread, because users and groups are looked up.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/core/policy.h"
#include "agent/liveness/check_policy.h"
#include "agent/log.h"
#include "agent/zk/acl.h"
#include "storage/error.h"

namespace limpet {

struct Config {
  // ZooKeeper.
  std::string zookeeper = "127.0.0.1:2181";
  std::int64_t session_timeout_ms = 10'000;
  std::string zookeeper_credentials;   // a file; empty: none
  std::string zookeeper_auth;          // what that file holds, "user:password": a secret, never shown
  zk::Acl acl = zk::open_acl();        // of every registration's znode
  std::optional<zk::Acl> parents_acl;  // of every znode that the agent makes above those; absent: shared_acl(acl)
  bool container_parents = false;
  std::string root = "/services";
  std::vector<std::string> paths;
  std::uint32_t replay_rate = 0;  // writes to ZooKeeper a second; 0: as fast as they are answered

  // This host.
  std::string data_dir = "/var/lib/limpet";
  std::string socket = "/run/limpet/limpet.sock";
  std::string registrations_dir = "/etc/limpet/registrations.d";  // empty: none
  LogLevel log_level = LogLevel::info;
  std::int64_t connection_grace_ms = 10'000;  // after a start, for callers of bind "connection" to come back
  std::int64_t history_age_ms = 7LL * 24 * 3'600'000;
  std::uint64_t history_size_bytes = 64ULL << 20;

  // Who may.
  core::Policy policy;
  std::string policy_text = "[]";  // as JSON, for people

  // Health checks: which types may be asked for by the API, and what they may connect to.
  bool tcp_checks = true;
  bool http_checks = true;
  bool command_checks = false;  // files in registrations.d may have them all the same
  liveness::CheckTargets check_targets;

  // Limits.
  std::uint64_t max_body_bytes = 1ULL << 20;
  std::uint64_t max_znode_data_bytes = 1'000'000;  // the key max_data
  std::uint64_t max_data_bytes = 256ULL << 20;     // of all registrations together
  std::uint32_t max_connections = 1'024;
  std::uint32_t max_connections_per_uid = 256;  // root and the agent's own uid are exempt
  std::int64_t request_timeout_ms = 30'000;
  std::uint32_t max_registrations = 10'000;
  std::uint32_t max_registrations_per_uid = 0;  // 0: max_share_per_uid of max_registrations
  std::uint32_t max_path_bytes = 512 * 1024;
  std::uint32_t max_checks_per_uid = 2'000;  // root and the agent's own uid are exempt
  std::uint64_t max_operations = 1'000'000;
  std::uint32_t max_share_per_uid = 50;   // percent of what one user may take of each of these but the connections
  std::uint32_t max_new_parents = 1'000;  // of one user in an hour
};

inline constexpr const char* kDefaultConfigFile = "/etc/limpet/limpet.json";

struct ConfigKey {
  // What the file may hold: a string; a list of strings, or a string with commas; a whole number; a whole number or a
  // string with a unit; a list of rules; true or false. A flag and the environment give any of them as text.
  enum class Kind { text, list, number, size, rules, boolean };

  std::string name;
  std::string argument;  // what --help shows behind the flag
  std::string help;
  Kind kind = Kind::text;
  // Takes the value out of its text; or says what is wrong with it, and changes nothing.
  std::function<std::optional<std::string>(Config&, const std::string&)> set;
  // The value in the form that set() takes.
  std::function<std::string(const Config&)> text;
};

// All keys, in the order of the documentation.
const std::vector<ConfigKey>& config_keys();

// Sets one key from its text, as a flag or the environment gives it. `where` names the source in the error.
Status set_config_key(Config& config, const std::string& key, const std::string& text, const std::string& where);

// The names of the keys whose values differ.
std::vector<std::string> differing_keys(const Config& a, const Config& b);

// Reads `file` over `config`. A file that is not there is an error only where `required`.
Status read_config_file(const std::string& file, bool required, Config& config);

// What makes `file` one that others than root, the agent and, where the agent is root, the package's user `limpet` can
// change, in one sentence; or nothing, also where there is no file. `agent_uid`: the agent's.
std::string config_file_fault(const std::string& file, std::uint32_t agent_uid);

// Reads LIMPET_* from the environment over `config`.
Status read_config_environment(Config& config);

// Takes the value of one key over from another configuration.
void copy_config_key(const std::string& key, const Config& from, Config& to);

// Reads the configuration over the defaults, from all the places that it comes from at the start.
using ConfigSource = std::function<Status(Config&)>;

// Last: reads the credentials, and checks what one key alone cannot tell.
Status complete_config(Config& config);

}  // namespace limpet
