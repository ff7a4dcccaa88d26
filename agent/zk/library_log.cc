#include "agent/zk/library_log.h"

#include <array>
#include <utility>

namespace limpet::zk {
namespace {

constexpr std::chrono::seconds kQuiet{10};

constexpr std::size_t kSlots = 32;

struct Slot {
  std::mutex mutex;
  std::shared_ptr<LibraryLog> log;
};

// Never destroyed: a library thread may outlive the static objects of a process that ends by exit().
std::array<Slot, kSlots>& slots() {
  static auto* const kept = new std::array<Slot, kSlots>();
  return *kept;
}

template <std::size_t kIndex>
void on_line(const char* line) noexcept {
  std::shared_ptr<LibraryLog> log;
  {
    Slot& slot = slots()[kIndex];
    const std::lock_guard lock(slot.mutex);
    log = slot.log;
  }
  if (log != nullptr && line != nullptr) {
    log->write(line);
  }
}

void drop_line(const char*) noexcept {}

template <std::size_t... kIndex>
constexpr std::array<LogCallback, sizeof...(kIndex)> callbacks(std::index_sequence<kIndex...>) {
  return {&on_line<kIndex>...};
}

// The library writes "time:pid(thread):LEVEL@function@line: text".
std::string_view without_prefix(std::string_view line) {
  const auto first = line.find('@');
  const auto second = first == std::string_view::npos ? first : line.find('@', first + 1);
  const auto colon = second == std::string_view::npos ? second : line.find(": ", second);
  return colon == std::string_view::npos ? line : line.substr(colon + 2);
}

}  // namespace

void LibraryLog::write(std::string_view line) {
  // handle_socket_error_msg(), the one way out of a connection, writes this before it does anything else.
  if (line.find(" zk retcode=") != std::string_view::npos) {
    losses_.fetch_add(1);
  }
  if (!sink_) {
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  if (now < quiet_until_) {
    ++left_out_;
    return;
  }
  quiet_until_ = now + kQuiet;
  std::string text(without_prefix(line));
  if (left_out_ != 0) {
    text += " (" + std::to_string(left_out_) + " lines before this one were left out)";
    left_out_ = 0;
  }
  sink_(text);
}

void LibraryLog::note(std::string_view text) {
  if (sink_) {
    const std::lock_guard lock(mutex_);
    sink_(text);
  }
}

LogCallbackLease::LogCallbackLease(std::shared_ptr<LibraryLog> log) : slot_(kSlots) {
  for (std::size_t i = 0; i < kSlots; ++i) {
    Slot& slot = slots()[i];
    const std::lock_guard lock(slot.mutex);
    if (slot.log == nullptr) {
      slot.log = std::move(log);
      slot_ = i;
      return;
    }
  }
}

LogCallbackLease::~LogCallbackLease() {
  if (slot_ < kSlots) {
    const std::lock_guard lock(slots()[slot_].mutex);
    slots()[slot_].log = nullptr;
  }
}

LogCallback LogCallbackLease::callback() const {
  static constexpr auto kCallbacks = callbacks(std::make_index_sequence<kSlots>());
  return slot_ < kSlots ? kCallbacks[slot_] : &drop_line;
}

}  // namespace limpet::zk
