// The doctor's look at this host: socket, state directory, disk, clock.
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/cli/accounts.h"
#include "agent/cli/doctor.h"
#include "agent/cli/text.h"
#include "agent/cli/times.h"

namespace limpet::cli {

namespace {

void examine_disk(const std::string& directory, Findings& findings) {
  constexpr std::uint64_t kLeast = 64u << 20;
  struct statvfs space {};
  struct statfs kind {};
  if (::statvfs(directory.c_str(), &space) != 0 || ::statfs(directory.c_str(), &kind) != 0) {
    findings.push_back({Level::wrong, "Disk", fmt::format("{}: {}", directory, std::strerror(errno)), ""});
    return;
  }
  const std::uint64_t free = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  const std::string text = fmt::format("{} free for {}", format_bytes(free), directory);
  if ((space.f_flag & ST_RDONLY) != 0) {
    findings.push_back({Level::wrong, "Disk", fmt::format("{} is mounted read-only", directory),
                        "See `dmesg` for why, and mount it writable again; the agent goes on by itself."});
  } else if (free < kLeast) {
    findings.push_back({Level::wrong, "Disk", text, "Make room: without it changes are refused (storage_full)."});
  } else if (space.f_files > 0 && space.f_favail == 0) {
    findings.push_back(
        {Level::wrong, "Disk", fmt::format("no inode is free for {}", directory), "Delete files there."});
  } else {
    findings.push_back({Level::ok, "Disk", text, ""});
  }
  constexpr long kTmpfs = 0x01021994;
  if (kind.f_type == kTmpfs) {
    findings.push_back({Level::note, "Disk", fmt::format("{} is in memory (tmpfs)", directory),
                        "What is accepted does not survive a reboot; put data_dir on a disk."});
  }
}

// Whether a process holds the directory, as an agent does; nothing where that cannot be told.
std::optional<bool> is_held(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return std::nullopt;
  }
  // Shared, for a moment: an agent that starts just then would have to try again, so only where none answers.
  const bool held = ::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return held;
}

}  // namespace

void examine_socket(const Context& context, const Patient& patient, Findings& findings) {
  if (!patient.agent_is_up()) {
    return;  // said by admit()
  }
  const std::string& path = context.client.socket_path();
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) {
    return;
  }
  const std::string text = fmt::format("{} answers; it is open to {} and the group {} (mode {:04o})", path,
                                       user_name(facts.st_uid), group_name(facts.st_gid), facts.st_mode & 07777u);
  if ((facts.st_mode & S_IWOTH) != 0) {
    findings.push_back({Level::note, "Socket", text, "Everybody on this host may register: chmod 0660 shuts it."});
    return;
  }
  findings.push_back({Level::ok, "Socket", text, ""});
  const group* limpet = ::getgrnam("limpet");
  if (limpet == nullptr) {
    findings.push_back({Level::note, "Group", "there is no group `limpet`: only the agent's own user and root get in",
                        "sudo groupadd --system limpet && sudo systemctl restart limpet"});
  } else if (facts.st_gid != limpet->gr_gid) {
    findings.push_back({Level::note, "Group",
                        fmt::format("the socket belongs to the group {}, not to limpet", group_name(facts.st_gid)),
                        "If the group was made after the agent's start: sudo systemctl restart limpet"});
  }
}

void examine_state_directory(const Patient& patient, Findings& findings) {
  const std::string& directory = patient.config.data_dir;
  struct stat facts {};
  if (::stat(directory.c_str(), &facts) != 0) {
    const bool missing = errno == ENOENT;
    const std::string text = fmt::format("{}: {}", directory, std::strerror(errno));
    if (missing && !patient.agent_is_up()) {
      findings.push_back({Level::note, "State", text, "The agent makes it at its first start."});
    } else {
      findings.push_back({missing ? Level::wrong : Level::note, "State", text,
                          missing ? "Is this the agent's data_dir? Name it with --data-dir." : "Look again as root."});
    }
    return;
  }
  const std::string text =
      fmt::format("{}, of {}, mode {:04o}", directory, user_name(facts.st_uid), facts.st_mode & 07777u);
  if (!S_ISDIR(facts.st_mode)) {
    findings.push_back({Level::wrong, "State", fmt::format("{} is not a directory", directory), ""});
    return;
  }
  if ((facts.st_mode & 077u) != 0) {
    findings.push_back({Level::wrong, "State", text + ": others can look in",
                        fmt::format("It holds the session's password: sudo chmod 0700 {}", directory)});
  } else {
    findings.push_back({Level::ok, "State", text, ""});
  }
  if (!patient.agent_is_up() && is_held(directory) == true) {
    findings.push_back({Level::wrong, "State",
                        fmt::format("a process holds {}: an agent runs, with another socket", directory),
                        "Name its socket with --socket; `systemctl status limpet` and `ss -xlp` help to find it."});
  }
  examine_disk(directory, findings);
}

void examine_clock(const Context& context, const Patient& patient, Findings& findings) {
  constexpr std::int64_t kFirstPossibleMs = 1'704'067'200'000;  // 2024: before this program was written
  constexpr std::int64_t kSlackMs = 2'000;
  if (context.now_ms < kFirstPossibleMs) {
    findings.push_back({Level::wrong, "Clock", "this host's clock is years slow", "Set it, and keep it by NTP."});
    return;
  }
  const auto started_ms = parse_time_ms(text(patient.status, "started_at"));
  if (started_ms && *started_ms > context.now_ms + kSlackMs) {
    findings.push_back({Level::note, "Clock", "it was set back since the agent started: ages and the history look odd",
                        "Time-outs are not touched by that."});
    return;
  }
  timex state{};
  const bool synchronised = ::adjtimex(&state) != TIME_ERROR;
  findings.push_back({synchronised ? Level::ok : Level::note, "Clock",
                      synchronised ? "kept by NTP" : "not known to be kept by NTP (or not to be told from here)",
                      synchronised ? "" : "Only times shown to people hang on it; timedatectl says more."});
}

}  // namespace limpet::cli
