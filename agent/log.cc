#include "agent/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

namespace limpet {

namespace {

// An outage must not fill the disk with its story: after this many lines of one event in a minute, silence until the
// minute is over, then one line that says how many were left out.
constexpr int kLinesPerMinute = 20;

struct Rate {
  std::chrono::steady_clock::time_point since;
  int written = 0;
  int left_out = 0;
};

std::atomic<LogLevel> threshold{LogLevel::info};

// sd-daemon(3): journald reads the priority of a line from "<N>" at its start.
int journal_priority(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return 7;
    case LogLevel::info:
      return 6;
    case LogLevel::warn:
      return 4;
    case LogLevel::error:
      return 3;
  }
  return 6;
}

// Whether stderr leads to the journal itself, and not to a file or a pipe that somebody put in between. systemd.exec(5)
// on JOURNAL_STREAM.
bool stderr_is_journal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat found {};
  return stream != nullptr && ::fstat(STDERR_FILENO, &found) == 0 &&
         fmt::format("{}:{}", found.st_dev, found.st_ino) == stream;
}

bool journal() {
  static const bool is = stderr_is_journal();
  return is;
}

void write_line(LogLevel level, std::string_view event, std::string_view detail) {
  std::string line;
  if (journal()) {
    fmt::format_to(std::back_inserter(line), "<{}>", journal_priority(level));
  } else {
    const auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
    fmt::format_to(std::back_inserter(line), "{:%Y-%m-%dT%H:%M:%S}.{:03}Z ",
                   fmt::gmtime(std::chrono::system_clock::to_time_t(now)), now.time_since_epoch().count() % 1000);
  }
  line += "level=" + log_value(log_level_name(level)) + " event=" + log_value(event);
  if (!detail.empty()) {
    line += ' ';
    line += harmless(detail);
  }
  line += '\n';
  // A log that cannot be written must not stop the agent.
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

const char* log_level_name(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "";
}

bool parse_log_level(std::string_view text, LogLevel& level) {
  for (const LogLevel candidate : {LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error}) {
    if (text == log_level_name(candidate)) {
      level = candidate;
      return true;
    }
  }
  return false;
}

void set_log_level(LogLevel level) {
  threshold = level;
}

void log(LogLevel level, std::string_view event, std::string_view detail) {
  if (level < threshold.load(std::memory_order_relaxed)) {
    return;
  }
  static std::mutex mutex;
  static std::unordered_map<std::string, Rate> rates;
  const std::lock_guard lock(mutex);
  Rate& rate = rates[std::string(event)];
  const auto now = std::chrono::steady_clock::now();
  if (rate.written == 0 || now - rate.since >= std::chrono::minutes(1)) {
    if (rate.left_out > 0) {
      write_line(level, event, "left_out=" + std::to_string(rate.left_out));
    }
    rate = Rate{now, 0, 0};
  }
  if (rate.written >= kLinesPerMinute) {
    ++rate.left_out;
    return;
  }
  ++rate.written;
  write_line(level, event, detail);
}

void complain(std::string_view program, std::string_view why) {
  std::string line;
  if (journal()) {
    fmt::format_to(std::back_inserter(line), "<{}>", journal_priority(LogLevel::error));
  }
  fmt::format_to(std::back_inserter(line), "{}: ", program);
  line += harmless(why);
  line += '\n';
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace limpet
