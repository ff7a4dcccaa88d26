// Entries of the history one after the other, each told by what is different from the one before: what happens on a
// busy host happens to one service after the other within the same moment, so an entry takes some fifteen bytes instead
// of a hundred. storage/FORMAT.md gives them. Pure; one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/record.h"

namespace limpet {

// An entry as it was read; without it: it is of a later limpet, which alone can show it.
struct StoredEntry {
  std::uint64_t event = 0;
  std::optional<HistoryEntry> entry;
};

// What an entry is told against; before the first one all is 0 and empty.
struct EntryBefore {
  std::uint64_t event = 0;
  std::uint64_t time = 0;
  std::uint64_t seq = 0;
  std::uint64_t last_seq = 0;
  std::uint64_t zxid = 0;
  std::string service;
  Actor who;
};

class ShortWriter {
 public:
  // Appends `entry` to `list`, which holds what was appended before, and nothing else.
  void append(const HistoryEntry& entry, std::string& list);

 private:
  EntryBefore before_;
};

class ShortReader {
 public:
  // `list`, which must live on, is what a ShortWriter made.
  explicit ShortReader(std::string_view list) : rest_(list) {}
  bool at_end() const { return rest_.empty(); }
  // The next entry; nothing where it is cut off or cannot be. Precondition: not at_end().
  std::optional<StoredEntry> take();

 private:
  std::uint8_t byte();
  std::uint64_t number();
  std::uint64_t near(std::uint64_t& before);
  std::string text(std::uint64_t size);

  std::string_view rest_;
  bool whole_ = true;  // all that was asked for was there
  EntryBefore before_;
};

}  // namespace limpet
