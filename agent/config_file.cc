// Where the configuration comes from: the file, the environment, the file of credentials.
#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "agent/config.h"

namespace limpet {

namespace {

using nlohmann::json;

// nlohmann keeps the last of two equal keys in silence; people are told.
std::string duplicate_key(const std::string& text) {
  std::vector<std::set<std::string>> seen;
  std::string duplicate;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) {
      seen.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      seen.pop_back();
    } else if (event == json::parse_event_t::key && !seen.back().insert(parsed.get<std::string>()).second) {
      duplicate = parsed.get<std::string>();
    }
    return true;
  };
  [[maybe_unused]] const auto parsed = json::parse(text, watch, false, true);
  return duplicate;
}

// Without the library's own number of the error, "[json.exception.parse_error.101] ".
std::string parser_words(const json::exception& error) {
  const std::string words = error.what();
  const std::size_t end = words.find("] ");
  return end == std::string::npos ? words : words.substr(end + 2);
}

// The value of `key` as set() takes it; nullopt where the file must not hold such a value.
std::optional<std::string> value_text(const ConfigKey& key, const json& value) {
  using Kind = ConfigKey::Kind;
  switch (key.kind) {
    case Kind::text:
      return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
    case Kind::number:
      return value.is_number_unsigned() ? std::optional(value.dump()) : std::nullopt;
    case Kind::size:
      return value.is_string()            ? std::optional(value.get<std::string>())
             : value.is_number_unsigned() ? std::optional(value.dump())
                                          : std::nullopt;
    case Kind::rules:
      return value.is_array() ? std::optional(value.dump()) : std::nullopt;
    case Kind::boolean:
      return value.is_boolean() ? std::optional(value.dump()) : std::nullopt;
    case Kind::list:
      break;
  }
  if (value.is_string()) {
    return value.get<std::string>();
  }
  if (!value.is_array()) {
    return std::nullopt;
  }
  std::string text;
  for (const auto& element : value) {
    const std::string part = element.is_string() ? element.get<std::string>() : "";
    if (part.empty() || part.find(',') != std::string::npos) {
      return std::nullopt;
    }
    text += (text.empty() ? "" : ",") + part;
  }
  return text;
}

const char* expected(ConfigKey::Kind kind) {
  switch (kind) {
    case ConfigKey::Kind::text:
      return "a string is needed";
    case ConfigKey::Kind::list:
      return "a list of strings is needed, none of them empty or with a comma in it";
    case ConfigKey::Kind::number:
      return "a whole number is needed";
    case ConfigKey::Kind::size:
      return "a size is needed: a whole number, or a string with a unit such as \"64KiB\"";
    case ConfigKey::Kind::boolean:
      return "true or false is needed";
    case ConfigKey::Kind::rules:
      return R"(a list of rules is needed, such as [{"user":"deploy","services":["web-*"]}])";
  }
  return "";
}

bool lies_in(const std::string& file, const char* directory) {
  return directory != nullptr && *directory == '/' && file.starts_with(std::string(directory) + "/") &&
         file.find("/../") == std::string::npos;
}

// Those whom a root or package-run agent listens to anyway. checks-as-users.conf makes the agent root, on a host whose
// files were made for the package's user.
bool is_trusted_owner(uid_t owner, uid_t agent_uid) {
  if (owner == 0 || owner == agent_uid) {
    return true;
  }
  const passwd* const package = agent_uid == 0 ? ::getpwnam("limpet") : nullptr;
  return package != nullptr && owner == package->pw_uid;
}

// What is wrong with the owner or the mode of a file that holds a secret. systemd guards its own credentials, and gives
// them a mode that says less than it does.
std::string exposed(const struct stat& facts) {
  if (!is_trusted_owner(facts.st_uid, ::geteuid())) {
    return fmt::format("it belongs to uid {}; make it root's or the agent's own", facts.st_uid);
  }
  if ((facts.st_mode & 077) != 0) {
    return fmt::format("it is open to others than its owner (mode {:04o}); chmod 0600 it", facts.st_mode & 07777);
  }
  return "";
}

Result<std::string> read_credentials(const std::string& file) {
  const auto wrong = [&](const std::string& why) {
    return Status(Errc::invalid, fmt::format("zookeeper_credentials: {}: {}", file, why));
  };
  constexpr std::size_t kMaxBytes = 4096;
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == EACCES) {
      return wrong(
          fmt::format("the agent, which is uid {}, may not read it; make the file that user's, or let systemd "
                      "hand it over by LoadCredential=",
                      ::geteuid()));
    }
    return wrong(std::strerror(errno));
  }
  struct stat facts {};
  std::string text(kMaxBytes + 1, '\0');
  const bool known = ::fstat(fd, &facts) == 0;
  const ssize_t size = ::read(fd, text.data(), text.size());
  const int error = errno;
  ::close(fd);
  if (!known || size < 0) {
    return wrong(std::strerror(error));
  }
  if (!S_ISREG(facts.st_mode)) {
    return wrong("it is not a regular file");
  }
  if (!lies_in(file, std::getenv("CREDENTIALS_DIRECTORY"))) {
    if (const std::string why = exposed(facts); !why.empty()) {
      return wrong(why);
    }
  }
  text.resize(static_cast<std::size_t>(size));
  while (text.ends_with('\n') || text.ends_with('\r')) {
    text.pop_back();
  }
  const std::size_t colon = text.find(':');
  if (text.size() >= kMaxBytes || colon == std::string::npos || colon == 0 || colon + 1 == text.size() ||
      std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) {
    return wrong("one line of the form user:password is needed");
  }
  return text;
}

}  // namespace

std::string config_file_fault(const std::string& file, std::uint32_t agent_uid) {
  struct stat facts {};
  if (::stat(file.c_str(), &facts) != 0) {
    return "";  // which the reading of it tells
  }
  struct statvfs system {};
  const bool read_only = ::statvfs(file.c_str(), &system) == 0 && (system.f_flag & ST_RDONLY) != 0;
  if (!is_trusted_owner(facts.st_uid, agent_uid)) {
    return fmt::format("the configuration {} belongs to uid {}; it must be root's or the agent's own (uid {})", file,
                       facts.st_uid, agent_uid);
  }
  if (S_ISREG(facts.st_mode) && (facts.st_mode & 022) != 0 && !read_only) {
    return fmt::format("others than its owner may write to the configuration {} (mode {:04o}); chmod go-w it", file,
                       facts.st_mode & 07777);
  }
  return "";
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
  json parsed;
  try {
    parsed = json::parse(text, nullptr, true, true);
  } catch (const json::exception& error) {
    return Status(Errc::invalid, fmt::format("{} is not valid JSON: {}", file, parser_words(error)));
  }
  if (!parsed.is_object()) {
    return Status(Errc::invalid, fmt::format("{} must hold one JSON object", file));
  }
  if (const std::string duplicate = duplicate_key(text); !duplicate.empty()) {
    return Status(Errc::invalid, fmt::format("{}: the key \"{}\" stands there twice", file, duplicate));
  }
  for (const auto& [name, value] : parsed.items()) {
    const auto key = std::find_if(config_keys().begin(), config_keys().end(),
                                  [&name = name](const ConfigKey& known) { return known.name == name; });
    std::optional<std::string> as_text = "";
    if (key != config_keys().end()) {
      as_text = value_text(*key, value);
    }
    if (!as_text) {
      return Status(Errc::invalid, fmt::format("{}: {}: {}", file, name, expected(key->kind)));
    }
    if (Status status = set_config_key(config, name, *as_text, file); !status.ok()) {
      return status;
    }
  }
  return Status();
}

Status read_config_environment(Config& config) {
  for (const ConfigKey& key : config_keys()) {
    std::string variable = "LIMPET_";
    for (const char c : key.name) {
      variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    if (const char* value = std::getenv(variable.c_str())) {
      if (Status status = set_config_key(config, key.name, value, variable); !status.ok()) {
        return status;
      }
    }
  }
  return Status();
}

Status complete_config(Config& config) {
  // sun_path of unix(7) holds 108 bytes with its final NUL.
  if (config.socket.size() > 107) {
    return Status(Errc::invalid, "socket: a unix socket's path has at most 107 bytes: " + config.socket);
  }
  config.zookeeper_auth.clear();
  if (!config.zookeeper_credentials.empty()) {
    auto credentials = read_credentials(config.zookeeper_credentials);
    if (!credentials) {
      return credentials.status();
    }
    config.zookeeper_auth = std::move(*credentials);
    return Status();
  }
  for (const auto& [key, acl] : {std::pair("acl", &config.acl),
                                 std::pair("parents_acl", config.parents_acl ? &*config.parents_acl : &config.acl)}) {
    if (zk::needs_credentials(*acl)) {
      return Status(Errc::invalid, fmt::format("{}: \"{}\" speaks of the one who makes a znode, and ZooKeeper knows "
                                               "nobody without zookeeper_credentials; set those, or another {}",
                                               key, zk::to_string(*acl), key));
    }
  }
  return Status();
}

}  // namespace limpet
