// The keys under which records are stored, and the account that is kept of them. Pure: no I/O; one thread at a time.
//
// Owned by RocksStore. The history is no part of the account: no state hangs on it, and its end falls off with age; but
// its last number is kept in Meta, so that none is used again. The account is what makes a lost record visible: with
// every batch goes one more value, Meta, that holds last_seq and a tally (number and digest) of all other records.
// Whatever vanishes from the files without the store's doing, an SST file, the end of a MANIFEST, a WAL in the middle,
// the sum no longer comes out, and the store says so instead of starting with fewer registrations.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "storage/error.h"
#include "storage/history_pack.h"
#include "storage/record.h"

namespace limpet {

class Ledger {
 public:
  // Where apply() sends the single writes. Both arguments are only valid during the call.
  class Sink {
   public:
    virtual ~Sink() = default;
    virtual void put(std::string_view key, std::string_view value) = 0;
    virtual void erase(std::string_view key) = 0;
    // Entries of the history (see history_pack.h), which is kept apart from the rest.
    virtual void add_history(std::uint64_t first_event, std::string_view value) = 0;
  };

  // Turns `batch` into single writes, and accounts for them. If the writes then fail, the account is of no more use:
  // read everything into a fresh Ledger.
  void apply(const Batch& batch, Sink& sink);
  // The writes that end an append, Meta last: after one batch or several, before the next append's first.
  void close(Sink& sink);

  // Takes in one stored record. Errc::damaged, Errc::newer_format: it cannot be used.
  Status add(std::string_view key, std::string_view value);

  // After the last add(): does the account come out? Errc::damaged if not. The Ledger then describes what is stored
  // and apply() may follow; `state` is moved out.
  Result<StoredState> finish();

  // What was applied or read last.
  Seq last_seq() const { return last_seq_; }
  std::uint64_t last_event() const { return last_event_; }

  // Nothing was added but the Meta of a new store, or not even that.
  bool untouched() const {
    return count_ == 0 && last_seq_ == Seq{} && (!meta_ || (meta_->last_seq == Seq{} && meta_->last_event == 0));
  }

 private:
  struct Meta {
    Seq last_seq;
    std::uint64_t count = 0;
    std::uint64_t last_event = 0;
    std::uint64_t digest = 0;  // sum, modulo 2^64, of a fingerprint of every record
  };

  Status add_meta(std::string_view value);
  Status add_registration(std::string_view key, std::string_view value);
  Status add_removal(std::string_view key, std::string_view value);
  Status add_outcome(std::string_view key, std::string_view value);
  Status add_session(std::string_view key, std::string_view value);
  Status add_former(std::string_view key, std::string_view value);
  Status add_hold(std::string_view key, std::string_view value);
  Status add_parent(std::string_view key, std::string_view value);
  Status add_unknown(std::string_view key) const;

  template <typename Record>
  void put(Sink& sink, const std::string& key, const Record& record);
  void erase(Sink& sink, const std::string& key);
  void apply_change(const Change& change, Sink& sink);
  void erase_registration(const RegistrationId& id, Sink& sink);
  void add_history(const HistoryEntry& entry, Sink& sink);
  void write_history(Sink& sink);
  void account(std::string_view key, std::string_view value);
  void seen(Seq seq);

  // The fingerprint of a record that is stored; absent: none is.
  using Mark = std::optional<std::uint64_t>;
  // Most of all records: two for each name.
  struct OfName {
    Mark registration;
    Mark outcome;
  };
  Mark& mark(std::string_view key);
  void drop_unmarked(std::string_view key);

  struct HashOfText {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  template <typename Value>
  using ByText = std::unordered_map<std::string, Value, HashOfText, std::equal_to<>>;

  ByText<OfName> names_;     // by "service/instance"
  ByText<Mark> others_;      // by key
  std::uint64_t count_ = 0;  // of marks
  std::uint64_t digest_ = 0;
  Seq last_seq_;  // while reading: the highest seq of any record
  std::uint64_t last_event_ = 0;
  HistoryPack pack_;   // of the append that is not closed yet
  std::string value_;  // whose memory serves for one record after the other
  std::optional<Meta> meta_;
  StoredState state_;  // while reading
};

}  // namespace limpet
