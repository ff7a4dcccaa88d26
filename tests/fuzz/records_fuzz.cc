// Stored records: the input is a row of (key length, key, value length, value); lengths have one and two bytes. Each
// value is decoded as it is, and again with its checksum put right, because no fuzzer finds a CRC. What is decoded must
// survive being encoded; what the ledger takes must come out of a ledger that it was written by.
#include <map>
#include <optional>
#include <string>

#include "storage/frame.h"
#include "storage/history_pack.h"
#include "storage/ledger.h"
#include "storage/record.h"
#include "tests/fuzz/fuzz.h"

namespace limpet {
namespace {

using fuzz::require;

// version (1) | kind (1) | CRC-32C of all other bytes (4) | …
std::string with_checksum(std::string_view value) {
  std::string fixed(value);
  if (fixed.size() >= frame::kHeaderSize) {
    std::string crc;
    frame::append_big_endian(crc, frame::crc32c(value.substr(frame::kHeaderSize), frame::crc32c(value.substr(0, 2))));
    fixed.replace(2, crc.size(), crc);
  }
  return fixed;
}

template <typename Record>
void check(Result<Record> (*decode)(std::string_view), std::string_view value) {
  const Result<Record> decoded = decode(value);
  if (!decoded.ok()) {
    require(decoded.status().code() == Errc::damaged || decoded.status().code() == Errc::newer_format,
            "a refusal is one of two");
    return;
  }
  const Result<Record> again = decode(encode(*decoded));
  require(again.ok() && *again == *decoded, "what was decoded can be encoded");
}

void check_decoders(std::string_view value) {
  check(&decode_registration, value);
  check(&decode_removal, value);
  check(&decode_outcome, value);
  check(&decode_session, value);
  check(&decode_former_sessions, value);
  check(&decode_hold, value);
  check(&decode_parent, value);
  check(&decode_history_entry, value);
  (void)decode_history(1, value);
}

class Memory final : public Ledger::Sink {
 public:
  void put(std::string_view key, std::string_view value) override { values[std::string(key)] = value; }
  void erase(std::string_view key) override { values.erase(std::string(key)); }
  void add_history(std::uint64_t first_event, std::string_view value) override {
    const Result<std::vector<StoredEntry>> entries = decode_history(first_event, value);
    require(entries.ok() && entries->at(0).event == first_event, "entries of the history can be read");
  }
  std::map<std::string, std::string> values;
};

// What the ledger took, as changes that would have written it.
void add_change(Batch& batch, std::string_view key, std::string_view value) {
  if (key.starts_with(static_cast<char>(frame::Kind::registration))) {
    batch.changes.push_back(PutRegistration{*decode_registration(value)});
  } else if (key.starts_with(static_cast<char>(frame::Kind::removal))) {
    batch.changes.push_back(PutRemoval{*decode_removal(value)});
  } else if (key.starts_with(static_cast<char>(frame::Kind::outcome))) {
    const std::size_t slash = key.find('/');
    RegistrationId id{std::string(key.substr(1, slash - 1)), std::string(key.substr(slash + 1))};
    batch.changes.push_back(PutOutcome{std::move(id), *decode_outcome(value)});
  } else if (key.starts_with(static_cast<char>(frame::Kind::hold))) {
    batch.changes.push_back(PutHold{*decode_hold(value)});
  } else if (key.starts_with(static_cast<char>(frame::Kind::parent))) {
    batch.changes.push_back(PutParent{*decode_parent(value)});
  }
}

void check_written(const Batch& batch) {
  Memory memory;
  Ledger writer;
  writer.apply(batch, memory);
  writer.close(memory);
  Ledger reader;
  for (const auto& [key, value] : memory.values) {
    require(reader.add(key, value).ok(), "what was written can be read");
  }
  require(reader.finish().ok(), "the account of what was written comes out");
}

std::optional<std::string_view> take(std::string_view& input, int length_bytes) {
  if (input.size() < static_cast<std::size_t>(length_bytes)) {
    return std::nullopt;
  }
  const auto length =
      static_cast<std::size_t>(frame::read_big_endian(input.substr(0, static_cast<std::size_t>(length_bytes))));
  input.remove_prefix(static_cast<std::size_t>(length_bytes));
  const std::string_view taken = input.substr(0, length);
  input.remove_prefix(taken.size());
  return taken;
}

}  // namespace
}  // namespace limpet

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace limpet;
  std::string_view input = fuzz::text_of(data, size);
  Ledger raw;
  Ledger fixed;
  Batch batch;
  while (!input.empty()) {
    const auto key = take(input, 1);
    const auto value = key ? take(input, 2) : std::nullopt;
    if (!value) {
      break;
    }
    check_decoders(*value);
    (void)raw.add(*key, *value);
    const std::string right = with_checksum(*value);
    check_decoders(right);
    if (fixed.add(*key, right).ok()) {
      add_change(batch, *key, right);
    }
    if (Result<HistoryEntry> entry = decode_history_entry(right); entry.ok()) {
      batch.changes.push_back(AddHistory{std::move(*entry)});
    }
  }
  (void)raw.finish();
  (void)fixed.finish();
  check_written(batch);
  return 0;
}
