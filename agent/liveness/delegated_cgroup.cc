#include "agent/liveness/delegated_cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "agent/liveness/descriptor.h"

namespace limpet::liveness {
namespace {

bool write_control(const std::string& path, const std::string& text) {
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// Where cgroups of version 2 are: alone, or beside those of version 1.
std::string mount_point() {
  for (const char* path : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    struct statfs facts {};
    if (::statfs(path, &facts) == 0 && facts.f_type == CGROUP2_SUPER_MAGIC) {
      return path;
    }
  }
  return {};
}

// cgroups(7): the line of version 2 in /proc/PID/cgroup is "0::/path".
std::string own_cgroup() {
  std::ifstream stream("/proc/self/cgroup");
  const std::string mount = mount_point();
  for (std::string line; !mount.empty() && std::getline(stream, line);) {
    if (line.starts_with("0::/")) {
      return mount + (line == "0::/" ? "" : line.substr(3));
    }
  }
  return {};
}

// systemd marks what it delegates, from version 251 on so that anybody can read it.
bool delegated(const std::string& cgroup) {
  std::array<char, 2> value{};
  for (const char* name : {"user.delegate", "trusted.delegate"}) {
    if (::getxattr(cgroup.c_str(), name, value.data(), value.size()) == 1 && value[0] == '1') {
      return true;
    }
  }
  return false;
}

bool make(const std::string& path) {
  return ::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST;
}

}  // namespace

std::string divide_delegated_cgroup() {
  const std::string own = own_cgroup();
  if (own.empty() || !delegated(own)) {
    return {};
  }
  const std::string checks = own + "/checks";
  if (!make(own + "/agent") || !make(checks) ||
      !write_control(own + "/agent/cgroup.procs", std::to_string(::getpid()))) {
    return {};
  }
  // Where there is no such controller, or it is not delegated, the number of processes has no bound of ours.
  write_control(own + "/cgroup.subtree_control", "+pids");
  write_control(checks + "/cgroup.subtree_control", "+pids");
  std::error_code error;
  for (std::filesystem::directory_iterator it(checks, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory(error)) {
      write_control(it->path().string() + "/cgroup.kill", "1");
      ::rmdir(it->path().c_str());
    }
  }
  return checks;
}

}  // namespace limpet::liveness
