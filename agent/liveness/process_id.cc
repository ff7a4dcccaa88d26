#include "agent/liveness/process_id.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

namespace limpet::liveness {
namespace {

struct FileText {
  std::string text;
  int error = 0;
};

// A file of /proc/PID; those that are of use here fit into the buffer.
FileText read_proc(std::int32_t pid, const char* file) {
  const std::string path = fmt::format("/proc/{}/{}", pid, file);
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return {{}, errno};
  }
  std::array<char, 8192> buffer;
  const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
  return got < 0 ? FileText{{}, errno} : FileText{std::string(buffer.data(), static_cast<std::size_t>(got)), 0};
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  while ((begin = text.find_first_not_of(" \t\n", begin)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(" \t\n", begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

struct Stat {
  int error = 0;  // errno of what went wrong; 0: the rest is valid
  bool ended = false;
  std::uint64_t start_ticks = 0;
};

// /proc/PID/stat, proc(5). The name in parentheses may itself hold blanks and parentheses.
Stat read_stat(std::int32_t pid) {
  const FileText file = read_proc(pid, "stat");
  if (file.error != 0) {
    return {file.error, false, 0};
  }
  const std::size_t name_end = file.text.rfind(')');
  const auto fields = words_of(std::string_view(file.text).substr(name_end == std::string::npos ? 0 : name_end + 1));
  // The state is field 3 and the first here, so field N is at N - 3.
  constexpr std::size_t kThreads = 20 - 3;
  constexpr std::size_t kStart = 22 - 3;
  if (name_end == std::string::npos || fields.size() <= kStart) {
    return {EIO, false, 0};
  }
  const auto threads = number_of<std::int64_t>(fields[kThreads]);
  const auto start = number_of<std::uint64_t>(fields[kStart]);
  if (!threads || !start) {
    return {EIO, false, 0};
  }
  // A first thread that ended before the others is a zombie too, and its process lives.
  const bool zombie = fields[0] == "Z" || fields[0] == "X" || fields[0] == "x";
  return {0, zombie && *threads <= 1, *start};
}

// The numbers behind `key` in /proc/PID/status.
std::vector<std::uint32_t> read_status(std::int32_t pid, std::string_view key) {
  const FileText file = read_proc(pid, "status");
  const std::string text = "\n" + file.text;
  const std::size_t at = text.find(fmt::format("\n{}:", key));
  std::vector<std::uint32_t> numbers;
  if (at == std::string::npos) {
    return numbers;
  }
  const std::size_t begin = at + key.size() + 2;
  for (const auto word : words_of(std::string_view(text).substr(begin, text.find('\n', begin) - begin))) {
    if (const auto number = number_of<std::uint32_t>(word)) {
      numbers.push_back(*number);
    }
  }
  return numbers;
}

Descriptor open_pidfd(std::int32_t pid) {
  return Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));  // close-on-exec by itself
}

// No such process, or a thread of one. EINVAL is what kernels say of a thread, and at times of a process that is just
// being reaped (systemd issue 36982); newer ones say ENOENT of a thread.
bool means_no_process(int error) {
  return error == ESRCH || error == EINVAL || error == ENOENT;
}

// A pidfd becomes readable when the process has ended, that is all of its threads, whether reaped or not.
bool has_ended(const Descriptor& pidfd) {
  pollfd query{pidfd.get(), POLLIN, 0};
  return ::poll(&query, 1, 0) > 0;
}

std::string read_boot_id() {
  const Descriptor fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  std::array<char, 64> buffer;
  const ssize_t got = fd ? ::read(fd.get(), buffer.data(), buffer.size()) : 0;
  std::string id(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!id.empty() && id.back() == '\n') {
    id.pop_back();
  }
  return id;
}

Status refuse(std::string why) {
  return {Errc::invalid, std::move(why)};
}

Status no_such_process(std::int32_t pid) {
  if (const auto group = read_status(pid, "Tgid"); group.size() == 1 && group[0] != static_cast<std::uint32_t>(pid)) {
    return refuse(fmt::format("{} is a thread of process {}; give the process", pid, group[0]));
  }
  return refuse(fmt::format("there is no process {}: it has ended, or the agent does not see it", pid));
}

std::int64_t clock_ms(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

const std::string& boot_id() {
  static const std::string id = read_boot_id();
  return id;
}

Result<ProcessId> find_process(std::int32_t pid, std::uint32_t uid, bool privileged) {
  if (pid == 0) {
    return refuse(
        "the process has no pid that the agent can see, as it runs in another pid namespace; "
        "use a connection, a ttl or checks instead");
  }
  if (pid < 0) {
    return refuse(fmt::format("{} is not a pid", pid));
  }
  // The pidfd first: as long as it says that its process lives, /proc/PID is about that process.
  const Descriptor pidfd = open_pidfd(pid);
  if (!pidfd && means_no_process(errno)) {
    return no_such_process(pid);
  }
  const Stat stat = read_stat(pid);
  const std::vector<std::uint32_t> uids = read_status(pid, "Uid");
  const bool ended = pidfd ? has_ended(pidfd) : read_stat(pid).start_ticks != stat.start_ticks || stat.ended;
  if (ended || (!pidfd && means_no_process(stat.error))) {
    return refuse(fmt::format("process {} has ended", pid));
  }
  if (stat.error == EMFILE || stat.error == ENFILE) {
    return Status(Errc::io, fmt::format("the agent has no file descriptor left to look at process {}", pid));
  }
  if (stat.error != 0 || uids.empty()) {
    return refuse(
        fmt::format("/proc/{} is hidden from the agent ({}): it must see the processes that it watches; see "
                    "hidepid in proc(5)",
                    pid, std::generic_category().message(stat.error != 0 ? stat.error : EACCES)));
  }
  // Real, effective, saved; the fourth is for file systems.
  if (!privileged && uids[0] != uid && (uids.size() < 3 || (uids[1] != uid && uids[2] != uid))) {
    return Status(Errc::permission,
                  fmt::format("process {} belongs to uid {}, and the caller is uid {}: only a process "
                              "of one's own can be bound to",
                              pid, uids[0], uid));
  }
  return ProcessId{pid, stat.start_ticks, boot_id()};
}

std::int64_t asleep_ms() {
  return clock_ms(CLOCK_BOOTTIME) - clock_ms(CLOCK_MONOTONIC);
}

Grip grip(const ProcessId& process, bool want_pidfd) {
  if (process.boot_id != boot_id()) {
    return {fmt::format("pid {} ended with the machine's last boot", process.pid), {}};
  }
  Grip result;
  if (want_pidfd) {
    result.pidfd = open_pidfd(process.pid);
  }
  const bool gone = !result.pidfd && want_pidfd && means_no_process(errno);
  const Stat stat = read_stat(process.pid);
  if (stat.error == 0 && stat.start_ticks != process.start_ticks) {
    return {fmt::format("pid {} has ended; another process has that number now", process.pid), {}};
  }
  const bool unseen = !result.pidfd && stat.error != 0 && ::kill(process.pid, 0) != 0 && errno == ESRCH;
  const bool ended = gone || unseen || (result.pidfd ? has_ended(result.pidfd) : stat.error == 0 && stat.ended);
  if (ended) {
    return {fmt::format("pid {} has ended", process.pid), {}};
  }
  return result;
}

}  // namespace limpet::liveness
