// The configuration of limpetd: defaults, then the file, then the environment, then the flags; the later wins.
//
// Every key has the same name everywhere: `data_dir` in the file, `--data-dir` as a flag, `LIMPET_DATA_DIR` in the
// environment. The file is one JSON object with // comments; unknown keys and wrong types are refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/log.h"
#include "storage/error.h"

namespace limpet {

struct Config {
  std::string zookeeper = "127.0.0.1:2181";
  std::string data_dir = "/var/lib/limpet";
  std::string socket = "/run/limpet/limpet.sock";
  std::string root = "/services";
  std::vector<std::string> paths;
  std::int64_t session_timeout_ms = 10'000;
  std::uint32_t replay_rate = 0;  // writes to ZooKeeper a second; 0: as fast as they are answered
  LogLevel log_level = LogLevel::info;
};

inline constexpr const char* kDefaultConfigFile = "/etc/limpet/limpet.json";

// Sets one key from its text, as a flag or the environment gives it. `where` names the source in the error.
Status set_config_key(Config& config, const std::string& key, const std::string& text, const std::string& where);

// The keys, in the order of the documentation.
const std::vector<std::string>& config_keys();

// The keys whose values differ.
std::vector<std::string> differing_keys(const Config& a, const Config& b);

// Reads `file` over `config`. A file that is not there is an error only where `required`.
Status read_config_file(const std::string& file, bool required, Config& config);

// Reads LIMPET_* from the environment over `config`.
Status read_config_environment(Config& config);

// Checks what one key alone cannot tell.
Status check_config(const Config& config);

}  // namespace limpet
