// Reads the files of registrations.d. What is made of them is in registrations_dir.cc.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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
constexpr std::size_t kMaxFiles = 10'000;
constexpr std::size_t kMaxFaults = 16;  // told of one file; the rest is counted

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

// On a file system that is mounted read-only (a ConfigMap in a container) a mode gives nobody the right to write.
bool is_read_only(int fd) {
  struct statvfs info {};
  return ::fstatvfs(fd, &info) == 0 && (info.f_flag & ST_RDONLY) != 0;
}

bool is_trusted(std::uint32_t uid, std::uint32_t agent_uid) {
  return uid == 0 || uid == agent_uid;
}

std::string foreign(std::uint32_t uid, std::uint32_t agent_uid) {
  return fmt::format("it belongs to uid {}; it must be root's or the agent's own (uid {})", uid, agent_uid);
}

// What is wrong with the owner or the mode, or nothing: whoever can write there registers with the agent's rights. In a
// directory with the sticky bit others can add files, which are not theirs to be trusted, and touch no file of ours.
std::string untrusted(int fd, const struct stat& facts, std::uint32_t agent_uid) {
  if (!is_trusted(facts.st_uid, agent_uid)) {
    return foreign(facts.st_uid, agent_uid);
  }
  const bool sticky = S_ISDIR(facts.st_mode) && (facts.st_mode & S_ISVTX) != 0;
  if ((facts.st_mode & 022) != 0 && !sticky && !is_read_only(fd)) {
    return fmt::format("others than its owner may write to it (mode {:04o}); chmod go-w it", facts.st_mode & 07777);
  }
  return "";
}

// A directory that is open, and what is known of it.
struct Folder {
  int fd = -1;
  std::uint32_t agent_uid = 0;
  bool others_add = false;  // with the sticky bit: others may put entries there
};

// Whether the entry itself was put there by somebody who is trusted: a link leads anywhere, and a second name of a file
// of root's says nothing about who gave it.
std::string untrusted_entry(const Folder& folder, const std::string& name) {
  struct stat facts {};
  if (::fstatat(folder.fd, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) != 0) {
    return std::string("cannot read it: ") + std::strerror(errno);
  }
  if (S_ISLNK(facts.st_mode) && !is_trusted(facts.st_uid, folder.agent_uid)) {
    return "the link: " + foreign(facts.st_uid, folder.agent_uid);
  }
  if (S_ISREG(facts.st_mode) && folder.others_add && facts.st_nlink > 1) {
    return "it has a second name (a hard link), in a directory that others may write to";
  }
  return "";
}

Result<std::string> read_file(const Folder& folder, const std::string& name) {
  if (std::string why = untrusted_entry(folder, name); !why.empty()) {
    return Status(Errc::permission, std::move(why));
  }
  const Descriptor file(::openat(folder.fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat facts {};
  if (file.fd < 0 || ::fstat(file.fd, &facts) != 0) {
    return Status(Errc::io, std::string("cannot read it: ") + std::strerror(errno));
  }
  if (!S_ISREG(facts.st_mode)) {
    return Status(Errc::permission, "it is not a regular file");
  }
  if (std::string why = untrusted(file.fd, facts, folder.agent_uid); !why.empty()) {
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

// The name `key` of the entry; or, in `fault`, what is wrong with it.
std::string read_name(const JsonValue& value, const std::string& key, std::string& fault) {
  if (value.kind() == JsonKind::null) {
    return "";
  }
  if (value.kind() != JsonKind::string) {
    fault = "/" + key + " must be a string";
    return "";
  }
  if (const auto error = api::name_error(value.text())) {
    fault = "/" + key + " " + *error;
    return "";
  }
  return std::string(value.text());
}

// Takes the entry apart: its names into `id`, as far as they can be read, and its other fields into `body`. Returns
// what is wrong, or nothing.
std::string split_entry(const JsonValue& object, RegistrationId& id, std::string& body) {
  if (object.kind() != JsonKind::object) {
    return "an object with service, instance and the fields of a registration is needed";
  }
  std::string fault;
  api::JsonWriter json(body);
  json.begin_object();
  for (auto member = object.first(); member; member.next()) {
    const JsonValue value = member.value();
    if (member.key() == "service") {
      id.service = read_name(value, "service", fault);
    } else if (member.key() == "instance") {
      id.instance = read_name(value, "instance", fault);
    } else if (member.key() == "bind" && value.kind() != JsonKind::null &&
               (value.kind() != JsonKind::string || value.text() != "none")) {
      fault = "/bind must be \"none\": a file is no process and no connection";
    } else {
      json.escaped_key(member.key());
      value.write(json);
    }
  }
  json.end_object();
  if (fault.empty() && (id.service.empty() || id.instance.empty())) {
    fault = std::string(id.service.empty() ? "/service" : "/instance") + " is missing";
  }
  return fault;
}

// `place`: how a fault names the entry; empty where the file is one entry.
void read_entry(const JsonValue& object, std::string place, FileEntries& entries) {
  RegistrationId id;
  std::string body;
  std::string fault = split_entry(object, id, body);
  if (fault.empty()) {
    auto request = api::parse_registration(id, body);
    if (auto* accepted = std::get_if<core::RegisterRequest>(&request)) {
      entries.requests.push_back(std::move(*accepted));
      return;
    }
    fault = words(std::get<api::Problem>(request));
  }
  std::optional<RegistrationId> named;
  if (!id.service.empty() && !id.instance.empty()) {
    named = std::move(id);
    place += place.empty() ? "" : " (" + named->str() + ")";
  }
  entries.faults.push_back({std::move(named), place + (place.empty() ? "" : ": ") + fault});
}

// `text` with // and /* */ comments blanked out, as limpet.json may have them.
std::string without_comments(std::string_view text) {
  std::string out(text);
  bool in_string = false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (in_string) {
      in_string = out[i] != '"';
      i += out[i] == '\\' ? 1 : 0;
    } else if (out[i] == '"') {
      in_string = true;
    } else if (out.compare(i, 2, "//") == 0 || out.compare(i, 2, "/*") == 0) {
      const bool line = out[i + 1] == '/';
      const std::size_t close = out.find(line ? "\n" : "*/", i + 2);
      if (close == std::string::npos && !line) {
        return out;  // which the parser refuses
      }
      const std::size_t end = close == std::string::npos ? out.size() : close + (line ? 0 : 2);
      std::replace_if(
          out.begin() + static_cast<std::ptrdiff_t>(i), out.begin() + static_cast<std::ptrdiff_t>(end),
          [](char c) { return c != '\n'; }, ' ');
      i = end - 1;
    }
  }
  return out;
}

// The names of its *.json, in order; one more than kMaxFiles at most.
std::vector<std::string> json_files(DIR* directory) {
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name.front() != '.' && name.ends_with(".json") && names.size() <= kMaxFiles) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

void tell_faults(const std::string& name, std::vector<FileEntries::Fault> faults, FileRegistrations& found) {
  for (std::size_t i = 0; i < faults.size(); ++i) {
    if (i < kMaxFaults) {
      found.problems.push_back({name, std::move(faults[i].error)});
    } else if (i == kMaxFaults) {
      found.problems.push_back({name, fmt::format("and {} more entries that cannot be used", faults.size() - i)});
    }
    if (faults[i].id) {
      found.unusable_ids.insert(*std::move(faults[i].id));
    } else {
      found.unusable.insert(name);
    }
  }
}

void take_file(const Folder& folder, const std::string& name, FileRegistrations& found,
               std::map<RegistrationId, std::string>& owners) {
  const auto text = read_file(folder, name);
  auto entries = text.ok() ? parse_registration_file(*text) : text.status();
  if (!entries.ok()) {
    found.problems.push_back({name, entries.status().message()});
    found.unusable.insert(name);
    return;
  }
  for (core::RegisterRequest& request : entries->requests) {
    const auto [owner, is_new] = owners.emplace(request.id, name);
    if (is_new) {
      found.entries.push_back({name, std::move(request)});
    } else {
      found.problems.push_back({name, request.id.str() + " stands in " + owner->second + " already, which holds"});
    }
  }
  tell_faults(name, std::move(entries->faults), found);
}

}  // namespace

Result<FileEntries> parse_registration_file(std::string_view text) {
  std::string error;
  const std::string plain = without_comments(text);
  const auto document = api::JsonDocument::parse(plain, error);
  if (!document) {
    return Status(Errc::invalid, "it is not valid JSON: " + error);
  }
  FileEntries entries;
  const JsonValue root = document->root();
  if (root.kind() != JsonKind::array) {
    read_entry(root, "", entries);
    return entries;
  }
  std::size_t number = 0;
  for (auto element = root.first(); element; element.next()) {
    read_entry(element.value(), fmt::format("entry {}", ++number), entries);
  }
  return entries;
}

FileRegistrations read_registrations(const std::string& directory, std::uint32_t agent_uid) {
  using Directory = FileRegistrations::Directory;
  FileRegistrations found;
  if (directory.empty()) {
    return found;
  }
  const auto unreadable = [&](const std::string& why) {
    found.problems.push_back({directory, why});
    found.directory = Directory::unreadable;
    return found;
  };
  Folder folder;
  folder.agent_uid = agent_uid;
  folder.fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder.fd < 0) {
    if (errno != ENOENT) {
      return unreadable(std::string("cannot read it: ") + std::strerror(errno));
    }
    found.directory = Directory::absent;
    return found;
  }
  DIR* stream = ::fdopendir(folder.fd);
  if (stream == nullptr) {
    const int error = errno;
    ::close(folder.fd);
    return unreadable(std::string("cannot read it: ") + std::strerror(error));
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> closer(stream, &::closedir);
  struct stat facts {};
  if (::fstat(folder.fd, &facts) != 0) {
    return unreadable(std::string("cannot read it: ") + std::strerror(errno));
  }
  if (const std::string why = untrusted(folder.fd, facts, agent_uid); !why.empty()) {
    return unreadable(why);
  }
  folder.others_add = (facts.st_mode & 022) != 0 && !is_read_only(folder.fd);
  const std::vector<std::string> names = json_files(stream);
  if (names.size() > kMaxFiles) {
    return unreadable(fmt::format("it holds more than {} files", kMaxFiles));
  }
  found.files.insert(names.begin(), names.end());
  std::map<RegistrationId, std::string> owners;
  for (const std::string& name : names) {
    take_file(folder, name, found, owners);
  }
  return found;
}

}  // namespace limpet
