// Core: a disk that fails or is full, and what is known again when it works.
#include <algorithm>
#include <unordered_set>
#include <utility>

#include "agent/core/core_impl.h"
#include "agent/core/harmless_text.h"

namespace limpet::core {

namespace {

constexpr std::int64_t kFirstReopenMs = 100;
constexpr std::int64_t kMaxReopenMs = 5'000;

}  // namespace

// What stands against a change because of the disk. `frees_room`: it makes the store smaller.
std::optional<Problem> Core::Impl::storage_refusal(bool frees_room) const {
  if (!storage_healthy_) {
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

void Core::Impl::storage_failed(const Status& status, Now now, Actions& actions) {
  storage_status_ = status;
  if (storage_healthy_) {
    storage_healthy_ = false;
    reopen_delay_ms_ = kFirstReopenMs;
    record(Happening::storage_failed, status.message(), now);
    actions.push_back(Note{Note::Level::error, "storage_failed",
                           "error=" + quoted_value(status.message()) +
                               " meaning=\"changes are refused until it works; what is in ZooKeeper stays\""});
    actions.push_back(ReopenStore{reopen_delay_ms_});
  }
}

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
  absorb(effects, now);
  lifetimes_.give_back();
  lifetimes_.grant_grace();
  committed_ = std::max(committed_, event.state.last_seq);
  storage_healthy_ = true;
  storage_status_ = Status();
  low_on_space_ = event.low_on_space;
  actions.push_back(Note{Note::Level::info, "storage_recovered",
                         low_on_space_ ? "meaning=\"the disk is full: only deregistrations are accepted\""
                                       : "meaning=\"changes are accepted again\""});
  persist_session(actions);
}

void Core::Impl::on(const SpaceChanged& event, Now, Actions& actions) {
  if (low_on_space_ == event.low) {
    return;
  }
  low_on_space_ = event.low;
  lifetimes_.grant_grace();
  if (low_on_space_) {
    actions.push_back(
        Note{Note::Level::error, "storage_full", "meaning=\"the disk is full: only deregistrations are accepted\""});
  } else {
    actions.push_back(Note{Note::Level::info, "storage_has_room", "meaning=\"changes are accepted again\""});
  }
}

}  // namespace limpet::core
