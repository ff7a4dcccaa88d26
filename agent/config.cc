#include "agent/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "agent/zk/hosts.h"

namespace limpet {

namespace {

Status wrong(const std::string& where, const std::string& key, const std::string& what) {
  // A flag or a variable names the key by itself.
  const bool names_key = where.starts_with("--") || where.starts_with("LIMPET_");
  return Status(Errc::invalid,
                names_key ? fmt::format("{}: {}", where, what) : fmt::format("{}: {}: {}", where, key, what));
}

// "250ms", "10s", "5m", "24h".
bool parse_duration_ms(std::string_view text, std::int64_t& ms) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0 || number > 1'000'000'000) {
    return false;
  }
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const std::int64_t factor = unit == "ms"  ? 1
                              : unit == "s" ? 1'000
                              : unit == "m" ? 60'000
                              : unit == "h" ? 3'600'000
                                            : 0;
  ms = number * factor;
  return factor != 0;
}

// An absolute znode path without an empty, "." or ".." segment and without a slash at its end.
bool is_znode_path(std::string_view path) {
  if (path == "/") {
    return true;
  }
  if (path.empty() || path.front() != '/' || path.back() == '/' || path.find("//") != std::string_view::npos) {
    return false;
  }
  const std::string framed = std::string(path) + "/";
  return framed.find("/./") == std::string::npos && framed.find("/../") == std::string::npos &&
         framed.rfind("/zookeeper/", 0) != 0 &&
         std::all_of(path.begin(), path.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    if (!part.empty()) {
      parts.push_back(part);
    }
  }
  return parts;
}

std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = std::exchange(row[j], next);
    }
  }
  return row[b.size()];
}

std::string nearest(const std::string& key) {
  const auto& keys = config_keys();
  const auto best = std::min_element(keys.begin(), keys.end(), [&](const std::string& a, const std::string& b) {
    return distance(a, key) < distance(b, key);
  });
  return distance(*best, key) <= 3 ? "; did you mean \"" + *best + "\"?"
                                   : "; the keys are " + fmt::format("{}", fmt::join(keys, ", "));
}

// nlohmann keeps the last of two equal keys in silence; people are told.
std::string duplicate_key(const std::string& text) {
  std::vector<std::set<std::string>> seen;
  std::string duplicate;
  const auto watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::object_start) {
      seen.emplace_back();
    } else if (event == nlohmann::json::parse_event_t::object_end) {
      seen.pop_back();
    } else if (event == nlohmann::json::parse_event_t::key && !seen.back().insert(parsed.get<std::string>()).second) {
      duplicate = parsed.get<std::string>();
    }
    return true;
  };
  [[maybe_unused]] const auto parsed = nlohmann::json::parse(text, watch, false, true);
  return duplicate;
}

}  // namespace

const std::vector<std::string>& config_keys() {
  static const std::vector<std::string> keys = {"zookeeper", "data_dir",        "socket",      "root",
                                                "paths",     "session_timeout", "replay_rate", "log_level"};
  return keys;
}

Status set_config_key(Config& config, const std::string& key, const std::string& text, const std::string& where) {
  if (key == "zookeeper") {
    if (auto hosts = zk::parse_hosts(text); !hosts.ok()) {
      return wrong(where, key, hosts.status().message());
    }
    config.zookeeper = text;
  } else if (key == "data_dir" || key == "socket") {
    if (text.empty() || text.front() != '/') {
      return wrong(where, key, "an absolute path is needed, not \"" + text + "\"");
    }
    (key == "socket" ? config.socket : config.data_dir) = text;
  } else if (key == "root") {
    if (!is_znode_path(text)) {
      return wrong(where, key, "a znode path such as /services is needed, not \"" + text + "\"");
    }
    config.root = text;
  } else if (key == "paths") {
    const auto paths = split(text);
    for (const std::string& path : paths) {
      if (!is_znode_path(path)) {
        return wrong(where, key, "znode paths such as /dubbo,/nerve are needed, not \"" + path + "\"");
      }
    }
    config.paths = paths;
  } else if (key == "session_timeout") {
    std::int64_t ms = 0;
    if (!parse_duration_ms(text, ms) || ms < 1'000 || ms > 600'000) {
      return wrong(where, key, "a duration from 1s to 10m is needed, such as \"10s\", not \"" + text + "\"");
    }
    config.session_timeout_ms = ms;
  } else if (key == "replay_rate") {
    std::uint32_t rate = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rate);
    if (error != std::errc() || end != text.data() + text.size() || rate > 1'000'000) {
      return wrong(where, key, "a number of changes a second is needed, 0 for no limit, not \"" + text + "\"");
    }
    config.replay_rate = rate;
  } else if (key == "log_level") {
    if (!parse_log_level(text, config.log_level)) {
      return wrong(where, key, "one of debug, info, warn, error is needed, not \"" + text + "\"");
    }
  } else {
    return Status(Errc::invalid, fmt::format("{}: unknown key \"{}\"{}", where, key, nearest(key)));
  }
  return Status();
}

std::vector<std::string> differing_keys(const Config& a, const Config& b) {
  std::vector<std::string> keys;
  const auto compare = [&](const char* key, const auto& x, const auto& y) {
    if (x != y) {
      keys.emplace_back(key);
    }
  };
  compare("zookeeper", a.zookeeper, b.zookeeper);
  compare("data_dir", a.data_dir, b.data_dir);
  compare("socket", a.socket, b.socket);
  compare("root", a.root, b.root);
  compare("paths", a.paths, b.paths);
  compare("session_timeout", a.session_timeout_ms, b.session_timeout_ms);
  compare("replay_rate", a.replay_rate, b.replay_rate);
  compare("log_level", a.log_level, b.log_level);
  return keys;
}

Status read_config_file(const std::string& file, bool required, Config& config) {
  std::ifstream stream(file);
  if (!stream) {
    if (!required && errno == ENOENT) {
      return Status();
    }
    return Status(Errc::invalid, fmt::format("cannot read the configuration {}: {}", file, std::strerror(errno)));
  }
  std::stringstream content;
  content << stream.rdbuf();
  const std::string text = content.str();
  nlohmann::json parsed;
  try {
    parsed = nlohmann::json::parse(text, nullptr, true, true);
  } catch (const nlohmann::json::exception& error) {
    return Status(Errc::invalid, fmt::format("{} is not valid JSON: {}", file, error.what()));
  }
  if (!parsed.is_object()) {
    return Status(Errc::invalid, fmt::format("{} must hold one JSON object", file));
  }
  if (const std::string duplicate = duplicate_key(text); !duplicate.empty()) {
    return Status(Errc::invalid, fmt::format("{}: the key \"{}\" stands there twice", file, duplicate));
  }
  for (const auto& [key, value] : parsed.items()) {
    std::string as_text;
    if (key == "paths" && value.is_array()) {
      for (const auto& path : value) {
        if (!path.is_string()) {
          return wrong(file, key, "a list of strings is needed");
        }
        as_text += (as_text.empty() ? "" : ",") + path.get<std::string>();
      }
    } else if (key == "replay_rate" && value.is_number_unsigned()) {
      as_text = value.dump();
    } else if (value.is_string()) {
      as_text = value.get<std::string>();
    } else if (std::find(config_keys().begin(), config_keys().end(), key) != config_keys().end()) {
      return wrong(file, key, "a string is needed");
    }
    if (Status status = set_config_key(config, key, as_text, file); !status.ok()) {
      return status;
    }
  }
  return Status();
}

Status read_config_environment(Config& config) {
  for (const std::string& key : config_keys()) {
    std::string variable = "LIMPET_";
    for (const char c : key) {
      variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    if (const char* value = std::getenv(variable.c_str())) {
      if (Status status = set_config_key(config, key, value, variable); !status.ok()) {
        return status;
      }
    }
  }
  return Status();
}

Status check_config(const Config& config) {
  // sun_path of unix(7) holds 108 bytes with its final NUL.
  if (config.socket.size() > 107) {
    return Status(Errc::invalid, "socket: a unix socket's path has at most 107 bytes: " + config.socket);
  }
  return Status();
}

}  // namespace limpet
