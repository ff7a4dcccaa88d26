#include "tests/support/fake_store.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <type_traits>
#include <utility>
#include <variant>

#include "storage/history_page.h"

namespace limpet::test {

namespace {

// The first entry whose number is greater than `event`.
std::vector<HistoryEntry>::const_iterator after(const std::vector<HistoryEntry>& history, std::uint64_t event) {
  return std::upper_bound(history.begin(), history.end(), event,
                          [](std::uint64_t number, const HistoryEntry& entry) { return number < entry.event; });
}

}  // namespace

void StoredMap::apply(const Change& change) {
  std::visit(
      [this](const auto& c) {
        using T = std::decay_t<decltype(c)>;
        if constexpr (std::is_same_v<T, PutRegistration>) {
          registrations[c.registration->id] = c.registration;
        } else if constexpr (std::is_same_v<T, EraseRegistration>) {
          registrations.erase(c.id);
          outcomes.erase(c.id);
          holds.erase({c.id, HoldCause::maintenance});
          holds.erase({c.id, HoldCause::check});
        } else if constexpr (std::is_same_v<T, PutRemoval>) {
          removals[c.removal.seq] = c.removal;
        } else if constexpr (std::is_same_v<T, EraseRemoval>) {
          removals.erase(c.seq);
        } else if constexpr (std::is_same_v<T, PutOutcome>) {
          outcomes[c.id] = c.outcome;
        } else if constexpr (std::is_same_v<T, PutHold>) {
          holds[{c.hold.id, c.hold.cause}] = c.hold;
        } else if constexpr (std::is_same_v<T, EraseHold>) {
          holds.erase({c.id, c.cause});
        } else if constexpr (std::is_same_v<T, PutParent>) {
          parents[c.parent.path] = c.parent;
        } else if constexpr (std::is_same_v<T, EraseParent>) {
          parents.erase(c.path);
        } else if constexpr (std::is_same_v<T, AddHistory>) {
          disordered = disordered || c.entry->event <= last_event;
          last_event = c.entry->event;
          history.push_back(c.entry);
        } else {
          static_assert(std::is_same_v<T, PutSession>);
          session = c.session;
          former = c.former;
        }
      },
      change);
}

void StoredMap::apply(const Batch& batch) {
  last_seq = std::max(last_seq, batch.last_seq);
  for (const Change& change : batch.changes) {
    apply(change);
  }
}

StoredState StoredMap::to_state() const {
  StoredState state;
  state.last_seq = last_seq;
  for (const auto& [id, registration] : registrations) {
    state.registrations.push_back(registration);
  }
  for (const auto& [seq, removal] : removals) {
    state.removals.push_back(removal);
  }
  state.outcomes.assign(outcomes.begin(), outcomes.end());
  for (const auto& [target, hold] : holds) {
    state.holds.push_back(hold);
  }
  for (const auto& [path, parent] : parents) {
    state.parents.push_back(parent);
  }
  state.last_event = last_event;
  state.session = session;
  state.former = former;
  return state;
}

Result<StoredState> FakeStore::load() {
  if (refusing_) {
    return Status(Errc::io, "fake store: not open");
  }
  return written_.to_state();
}

bool FakeStore::prepare(const Batch& batch) {
  prepared_.changes.insert(prepared_.changes.end(), batch.changes.begin(), batch.changes.end());
  prepared_.last_seq = std::max(prepared_.last_seq, batch.last_seq);
  return true;
}

void FakeStore::seal(bool sync) {
  sealed_ = std::exchange(prepared_, {});
  sealed_sync_ = sync;
}

Status FakeStore::write() {
  const Batch batch = std::exchange(sealed_, {});
  if (refusing_) {
    return Status(Errc::io, "fake store: an earlier append failed");
  }
  if (fail_code_) {
    refusing_ = true;
    const Errc code = *fail_code_;
    fail_code_.reset();
    if (fail_applied_) {
      written_.apply(batch);
      tail_.push_back(batch);
    }
    return Status(code, code == Errc::full ? "fake store: no space left" : "fake store: input/output error");
  }
  written_.apply(batch);
  if (!sealed_sync_) {
    tail_.push_back(batch);
    return Status();
  }
  for (const Batch& earlier : tail_) {
    synced_.apply(earlier);
  }
  tail_.clear();
  synced_.apply(batch);
  return Status();
}

Status FakeStore::reopen() {
  if (failing_reopens_ > 0) {
    --failing_reopens_;
    refusing_ = true;
    return Status(Errc::io, "fake store: cannot be opened");
  }
  opened();
  return Status();
}

Result<HistoryPage> FakeStore::history(const HistoryQuery& query) {
  if (refusing_) {
    return Status(Errc::io, "fake store: not open");
  }
  HistoryPageBuilder page(query);
  const auto offer = [&](const HistoryEntry& entry) { return page.offer(entry); };
  const auto& all = written_.history;
  if (query.newest_first) {
    const auto first = query.before_event == 0 ? all.end() : after(all, query.before_event - 1);
    (void)std::all_of(std::make_reverse_iterator(first), all.rend(), offer);
  } else {
    (void)std::all_of(after(all, query.after_event), all.end(), offer);
  }
  HistoryPage result = page.finish();
  result.oldest_event = all.empty() ? 0 : all.front().event;
  return result;
}

std::uint64_t FakeStore::bytes_on_disk() const {
  return 4096 + 256 * (written_.registrations.size() + written_.removals.size() + tail_.size());
}

void FakeStore::fail_next_append(Errc code, bool applied) {
  assert(code != Errc::ok);
  fail_code_ = code;
  fail_applied_ = applied;
}

void FakeStore::heal() {
  fail_code_.reset();
  failing_reopens_ = 0;
}

void FakeStore::process_crash() {
  opened();
}

void FakeStore::power_cut(std::size_t kept) {
  assert(kept <= tail_.size());
  written_ = synced_;
  for (std::size_t i = 0; i < kept; ++i) {
    written_.apply(tail_[i]);
  }
  opened();
}

void FakeStore::opened() {
  synced_ = written_;
  tail_.clear();
  refusing_ = false;
}

}  // namespace limpet::test
