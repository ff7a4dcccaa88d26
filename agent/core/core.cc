// Core: what each event changes, and what is to be done about it.
#include "agent/core/core.h"

#include <algorithm>
#include <iterator>

#include "agent/core/contained.h"
#include "agent/core/core_impl.h"

namespace limpet::core {

namespace {

// Before this, the clock of a host was not set yet: one without a clock of its own begins in 1970.
constexpr WallMs kFirstPossibleMs = 1'704'067'200'000;  // 2024

// What is left of `expires`, by the wall clock as far as that can be: it may have been set meanwhile.
std::int64_t expires_in_ms(const Registration& registration, Now now) {
  const std::int64_t whole_ms = registration.lifetime.expires_ms;
  const bool clock_was_set = registration.accepted_at < kFirstPossibleMs && now.wall_ms >= kFirstPossibleMs;
  return clock_was_set ? whole_ms
                       : std::clamp<std::int64_t>(registration.accepted_at + whole_ms - now.wall_ms, 0, whole_ms);
}

bool is_history(const Change& change) {
  return std::holds_alternative<AddHistory>(change);
}

}  // namespace

Core::Impl::Impl(Options options, StoredState stored)
    : options_(std::move(options)),
      parents_(stored.parents),
      registry_(options_, stored, parents_),
      lifetimes_(options_.connection_grace_ms),
      holds_(stored.holds),
      session_(options_, stored.session, stored.former),
      replay_(options_, registry_, session_),
      pruner_(registry_, session_),
      committed_(stored.last_seq),
      last_event_(stored.last_event),
      nothing_of_ours_(!session_.has_history()) {
  Actions none;
  Replay::Effects effects{none, {}, {}, {}};
  drop_void_holds();
  // Without any session so far nothing of ours can stand anywhere.
  const bool known = nothing_of_ours_;
  registry_.for_each_live([&](const SharedRegistration& registration) { replay_.expect(registration, known); });
  registry_.for_each_live([&](const SharedRegistration& registration) {
    want(registration, known, replay_.at(registration->path), effects);
  });
  for (const auto& [id, outcome] : stored.outcomes) {
    const Registration* registration = registry_.find(id);
    if (registration == nullptr || registration->seq != outcome.seq) {
      continue;
    }
    reached_.push_back(outcome.seq);
    replay_.presume_parents(registration->path);
    // A check that failed may have withdrawn it in the last moment, before that was on disk: such a one is read first.
    if (registration->lifetime.checks.empty()) {
      replay_.remember(id, outcome);
    }
  }
  std::sort(reached_.begin(), reached_.end());
  const std::vector<Removal> removals = [&] {
    std::vector<Removal> copy;
    for (const auto& [seq, removal] : registry_.removals()) {
      copy.push_back(removal);
    }
    return copy;
  }();
  for (const Removal& removal : removals) {
    replay_.want_absent(removal, known, effects);
  }
  absorb(effects, Now{});
}

// ---- Events

void Core::Impl::step(Event&& event, Now now, Actions& actions) {
  step_now_ = now;
  lifetimes_.observe(now, timer_ms_);
  std::visit([&](auto&& one) { on(std::forward<decltype(one)>(one), now, actions); }, std::move(event));
  end_lives(now, actions);
  record_session(now);
  Replay::Effects effects{actions, {}, {}, {}};
  replay_.pump(now, effects);
  absorb(effects, now);
  set_timer(actions);
}

void Core::Impl::on(Started, Now now, Actions& actions) {
  registry_.for_each_live([&](const Registration& registration) {
    std::optional<std::int64_t> left_ms;
    if (registration.lifetime.expires_ms > 0 &&
        !std::binary_search(reached_.begin(), reached_.end(), registration.seq)) {
      left_ms = expires_in_ms(registration, now);
    }
    began(registration, left_ms, now, actions);
  });
  reached_ = {};
  for (Change& change : lazy_) {
    if (auto* added = std::get_if<AddHistory>(&change)) {
      HistoryEntry entry = added->entry;
      entry.time = now.wall_ms;  // it happened in the constructor, which knows no time
      added->entry = std::move(entry);
    }
  }
  record(Happening::agent_started, std::to_string(registry_.live_count()) + " registrations", now);
  tell_excess(actions);
  session_.start(now, actions);
}

void Core::Impl::on(Stopping, Now now, Actions& actions) {
  record(Happening::agent_stopped, "", now);
  if (disk_works()) {
    persist(Batch{}, actions, true);
  }
}

void Core::Impl::on(Submit&& event, Now now, Actions& actions) {
  accept(event.token, event.caller, event.changes, now, actions);
}

void Core::Impl::on(Leave event, Now now, Actions& actions) {
  if (!event.caller.privileged) {
    actions.push_back(Reply{event.token, Problem{ProblemCode::not_owner,
                                                 "Only root and the agent's own user may deregister all that this "
                                                 "host holds." +
                                                     std::string(words_if_contained(event.caller)),
                                                 "", 0}});
    return;
  }
  std::vector<ChangeRequest> all = registry_.everything_deregistered();
  accept(event.token, event.caller, all, now, actions);
}

// `waits`: for the last batch that was handed to the disk, which holds it or what it repeats.
void Core::Impl::answer_when_durable(Token token, std::vector<AcceptedChange> answers, bool waits, Actions& actions) {
  if (waits) {
    in_flight_.back().replies.emplace_back(token, std::move(answers));
  } else {
    actions.push_back(Reply{token, std::move(answers)});
  }
}

void Core::Impl::accept(Token token, const Caller& caller, std::vector<ChangeRequest>& changes, Now now,
                        Actions& actions) {
  const auto is_register = [](const ChangeRequest& change) { return std::holds_alternative<RegisterRequest>(change); };
  const bool registers = std::any_of(changes.begin(), changes.end(), is_register);
  // On a full disk, or a silent one, saying again what stands must go on: it may be somebody's sign of life.
  auto problem = storage_refusal(!registers || (low_on_space_ && registry_.all_repeat(changes, caller)));
  if (problem && (disk_works() || !repeats_what_is_durable(changes, caller))) {
    actions.push_back(Reply{token, *std::move(problem)});
    return;
  }
  auto planned = registry_.plan(changes, caller, now,
                                Queued{replay_.depth() + in_flight_.size(), replay_.depth_of(caller.owner.uid)});
  if (auto* problem = std::get_if<Problem>(&planned)) {
    actions.push_back(Reply{token, std::move(*problem)});
    return;
  }
  Plan& plan = std::get<Plan>(planned);
  note_bindings(changes, plan.answers, caller);
  const bool writes = !plan.batch.changes.empty();
  if (writes) {
    record_accepted(changes, plan, caller, now);
    persist(std::move(plan.batch), actions, true);
  }
  // What is repeated may be just being written. Only of a registration the answer's seq says whether it is on disk.
  const bool durable = !changes.empty() && std::all_of(changes.begin(), changes.end(), is_register) &&
                       std::all_of(plan.answers.begin(), plan.answers.end(),
                                   [&](const AcceptedChange& answer) { return answer.seq <= committed_; });
  answer_when_durable(token, std::move(plan.answers), writes || (!durable && !in_flight_.empty()), actions);
}

// Takes outcomes and failing checks of what is meanwhile deregistered out of lazy_: on disk, they would stay for ever.
// Returns the outcomes, for the case that the deregistration fails.
std::vector<PutOutcome> Core::Impl::leave_out_deregistered(const Batch& batch) {
  std::vector<PutOutcome> left_out;
  std::erase_if(lazy_, [&](const Change& change) {
    const auto* outcome = std::get_if<PutOutcome>(&change);
    const auto* hold = std::get_if<PutHold>(&change);
    const RegistrationId* id = outcome != nullptr ? &outcome->id : hold != nullptr ? &*hold->hold.id : nullptr;
    const bool left = id != nullptr && registry_.planned(*id) == nullptr &&
                      std::none_of(batch.changes.begin(), batch.changes.end(), [&](const Change& other) {
                        const auto* erase = std::get_if<EraseRegistration>(&other);
                        return erase != nullptr && erase->id == *id;
                      });
    if (left && outcome != nullptr) {
      left_out.push_back(*outcome);
    }
    return left;
  });
  return left_out;
}

void Core::Impl::persist(Batch&& batch, Actions& actions, bool sync) {
  std::vector<PutOutcome> left_out;
  if (!lazy_.empty()) {
    left_out = leave_out_deregistered(batch);
    lazy_.insert(lazy_.end(), std::make_move_iterator(batch.changes.begin()),
                 std::make_move_iterator(batch.changes.end()));
    batch.changes = std::exchange(lazy_, {});
    lazy_.reserve(std::min(batch.changes.size(), kLazyRoom));  // as a rule the next are as many
    lazy_at_ms_.reset();
    lazy_sync_ = false;
  }
  if (in_flight_.empty()) {
    awaited_since_ = step_now_;
    no_answer_at_ms_.reset();
  }
  const std::uint64_t ticket = next_ticket_++;
  InFlight& flight = in_flight_.emplace_back();
  flight.ticket = ticket;
  flight.last_seq = batch.last_seq;
  flight.left_out = std::move(left_out);
  const auto entries = static_cast<std::size_t>(std::count_if(batch.changes.begin(), batch.changes.end(), is_history));
  flight.history.reserve(entries);
  flight.changes.reserve(batch.changes.size() - entries);
  for (const Change& change : batch.changes) {
    if (const auto* added = std::get_if<AddHistory>(&change)) {
      flight.history.push_back({flight.changes.size(), added->entry});
    } else {
      flight.changes.push_back(change);
    }
  }
  actions.emplace_back(std::in_place_type<Persist>, ticket, std::move(batch), sync);
}

void Core::Impl::persist_session(Actions& actions) {
  if (disk_works() && session_.needs_record()) {
    Batch batch;
    batch.changes.push_back(session_.record());
    persist(std::move(batch), actions, true);
  }
}

void Core::Impl::flush_lazy(Now now, Actions& actions) {
  if (lazy_at_ms_ && now.steady_ms >= *lazy_at_ms_ && disk_works()) {
    persist(Batch{}, actions, lazy_sync_);
  }
}

void Core::Impl::on(Persisted event, Now now, Actions& actions) {
  std::vector<InFlight> finished;
  while (!in_flight_.empty() && in_flight_.front().ticket <= event.ticket) {
    finished.push_back(std::move(in_flight_.front()));
    in_flight_.pop_front();
    InFlight& done = finished.back();
    if (event.status.ok()) {
      Replay::Effects effects{actions, {}, {}, {}};
      take_effect(done, now, effects);
      absorb(effects, now);
      for (const Change& change : done.changes) {
        if (const auto* put = std::get_if<PutSession>(&change)) {
          session_.durable(put->session.id);
          if (session_.usable()) {
            resume(now, actions);
          }
        }
      }
      if (done.last_seq > committed_) {
        committed_ = done.last_seq;
        registry_.committed_through(committed_);
      }
    } else {
      for (InFlight::Entry& entry : done.history) {
        unwritten_.push_back(std::move(entry.entry));
      }
      for (Change& change : done.changes) {
        if (auto* outcome = std::get_if<PutOutcome>(&change)) {
          unwritten_outcomes_.push_back(std::move(*outcome));
        }
      }
      std::move(done.left_out.begin(), done.left_out.end(), std::back_inserter(unwritten_outcomes_));
    }
    for (const auto& [token, answers] : done.replies) {
      for (const AcceptedChange& answer : answers) {
        lifetimes_.heartbeat(answer.id);  // the caller has waited for this
      }
    }
  }
  if (!event.status.ok()) {
    storage_failed(event.status, now, actions);
  } else {
    disk_answers(now, actions);
  }
  // Callers hear of their change after it took effect.
  for (InFlight& done : finished) {
    answer(done, event.status, actions);
  }
}

void Core::Impl::answer(InFlight& done, const Status& status, Actions& actions) {
  for (auto& [token, answers] : done.replies) {
    if (status.ok()) {
      actions.emplace_back(std::in_place_type<Reply>, token, std::move(answers));
      continue;
    }
    const bool full = status.code() == Errc::full;
    actions.push_back(Reply{token, Problem{full ? ProblemCode::storage_full : ProblemCode::storage_failed,
                                           "The change could not be kept on disk: " + status.message() +
                                               ". Whether it stands is known when the disk works again; sending the "
                                               "same change again is safe.",
                                           "", 0}});
  }
}

// ---- The session

void Core::Impl::resume(Now now, Actions& actions) {
  recheck(now, actions);
  Replay::Effects effects{actions, {}, {}, {}};
  replay_.resume(fresh_session_, now, effects);
  fresh_session_ = false;
  absorb(effects, now);
}

void Core::Impl::session_turned(SessionMachine::Turn turn, Now now, Actions& actions) {
  switch (turn) {
    case SessionMachine::Turn::none:
      return;
    case SessionMachine::Turn::same_session:
      if (session_.usable()) {
        resume(now, actions);
      } else {
        persist_session(actions);  // the connection was lost before the new session was on disk
      }
      break;
    case SessionMachine::Turn::new_session:
      if (nothing_of_ours_) {
        fresh_session_ = true;
        nothing_of_ours_ = false;
      }
      persist_session(actions);
      break;
    case SessionMachine::Turn::lost:
    case SessionMachine::Turn::gone: {
      fresh_session_ = fresh_session_ || turn == SessionMachine::Turn::gone;
      away_since_ms_ = away_since_ms_.value_or(now.steady_ms);
      const std::vector<Hold> unconfirmed = unconfirmed_withdrawals();
      Replay::Effects effects{actions, {}, {}, {}};
      replay_.lost(now, effects);
      if (turn == SessionMachine::Turn::gone) {
        replay_.forget_session(effects);
      }
      absorb(effects, now);
      if (turn == SessionMachine::Turn::lost) {
        take_back(unconfirmed, now, actions);
      }
      pruner_.lost();
      pruner_done(now, actions);
      break;
    }
  }
  actions.push_back(Changed{});
}

void Core::Impl::on(const ZkConnected& event, Now now, Actions& actions) {
  session_turned(session_.connected(event, now, actions), now, actions);
}
void Core::Impl::on(const ZkDisconnected& event, Now now, Actions& actions) {
  session_turned(session_.disconnected(event.epoch, now, actions), now, actions);
}
void Core::Impl::on(const ZkExpired& event, Now now, Actions& actions) {
  session_turned(session_.expired(event.epoch, now, actions), now, actions);
}
void Core::Impl::on(const ZkAuthFailed& event, Now now, Actions& actions) {
  session_turned(session_.auth_failed(event, now, actions), now, actions);
}
void Core::Impl::on(const ZkTrouble& event, Now now, Actions&) {
  session_.trouble(event, now);
}
void Core::Impl::on(const ZkLimited& event, Now, Actions& actions) {
  session_.limited(event, actions);
}
void Core::Impl::on(ServersChanged, Now now, Actions& actions) {
  replay_.forget_last_refusal();  // it may have been for want of what is given now
  session_turned(session_.servers_changed(now, actions), now, actions);
}

void Core::Impl::on(const ZkReplied& event, Now now, Actions& actions) {
  if (event.epoch != session_.epoch()) {
    return;
  }
  if ((event.op.value & Pruner::kOpBit) != 0) {
    pruner_.replied(event.op, event.reply, actions);
    return pruner_done(now, actions);
  }
  Replay::Effects effects{actions, {}, {}, {}};
  replay_.replied(event.op, event.reply, now, effects);
  absorb(effects, now);
}

void Core::Impl::on(const ZkWatchFired& event, Now, Actions&) {
  if (event.epoch == session_.epoch()) {
    replay_.watch_fired(event.path);
  }
}

void Core::Impl::on(Tick, Now now, Actions& actions) {
  look_at_disk(now, actions);
  timer_ms_.reset();
  session_turned(session_.tick(now, actions), now, actions);
  flush_lazy(now, actions);
}

void Core::Impl::set_timer(Actions& actions) {
  std::optional<std::int64_t> at = session_.deadline();
  const auto sooner = [&](std::optional<std::int64_t> other) {
    if (other && (!at || *other < *at)) {
      at = other;
    }
  };
  sooner(replay_.deadline());
  if (disk_works()) {
    sooner(lazy_at_ms_);
    sooner(lifetimes_.deadline());
    sooner(disk_deadline());
  }
  if (at && at != timer_ms_) {
    timer_ms_ = at;
    actions.push_back(SetTimer{*at});
  }
}

Core::Core(Options options, StoredState stored)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(stored))) {}
Core::~Core() = default;

void Core::step(Event event, Now now, Actions& actions) {
  impl_->step(std::move(event), now, actions);
}

}  // namespace limpet::core
