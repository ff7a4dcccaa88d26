#include "storage/history_pack.h"

#include <cassert>
#include <utility>

#include "storage/frame.h"

namespace limpet {

namespace {

using frame::Kind;

namespace pack_tag {
enum : std::uint8_t {
  entries = 1,    // a list of values of kind event: no longer written
  short_entries,  // instead of that
  kLast = short_entries
};
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

Status read_list(std::uint64_t first_event, std::string_view list, std::vector<StoredEntry>& entries) {
  for (std::string_view item; !list.empty();) {
    if (!frame::take_item(list, item)) {
      return Status(Errc::damaged, "record of kind P: an entry is cut off");
    }
    if (Status status = take(entries.empty() ? first_event : entries.back().event + 1, item, entries); !status.ok()) {
      return status;
    }
  }
  return {};
}

Status read_short(std::string_view list, std::vector<StoredEntry>& entries) {
  ShortReader reader(list);
  while (!reader.at_end()) {
    std::optional<StoredEntry> entry = reader.take();
    if (!entry) {
      return Status(Errc::damaged, "record of kind P: an entry makes no sense");
    }
    entries.push_back(*std::move(entry));
  }
  return {};
}

}  // namespace

void HistoryPack::add(const HistoryEntry& entry) {
  assert(!full());
  if (empty()) {
    first_event_ = entry.event;
    alone_ = encode(entry, std::move(alone_));
    writer_ = {};
    list_.clear();
    if (list_.capacity() > kKeptRoom) {
      list_ = {};
      value_ = {};
    }
  }
  ++entries_;
  writer_.append(entry, list_);
}

std::string_view HistoryPack::finish() {
  assert(!empty());
  if (std::exchange(entries_, 0) == 1) {
    return alone_;
  }
  value_ = frame::Writer(Kind::pack, frame::kFixedSize + list_.size(), std::move(value_))
               .bytes(pack_tag::short_entries, list_)
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
  if (reader.status().code() == Errc::newer_format) {
    entries.push_back(StoredEntry{first_event, std::nullopt});
    return entries;
  }
  std::string_view list;
  const bool in_short = reader.has(pack_tag::short_entries);
  reader.bytes(in_short ? pack_tag::short_entries : pack_tag::entries, list);
  if (!reader.status().ok()) {
    return reader.status();
  }
  const Status status = in_short ? read_short(list, entries) : read_list(first_event, list, entries);
  return status.ok() ? Result(std::move(entries)) : status;
}

}  // namespace limpet
