#include "agent/process_figures.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace limpet {

namespace {

constexpr std::int64_t kUsPerSecond = 1'000'000;

std::int64_t microseconds(const timeval& time) {
  return time.tv_sec * kUsPerSecond + time.tv_usec;
}

// When this process began: proc(5) tells it in ticks since the machine's boot, field 22 of stat. The second field, the
// program's name, may hold anything, so what is read begins behind its last bracket.
double started_s() {
  std::ifstream stream("/proc/self/stat");
  std::string line;
  std::getline(stream, line);
  const std::size_t bracket = line.rfind(')');
  if (bracket == std::string::npos) {
    return 0;
  }
  std::istringstream fields(line.substr(bracket + 1));
  constexpr int kFieldsBefore = 19;  // of those behind the name
  std::string skipped;
  for (int i = 0; i < kFieldsBefore; ++i) {
    fields >> skipped;
  }
  double ticks = 0;
  fields >> ticks;
  timespec now{};
  timespec since_boot{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  const auto whole = static_cast<double>(now.tv_sec - since_boot.tv_sec);
  return whole + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

ProcessFigures process_figures() {
  ProcessFigures figures;
  // The clock may be set while the agent runs; when it began does not change by that.
  static const double started = started_s();
  figures.started_s = started;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    const std::int64_t used_us = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
    figures.cpu_s = static_cast<double>(used_us) / static_cast<double>(kUsPerSecond);
  }
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::ifstream("/proc/self/statm") >> pages >> resident;
  figures.virtual_bytes = pages * page_bytes;
  figures.resident_bytes = resident * page_bytes;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) {
    ++figures.open_descriptors;
  }
  if (figures.open_descriptors > 0) {
    --figures.open_descriptors;  // the one that this took
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    figures.max_descriptors = limit.rlim_cur;
  }
  return figures;
}

std::optional<std::uint64_t> free_bytes(const std::string& directory) {
  struct statvfs facts {};
  if (::statvfs(directory.c_str(), &facts) != 0) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(facts.f_bavail) * facts.f_frsize;
}

}  // namespace limpet
