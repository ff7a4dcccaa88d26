// The driver's part of the simulation: what agent/agent.cc and storage/group_commit.cc do, in simulated time.
#include <algorithm>
#include <cassert>
#include <set>
#include <type_traits>
#include <utility>

#include "agent/core/path_budget.h"
#include "tests/sim/describe.h"
#include "tests/sim/runner.h"
#include "tests/sim/simulation.h"

namespace limpet::test {

namespace {

constexpr std::uint64_t kBusySteps = 5'000;

// Parents, audits and the sync are few and go beside the window.
bool windowed(core::ZkVerb verb) {
  return verb != core::ZkVerb::create_parent && verb != core::ZkVerb::watch && verb != core::ZkVerb::look &&
         verb != core::ZkVerb::sync;
}

core::Options options_of(const History& history) {
  core::Options options;
  options.root = "/services";
  options.paths = {"/x"};
  options.host = "machine 1";
  options.window = history.window;
  options.batch = history.batch;
  options.seed = history.seed;
  if (history.has(Fault::small_limits)) {
    options.limits.max_registrations = 3;
    options.chroot_bytes = 7;
    options.limits.max_path_bytes = core::kPacketHeadBytes + 80;  // of three registrations
    options.limits.max_operations = 6;
    options.limits.max_share_per_uid = 90;
    options.limits.max_registrations_per_uid = 2;
  }
  options.session_timeout_ms = history.ensemble.asked_timeout_ms;
  return options;
}

}  // namespace

void Tally::add(const Tally& other) {
  histories += other.histories;
  steps += other.steps;
  acknowledged += other.acknowledged;
  writes += other.writes;
  crashes += other.crashes;
  simulated_ms += other.simulated_ms;
  poisonings += other.poisonings;
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    faults[i] += other.faults[i];
  }
  for (std::size_t i = 0; i < ends.size(); ++i) {
    ends[i] += other.ends[i];
  }
  heartbeats += other.heartbeats;
  maintenance += other.maintenance;
  withdrawn += other.withdrawn;
  hangs += other.hangs;
}

Simulation::Simulation(const History& history, Mutation mutation, bool trace)
    : history_(history),
      rng_(history.seed),
      mutator_(mutation),
      tracing_(trace),
      options_(options_of(history)),
      model_(store_, options_, verdict_),
      judge_(store_, model_, clock_, verdict_),
      locals_(clock_, history.seed ^ 0x10CA15),
      ends_(store_, model_, locals_, clock_, options_.connection_grace_ms, verdict_) {
  ensemble_ = std::make_unique<FakeEnsemble>(
      clock_, rng_.next(), history.ensemble, [this](core::Event event) { step(std::move(event)); }, &judge_);
  judge_.attach(ensemble_.get());
  const bool others_in_session =
      history.has(Fault::rolled_back) || history.has(Fault::rival_process) || history.has(Fault::copied_state);
  if (history.has(Fault::small_limits) && !others_in_session) {
    judge_.bound_sessions(options_.limits.max_path_bytes, options_.chroot_bytes);
  }
  if (history.has(Fault::poison)) {
    ensemble_->poison(kPoison);
  }
  for (std::uint32_t i = 0; i < history.ids; ++i) {
    ids_.push_back(RegistrationId{i % 2 == 0 ? "a" : "b", std::to_string(i)});
  }
}

Simulation::~Simulation() = default;

void Simulation::note(const std::string& line) {
  trace_.push_back(std::to_string(clock_.steady_ms() - 1'000'000) + " " + line);
  static const std::uint64_t traced = env_number("LIMPET_SIM_TRACE", 150);
  if (trace_.size() > traced) {
    trace_.pop_front();
  }
}

// ---- Life and death of the agent

void Simulation::start_agent() {
  restart_at_ = kNever;
  auto stored = store_.load();
  assert(stored.ok());
  mutator_.stored(*stored, options_.host);
  if (tracing_) {
    note("---- agent starts, last_seq=" + std::to_string(stored->last_seq.value));
  }
  core_ = std::make_unique<core::Core>(options_, std::move(*stored));
  model_.decided(*core_);
  locals_.agent_started();
  ends_.agent_started();
  step(core::Started{});
  if (low_) {
    step(core::SpaceChanged{true});
  }
}

void Simulation::crash_agent(bool power_cut) {
  ++tally_.crashes;
  if (!in_hand_.empty() && store_failed_.ok() && rng_.chance(0.5)) {
    for (const core::Persist& persist : in_hand_) {  // the write was made, the sync perhaps not
      (void)store_.append(persist.batch, false);
    }
  }
  const std::size_t kept = power_cut ? rng_.below(store_.unsynced() + 1) : 0;
  if (tracing_) {
    note(power_cut ? "---- power cut, unsynced batches kept: " + std::to_string(kept) : "---- agent dies");
  }
  if (power_cut) {
    store_.power_cut(kept);
  } else {
    store_.process_crash();
  }
  core_.reset();
  mutator_.died();
  model_.agent_died();
  ends_.agent_died();
  locals_.agent_died();
  if (power_cut) {
    locals_.reboot();
  }
  heartbeats_.clear();
  submits_.clear();
  ensemble_->process_died();
  waiting_.clear();
  in_hand_.clear();
  early_.clear();
  in_flight_.clear();
  store_failed_ = Status();
  commit_at_ = reopen_at_ = timer_at_ = thaw_at_ = kNever;
  last_ticket_ = 0;
  crash_within_step_ = false;
}

// ---- Events and actions

// What the driver itself keeps of an event: what is in flight, which session the handle has.
void Simulation::keep_books(const core::Event& event) {
  if (const auto* replied = std::get_if<core::ZkReplied>(&event); replied != nullptr && replied->epoch == epoch_) {
    in_flight_.erase(replied->op.value);
  } else if (const auto* connected = std::get_if<core::ZkConnected>(&event);
             connected != nullptr && connected->epoch == epoch_) {
    handle_session_ = connected->session.id;
  } else if (const auto* expired = std::get_if<core::ZkExpired>(&event);
             expired != nullptr && expired->epoch == epoch_) {
    lose_in_flight();
    if (handle_session_) {
      judge_.told_expired(*handle_session_);
    }
  } else if (std::holds_alternative<core::ZkDisconnected>(event)) {
    lose_in_flight();
  }
}

// True where the removal goes with the write of the same registration elsewhere: the window has room for that one.
bool Simulation::goes_with_a_move(const std::vector<core::ZkRequest>& batch, std::size_t at) const {
  const auto write = std::find_if(batch.begin() + static_cast<std::ptrdiff_t>(at), batch.end(),
                                  [](const auto& one) { return one.verb != core::ZkVerb::remove; });
  return write != batch.end() && write->path != batch[at].path &&
         judge_.was_placed(write->data.substr(0, write->data.find('!')), batch[at].path);
}

// With `send` on top: how many znodes have a request in flight that the window counts. One that is replaced has two,
// its removal and its creation, and counts once.
std::size_t Simulation::znodes_in_flight(const core::ZkSend& send) {
  if (send.request.verb == core::ZkVerb::transaction) {
    std::vector<std::string>& paths = in_flight_[send.op.value];
    for (std::size_t i = 0; i < send.request.batch.size(); ++i) {
      const core::ZkRequest& request = send.request.batch[i];
      const bool moves = request.verb == core::ZkVerb::remove && goes_with_a_move(send.request.batch, i);
      if (request.verb != core::ZkVerb::check && !moves) {
        paths.push_back(request.path);
      }
    }
  } else if (windowed(send.request.verb)) {
    in_flight_[send.op.value] = {send.request.path};
  }
  std::set<std::string_view> znodes;
  for (const auto& [op, paths] : in_flight_) {
    znodes.insert(paths.begin(), paths.end());
  }
  return znodes.size();
}

// The core takes them for lost from here on. What is lost with the connection again and again may be what makes the
// servers cut it: the core is free to set it aside, and then its order is its own.
void Simulation::lose_in_flight() {
  constexpr int kSuspect = 3;
  for (const auto& [op, paths] : in_flight_) {
    for (const std::string& path : paths) {
      if (++losses_[path] == kSuspect) {
        judge_.exempt(path);
      }
    }
  }
  in_flight_.clear();
}

// What the judges hear of an event before the core does.
void Simulation::before_step(const core::Event& event) {
  if (const auto* submit = std::get_if<core::Submit>(&event)) {
    submits_[submit->token] = *submit;
    submitter_ = &submits_[submit->token].caller;
    ends_.perhaps_bound(*submit);
  } else if (const auto* maintenance = std::get_if<core::SetMaintenance>(&event)) {
    judge_.held(maintenance->id);
  } else if (std::holds_alternative<core::SpaceChanged>(event)) {
    ends_.graced();
  } else if (const auto* reopened = std::get_if<core::StoreReopened>(&event);
             reopened != nullptr && reopened->status.ok()) {
    ends_.reread();
  }
}

// What the judges hear of a step before its actions are carried out. `failed`: of the event, where a check fails.
void Simulation::after_step(const std::optional<core::HealthChanged>& failed) {
  const auto checked = failed ? core_->find(failed->id) : std::nullopt;
  if (checked && checked->failing_check) {
    judge_.held(failed->id);
  } else if (checked && checked->registration->seq == failed->seq && judge_.untouched(checked->registration->path) &&
             ends_.accepted_since_start(failed->seq)) {
    verdict_.fail("I9", failed->id.str() + " was never in ZooKeeper, and its failing check does not hold it back");
  }
  if (!history_.has(Fault::small_limits) || core_->status(clock_.now()).held_back == 0) {
    return;
  }
  for (const RegistrationId& id : ids_) {
    const auto view = core_->find(id);
    if (view && view->state == core::State::blocked && view->reason->code == core::ReasonCode::quota) {
      judge_.held_back(id, view->registration->seq);
    }
  }
}

// A core that keeps itself busy without time passing is stopped here.
bool Simulation::runs_wild() {
  if (busy_at_ != clock_.steady_ms()) {
    busy_at_ = clock_.steady_ms();
    busy_steps_ = 0;
  }
  if (++busy_steps_ > kBusySteps) {
    verdict_.fail("I12", "a busy loop: " + std::to_string(kBusySteps) + " steps within a millisecond");
  }
  return verdict_.failed();
}

void Simulation::step(core::Event event) {
  if (!core_ || verdict_.failed()) {
    return;
  }
  keep_books(event);
  std::vector<core::Event> before;
  const bool seen = mutator_.event(event, before, clock_.now(), store_.troubled());
  for (core::Event& made_up : before) {
    step(std::move(made_up));
  }
  if (!seen || !core_ || runs_wild()) {
    return;
  }
  if (tracing_) {
    note("-> " + describe(event));
  }
  ++tally_.steps;
  ticks_ += std::holds_alternative<core::Tick>(event) ? 1 : 0;
  const auto* reopened = std::get_if<core::StoreReopened>(&event);
  // A disk that hung has answered all it was asked: what callers were told nobody knows is known now.
  const auto* persisted = std::get_if<core::Persisted>(&event);
  const bool all_answered = persisted != nullptr && persisted->status.ok() && persisted->ticket == last_ticket_;
  const bool decides = (reopened != nullptr && reopened->status.ok()) || (all_answered && model_.in_doubt());
  const auto* health = std::get_if<core::HealthChanged>(&event);
  const auto failed = health != nullptr && !health->passing ? std::optional(*health) : std::nullopt;
  core::Actions todo = std::move(actions_);
  todo.clear();
  before_step(event);
  core_->step(std::move(event), mutated_now_.value_or(clock_.now()), todo);
  after_step(failed);
  mutator_.actions(todo);
  if (decides) {
    model_.decided(*core_);
  }
  if (mutator_.stands_back(todo)) {
    early_.push_back(core::ServersChanged{});
  }
  const bool dies = std::exchange(crash_within_step_, false);
  const std::size_t carried_out = dies ? rng_.below(todo.size() + 1) : todo.size();
  for (std::size_t i = 0; i < carried_out && !verdict_.failed(); ++i) {
    carry_out(std::move(todo[i]));
  }
  submitter_ = nullptr;
  if (dies) {
    crash_agent(history_.has(Fault::power_cut) && rng_.chance(0.5));
    restart_at_ = clock_.steady_ms() + rng_.between(0, 3000);
    return;
  }
  actions_ = std::move(todo);
  model_.step_done(*core_);
  if (tally_.steps % 8 == 0) {
    model_.check(*core_);
    judge_.check_settled(*core_);
    ends_.check_maintenance(*core_);
    check_views();
  }
}

void Simulation::carry_out(core::Action action) {
  if (tracing_) {
    note("   <- " + describe(action));
  }
  std::visit(
      [this](auto&& a) {
        using T = std::decay_t<decltype(a)>;
        if constexpr (std::is_same_v<T, core::Persist>) {
          persist(std::move(a));
        } else if constexpr (std::is_same_v<T, core::ReopenStore>) {
          reopen_at_ = clock_.steady_ms() + a.delay_ms;
        } else if constexpr (std::is_same_v<T, core::Reply>) {
          replied(a);
        } else if constexpr (std::is_same_v<T, core::ZkStart>) {
          judge_.starting(a);
          epoch_ = a.epoch;
          handle_session_ = a.session ? std::optional<SessionId>(a.session->id) : std::nullopt;
          lose_in_flight();
          ensemble_->start(a);
        } else if constexpr (std::is_same_v<T, core::ZkStop>) {
          handle_session_.reset();  // what it still says is not heard any more
          ensemble_->stop(a);
        } else if constexpr (std::is_same_v<T, core::ZkSend>) {
          ++sends_;
          judge_.sending(a, znodes_in_flight(a), history_.window);
          if (mutator_.refuses(a)) {
            early_.push_back(core::ZkReplied{a.epoch, a.op, core::ZkReply{core::ZkCode::refused, {}, {}, "mutated"}});
          } else {
            ensemble_->send(std::move(a));
          }
        } else if constexpr (std::is_same_v<T, core::Watch>) {
          locals_.watch(a);
        } else if constexpr (std::is_same_v<T, core::Unwatch>) {
          locals_.unwatch(a.id);
        } else if constexpr (std::is_same_v<T, core::VoidFailure>) {
          locals_.void_failure(a.id);
        } else if constexpr (std::is_same_v<T, core::Recheck>) {
          locals_.recheck();
        } else if constexpr (std::is_same_v<T, core::Pruned>) {
          ++pruned_;
        } else if constexpr (std::is_same_v<T, core::Recorded>) {
          ends_.recorded(a);
        } else if constexpr (std::is_same_v<T, core::SetTimer>) {
          timer_at_ = a.at_steady_ms;
          if (history_.has(Fault::odd_ticks) && faults_on_ && rng_.chance(0.3)) {
            timer_at_ += rng_.between(0, 2000);
          }
        } else {
          static_assert(std::is_same_v<T, core::Note> || std::is_same_v<T, core::Changed>);
          if constexpr (std::is_same_v<T, core::Note>) {
            notes_ += a.what == "ended" ? 0 : 1;  // of each registration once, also when it is late
          }
        }
      },
      std::move(action));
}

void Simulation::replied(const core::Reply& reply) {
  if (const auto beat = heartbeats_.find(reply.token); beat != heartbeats_.end()) {
    ends_.heartbeat_answered(beat->second, reply);
    if (std::holds_alternative<core::Problem>(reply.result)) {
      locals_.client_ends(beat->second);  // there is nothing to live for
    }
    heartbeats_.erase(beat);
    return;
  }
  if (ends_.maintenance_replied(reply)) {
    return;
  }
  const auto it = submits_.find(reply.token);
  const auto* answers = std::get_if<std::vector<core::AcceptedChange>>(&reply.result);
  for (std::size_t i = 0; it != submits_.end() && answers != nullptr && i < answers->size(); ++i) {
    const auto* request = std::get_if<core::RegisterRequest>(&it->second.changes[i]);
    if (request != nullptr && request->lifetime.bind == Bind::connection && !(*answers)[i].changed) {
      ends_.repeated(request->id, request->data, it->second.caller.connection);
    }
    if (request != nullptr) {
      locals_.client_ends(request->id);  // of what the same batch registered before
    }
    if (request != nullptr && request->lifetime.ttl_ms > 0 && rng_.chance(0.7)) {
      locals_.client_begins(request->id, request->lifetime.ttl_ms);
    }
  }
  if (it != submits_.end()) {
    const auto* problem = std::get_if<core::Problem>(&reply.result);
    const bool disk = problem != nullptr && (problem->code == core::ProblemCode::storage_failed ||
                                             (problem->code == core::ProblemCode::storage_full && store_.refusing()));
    if (!disk) {  // where the disk works, a full one is a plain refusal
      ends_.decided(it->second);
    }
    submits_.erase(it);
  }
  model_.replied(reply, *core_);
}

void Simulation::tell_local() {
  auto event = locals_.take_due();
  if (!event) {
    return;
  }
  if (auto* heartbeat = std::get_if<core::Heartbeat>(&*event)) {
    ++tally_.heartbeats;
    heartbeat->token = core::Token{next_token_++};
    heartbeats_[heartbeat->token] = heartbeat->id;
  }
  step(*std::move(event));
}

// ---- The commit thread

void Simulation::persist(core::Persist persist) {
  if (persist.ticket != last_ticket_ + 1 && last_ticket_ != 0) {
    verdict_.fail("order", "tickets do not count up by one");
  }
  last_ticket_ = persist.ticket;
  judge_.persisting(persist);
  ends_.persisting(persist, submitter_);
  for (const Change& change : persist.batch.changes) {
    if (const auto* erase = std::get_if<EraseRegistration>(&change)) {
      last_requests_.erase(erase->id);  // a content that was removed does not come back: each has one seq
    }
  }
  waiting_.push_back(std::move(persist));
  if (in_hand_.empty()) {
    take_in_hand();
  }
}

void Simulation::take_in_hand() {
  assert(in_hand_.empty());
  const std::size_t taken =
      waiting_.empty() ? 0 : static_cast<std::size_t>(rng_.between(1, static_cast<std::int64_t>(waiting_.size())));
  for (std::size_t i = 0; i < taken; ++i) {
    in_hand_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  const bool slow = history_.has(Fault::slow_disk) && faults_on_ && rng_.chance(0.2);
  const bool hangs = slow && rng_.chance(0.05);
  const std::int64_t takes_ms = hangs  ? rng_.between(4'000, 20'000)
                                : slow ? rng_.between(10, 3000)
                                       : rng_.between(0, 3);
  commit_at_ = taken == 0 ? kNever : clock_.steady_ms() + takes_ms;
  tally_.hangs += hangs && taken != 0 ? 1 : 0;
  if (taken != 0 && mutator_.is(Mutation::acknowledge_before_sync)) {
    early_.push_back(core::Persisted{in_hand_.back().ticket, Status()});
  }
}

void Simulation::commit() {
  std::vector<core::Persist> done = std::move(in_hand_);
  in_hand_.clear();
  commit_at_ = kNever;
  if (store_failed_.ok() && mutator_.is(Mutation::torn_batches)) {
    for (const core::Persist& persist : done) {
      for (const Change& change : persist.batch.changes) {
        if (std::holds_alternative<AddHistory>(change)) {
          continue;  // those are numbered, and would give it away
        }
        (void)store_.append(Batch{persist.batch.last_seq, {change}}, false);
      }
    }
  }
  Batch merged;
  bool sync = false;
  for (core::Persist& persist : done) {
    merged.last_seq = std::max(merged.last_seq, persist.batch.last_seq);
    std::move(persist.batch.changes.begin(), persist.batch.changes.end(), std::back_inserter(merged.changes));
    sync = sync || persist.sync;
  }
  if (store_failed_.ok()) {
    store_failed_ = store_.append(merged, sync && !mutator_.is(Mutation::ignore_sync));
  }
  const Status status = store_failed_;
  if (status.ok()) {
    ends_.committed(merged);
  }
  const std::uint64_t ticket = done.back().ticket;
  take_in_hand();
  if (!mutator_.is(Mutation::acknowledge_before_sync)) {
    step(core::Persisted{ticket, status});
  }
}

// In its turn: not before what was handed over earlier was answered.
void Simulation::reopen_store() {
  reopen_at_ = kNever;
  core::StoreReopened event;
  event.status = store_.reopen();
  event.low_on_space = low_;
  if (event.status.ok()) {
    auto state = store_.load();
    assert(state.ok());
    event.state = std::move(*state);
    store_failed_ = Status();
  }
  step(std::move(event));
}

// ---- Time

std::int64_t Simulation::next_due() const {
  std::int64_t at = std::min({restart_at_, thaw_at_, network_back_at_, quorum_back_at_, credentials_back_at_, allow_at_,
                              thaw_at_ == kNever ? room_at_ : kNever, alone_at_, ensemble_->next_at()});
  if (core_ && thaw_at_ == kNever) {
    at = std::min({at, timer_at_, commit_at_, in_hand_.empty() ? reopen_at_ : kNever, locals_.next_at()});
  }
  return at;
}

bool Simulation::run_due() {
  const std::int64_t now = clock_.steady_ms();
  undo_due();
  const bool runs = core_ != nullptr && thaw_at_ == kNever;
  if (runs && !early_.empty()) {
    core::Event event = std::move(early_.front());
    early_.pop_front();
    step(std::move(event));
    return true;
  }
  // Whoever comes first at one instant is chance.
  const std::uint64_t first = rng_.below(4);
  for (std::uint64_t i = 0; i < 4; ++i) {
    const std::uint64_t which = (first + i) % 4;
    if (which == 0 && ensemble_->run_one()) {
      return true;
    }
    if (which == 1 && runs && timer_at_ <= now) {
      timer_at_ = kNever;
      step(core::Tick{});
      return true;
    }
    if (which == 3 && runs && locals_.next_at() <= now) {
      tell_local();
      return true;
    }
    if (which == 2 && runs && commit_at_ <= now) {
      commit();
      return true;
    }
  }
  if (runs && reopen_at_ <= now && in_hand_.empty()) {
    reopen_store();
    return true;
  }
  return false;
}

void Simulation::run_until(std::int64_t steady_ms) {
  while (!verdict_.failed()) {
    while (!verdict_.failed() && run_due()) {
    }
    const std::int64_t next = std::max(next_due(), clock_.steady_ms());
    if (next > steady_ms || verdict_.failed()) {
      break;
    }
    clock_.advance_to(next);
  }
  if (!verdict_.failed()) {
    clock_.advance_to(steady_ms);
  }
}

}  // namespace limpet::test
