#include "storage/history_pack.h"

#include <cassert>
#include <utility>

#include "storage/frame.h"

namespace limpet {

namespace {

using frame::Kind;

namespace pack_tag {
enum : std::uint8_t { entries = 1, kLast = entries };
}

// So much memory is held on to between two packs.
constexpr std::size_t kKeptRoom = 64u << 10;

bool is_pack(std::string_view value) {
  return value.size() >= frame::kHeaderSize && value[1] == static_cast<char>(Kind::pack);
}

// Reads the value of one entry. `event`: its number, as far as is known from without.
Status take(std::uint64_t event, std::string_view value, std::vector<StoredEntry>& entries) {
  Result<HistoryEntry> entry = decode_history_entry(value);
  if (entry.ok()) {
    entries.push_back(StoredEntry{entry->event, std::move(*entry)});
  } else if (entry.status().code() == Errc::newer_format) {
    entries.push_back(StoredEntry{event, std::nullopt});
  } else {
    return entry.status();
  }
  return {};
}

}  // namespace

void HistoryPack::add(const HistoryEntry& entry) {
  assert(!full());
  if (empty()) {
    first_event_ = entry.event;
    list_.clear();
    if (list_.capacity() > kKeptRoom) {
      list_ = {};
      value_ = {};
    }
  }
  ++entries_;
  entry_ = encode(entry, std::move(entry_));
  frame::append_item(list_, entry_);
}

std::string_view HistoryPack::finish() {
  assert(!empty());
  if (std::exchange(entries_, 0) == 1) {
    return entry_;
  }
  value_ = frame::Writer(Kind::pack, frame::kFixedSize + list_.size(), std::move(value_))
               .bytes(pack_tag::entries, list_)
               .finish();
  return value_;
}

Result<std::vector<StoredEntry>> decode_history(std::uint64_t first_event, std::string_view value) {
  std::vector<StoredEntry> entries;
  if (!is_pack(value)) {
    const Status status = take(first_event, value, entries);
    return status.ok() ? Result(std::move(entries)) : status;
  }
  frame::Reader reader(value, Kind::pack, pack_tag::kLast);
  std::string_view list;
  reader.bytes(pack_tag::entries, list);
  if (reader.status().code() == Errc::newer_format) {
    entries.push_back(StoredEntry{first_event, std::nullopt});
    return entries;
  }
  if (!reader.status().ok()) {
    return reader.status();
  }
  for (std::string_view item; !list.empty();) {
    if (!frame::take_item(list, item)) {
      return Status(Errc::damaged, "record of kind P: an entry is cut off");
    }
    if (Status status = take(entries.empty() ? first_event : entries.back().event + 1, item, entries); !status.ok()) {
      return status;
    }
  }
  return entries;
}

}  // namespace limpet
