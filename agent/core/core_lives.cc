// Core: what lets a registration end, or be withdrawn, without its owner's asking for it; and maintenance.
#include <algorithm>
#include <utility>

#include "agent/core/contained.h"
#include "agent/core/core_impl.h"
#include "agent/core/harmless_text.h"

namespace limpet::core {

namespace {

Problem no_registration(const RegistrationId& id) {
  return {ProblemCode::not_found, "There is no registration " + id.str() + " on this host.", "", 0};
}

// What the registry does on the agent's own account.
Caller the_agent() {
  Caller caller;
  caller.privileged = true;
  return caller;
}

}  // namespace

// Brings one registration to the replay, as it is wanted with all that holds it back.
void Core::Impl::want(const SharedRegistration& registration, bool known, Replay::Node* there,
                      Replay::Effects& effects) {
  if (holds_.held(registration->id)) {
    replay_.want_withdrawn(registration, known, effects);
  } else {
    replay_.want_present(registration, known, there);
  }
}

// A hold of this registration, or without `id` of the whole host, was put or erased.
void Core::Impl::hold_changed(const std::optional<RegistrationId>& id, Replay::Effects& effects) {
  const auto look = [&](const SharedRegistration& registration) {
    Replay::Node* const there = replay_.at(registration->path);
    const bool withdrawn = Replay::phase(there) == Replay::Phase::withdrawn;
    if (withdrawn != holds_.held(registration->id)) {
      want(registration, true, there, effects);
    }
  };
  if (!id) {
    registry_.for_each_live(look);
    effects.actions.push_back(Changed{});
  } else if (const SharedRegistration registration = registry_.live(*id)) {
    look(registration);
    effects.actions.push_back(Changed{});
  }
}

// ---- Beginning and end

// Whose connection holds what, as soon as it is planned: the connection may be gone before it is on disk. Saying again
// what stands, or something else, is a sign of life as well.
void Core::Impl::note_bindings(const std::vector<ChangeRequest>& changes, const std::vector<AcceptedChange>& answers,
                               const Caller& caller) {
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const auto* request = std::get_if<RegisterRequest>(&changes[i]);
    if (request == nullptr) {
      holds_.plan(std::get<DeregisterRequest>(changes[i]).id, std::nullopt);
      continue;
    }
    if (request->lifetime.bind == Bind::connection) {
      lifetimes_.bind(request->id, answers[i].seq, caller.connection);
    }
    lifetimes_.heartbeat(request->id);
  }
}

// The registration is on disk with this content.
void Core::Impl::began(const Registration& registration, std::optional<std::int64_t> expires_in_ms, Now now,
                       Actions& actions) {
  const RegistrationId& id = registration.id;
  const Lifetime& lifetime = registration.lifetime;
  lifetimes_.begin(registration, expires_in_ms, now);
  if (lifetime.process || !lifetime.checks.empty()) {
    watched_.insert(id);
    const bool failing = holds_.failing_check(id) != nullptr;
    const bool unproven = !failing && !session_.usable() && Replay::unpublished(replay_.at(registration.path));
    actions.push_back(
        Watch{id, registration.seq, registration.owner.uid, lifetime.process, lifetime.checks, failing, unproven});
  } else if (!watched_.empty() && watched_.erase(id) != 0) {
    actions.push_back(Unwatch{id});
  }
}

// What checks found that are no longer asked for is void. `next` is about to take the place of `old`, which stands.
void Core::Impl::forget_other_checks(const Registration& old, const Registration& next, Now now, Actions& actions) {
  if (old.lifetime.checks != next.lifetime.checks) {
    set_failing(next, std::nullopt, now, actions);
  }
}

void Core::Impl::ended(const RegistrationId& id, Seq seq, Actions& actions) {
  lifetimes_.end(id, seq);
  holds_.forget(id);
  if (watched_.erase(id) != 0) {
    actions.push_back(Unwatch{id});
  }
}

// Whoever registered it waits for a slow disk, and cannot show otherwise that he lives.
bool Core::Impl::awaits_answer(const RegistrationId& id) const {
  return std::any_of(in_flight_.begin(), in_flight_.end(), [&](const InFlight& flight) {
    return std::any_of(flight.replies.begin(), flight.replies.end(), [&](const auto& reply) {
      return std::any_of(reply.second.begin(), reply.second.end(), [&](const auto& answer) { return answer.id == id; });
    });
  });
}

// Deregisters what has ended by itself. What cannot be written now is found again when the disk works.
void Core::Impl::end_lives(Now now, Actions& actions) {
  if (!disk_works()) {
    return;
  }
  lifetimes_.expire(now);
  for (const Lifetimes::End& end : lifetimes_.take()) {
    const Registration* registration = registry_.planned(end.id);
    if (registration == nullptr || registration->seq != end.seq) {
      continue;
    }
    if (end.excusable && awaits_answer(end.id)) {
      lifetimes_.spare(end);
      continue;
    }
    std::vector<ChangeRequest> requests = {DeregisterRequest{end.id}};
    auto planned = registry_.plan(requests, the_agent(), now, {});
    Plan& plan = std::get<Plan>(planned);
    holds_.plan(end.id, std::nullopt);
    actions.push_back(Note{Note::Level::info, "ended",
                           "registration=" + log_value(end.id.str()) + " seq=" + std::to_string(end.seq.value) +
                               " why=" + quoted_value(end.why)});
    HistoryEntry happened = entry(end.cause, now);
    happened.seq = plan.answers.front().seq;
    happened.id = end.id;
    happened.why = end.why;
    plan.batch.changes.push_back(AddHistory{std::move(happened)});
    persist(std::move(plan.batch), actions, true);
  }
}

void Core::Impl::on(const Heartbeat& event, Now, Actions& actions) {
  const Registration* registration = registry_.planned(event.id);
  if (registration == nullptr) {
    actions.push_back(Reply{event.token, no_registration(event.id)});
  } else if (!Registry::may_change(event.caller, registration->owner)) {
    actions.push_back(Reply{event.token, Registry::not_owner(event.id, registration->owner, event.caller)});
  } else {
    lifetimes_.heartbeat(event.id);
    actions.push_back(Reply{event.token, std::vector<AcceptedChange>{{event.id, registration->seq, false}}});
  }
}

void Core::Impl::on(const ConnectionClosed& event, Now, Actions&) {
  lifetimes_.closed(event.connection);
}

void Core::Impl::on(const ProcessEnded& event, Now, Actions&) {
  if (const Registration* registration = registry_.find(event.id);
      registration != nullptr && registration->seq == event.seq) {
    lifetimes_.found({event.id, event.seq, Happening::process_ended, event.how});
  }
}

// ---- Health

void Core::Impl::on(const HealthChanged& event, Now now, Actions& actions) {
  const Registration* registration = registry_.find(event.id);
  if (registration == nullptr || registration->seq != event.seq) {
    return;
  }
  if (!event.passing && !session_.usable() && holds_.failing_check(event.id) == nullptr &&
      !Replay::unpublished(replay_.at(registration->path))) {
    return void_failure(*registration, event.message, actions);
  }
  set_failing(*registration, event.passing ? std::nullopt : std::optional(event.message), now, actions);
  Replay::Effects effects{actions, {}, {}, {}};
  hold_changed(event.id, effects);
  absorb(effects, now);
}

// Failing with `message`, or no longer, where there is more to be said of that than that it is well: `why`. In effect
// at once, and on disk a moment later.
void Core::Impl::set_failing(const Registration& registration, std::optional<std::string> message, Now now,
                             Actions& actions, const std::string& why) {
  const RegistrationId& id = registration.id;
  const Hold* failing = holds_.failing_check(id);
  if (failing == nullptr && !message) {
    return;
  }
  // Of several changes that wait for the disk the last says it all.
  std::erase_if(lazy_, [&](const Change& change) {
    const auto* put = std::get_if<PutHold>(&change);
    const auto* erase = std::get_if<EraseHold>(&change);
    return (put != nullptr && put->hold.id == id) || (erase != nullptr && erase->id == id);
  });
  const bool turned = (failing != nullptr) != message.has_value();
  if (message) {
    const WallMs since = failing != nullptr ? failing->since : now.wall_ms;
    const Hold hold{id, HoldCause::check, *message, registration.owner, registration.seq, since};
    holds_.put(hold);
    lazy_.push_back(PutHold{hold});
  } else {
    holds_.erase(id, HoldCause::check);
    void_outcome(registration, lazy_);
    lazy_.push_back(EraseHold{id, HoldCause::check});
  }
  if (turned) {
    HistoryEntry happened = entry(message ? Happening::unhealthy : Happening::healthy, now);
    happened.seq = registration.seq;
    happened.id = id;
    happened.why = message.value_or(why);
    actions.push_back(
        Note{message ? Note::Level::warn : Note::Level::info, message ? "unhealthy" : "healthy",
             "registration=" + log_value(id.str()) + (message ? " check=" + quoted_value(*message) : "")});
    record(std::move(happened), now);
  }
}

// A check that asks after what itself needs ZooKeeper fails on all hosts at once while ZooKeeper is away. What it found
// then is no reason to withdraw anything when ZooKeeper is back. A registration that is not in ZooKeeper has nothing to
// withdraw: it waits until its check succeeds.
void Core::Impl::void_failure(const Registration& registration, const std::string& message, Actions& actions) {
  actions.push_back(VoidFailure{registration.id});
  actions.push_back(Note{Note::Level::info, "check_fails_while_away",
                         "registration=" + log_value(registration.id.str()) + " check=" + quoted_value(message) +
                             " meaning=\"its znode stays unless the check goes on failing when ZooKeeper is back\""});
}

// What checks withdrew of znodes that still stand, as far as ZooKeeper has said.
std::vector<Hold> Core::Impl::unconfirmed_withdrawals() const {
  std::vector<Hold> unconfirmed;
  for (const auto& [id, hold] : holds_.failing()) {
    const Registration* registration = registry_.find(id);
    if (registration != nullptr && holds_.maintenance(id) == nullptr &&
        Replay::withdrawing(replay_.at(registration->path))) {
      unconfirmed.push_back(hold);
    }
  }
  return unconfirmed;
}

// The connection was lost before ZooKeeper confirmed these withdrawals: their checks may have seen the outage before
// the agent did.
void Core::Impl::take_back(const std::vector<Hold>& unconfirmed, Now now, Actions& actions) {
  Replay::Effects effects{actions, {}, {}, {}};
  for (const Hold& hold : unconfirmed) {
    const Registration& registration = *registry_.find(*hold.id);
    void_failure(registration, hold.message, actions);
    set_failing(registration, std::nullopt, now, actions,
                "not known to be: ZooKeeper went away before its znode was withdrawn; the check has to fail again");
    hold_changed(hold.id, effects);
  }
  absorb(effects, now);
}

// ZooKeeper is back.
void Core::Impl::recheck(Now now, Actions& actions) {
  // Shorter than this, only what the connection carried is in doubt: to begin all counts anew at each loss would keep
  // a dead service in ZooKeeper for as long as something cuts the connection now and then.
  constexpr std::int64_t kOutageMs = 1'000;
  if (const auto since_ms = std::exchange(away_since_ms_, std::nullopt); since_ms && !watched_.empty()) {
    actions.push_back(Recheck{now.steady_ms - *since_ms >= kOutageMs});
  }
}

// A hold ends: what is on disk of the znode that stood before it says no more than that this content has been in
// ZooKeeper. The next run would take it for what stands there.
void Core::Impl::void_outcome(const Registration& registration, std::vector<Change>& changes) const {
  const Registration* stands = registry_.find(registration.id);
  if (stands != nullptr && stands->seq == registration.seq && !lifetimes_.may_expire(registration.id) &&
      Replay::phase(replay_.at(registration.path)) == Replay::Phase::withdrawn) {
    Outcome outcome;
    outcome.seq = registration.seq;
    changes.push_back(PutOutcome{registration.id, outcome});
  }
}

// Failing checks of registrations that have none any more: the change that they were about was overtaken by another.
void Core::Impl::drop_void_holds() {
  std::vector<RegistrationId> dropped;
  for (const auto& [id, hold] : holds_.failing()) {
    const Registration* registration = registry_.find(id);
    if (registration == nullptr || registration->lifetime.checks.empty()) {
      dropped.push_back(id);
    }
  }
  for (const RegistrationId& id : dropped) {
    holds_.erase(id, HoldCause::check);
    lazy_.push_back(EraseHold{id, HoldCause::check});
  }
}

// ---- Maintenance

void Core::Impl::on(SetMaintenance event, Now now, Actions& actions) {
  const auto refuse = [&](Problem problem) { actions.push_back(Reply{event.token, std::move(problem)}); };
  if (auto problem = storage_refusal(!event.reason)) {
    return refuse(*std::move(problem));
  }
  if (event.id) {
    const Registration* registration = registry_.planned(*event.id);
    if (registration == nullptr) {
      return refuse(no_registration(*event.id));
    }
    if (!Registry::may_change(event.caller, registration->owner)) {
      return refuse(Registry::not_owner(*event.id, registration->owner, event.caller));
    }
  } else if (!event.caller.privileged) {
    return refuse({ProblemCode::not_allowed,
                   "Only root and the agent's own user may put the whole host into maintenance." +
                       std::string(words_if_contained(event.caller)),
                   "", 0});
  }
  const Hold* stands = holds_.planned(event.id);
  const bool changes = event.reason ? stands == nullptr || stands->message != *event.reason : stands != nullptr;
  std::vector<AcceptedChange> answers;
  if (event.id) {
    answers.push_back({*event.id, stands != nullptr ? stands->seq : Seq{}, changes});
  }
  if (changes) {
    Batch batch;
    batch.last_seq = registry_.take_seq();
    HistoryEntry happened = entry(event.reason ? Happening::maintenance_on : Happening::maintenance_off, now);
    happened.seq = batch.last_seq;
    happened.id = event.id;
    happened.why = event.reason.value_or("");
    happened.who = Actor{event.caller.owner, event.caller.program};
    if (event.reason) {
      Hold hold{event.id,           HoldCause::maintenance, *event.reason,
                event.caller.owner, batch.last_seq,         stands != nullptr ? stands->since : now.wall_ms};
      holds_.plan(event.id, hold);
      batch.changes.push_back(PutHold{std::move(hold)});
    } else {
      holds_.plan(event.id, std::nullopt);
      if (!event.id) {
        registry_.for_each_live([&](const Registration& live) { void_outcome(live, batch.changes); });
      } else if (const Registration* live = registry_.find(*event.id)) {
        void_outcome(*live, batch.changes);
      }
      batch.changes.push_back(EraseHold{event.id, HoldCause::maintenance});
    }
    if (event.id) {
      answers.front().seq = batch.last_seq;
    }
    batch.changes.push_back(AddHistory{std::move(happened)});
    persist(std::move(batch), actions, true);
  }
  answer_when_durable(event.token, std::move(answers), changes || !in_flight_.empty(), actions);
}

// The store was opened again: what of the holds on their way made it to the disk has happened after all, and what of
// the failing checks did not is written again.
void Core::Impl::holds_reread(const std::vector<Hold>& stored, Now now, Replay::Effects& effects) {
  holds_.reset(stored);
  registry_.for_each_live([&](const Registration& live) { hold_changed(live.id, effects); });
  std::erase_if(lazy_, [](const Change& change) {
    return std::holds_alternative<PutHold>(change) || std::holds_alternative<EraseHold>(change);
  });
  for (const Hold& hold : stored) {
    if (hold.cause == HoldCause::check && holds_.failing_check(*hold.id) == nullptr) {
      lazy_.push_back(EraseHold{hold.id, HoldCause::check});
    }
  }
  for (const auto& [id, hold] : holds_.failing()) {
    if (std::find(stored.begin(), stored.end(), hold) == stored.end()) {
      lazy_.push_back(PutHold{hold});
    }
  }
  if (!lazy_.empty() && !lazy_at_ms_) {
    lazy_at_ms_ = now.steady_ms;
  }
}

void Core::Impl::on(Reconfigured event, Now, Actions& actions) {
  options_.limits = std::move(event.limits);
  options_.paths = std::move(event.paths);
  options_.replay_rate = event.replay_rate;
  options_.acl_bytes = event.acl_bytes;
  replay_.set_rate(event.replay_rate);
  replay_.limits_changed();
  tell_excess(actions);
}

// What was accepted stays, also where the limit was lowered since, or the chroot has become longer.
void Core::Impl::tell_excess(Actions& actions) const {
  StatusView view;
  registry_.show(view);
  if (view.path_bytes.used > view.path_bytes.limit) {
    actions.push_back(Note{Note::Level::error, "paths_over_limit",
                           "bytes=" + std::to_string(view.path_bytes.used) +
                               " limit=" + std::to_string(view.path_bytes.limit) +
                               " meaning=\"the znode paths of what was accepted, with the chroot, are more than one "
                               "session may hold; those accepted last are held back\""});
  }
}

}  // namespace limpet::core
