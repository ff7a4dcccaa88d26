// Core: what committed changes bring about, and what comes back of it from the replay.
#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "agent/core/core_impl.h"

namespace limpet::core {

namespace {

// A failing check is in effect before it is on disk, and may be over by then.
bool is_maintenance(const Change& change) {
  const auto* put = std::get_if<PutHold>(&change);
  const auto* erase = std::get_if<EraseHold>(&change);
  return (put != nullptr && put->hold.cause == HoldCause::maintenance) ||
         (erase != nullptr && erase->cause == HoldCause::maintenance);
}

std::string with_number(std::string_view words, std::uint64_t number) {
  std::array<char, 64> text;
  assert(words.size() <= 40);
  char* const end = std::copy(words.begin(), words.end(), text.data());
  return {text.data(), std::to_chars(end, text.data() + text.size(), number).ptr};
}

}  // namespace

// What is on disk now is what is wanted, and its history is told.
void Core::Impl::take_effect(InFlight& done, Now now, Replay::Effects& effects) {
  auto next = done.history.begin();
  const auto tell_until = [&](std::size_t place) {
    for (; next != done.history.end() && next->place <= place; ++next) {
      effects.actions.emplace_back(Recorded{std::move(next->entry)});
    }
  };
  for (std::size_t place = 0; place < done.changes.size(); ++place) {
    tell_until(place);
    take_effect(done.changes[place], true, now, effects);
  }
  tell_until(done.changes.size());
}

// `known`: nothing of this was sent by an earlier run.
void Core::Impl::take_effect(const Change& change, bool known, Now now, Replay::Effects& effects) {
  if (const auto* put = std::get_if<PutRegistration>(&change)) {
    take_effect(put->registration, known, now, effects);
  } else if (const auto* erased = std::get_if<EraseRegistration>(&change)) {
    take_effect(*erased, now, effects.actions);
  } else if (const auto* removal = std::get_if<PutRemoval>(&change)) {
    registry_.committed(change);
    replay_.want_absent(removal->removal, known, effects);
    effects.actions.emplace_back(Changed{});
  } else if (const auto* done = std::get_if<EraseRemoval>(&change)) {
    superseded_removal(*done, now, effects.actions);
    registry_.committed(change);
  } else if (const auto* hold = std::get_if<PutHold>(&change); hold != nullptr && is_maintenance(change)) {
    holds_.put(hold->hold);
    hold_changed(hold->hold.id, effects);
  } else if (const auto* end = std::get_if<EraseHold>(&change); end != nullptr && is_maintenance(change)) {
    holds_.erase(end->id, HoldCause::maintenance);
    hold_changed(end->id, effects);
  }
}

void Core::Impl::take_effect(const SharedRegistration& registration, bool known, Now now, Replay::Effects& effects) {
  const Registry::Entry* entry = registry_.look_up(registration->id);
  const Registration* old = entry != nullptr ? entry->live.get() : nullptr;
  Replay::Node* const there = replay_.at(registration->path);
  if (old != nullptr) {
    const Replay::Node* const before = old->path == registration->path ? there : replay_.at(old->path);
    if (old->seq != registration->seq && Replay::unsent(before, old->seq)) {
      record_superseded(old->seq, old->id, before, with_number("updated by change ", registration->seq.value), now);
    }
    forget_other_checks(*old, *registration, now, effects.actions);
  }
  registry_.committed(registration, entry);
  const std::int64_t expires_ms = registration->lifetime.expires_ms;
  began(*registration, expires_ms > 0 ? std::optional(expires_ms) : std::nullopt, now, effects.actions);
  want(registration, known, there, effects);
  effects.actions.emplace_back(Changed{});
}

void Core::Impl::take_effect(const EraseRegistration& erased, Now now, Actions& actions) {
  Seq gone;
  if (const Registration* old = registry_.find(erased.id)) {
    gone = old->seq;
    if (const Replay::Node* there = replay_.at(old->path); Replay::unsent(there, old->seq)) {
      record_superseded(old->seq, old->id, there, "deregistered before it was confirmed in ZooKeeper", now);
    }
  }
  registry_.committed(erased);
  ended(erased.id, gone, actions);
}

// Superseded by a registration at its path, which comes next in this batch; or done long ago.
void Core::Impl::superseded_removal(const EraseRemoval& erased, Now now, Actions& actions) {
  const auto it = registry_.removals().find(erased.seq);
  if (it == registry_.removals().end()) {
    return;
  }
  const Removal& removal = it->second;
  // Where a registration moved away from the path, its change stands all the same.
  const Registration* moved = registry_.find(removal.id);
  const Replay::Node* there = replay_.at(removal.path);
  if ((moved == nullptr || moved->seq != removal.seq) && Replay::unsent(there, removal.seq)) {
    record_superseded(removal.seq, removal.id, there, "registered again before its znode was removed", now);
  }
  actions.emplace_back(Changed{});
}

// Passes on what the replay settled.
void Core::Impl::absorb(Replay::Effects& effects, Now now) {
  for (const Removal& done : effects.removals_done) {
    if (const auto it = registry_.removals().find(done.seq); it != registry_.removals().end()) {
      parents_used(it->second.path, now);
    }
    registry_.removal_done(done.seq);
    lazy_.push_back(EraseRemoval{done.seq});
  }
  bool soon = false;
  for (PutOutcome& outcome : effects.outcomes) {
    soon = lifetimes_.reached(outcome.id, outcome.outcome.seq) || soon;
    lazy_.push_back(std::move(outcome));
  }
  for (HistoryEntry& entry : effects.history) {
    record(std::move(entry), now);
  }
  if (!effects.parents.empty()) {
    remember_parents(std::exchange(effects.parents, {}), now);
  }
  effects.removals_done.clear();
  effects.outcomes.clear();
  effects.history.clear();
  if (!lazy_.empty() && !lazy_at_ms_) {
    lazy_at_ms_ = now.steady_ms + kLazyMs;
  }
  if (soon) {
    lazy_at_ms_ = now.steady_ms;  // the next run must not take it for one that never got there
    lazy_sync_ = true;
  }
}

}  // namespace limpet::core
