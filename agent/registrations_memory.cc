#include "agent/registrations_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/api/json_document.h"
#include "agent/api/json_writer.h"

namespace limpet {

namespace {

Status io_error(const std::string& what, const std::string& path, int error) {
  return {error == ENOSPC || error == EDQUOT ? Errc::full : Errc::io,
          "cannot " + what + " " + path + ": " + std::strerror(error)};
}

std::string text_of(const std::map<RegistrationId, std::string>& memory) {
  std::string text;
  api::JsonWriter json(text);
  json.begin_object();
  json.key("version").number(1);
  json.key("registrations").begin_array();
  for (const auto& [id, file] : memory) {
    json.begin_object();
    json.key("service").string(id.service);
    json.key("instance").string(id.instance);
    json.key("file").string(file);
    json.end_object();
  }
  json.end_array();
  json.end_object();
  return text + "\n";
}

bool read_entry(const api::JsonValue& object, std::map<RegistrationId, std::string>& memory) {
  RegistrationId id;
  std::string file;
  if (object.kind() != api::JsonKind::object) {
    return false;
  }
  for (auto member = object.first(); member; member.next()) {
    std::string* field = member.key() == "service"    ? &id.service
                         : member.key() == "instance" ? &id.instance
                         : member.key() == "file"     ? &file
                                                      : nullptr;
    if (field == nullptr || member.value().kind() != api::JsonKind::string) {
      return false;
    }
    *field = member.value().text();
  }
  return !id.service.empty() && !id.instance.empty() && memory.emplace(id, file).second;
}

bool read_entries(const api::JsonValue& root, std::map<RegistrationId, std::string>& memory) {
  bool version = false;
  if (root.kind() != api::JsonKind::object) {
    return false;
  }
  for (auto member = root.first(); member; member.next()) {
    if (member.key() == "version") {
      version = member.value().kind() == api::JsonKind::integer && member.value().text() == "1";
    } else if (member.key() == "registrations" && member.value().kind() == api::JsonKind::array) {
      for (auto entry = member.value().first(); entry; entry.next()) {
        if (!read_entry(entry.value(), memory)) {
          return false;
        }
      }
    } else {
      return false;
    }
  }
  return version;
}

// Writes and syncs; errno says why not.
bool write_synced(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) {
    return false;
  }
  bool good = true;
  for (std::size_t done = 0; good && done < text.size();) {
    const ssize_t size = ::write(fd, text.data() + done, text.size() - done);
    good = size > 0 || (size < 0 && errno == EINTR);
    done += size > 0 ? static_cast<std::size_t>(size) : 0;
  }
  good = good && ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  return good;
}

bool sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  const bool good = ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  return good;
}

}  // namespace

Result<std::map<RegistrationId, std::string>> load_registrations_memory(const std::string& path) {
  std::map<RegistrationId, std::string> memory;
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    return errno == ENOENT ? Result(std::move(memory)) : io_error("read", path, errno);
  }
  std::ostringstream read;
  read << stream.rdbuf();
  const std::string text = std::move(read).str();
  std::string error;
  const auto document = api::JsonDocument::parse(text, error);
  if (!document || !read_entries(document->root(), memory)) {
    return Status(Errc::damaged, path +
                                     " is damaged: which registrations came from files is not known any more. Those "
                                     "that are still in the files are taken over; deregister by hand what is not");
  }
  return memory;
}

Status save_registrations_memory(const std::string& path, const std::map<RegistrationId, std::string>& memory) {
  const std::string draft = path + ".new";
  if (!write_synced(draft, text_of(memory))) {
    return io_error("write", draft, errno);
  }
  if (::rename(draft.c_str(), path.c_str()) != 0) {
    return io_error("replace", path, errno);
  }
  const std::string directory = std::filesystem::path(path).parent_path();
  return sync_directory(directory) ? Status() : io_error("sync", directory, errno);
}

}  // namespace limpet
