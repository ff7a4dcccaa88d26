// Core: a disk that fails or is full, and what is known again when it works.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <unordered_set>
#include <utility>

#include "agent/core/core_impl.h"
#include "agent/core/harmless_text.h"

namespace limpet::core {

namespace {

constexpr std::int64_t kFirstReopenMs = 100;
constexpr std::int64_t kMaxReopenMs = 5'000;
// The first look lies on a multiple of this, so that not every append sets the timer anew.
constexpr std::int64_t kDeadlineGrainMs = 256;
// From the first look that finds no answer to the second, which decides.
constexpr std::int64_t kSecondLookMs = 256;
// A tick that comes so late tells of an agent that stood still, not of its disk.
constexpr std::int64_t kStoodStillMs = 1'000;

std::string utc(WallMs at) {
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(at)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const auto of_day = static_cast<int>((time - day).count() / 1'000);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), of_day / 3'600,
                of_day / 60 % 60, of_day % 60);
  return text;
}

}  // namespace

// What stands against a change because of the disk. `frees_room`: it makes the store smaller.
std::optional<Problem> Core::Impl::storage_refusal(bool frees_room) const {
  if (!disk_works()) {
    const bool full = storage_status_.code() == Errc::full;
    return Problem{full ? ProblemCode::storage_full : ProblemCode::storage_failed,
                   "Nothing can be kept on disk now: " + storage_status_.message() +
                       ". Nothing of this change was accepted; try again.",
                   "", 0};
  }
  if (low_on_space_ && !frees_room) {
    return Problem{ProblemCode::storage_full,
                   "The disk that holds the state is full; only deregistrations are accepted until there is room "
                   "again. Nothing of this change was accepted; try again.",
                   "", 0};
  }
  return std::nullopt;
}

void Core::Impl::show_storage(StatusView& status, Now now) const {
  status.storage_since = storage_since_;
  status.append_pending_ms = in_flight_.empty() ? 0 : now.steady_ms - awaited_since_.steady_ms;
  if (!disk_works()) {
    const bool full = storage_status_.code() == Errc::full;
    status.storage = disk_ == Disk::hung ? StorageState::hung : full ? StorageState::full : StorageState::failed;
    status.storage_error = storage_status_.message();
  } else if (low_on_space_) {
    status.storage = StorageState::full;
    status.storage_error = "the disk is full: only deregistrations are accepted until there is room again";
  }
}

void Core::Impl::storage_failed(const Status& status, Now now, Actions& actions) {
  storage_status_ = status;
  if (disk_ != Disk::failed) {
    disk_ = Disk::failed;
    storage_since_ = now.wall_ms;
    reopen_delay_ms_ = kFirstReopenMs;
    record(Happening::storage_failed, status.message(), now);
    actions.push_back(Note{Note::Level::error, "storage_failed",
                           "error=" + quoted_value(status.message()) +
                               " meaning=\"changes are refused until it works; what is in ZooKeeper stays\""});
    actions.push_back(Changed{});
    actions.push_back(ReopenStore{reopen_delay_ms_});
  }
}

// ---- A disk that hangs

// Of the next look. An agent that was stopped finds its timer and the disk's answer due at once, in either order: the
// second look comes when the answer has had its turn.
std::optional<std::int64_t> Core::Impl::disk_deadline() const {
  if (in_flight_.empty()) {
    return std::nullopt;
  }
  if (no_answer_at_ms_) {
    return *no_answer_at_ms_ + kSecondLookMs;
  }
  const std::int64_t at_ms = awaited_since_.steady_ms + kHungAfterMs - kSecondLookMs;
  return (at_ms + kDeadlineGrainMs - 1) / kDeadlineGrainMs * kDeadlineGrainMs;
}

// Callers who wait for a disk that is silent are told that nobody knows; what they asked for may yet happen, as a
// whole.
void Core::Impl::look_at_disk(Now now, Actions& actions) {
  if (!disk_works() || in_flight_.empty() || now.steady_ms < *disk_deadline()) {
    return;
  }
  if (timer_ms_ && now.steady_ms - *timer_ms_ >= kStoodStillMs) {
    awaited_since_ = now;
    no_answer_at_ms_.reset();
    return;
  }
  if (!no_answer_at_ms_) {
    no_answer_at_ms_ = now.steady_ms;
    return;
  }
  disk_ = Disk::hung;
  storage_since_ = awaited_since_.wall_ms;
  storage_status_ = Status(Errc::io, "the disk has not answered since " + utc(storage_since_));
  record(Happening::storage_failed, storage_status_.message(), now);
  actions.push_back(Note{Note::Level::error, "storage_hangs",
                         "error=" + quoted_value(storage_status_.message()) +
                             " meaning=\"changes are refused until it does; what is in ZooKeeper stays\""});
  actions.push_back(Changed{});
  for (InFlight& flight : in_flight_) {
    answer(flight, storage_status_, actions);
    flight.replies.clear();
  }
}

// An append is done. While the disk hangs nothing is handed to it, so that all it still owes is done before long.
void Core::Impl::disk_answers(Now now, Actions& actions) {
  awaited_since_ = now;
  no_answer_at_ms_.reset();
  if (disk_ != Disk::hung || !in_flight_.empty()) {
    return;
  }
  disk_ = Disk::working;
  storage_status_ = Status();
  storage_since_ = now.wall_ms;
  lifetimes_.grant_grace();
  record(Happening::storage_recovered, "", now);
  actions.push_back(
      Note{Note::Level::info, "storage_recovered", "meaning=\"the disk answers; changes are accepted again\""});
  actions.push_back(Changed{});
  persist_session(actions);
}

// Nothing has to be written for them: all that they ask for is on disk, and nothing newer is on its way there.
bool Core::Impl::repeats_what_is_durable(const std::vector<ChangeRequest>& changes, const Caller& caller) const {
  return registry_.all_repeat(changes, caller) &&
         std::all_of(changes.begin(), changes.end(), [&](const ChangeRequest& change) {
           return registry_.planned(std::get<RegisterRequest>(change).id)->seq <= committed_;
         });
}

// ---- A disk that fails

void Core::Impl::on(StoreReopened event, Now now, Actions& actions) {
  if (!event.status.ok()) {
    storage_status_ = event.status;
    reopen_delay_ms_ = std::min(reopen_delay_ms_ * 2, kMaxReopenMs);
    actions.push_back(ReopenStore{reopen_delay_ms_});
    return;
  }
  // Removals that are done, only not yet erased on disk, stay done.
  std::erase_if(event.state.removals, [&](const Removal& removal) {
    return std::any_of(lazy_.begin(), lazy_.end(), [&](const Change& change) {
      const auto* erase = std::get_if<EraseRemoval>(&change);
      return erase != nullptr && erase->seq == removal.seq;
    });
  });
  // What of the changes on their way made it to the disk has happened after all, in its order.
  std::vector<Change> erased;
  std::vector<std::pair<std::pair<Seq, bool>, Change>> put;
  std::unordered_set<RegistrationId> stored_live;
  for (const SharedRegistration& registration : event.state.registrations) {
    stored_live.insert(registration->id);
    const Registration* had = registry_.find(registration->id);
    if (had == nullptr || had->seq != registration->seq) {
      put.emplace_back(std::make_pair(registration->seq, true), PutRegistration{registration});
    }
  }
  registry_.for_each_live([&](const Registration& live) {
    if (!stored_live.contains(live.id)) {
      erased.push_back(EraseRegistration{live.id});
    }
  });
  for (const Removal& removal : event.state.removals) {
    if (!registry_.removals().contains(removal.seq)) {
      put.emplace_back(std::make_pair(removal.seq, false), PutRemoval{removal});
    }
  }
  std::sort(put.begin(), put.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [key, change] : put) {
    erased.push_back(std::move(change));
  }
  Replay::Effects effects{actions, {}, {}, {}};
  for (const Change& change : erased) {
    take_effect(change, false, now, effects);
  }
  registry_.reset(event.state);
  holds_reread(event.state.holds, now, effects);
  rescue_history(event.state.last_event, now, actions);
  rescue_outcomes(event.state);
  rescue_parents(event.state, now);
  absorb(effects, now);
  lifetimes_.give_back();
  lifetimes_.grant_grace();
  committed_ = std::max(committed_, event.state.last_seq);
  disk_ = Disk::working;
  storage_status_ = Status();
  storage_since_ = now.wall_ms;
  low_on_space_ = event.low_on_space;
  actions.push_back(Note{Note::Level::info, "storage_recovered",
                         low_on_space_ ? "meaning=\"the disk is full: only deregistrations are accepted\""
                                       : "meaning=\"changes are accepted again\""});
  actions.push_back(Changed{});
  persist_session(actions);
}

void Core::Impl::on(const SpaceChanged& event, Now now, Actions& actions) {
  if (low_on_space_ == event.low) {
    return;
  }
  low_on_space_ = event.low;
  storage_since_ = disk_works() ? now.wall_ms : storage_since_;
  actions.push_back(Changed{});
  lifetimes_.grant_grace();
  if (low_on_space_) {
    actions.push_back(
        Note{Note::Level::error, "storage_full", "meaning=\"the disk is full: only deregistrations are accepted\""});
  } else {
    actions.push_back(Note{Note::Level::info, "storage_has_room", "meaning=\"changes are accepted again\""});
  }
}

}  // namespace limpet::core
