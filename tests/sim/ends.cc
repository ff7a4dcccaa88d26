#include "tests/sim/ends.h"

#include <algorithm>

#include "tests/sim/describe.h"

namespace limpet::test {

namespace {

bool ends_by_itself(Happening what) {
  return what == Happening::expired || what == Happening::ttl_expired || what == Happening::process_ended ||
         what == Happening::connection_closed;
}

}  // namespace

// ---- The driver's reports

void Ends::load_planned() {
  planned_.clear();
  for (const auto& [id, registration] : store_.written().registrations) {
    planned_[id] = registration;
  }
}

void Ends::agent_started() {
  load_planned();
  bound_.clear();
  perhaps_bound_.clear();
  last_recorded_ = 0;
  run_at_ = clock_.steady_ms();
  graced();
}

void Ends::agent_died() {
  for (const auto& [token, call] : calls_) {
    known_.erase(call.target);
  }
  calls_.clear();
}

void Ends::reread() {
  load_planned();
  graced();
}

void Ends::graced() {
  grace_at_ = clock_.steady_ms();
}

void Ends::persisting(const core::Persist& persist, const core::Caller* by) {
  for (const Change& change : persist.batch.changes) {
    if (const auto* put = std::get_if<PutRegistration>(&change)) {
      const Registration& registration = put->registration;
      planned_[registration.id] = registration;
      heard_[registration.id] = clock_.steady_ms();
      accepted_at_.try_emplace(registration.seq, clock_.steady_ms());
      if (by != nullptr && registration.lifetime.bind == Bind::connection) {
        bound_[{registration.id, registration.data}].insert(by->connection);
      }
    } else if (const auto* erase = std::get_if<EraseRegistration>(&change)) {
      const HistoryEntry* cause = nullptr;
      for (const Change& other : persist.batch.changes) {
        const auto* added = std::get_if<AddHistory>(&other);
        if (added != nullptr && added->entry->id == erase->id &&
            (added->entry->what == Happening::deregistered || ends_by_itself(added->entry->what))) {
          cause = added->entry.get();
        }
      }
      if (cause == nullptr) {
        verdict_.fail("history", erase->id.str() + " is removed, and no entry says why");
      } else if (ends_by_itself(cause->what)) {
        judge(planned_[erase->id], *cause);
        model_.ending({erase->id, cause->seq});
        ++counts_[static_cast<std::size_t>(cause->what)];
      }
    }
  }
}

void Ends::committed(const Batch& batch) {
  for (const Change& change : batch.changes) {
    const auto* added = std::get_if<AddHistory>(&change);
    if (added != nullptr && added->entry->id && ends_by_itself(added->entry->what)) {
      model_.ended(added->entry->seq);
    }
  }
}

void Ends::heartbeat_answered(const RegistrationId& id, const core::Reply& reply) {
  if (!std::holds_alternative<core::Problem>(reply.result)) {
    heard_[id] = clock_.steady_ms();
  }
}

void Ends::repeated(const RegistrationId& id, const std::string& data, core::ConnectionId connection) {
  bound_[{id, data}].insert(connection);
}

void Ends::perhaps_bound(const core::Submit& submit) {
  for (const core::ChangeRequest& change : submit.changes) {
    const auto* request = std::get_if<core::RegisterRequest>(&change);
    if (request != nullptr && request->lifetime.bind == Bind::connection) {
      perhaps_bound_[{request->id, request->data}].insert(submit.caller.connection);
    }
  }
}

void Ends::decided(const core::Submit& submit) {
  for (const core::ChangeRequest& change : submit.changes) {
    const auto* request = std::get_if<core::RegisterRequest>(&change);
    if (request != nullptr && request->lifetime.bind == Bind::connection) {
      auto& bound = perhaps_bound_[{request->id, request->data}];
      if (const auto it = bound.find(submit.caller.connection); it != bound.end()) {
        bound.erase(it);
      }
    }
  }
}

// ---- I9

void Ends::fail(const Registration& ended, const HistoryEntry& entry, const std::string& why) {
  verdict_.fail("I9", ended.id.str() + " " + seq_text(ended.seq) + " is taken for dead as " + name_of(entry.what) +
                          " (" + entry.why + "), but " + why);
}

bool Ends::connection_over(const Registration& ended) const {
  const auto perhaps = perhaps_bound_.find({ended.id, ended.data});
  if (perhaps != perhaps_bound_.end() &&
      std::any_of(perhaps->second.begin(), perhaps->second.end(), [&](auto one) { return !locals_.open(one); })) {
    return true;
  }
  const auto it = bound_.find({ended.id, ended.data});
  if (it == bound_.end()) {
    return clock_.steady_ms() - std::max(run_at_, grace_at_) >= connection_grace_ms_;
  }
  return std::any_of(it->second.begin(), it->second.end(), [&](auto one) { return !locals_.open(one); });
}

// On stable storage as having been in ZooKeeper.
bool Ends::reached(const Registration& registration) const {
  const auto it = store_.synced().outcomes.find(registration.id);
  return it != store_.synced().outcomes.end() && it->second.seq == registration.seq;
}

void Ends::judge(const Registration& ended, const HistoryEntry& entry) {
  const Lifetime& lifetime = ended.lifetime;
  const std::int64_t now = clock_.steady_ms();
  if (entry.what == Happening::process_ended && (!lifetime.process || locals_.alive(*lifetime.process))) {
    fail(ended, entry, "its process lives, or it has none");
  } else if (entry.what == Happening::connection_closed &&
             (lifetime.bind != Bind::connection || !connection_over(ended))) {
    fail(ended, entry, "its connection is open, or it has none");
  } else if (entry.what == Happening::ttl_expired) {
    const std::int64_t since = std::max(heard_[ended.id], grace_at_);
    if (lifetime.ttl_ms == 0 || now - since < lifetime.ttl_ms) {
      fail(ended, entry, "only " + std::to_string(now - since) + " ms of its ttl had passed");
    } else if (locals_.client_lives(ended.id)) {
      fail(ended, entry, "its client lives and sends heartbeats");
    }
  } else if (entry.what == Happening::expired) {
    const auto accepted = accepted_at_.find(ended.seq);
    const bool by_wall = wall_jumped_ && run_at_ > (accepted == accepted_at_.end() ? 0 : accepted->second);
    const bool over = accepted == accepted_at_.end() || now - accepted->second >= lifetime.expires_ms || by_wall;
    if (lifetime.expires_ms == 0 || !over) {
      fail(ended, entry, "it had more time");
    } else if (reached(ended)) {
      fail(ended, entry, "it had been in ZooKeeper");
    }
  }
}

// ---- I10

std::string Ends::doomed(const RegistrationId& id, const Accepted& accepted) const {
  const Lifetime& lifetime = accepted.lifetime;
  if (lifetime.process && !locals_.alive(*lifetime.process)) {
    return "its process is dead";
  }
  if (lifetime.ttl_ms > 0 && !locals_.client_lives(id)) {
    return "nobody sends its heartbeats";
  }
  if (lifetime.bind == Bind::connection) {
    const auto any_open = [&](const auto& bound) {
      const auto it = bound.find({id, accepted.data});
      return it != bound.end() &&
             std::any_of(it->second.begin(), it->second.end(), [&](auto one) { return locals_.open(one); });
    };
    if (!any_open(bound_) && !any_open(perhaps_bound_)) {
      return "its connection is closed";
    }
  }
  const auto outcome = store_.written().outcomes.find(id);
  if (lifetime.expires_ms > 0 && (outcome == store_.written().outcomes.end() || outcome->second.seq != accepted.seq)) {
    return "it is to expire";
  }
  return "";
}

// ---- Maintenance

void Ends::maintenance_submitted(const core::SetMaintenance& event) {
  calls_[event.token] = Call{event.id, event.reason};
}

bool Ends::maintenance_replied(const core::Reply& reply) {
  const auto it = calls_.find(reply.token);
  if (it == calls_.end()) {
    return false;
  }
  const Call call = it->second;
  calls_.erase(it);
  if (const auto* problem = std::get_if<core::Problem>(&reply.result)) {
    const bool doubt =
        problem->code == core::ProblemCode::storage_failed || problem->code == core::ProblemCode::storage_full;
    if (doubt) {
      known_.erase(call.target);
    }
    return true;
  }
  const auto& answers = std::get<std::vector<core::AcceptedChange>>(reply.result);
  Known known{call.reason, {}};
  if (call.target) {
    known.seq = answers.at(0).seq;
    if (answers[0].changed) {
      maintenance_acknowledged_[known.seq] = call.reason.has_value();
    }
  }
  const bool more =
      std::any_of(calls_.begin(), calls_.end(), [&](const auto& other) { return other.second.target == call.target; });
  const auto& holds = store_.synced().holds;
  const auto hold = holds.find({call.target, HoldCause::maintenance});
  const bool gone = call.target && !store_.synced().registrations.contains(*call.target);
  const bool as_said = call.reason ? hold != holds.end() && hold->second.message == *call.reason : hold == holds.end();
  if (!as_said && !more && !gone && !model_.anything_open()) {
    verdict_.fail("I1", "maintenance was acknowledged, and is not on stable storage");
  }
  known_[call.target] = known;
  return true;
}

bool Ends::host_in_maintenance(const core::Core& core) const {
  return core.status(clock_.now()).maintenance.has_value();
}

void Ends::check_maintenance(const core::Core& core) {
  const bool host = host_in_maintenance(core);
  for (auto it = known_.begin(); it != known_.end();) {
    const auto& [target, known] = *it;
    const bool open =
        std::any_of(calls_.begin(), calls_.end(), [&](const auto& other) { return other.second.target == it->first; });
    if (target) {
      const auto accepted = model_.accepted().find(*target);
      if (accepted == model_.accepted().end() || !accepted->second.present || known.seq < accepted->second.born) {
        it = known_.erase(it);
        continue;
      }
    }
    ++it;
    if (open || model_.anything_open()) {
      continue;
    }
    std::optional<Hold> shown = core.status(clock_.now()).maintenance;
    if (target) {
      const auto view = core.find(*target);
      shown = view ? view->maintenance : std::nullopt;
      if (!known.reason && host && shown && !shown->id) {
        continue;
      }
    }
    if (shown.has_value() != known.reason.has_value() || (shown && shown->message != *known.reason)) {
      verdict_.fail("maintenance", (target ? target->str() : "the host") +
                                       (known.reason ? " was put into maintenance: " + *known.reason
                                                     : std::string(" was taken out of maintenance")) +
                                       ", but shown is " + (shown ? shown->message : "none"));
    }
  }
}

// ---- The history

void Ends::recorded(const core::Recorded& recorded) {
  const HistoryEntry& entry = recorded.entry;
  const auto& history = store_.written().history;
  const auto it = std::lower_bound(history.begin(), history.end(), entry.event,
                                   [](const HistoryEntry& one, std::uint64_t event) { return one.event < event; });
  if (it == history.end() || !(*it == entry)) {
    verdict_.fail("history", "event " + std::to_string(entry.event) + " is told, and not kept");
  }
  if (entry.event <= last_recorded_) {
    verdict_.fail("history",
                  "event " + std::to_string(entry.event) + " is told after " + std::to_string(last_recorded_));
  }
  last_recorded_ = entry.event;
}

void Ends::check_history() {
  if (store_.written().disordered) {
    verdict_.fail("history", "a number was used twice, or out of order");
  }
  std::map<Seq, const HistoryEntry*> changes;
  for (const HistoryEntry& entry : store_.written().history) {
    if (entry.what == Happening::accepted || entry.what == Happening::deregistered ||
        entry.what == Happening::maintenance_on || entry.what == Happening::maintenance_off) {
      changes[entry.seq] = &entry;
    }
  }
  for (const auto& [seq, change] : model_.acknowledged_changes()) {
    const auto it = changes.find(seq);
    const Happening what = change.second ? Happening::accepted : Happening::deregistered;
    if (it == changes.end() || it->second->what != what || it->second->id != change.first) {
      verdict_.fail("history", "no entry for the acknowledged " + seq_text(seq) + " of " + change.first.str());
    }
  }
  for (const auto& [seq, on] : maintenance_acknowledged_) {
    const auto it = changes.find(seq);
    if (it == changes.end() || it->second->what != (on ? Happening::maintenance_on : Happening::maintenance_off)) {
      verdict_.fail("history", "no entry for the acknowledged maintenance " + seq_text(seq));
    }
  }
}

}  // namespace limpet::test
