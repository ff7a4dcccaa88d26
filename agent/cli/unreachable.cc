#include "agent/cli/unreachable.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

#include "agent/cli/accounts.h"

namespace limpet::cli {

namespace {

std::string permissions(mode_t mode) {
  return fmt::format("{:04o}", mode & 07777u);
}

// What this process runs with.
bool process_has_group(gid_t gid) {
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  return ::getegid() == gid || std::find(groups.begin(), groups.end(), gid) != groups.end();
}

// What the user database says, which a login older than the entry does not have yet.
bool database_has_group(uid_t uid, gid_t gid) {
  const passwd* user = ::getpwuid(uid);
  if (user == nullptr) {
    return false;
  }
  const std::string name = user->pw_name;
  if (user->pw_gid == gid) {
    return true;
  }
  const group* entry = ::getgrgid(gid);
  for (char** member = entry == nullptr ? nullptr : entry->gr_mem; member != nullptr && *member != nullptr; ++member) {
    if (name == *member) {
      return true;
    }
  }
  return false;
}

// The thing on the way to `path` that shuts this user out: a directory that may not be entered, or the socket.
struct Gate {
  std::string path;
  struct stat facts {};
  bool directory = false;
};
std::optional<Gate> find_gate(const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    Gate gate;
    gate.path = slash == 0 ? "/" : path.substr(0, slash);
    gate.directory = true;
    if (::stat(gate.path.c_str(), &gate.facts) != 0) {
      return std::nullopt;
    }
    if (::faccessat(AT_FDCWD, gate.path.c_str(), X_OK, AT_EACCESS) != 0) {
      return gate;
    }
  }
  Gate gate;
  gate.path = path;
  if (::stat(path.c_str(), &gate.facts) != 0) {
    return std::nullopt;
  }
  return gate;
}

std::string explain_permission(const std::string& path) {
  const std::string user = user_name(::geteuid());
  const std::optional<Gate> gate = find_gate(path);
  if (!gate) {
    return fmt::format("permission denied: {} may not use {}.\nTry it with sudo.", user, path);
  }
  const gid_t gid = gate->facts.st_gid;
  const std::string group = group_name(gid);
  const std::string mode = permissions(gate->facts.st_mode);
  const std::string what = gate->directory ? fmt::format("the directory {}", gate->path) : gate->path;
  const mode_t needed = gate->directory ? S_IXGRP : S_IWGRP;
  if ((gate->facts.st_mode & needed) == 0) {
    return fmt::format(
        "permission denied: {} is open to its owner {} only (mode {}), and you are {}.\nTry it with sudo.", what,
        user_name(gate->facts.st_uid), mode, user);
  }
  if (process_has_group(gid)) {
    return fmt::format(
        "permission denied: {} (group {}, mode {}) does not let {} in, although in that group.\n"
        "An access control list or a security module may say no; try it with sudo.",
        what, group, mode, user);
  }
  if (gid == 0) {
    return fmt::format(
        "permission denied: {} belongs to group root (mode {}), and {} is not in it.\n"
        "limpetd found no group `limpet` when it started. Make one, restart limpetd, and add yourself:\n"
        "  sudo groupadd --system limpet && sudo systemctl restart limpet && "
        "sudo usermod -aG limpet {}\nthen log in again; or use sudo.",
        what, mode, user, user);
  }
  if (database_has_group(::geteuid(), gid)) {
    return fmt::format(
        "permission denied: {} belongs to group {} (mode {}). {} is in that group, but this login is "
        "older than that.\nLog in again, or: newgrp {}",
        what, group, mode, user, group);
  }
  return fmt::format(
      "permission denied: {} belongs to group {} (mode {}), and {} is not in it.\n"
      "  sudo usermod -aG {} {}\nthen log in again; or use sudo.",
      what, group, mode, user, group, user);
}

// Whether something is mounted on exactly this path, as a container has it that was given the socket's file alone.
bool is_mount_point(const std::string& path) {
  std::error_code error;
  const std::string real = std::filesystem::canonical(path, error);
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; !error && std::getline(mounts, line);) {
    // Number, parent, device, root, mount point; proc(5).
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) {
      fields >> field;
    }
    if (field == real) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string explain_connect_failure(int error_number, const std::string& path, const std::string& origin) {
  const std::string named = origin.empty() ? path : fmt::format("{} (from {})", path, origin);
  struct stat facts {};
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return fmt::format(
          "no such socket: {}. Is limpetd running?\n"
          "`systemctl status limpet` tells; an agent with another socket is named by --socket PATH or "
          "LIMPET_SOCKET.",
          named);
    case ECONNREFUSED:
      if (::stat(path.c_str(), &facts) == 0 && !S_ISSOCK(facts.st_mode)) {
        return fmt::format("{} is not a socket.\nName limpetd's with --socket PATH or LIMPET_SOCKET.", named);
      }
      if (is_mount_point(path)) {
        return fmt::format(
            "nobody listens on {} any more: the socket's file alone is mounted here, and that of an earlier run of the "
            "agent stays mounted when the agent makes another.\n"
            "The agent may well be running. Mount the directory instead ({}), and start this container again.",
            named, std::filesystem::path(path).parent_path().string());
      }
      return fmt::format(
          "nobody listens on {}: the socket file is left over from an agent that is gone.\n"
          "Start it: sudo systemctl start limpet. What it accepted is on disk, and it takes that up.",
          named);
    case EACCES:
    case EPERM:
      return explain_permission(path);
    case EAGAIN:
      return fmt::format(
          "limpetd does not take the connection on {}: it is overloaded, or hangs.\n"
          "See `journalctl -u limpet`.",
          named);
    case ENAMETOOLONG:
      return fmt::format("the socket's path is longer than a unix socket's may be (107 bytes): {}", named);
    default:
      return fmt::format("cannot connect to {}: {}", named, std::strerror(error_number));
  }
}

}  // namespace limpet::cli
