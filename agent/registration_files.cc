// Reads the files of registrations.d. What is made of them is in registrations_dir.cc.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/api/json.h"
#include "agent/api/json_document.h"
#include "agent/api/json_writer.h"
#include "agent/api/names.h"
#include "agent/registrations_dir.h"

namespace limpet {

namespace {

using api::JsonKind;
using api::JsonValue;

constexpr std::size_t kMaxFileBytes = 16u << 20;

// Closes what it holds.
struct Descriptor {
  explicit Descriptor(int number) : fd(number) {}
  ~Descriptor() {
    if (fd >= 0) {
      ::close(fd);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int fd;
};

// What is wrong with the owner or the mode, or nothing: whoever can write there registers with the agent's rights.
std::string untrusted(int fd, std::uint32_t agent_uid, mode_t type) {
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) {
    return std::strerror(errno);
  }
  if ((facts.st_mode & S_IFMT) != type) {
    return type == S_IFDIR ? "it is not a directory" : "it is not a regular file";
  }
  if (facts.st_uid != 0 && facts.st_uid != agent_uid) {
    return fmt::format("it belongs to uid {}; it must be root's or the agent's own (uid {})", facts.st_uid, agent_uid);
  }
  if ((facts.st_mode & 022) != 0) {
    return fmt::format("others than its owner may write to it (mode {:04o}); chmod go-w it", facts.st_mode & 07777);
  }
  return "";
}

Result<std::string> read_file(int directory, const std::string& name, std::uint32_t agent_uid) {
  const Descriptor file(::openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) {
    return Status(Errc::io, std::string("cannot read it: ") + std::strerror(errno));
  }
  if (std::string why = untrusted(file.fd, agent_uid, S_IFREG); !why.empty()) {
    return Status(Errc::permission, std::move(why));
  }
  std::string text;
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t size = ::read(file.fd, buffer, sizeof buffer);
    if (size == 0) {
      return text;
    }
    if (size < 0 && errno != EINTR) {
      return Status(Errc::io, std::string("cannot read it: ") + std::strerror(errno));
    }
    text.append(buffer, size > 0 ? static_cast<std::size_t>(size) : 0);
    if (text.size() > kMaxFileBytes) {
      return Status(Errc::invalid, fmt::format("it has more than {} bytes", kMaxFileBytes));
    }
  }
}

std::string words(const api::Problem& problem) {
  std::string text;
  for (const api::FieldError& error : problem.errors) {
    text += (text.empty() ? "" : "; ") + (error.pointer.empty() ? "" : error.pointer + " ") + error.detail;
  }
  return text.empty() ? problem.detail : text;
}

// Puts the name `key` of the entry into `name`; or says what is wrong with it.
std::string read_name(const JsonValue& value, const std::string& key, std::string& name) {
  if (value.kind() != JsonKind::string) {
    return "/" + key + " must be a string";
  }
  if (const auto error = api::name_error(value.text())) {
    return "/" + key + " " + *error;
  }
  name = value.text();
  return "";
}

Result<core::RegisterRequest> read_entry(const JsonValue& object) {
  if (object.kind() != JsonKind::object) {
    return Status(Errc::invalid, "an object with service, instance and the fields of a registration is needed");
  }
  RegistrationId id;
  std::string body;
  api::JsonWriter json(body);
  json.begin_object();
  for (auto member = object.first(); member; member.next()) {
    const std::string key(member.key());
    if (key == "service" || key == "instance") {
      if (std::string wrong = read_name(member.value(), key, key == "service" ? id.service : id.instance);
          !wrong.empty()) {
        return Status(Errc::invalid, std::move(wrong));
      }
    } else if (key == "bind" && (member.value().kind() != JsonKind::string || member.value().text() != "none")) {
      return Status(Errc::invalid, "/bind must be \"none\": a file is no process and no connection");
    } else {
      json.escaped_key(key);
      member.value().write(json);
    }
  }
  json.end_object();
  if (id.service.empty() || id.instance.empty()) {
    return Status(Errc::invalid, std::string(id.service.empty() ? "/service" : "/instance") + " is missing");
  }
  auto request = api::parse_registration(id, body);
  if (const auto* problem = std::get_if<api::Problem>(&request)) {
    return Status(Errc::invalid, words(*problem));
  }
  return std::get<core::RegisterRequest>(std::move(request));
}

// The names of its *.json, in order.
std::vector<std::string> json_files(DIR* directory) {
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name.front() != '.' && name.ends_with(".json")) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

void take_file(int directory, const std::string& name, std::uint32_t agent_uid, FileRegistrations& found,
               std::map<RegistrationId, std::string>& owners) {
  const auto text = read_file(directory, name, agent_uid);
  auto requests = text.ok() ? parse_registration_file(*text) : text.status();
  if (!requests.ok()) {
    found.problems.push_back({name, requests.status().message()});
    found.unusable.insert(name);
    return;
  }
  for (core::RegisterRequest& request : *requests) {
    const auto [owner, is_new] = owners.emplace(request.id, name);
    if (is_new) {
      found.entries.push_back({name, std::move(request)});
    } else {
      found.problems.push_back({name, request.id.str() + " stands in " + owner->second + " already, which holds"});
    }
  }
}

}  // namespace

Result<std::vector<core::RegisterRequest>> parse_registration_file(std::string_view text) {
  std::string error;
  const auto document = api::JsonDocument::parse(text, error);
  if (!document) {
    return Status(Errc::invalid, "it is not valid JSON: " + error);
  }
  std::vector<core::RegisterRequest> requests;
  const JsonValue root = document->root();
  if (root.kind() != JsonKind::array) {
    auto request = read_entry(root);
    if (!request.ok()) {
      return request.status();
    }
    requests.push_back(std::move(*request));
    return requests;
  }
  for (auto element = root.first(); element; element.next()) {
    auto request = read_entry(element.value());
    if (!request.ok()) {
      return Status(Errc::invalid, fmt::format("entry {}: {}", requests.size() + 1, request.status().message()));
    }
    requests.push_back(std::move(*request));
  }
  return requests;
}

FileRegistrations read_registrations(const std::string& directory, std::uint32_t agent_uid) {
  FileRegistrations found;
  if (directory.empty()) {
    return found;
  }
  const auto unreadable = [&](const std::string& why) {
    found.problems.push_back({directory, why});
    found.readable = false;
    return found;
  };
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return errno == ENOENT ? found : unreadable(std::string("cannot read it: ") + std::strerror(errno));
  }
  DIR* stream = ::fdopendir(fd);
  if (stream == nullptr) {
    const int error = errno;
    ::close(fd);
    return unreadable(std::string("cannot read it: ") + std::strerror(error));
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> closer(stream, &::closedir);
  if (const std::string why = untrusted(fd, agent_uid, S_IFDIR); !why.empty()) {
    return unreadable(why);
  }
  std::map<RegistrationId, std::string> owners;
  for (const std::string& name : json_files(stream)) {
    take_file(fd, name, agent_uid, found, owners);
  }
  return found;
}

}  // namespace limpet
