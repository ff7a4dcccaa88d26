// Registry: what stands, and what is found by name and path. registry_plan.cc plans.
#include "agent/core/registry.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/core/core.h"

namespace limpet::core {

Registry::Registry(const Options& options, const StoredState& stored, Parents& parents)
    : options_(options), parents_(parents) {
  reset(stored);
}

void Registry::reset(const StoredState& stored) {
  std::unordered_map<RegistrationId, SharedRegistration> had;  // the replay may hold the same ones
  for (const Entry& entry : entries_) {
    if (entry.live) {
      had.emplace(entry.id(), entry.live);
    }
  }
  last_seq_ = std::max(last_seq_, stored.last_seq);
  drafts_.clear();
  by_path_.clear();
  by_id_.clear();
  entries_.clear();
  live_count_ = 0;
  total_ = {};
  by_uid_.clear();
  for (const SharedRegistration& read : stored.registrations) {
    const auto it = had.find(read->id);
    const SharedRegistration& registration = it != had.end() && *it->second == *read ? it->second : read;
    place(add_entry(Entry{registration, {}}));
    ++live_count_;
    const Amount amount = amount_of(*registration);
    total_ += amount;
    by_uid_[registration->owner.uid] += amount;
  }
  removals_.clear();
  removals_by_id_.clear();
  removal_at_.clear();
  for (const Removal& removal : stored.removals) {
    removals_.emplace(removal.seq, removal);
    removal_at_[removal.path] = removal.seq;
    removals_by_id_[removal.id].insert(removal.seq);
  }
  for (const Removal& removal : stored.removals) {
    if (!removal.moved) {
      end_moves(removal.id, removal.seq);
    }
  }
}

// The registration was deregistered by that change: what moved before has nowhere to stand.
void Registry::end_moves(const RegistrationId& id, Seq before) {
  const auto it = removals_by_id_.find(id);
  if (it == removals_by_id_.end()) {
    return;
  }
  for (auto seq = it->second.begin(); seq != it->second.end() && *seq < before; ++seq) {
    removals_.at(*seq).moved = false;
  }
}

// ---- Entries

const Registry::Entry* Registry::look_up(const RegistrationId& id) const {
  return by_id_.find(id);
}

const Registry::Entry& Registry::add_entry(Entry entry) {
  const auto [it, added] = entries_.insert(std::move(entry));
  assert(added);
  by_id_.insert(&*it);
  return *it;
}

void Registry::erase_entry(const Entry& entry) {
  displace(entry);
  by_id_.erase(&entry);
  entries_.erase(entries_.find(entry.id()));
}

// To where it is planned to be.
void Registry::place(const Entry& entry) {
  if (entry.planned() != nullptr) {
    by_path_.insert(&entry);
  }
}

void Registry::displace(const Entry& entry) {
  if (entry.planned() == nullptr) {
    return;
  }
  if (const auto it = by_path_.find(&entry); it != by_path_.end() && *it == &entry) {
    by_path_.erase(it);
  }
}

// Returns the draft that there was.
Registry::Draft Registry::exchange_draft(const Entry& entry, Draft draft) {
  const Registration* before = entry.planned();
  const Registration* then = entry.planned_with(draft);
  const bool moves = before != then && (before == nullptr || then == nullptr || before->path != then->path);
  if (moves) {
    displace(entry);
  }
  Draft had = std::exchange(entry.draft, std::move(draft));
  if (moves) {
    place(entry);
  }
  return had;
}

// ---- What is durable

void Registry::committed(const SharedRegistration& registration, const Entry* entry) {
  if (entry == nullptr) {
    ++live_count_;
    return place(add_entry(Entry{registration, {}}));
  }
  live_count_ += entry->live ? 0 : 1;
  if (entry->draft) {
    entry->live = registration;
  } else {
    displace(*entry);
    entry->live = registration;
    place(*entry);
  }
}

void Registry::committed(const Change& change) {
  if (const auto* put = std::get_if<PutRegistration>(&change)) {
    committed(put->registration, look_up(put->registration->id));
  } else if (const auto* erase = std::get_if<EraseRegistration>(&change)) {
    const Entry* entry = look_up(erase->id);
    if (entry == nullptr || !entry->live) {
      return;
    }
    --live_count_;
    if (entry->draft) {
      entry->live = {};
    } else {
      erase_entry(*entry);
    }
  } else if (const auto* removal = std::get_if<PutRemoval>(&change)) {
    removals_[removal->removal.seq] = removal->removal;
    removals_by_id_[removal->removal.id].insert(removal->removal.seq);
    if (!removal->removal.moved) {
      end_moves(removal->removal.id, removal->removal.seq);
    }
  } else if (const auto* done = std::get_if<EraseRemoval>(&change)) {
    removal_done(done->seq);
  }
}

void Registry::committed_through(Seq through) {
  for (; !drafts_.empty() && drafts_.front().first <= through; drafts_.pop_front()) {
    const auto& [seq, entry] = drafts_.front();
    if (entry->draft.seq() != seq) {
      continue;  // there is a newer one
    }
    if (entry->live && entry->planned() == entry->live.get()) {
      entry->draft = {};  // it stands where it was planned to be
    } else if (entry->live) {
      exchange_draft(*entry, {});
    } else {
      erase_entry(*entry);
    }
  }
}

void Registry::removal_done(Seq seq) {
  const auto it = removals_.find(seq);
  if (it == removals_.end()) {
    return;
  }
  if (auto at = removal_at_.find(it->second.path); at != removal_at_.end() && at->second == seq) {
    removal_at_.erase(at);
  }
  if (auto by_id = removals_by_id_.find(it->second.id); by_id != removals_by_id_.end()) {
    by_id->second.erase(seq);
    if (by_id->second.empty()) {
      removals_by_id_.erase(by_id);
    }
  }
  removals_.erase(it);
}

const Registration* Registry::find(const RegistrationId& id) const {
  const Entry* entry = look_up(id);
  return entry != nullptr ? entry->live.get() : nullptr;
}

SharedRegistration Registry::live(const RegistrationId& id) const {
  const Entry* entry = look_up(id);
  return entry != nullptr ? entry->live : SharedRegistration();
}

const std::set<Seq>* Registry::removals_of(const RegistrationId& id) const {
  const auto it = removals_by_id_.find(id);
  return it == removals_by_id_.end() ? nullptr : &it->second;
}

}  // namespace limpet::core
