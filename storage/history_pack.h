// Entries of the history that are appended together, as one value: where many registrations share a sync, the history
// costs them one write, not one or two each. Pure; one thread at a time.
//
// The entry of an append that has no other stands for itself, a value of kind event. Several are a value of kind pack,
// in the order of their event numbers, each told by what is different from the one before (history_short.h). Either
// lies at the key of its first event.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/error.h"
#include "storage/history_short.h"
#include "storage/record.h"

namespace limpet {

// Puts a value together. Owned by the Ledger.
class HistoryPack {
 public:
  // A pack is read as a whole, also for a page that begins or ends within it.
  static constexpr std::size_t kMaxEntries = 256;

  // Precondition: not full(); the event number is higher than that of the entry before.
  void add(const HistoryEntry& entry);
  bool empty() const { return entries_ == 0; }
  bool full() const { return entries_ == kMaxEntries; }
  // Precondition: not empty().
  std::uint64_t first_event() const { return first_event_; }
  // The value; valid until the next call of add(), which begins a new one. Precondition: not empty().
  std::string_view finish();

 private:
  std::size_t entries_ = 0;
  std::uint64_t first_event_ = 0;
  std::string alone_;  // the first entry, should it be the only one
  std::string list_;   // all of them
  ShortWriter writer_;
  std::string value_;
};

// What `value`, found at the key of `first_event`, holds, in ascending order. Errc::damaged.
Result<std::vector<StoredEntry>> decode_history(std::uint64_t first_event, std::string_view value);

}  // namespace limpet
