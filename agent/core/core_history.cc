// Core: the history of what happened. What is accepted is recorded in the same batch as the change itself; what happens
// by itself a moment later, with the next.
#include <algorithm>
#include <utility>

#include "agent/core/core_impl.h"

namespace limpet::core {

namespace {

// While the disk fails, no more entries than this wait for it.
constexpr std::size_t kMaxWaiting = 10'000;

// Entries that stand in one batch with the change that they tell of: where that did not happen, they are void.
bool belongs_to_change(Happening what) {
  switch (what) {
    case Happening::accepted:
    case Happening::deregistered:
    case Happening::expired:
    case Happening::ttl_expired:
    case Happening::process_ended:
    case Happening::connection_closed:
    case Happening::maintenance_on:
    case Happening::maintenance_off:
      return true;
    case Happening::superseded:
    case Happening::registered:
    case Happening::removed:
    case Happening::withdrawn:
    case Happening::pruned:
    case Happening::conflict:
    case Happening::blocked:
    case Happening::unhealthy:
    case Happening::healthy:
    case Happening::repaired:
    case Happening::session_connected:
    case Happening::session_suspended:
    case Happening::session_expired:
    case Happening::storage_failed:
    case Happening::storage_recovered:
    case Happening::agent_started:
    case Happening::agent_stopped:
    case Happening::history_gap:
      return false;
  }
  return false;
}

}  // namespace

HistoryEntry Core::Impl::entry(Happening what, Now now) {
  HistoryEntry entry;
  entry.event = ++last_event_;
  entry.last_seq = committed_;
  entry.time = now.wall_ms;
  entry.what = what;
  return entry;
}

// False where it is one too many, and only counted.
bool Core::Impl::may_record() {
  const bool room = disk_works() || lazy_.size() < kMaxWaiting;
  entries_lost_ += room ? 0 : 1;
  return room;
}

void Core::Impl::record(SharedHistoryEntry entry, Now now) {
  lazy_.emplace_back(AddHistory{std::move(entry)});
  if (!lazy_at_ms_) {
    lazy_at_ms_ = now.steady_ms + kLazyMs;
  }
}

// Takes a place in the history where `entry` has none yet.
void Core::Impl::record(HistoryEntry&& entry, Now now) {
  if (!may_record()) {
    return;
  }
  if (entry.event == 0) {
    entry.event = ++last_event_;
    entry.last_seq = committed_;
    entry.time = now.wall_ms;
  }
  record(SharedHistoryEntry::made_by([&] { return std::move(entry); }), now);
}

void Core::Impl::record(Happening what, std::string why, Now now) {
  HistoryEntry happened;
  happened.what = what;
  happened.why = std::move(why);
  record(std::move(happened), now);
}

// Into the batch of `plan` itself.
void Core::Impl::record_accepted(const std::vector<ChangeRequest>& changes, Plan& plan, const Caller& caller, Now now) {
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (!plan.answers[i].changed) {
      continue;
    }
    const bool registers = std::holds_alternative<RegisterRequest>(changes[i]);
    plan.batch.changes.emplace_back(AddHistory{SharedHistoryEntry::made_by([&] {
      HistoryEntry happened = entry(registers ? Happening::accepted : Happening::deregistered, now);
      happened.seq = plan.answers[i].seq;
      happened.id = plan.answers[i].id;
      happened.who.emplace(caller.owner, caller.program);
      return happened;
    })});
  }
}

// Called before change `seq` is out of effect, where it was never sent to `there`.
void Core::Impl::record_superseded(Seq seq, const RegistrationId& id, const Replay::Node* there, std::string why,
                                   Now now) {
  if (Replay::doubtful(there)) {
    why += "; whether it had got there is not known";
  }
  if (!may_record()) {
    return;
  }
  record(SharedHistoryEntry::made_by([&] {
           HistoryEntry happened = entry(Happening::superseded, now);
           happened.seq = seq;
           happened.id = id;
           happened.why = std::move(why);
           return happened;
         }),
         now);
}

void Core::Impl::record_session(Now now) {
  const SessionState state = session_.state();
  if (state == recorded_session_) {
    return;
  }
  recorded_session_ = state;
  switch (state) {
    case SessionState::connecting:
      return;
    case SessionState::connected:
      return record(Happening::session_connected, session_.words(), now);
    case SessionState::suspended:
      return record(Happening::session_suspended, session_.words(), now);
    case SessionState::expired:
    case SessionState::auth_failed:
      return record(Happening::session_expired, session_.words(), now);
  }
}

// The store was opened again, and holds the history up to `stored_event`. What of the rest is no part of a change that
// did not happen is written again, in its old place.
void Core::Impl::rescue_history(std::uint64_t stored_event, Now now, Actions& actions) {
  last_event_ = std::max(last_event_, stored_event);
  std::vector<Change> rescued;
  for (SharedHistoryEntry& entry : std::exchange(unwritten_, {})) {
    if (entry->event <= stored_event) {
      actions.push_back(Recorded{std::move(entry)});  // the batch is on disk all the same
    } else if (!belongs_to_change(entry->what)) {
      rescued.push_back(AddHistory{std::move(entry)});
    }
  }
  lazy_.insert(lazy_.begin(), std::make_move_iterator(rescued.begin()), std::make_move_iterator(rescued.end()));
  if (const std::uint64_t lost = std::exchange(entries_lost_, 0); lost != 0) {
    record(Happening::history_gap, std::to_string(lost) + " entries could not be kept while the disk failed", now);
  }
  record(Happening::storage_recovered, "", now);
}

// What was confirmed, and did not come to disk with a batch that failed, is written again: the next run must not take
// it for what never was in ZooKeeper.
void Core::Impl::rescue_outcomes(const StoredState& stored) {
  std::vector<Change> rescued;
  for (PutOutcome& lost : std::exchange(unwritten_outcomes_, {})) {
    const Registration* registration = registry_.find(lost.id);
    const bool stands = registration != nullptr && registration->seq == lost.outcome.seq;
    const bool kept = std::any_of(stored.outcomes.begin(), stored.outcomes.end(), [&](const auto& entry) {
      return entry.first == lost.id && entry.second.seq == lost.outcome.seq;
    });
    if (stands && !kept) {
      rescued.emplace_back(std::move(lost));
    }
  }
  lazy_sync_ = lazy_sync_ || !rescued.empty();
  lazy_.insert(lazy_.begin(), std::make_move_iterator(rescued.begin()), std::make_move_iterator(rescued.end()));
}

}  // namespace limpet::core
