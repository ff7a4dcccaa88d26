// A Store in memory that knows the difference between written and synced.
//
// It models what the real one promises. An append is atomic. What was appended without `sync` is in the page cache: a
// crash of the process keeps it, a power cut may drop any suffix of it, and the next synced append, or opening the
// store again, makes it durable (RocksDB's recovery writes what it read to a new, synced file). An append that fails
// may have been applied or not; after it the store refuses all others until reopen(). Owned by the test; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace limpet::test {

// StoredState with an index: what a sequence of batches comes to.
struct StoredMap {
  Seq last_seq;
  std::map<RegistrationId, Registration> registrations;
  std::map<Seq, Removal> removals;
  std::map<std::string, Parent> parents;
  std::map<RegistrationId, Outcome> outcomes;
  std::map<std::pair<std::optional<RegistrationId>, HoldCause>, Hold> holds;
  std::optional<Session> session;
  FormerSessions former;
  std::vector<HistoryEntry> history;
  std::uint64_t last_event = 0;
  bool disordered = false;  // an entry's number was not greater than those before

  void apply(const Batch& batch);
  void apply(const Change& change);
  StoredState to_state() const;
};

class FakeStore final : public Store {
 public:
  // ---- Store
  Result<StoredState> load() override;
  bool prepare(const Batch& batch) override;
  void seal(bool sync) override;
  Status write() override;
  Status reopen() override;
  Result<HistoryPage> history(const HistoryQuery& query) override;
  std::uint64_t bytes_on_disk() const override;

  // ---- Faults
  // The next append fails with `code`; `applied`: its batch is there all the same.
  void fail_next_append(Errc code, bool applied);
  // So many of the next reopen() fail.
  void fail_reopens(std::uint32_t times) { failing_reopens_ = times; }
  // Forgets armed failures: the disk is well again. A store that refuses still wants its reopen().
  void heal();

  // The process died and a new one opened the store: all that was written is kept.
  void process_crash();
  // The machine lost power, and a new process opened the store: the first `kept` unsynced batches survive.
  // Precondition: kept <= unsynced().
  void power_cut(std::size_t kept);
  std::size_t unsynced() const { return tail_.size(); }

  // ---- What the test may look at
  const StoredMap& written() const { return written_; }  // what a load() would give now
  const StoredMap& synced() const { return synced_; }    // what no power cut can take
  bool refusing() const { return refusing_; }
  bool troubled() const { return refusing_ || fail_code_.has_value(); }  // refusing, or about to

 private:
  void opened();  // everything written is durable from here on

  StoredMap synced_;
  StoredMap written_;
  std::vector<Batch> tail_;  // written_ is synced_ with these applied
  Batch prepared_;
  Batch sealed_;
  bool sealed_sync_ = false;
  bool refusing_ = false;
  std::optional<Errc> fail_code_;
  bool fail_applied_ = false;
  std::uint32_t failing_reopens_ = 0;
};

}  // namespace limpet::test
