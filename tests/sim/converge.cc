// The end of a history: faults stop, and everything must come to agree, and then be quiet.
#include <algorithm>
#include <utility>

#include "tests/sim/describe.h"
#include "tests/sim/simulation.h"

namespace limpet::test {

namespace {

constexpr std::int64_t kHealMs = 150'000;  // longest backoffs, audit and session time-outs, all one after another
constexpr std::int64_t kFastHealMs = 8'000;
constexpr std::int64_t kConvictMs = 20'000;    // for each content that is found out to cut the connection, one by one
constexpr std::int64_t kLivesHealMs = 60'000;  // the longest ttl, grace and expiry, one after another
constexpr std::int64_t kLookMs = 500;
constexpr std::int64_t kQuietMs = 40'000;  // more than an audit's interval

std::int64_t gap(Rng& rng, std::int64_t mean_ms) {
  return rng.between(0, 2 * mean_ms);
}

}  // namespace

bool Simulation::run() {
  ++tally_.histories;
  start_agent();
  std::uint32_t calls = history_.calls;
  std::int64_t call_at = clock_.steady_ms() + gap(rng_, history_.between_calls_ms);
  std::int64_t fault_at = clock_.steady_ms() + gap(rng_, history_.between_faults_ms);
  while (calls > 0 && !verdict_.failed()) {
    run_until(std::min(call_at, fault_at));
    if (verdict_.failed()) {
      break;
    }
    if (call_at <= fault_at) {
      call();
      --calls;
      call_at = clock_.steady_ms() + gap(rng_, history_.between_calls_ms);
    } else {
      inject();
      fault_at = clock_.steady_ms() + gap(rng_, history_.between_faults_ms) + 1;
    }
  }
  if (history_.long_outage_ms > 0) {
    long_outage();
  }
  heal();
  converge();
  tally_.simulated_ms += static_cast<std::uint64_t>(clock_.steady_ms() - 1'000'000);
  tally_.acknowledged += model_.acknowledged();
  tally_.writes += judge_.writes();
  tally_.poisonings += ensemble_->poisonings();
  tally_.ends = ends_.counts();
  for (const RegistrationId& id : ids_) {
    tally_.withdrawn += core_ && withdrawn(id) ? 1 : 0;
  }
  return !verdict_.failed();
}

// With nobody calling and no servers, the core asks for little.
void Simulation::long_outage() {
  if (verdict_.failed() || !core_ || thaw_at_ != kNever) {
    return;
  }
  store_.heal();
  ensemble_->set_network(false);
  network_back_at_ = kNever;
  run_until(clock_.steady_ms() + 5'000);  // what was going on settles
  const std::uint64_t ticks = ticks_;
  const std::uint64_t sends = sends_;
  const std::uint64_t notes = notes_;
  const std::uint64_t crashes = tally_.crashes;
  run_until(clock_.steady_ms() + history_.long_outage_ms);
  const auto seconds = static_cast<std::uint64_t>(history_.long_outage_ms / 1000);
  if (crashes != tally_.crashes) {
    return;
  }
  if (notes_ - notes > 5 + seconds / 10) {
    verdict_.fail("I12", "chatter: " + std::to_string(notes_ - notes) + " notes in " + std::to_string(seconds) +
                             " s without a connection");
  }
  if (ticks_ - ticks > 2 * seconds || sends_ != sends) {
    verdict_.fail("I12", "without a connection for " + std::to_string(seconds) +
                             " s: " + std::to_string(ticks_ - ticks) + " ticks, " + std::to_string(sends_ - sends) +
                             " requests");
  }
}

void Simulation::heal() {
  if (verdict_.failed()) {
    return;
  }
  if (tracing_) {
    note("---- faults stop");
  }
  faults_on_ = false;
  crash_within_step_ = false;
  FakeEnsembleOptions calm = ensemble_->options();
  calm.throttle_chance = 0;
  calm.silent_expiry_chance = 0;
  calm.max_latency_ms = std::min<std::int64_t>(calm.max_latency_ms, 20);
  calm.min_latency_ms = std::min(calm.min_latency_ms, calm.max_latency_ms);
  ensemble_->set_options(calm);
  for (std::int64_t* at : {&network_back_at_, &quorum_back_at_, &credentials_back_at_, &allow_at_, &thaw_at_,
                           &restart_at_, &room_at_, &alone_at_}) {
    *at = *at == kNever ? kNever : clock_.steady_ms();
  }
  store_.heal();
  commit_at_ = commit_at_ == kNever ? kNever : std::min(commit_at_, clock_.steady_ms() + 3);
  ensemble_->set_network(true);
  ensemble_->settle_foreign_sessions(rng_.chance(0.5));
  undo_due();
  if (core_ && history_.has(Fault::maintenance) && rng_.chance(0.5)) {
    call_maintenance(true);
  }
}

// Where nothing was refused, and nobody's session but our own had to end, there is nothing to wait for.
std::int64_t Simulation::heal_ms() const {
  constexpr Fault kSlow[] = {
      Fault::refused_reattach, Fault::wiped_servers, Fault::foreign_znodes, Fault::operators,  Fault::acl,
      Fault::bad_credentials,  Fault::ghosts,        Fault::store_failure,  Fault::store_full, Fault::nested_paths,
      Fault::poison,           Fault::copied_state,  Fault::rival_process,  Fault::rolled_back};
  const bool slow = std::any_of(std::begin(kSlow), std::end(kSlow), [this](Fault f) { return history_.has(f); });
  const bool suspects = std::any_of(losses_.begin(), losses_.end(), [](const auto& lost) { return lost.second >= 3; });
  if (slow || suspects) {
    return kHealMs + static_cast<std::int64_t>(poisons()) * kConvictMs;
  }
  return history_.has(Fault::lifetimes) ? kLivesHealMs : kFastHealMs;
}

void Simulation::converge() {
  const std::int64_t heal = heal_ms();
  const std::int64_t until = clock_.steady_ms() + heal;
  std::string differs = "not looked at";
  while (!verdict_.failed() && !differs.empty() && clock_.steady_ms() < until) {
    run_until(clock_.steady_ms() + kLookMs);
    differs = difference();
  }
  if (!differs.empty()) {
    verdict_.fail("I4", "not converged " + std::to_string(heal / 1000) + " s after the faults stopped: " + differs);
  }
  check_quiet();
}

// What has converged stays so, and costs next to nothing.
void Simulation::check_quiet() {
  if (verdict_.failed()) {
    return;
  }
  model_.check(*core_);
  ends_.check_history();
  const std::uint64_t writes = judge_.writes();
  const std::uint64_t ticks = ticks_;
  const std::uint64_t sends = sends_;
  const std::uint64_t poisonings = ensemble_->poisonings();
  const auto ends = ends_.counts();
  run_until(clock_.steady_ms() + kQuietMs);
  if (verdict_.failed()) {
    return;
  }
  if (const std::string differs = difference_soon(); !differs.empty()) {
    verdict_.fail("I4", "converged, and then no more: " + differs);
  }
  if (ensemble_->poisonings() - poisonings > 4 * poisons() + 4) {
    verdict_.fail("I12", std::to_string(ensemble_->poisonings() - poisonings) + " connections cut in " +
                             std::to_string(kQuietMs / 1000) + " s, by " + std::to_string(poisons()) +
                             " poisonous registrations");
  }
  const std::uint64_t registrations = model_.accepted().size() + 4;
  // Of what was bound by several connections in turn, doomed() does not tell which one counts.
  const bool ended = ends_.counts() != ends;
  if (judge_.writes() != writes && !ended && !any_poison() && !history_.has(Fault::foreign_znodes) &&
      !history_.has(Fault::copied_state) && !history_.has(Fault::nested_paths)) {
    verdict_.fail("I6", "writes though nothing changed");
  }
  if (ticks_ - ticks > 200 + 20 * registrations || sends_ - sends > 40 * registrations) {
    verdict_.fail("I12", "busy though nothing changes: " + std::to_string(ticks_ - ticks) + " ticks, " +
                             std::to_string(sends_ - sends) + " requests in " + std::to_string(kQuietMs / 1000) + " s");
  }
}

void Simulation::check_views() {
  bool more = false;
  const auto queue = core_->queue(Seq{}, 10'000, more);
  const core::StatusView status = core_->status(clock_.now());
  std::uint64_t total = 0;
  for (const std::uint64_t count : status.by_state) {
    total += count;
  }
  if (total != status.total || queue.size() != status.queue_depth || more) {
    verdict_.fail("status", "total " + std::to_string(status.total) + " is not the sum " + std::to_string(total) +
                                ", or the queue of " + std::to_string(queue.size()) + " is not the depth " +
                                std::to_string(status.queue_depth));
  }
  std::uint64_t open = 0;
  for (const core::State state :
       {core::State::pending, core::State::conflict, core::State::blocked, core::State::removing}) {
    open += status.by_state[static_cast<std::size_t>(state)];
  }
  open += static_cast<std::uint64_t>(
      std::count_if(queue.begin(), queue.end(), [](const auto& operation) { return operation.withdraw; }));
  if (open != queue.size()) {
    verdict_.fail("status", std::to_string(open) + " open by state, " + std::to_string(queue.size()) + " in the queue");
  }
  Seq before;
  for (const core::QueuedOperation& operation : queue) {
    if (operation.seq < before || operation.seq > status.last_seq || operation.seq <= status.applied_seq) {
      verdict_.fail("status", "the queue is out of order at #" + std::to_string(operation.seq.value));
    }
    before = operation.seq;
    const auto view = core_->find(operation.id);
    if (!view || (!operation.deregister && view->state != operation.state)) {
      verdict_.fail("status", "queued, but shown otherwise: " + operation.id.str());
    }
  }
}

bool Simulation::withdrawn(const RegistrationId& id) const {
  const auto view = core_->find(id);
  return view && (view->state == core::State::maintenance || view->state == core::State::unhealthy);
}

std::string Simulation::difference_of_withdrawn(const RegistrationId& id, const Accepted& accepted) const {
  const auto view = core_->find(id);
  const bool fails = !accepted.lifetime.checks.empty() && locals_.failing(id);
  const std::string is = id.str() + " at " + accepted.path + " is " + name_of(view->state) + ", ";
  if (fails != view->failing_check.has_value()) {
    return is + (fails ? "and its check fails" : "and no check fails");
  }
  if (!fails && !view->maintenance) {
    return withdrawn(id) ? is + "and nothing holds it" : "";
  }
  if (!withdrawn(id)) {
    return is + "and it is to be withdrawn";
  }
  const Znode* standing = ensemble_->znodes().find(accepted.path);
  const bool stands = standing != nullptr && judge_.is_ours(standing->stat.ephemeral_owner);
  return stands && !judge_.resurrected(accepted.path, *standing) ? is + "and its znode stands" : "";
}

std::string Simulation::difference_of(const RegistrationId& id, const Accepted& accepted) const {
  const auto view = core_->find(id);
  if (!accepted.present) {
    return view ? id.str() + " is still there, as " + name_of(view->state) : "";
  }
  if (!view) {
    return id.str() + " is not shown";
  }
  if (const std::string why = ends_.doomed(id, accepted); !why.empty()) {
    return id.str() + " is still there, and " + why;
  }
  if (const std::string differs = difference_of_withdrawn(id, accepted); !differs.empty() || withdrawn(id)) {
    return differs;
  }
  const Znode* standing = ensemble_->znodes().find(accepted.path);
  const std::string is = id.str() + " at " + accepted.path + " is " + name_of(view->state) + ", ";
  const bool convicted =
      view->state == core::State::blocked && view->reason && view->reason->code == core::ReasonCode::refused;
  if (standing != nullptr && !judge_.is_ours(standing->stat.ephemeral_owner)) {
    const bool tried = convicted && accepted.data.ends_with(kPoison);  // before that one stood there
    return view->state == core::State::conflict || tried ? "" : is + "and a foreign znode stands there";
  }
  for (std::string above = FakeZnodes::parent_of(accepted.path); !above.empty(); above = FakeZnodes::parent_of(above)) {
    const Znode* parent = ensemble_->znodes().find(above);
    if (parent != nullptr && parent->stat.ephemeral_owner.value != 0) {
      return view->state == core::State::blocked ? "" : is + "and " + above + " is ephemeral";
    }
  }
  if (standing == nullptr && view->state == core::State::blocked && view->reason &&
      view->reason->code == core::ReasonCode::quota && core_->status(clock_.now()).held_back > 0 &&
      any_stays_for_a_move()) {
    return "";  // the old znode takes the room in the packet that ends the session
  }
  if (accepted.data.ends_with(kPoison)) {
    return convicted ? "" : is + "and its content is poisonous";
  }
  if (standing == nullptr) {
    return is + "and no znode stands there";
  }
  if (standing->stat.ephemeral_owner != ensemble_->attached_session().value_or(SessionId{})) {
    return is + "its znode is owned by another session of ours";
  }
  if (standing->data != accepted.data) {
    return is + "its znode holds " + standing->data + " instead of " + accepted.data;
  }
  if (view->state != core::State::registered || !view->znode || view->znode->seq != accepted.seq ||
      view->znode->czxid != standing->stat.czxid || view->znode->mzxid != standing->stat.mzxid ||
      view->znode->version != standing->stat.version || view->znode->session != standing->stat.ephemeral_owner) {
    return is + "its znode stands, but what is shown of it differs";
  }
  return core_->settled(id, accepted.seq) ? "" : is + "but not settled";
}

std::uint64_t Simulation::poisons() const {
  return static_cast<std::uint64_t>(
      std::count_if(model_.accepted().begin(), model_.accepted().end(),
                    [](const auto& entry) { return entry.second.present && entry.second.data.ends_with(kPoison); }));
}

bool Simulation::any_poison() const {
  return history_.has(Fault::poison);
}

std::string Simulation::difference_soon() {
  std::string differs = difference();
  for (int i = 0; i < 20 && any_poison() && !differs.empty() && !verdict_.failed(); ++i) {
    run_until(clock_.steady_ms() + kLookMs);
    differs = difference();
  }
  return differs;
}

// A registration whose new path is refused stays at its old one.
bool Simulation::stays_for_a_move(const std::string& path, const std::vector<core::QueuedOperation>& queue) const {
  return std::any_of(queue.begin(), queue.end(), [&](const core::QueuedOperation& operation) {
    const auto accepted = model_.accepted().find(operation.id);
    return operation.deregister && operation.path == path && accepted != model_.accepted().end() &&
           accepted->second.present && !withdrawn(operation.id) &&
           core_->find(operation.id)->state != core::State::registered;
  });
}

bool Simulation::any_stays_for_a_move() const {
  bool more = false;
  const std::vector<core::QueuedOperation> queue = core_->queue(Seq{}, 1000, more);
  return std::any_of(queue.begin(), queue.end(), [&](const auto& one) { return stays_for_a_move(one.path, queue); });
}

std::string Simulation::difference() const {
  if (!core_) {
    return "the agent is down";
  }
  if (!ensemble_->connected()) {
    return "not connected";
  }
  if (model_.anything_open() || ends_.maintenance_open()) {
    return "a caller was not answered: " + model_.open_calls();
  }
  std::set<std::string> wanted;
  std::size_t aside = 0;
  std::size_t present = 0;
  for (const auto& [id, accepted] : model_.accepted()) {
    if (const std::string differs = difference_of(id, accepted); !differs.empty()) {
      return differs;
    }
    present += accepted.present ? 1 : 0;
    if (accepted.present && !withdrawn(id)) {
      wanted.insert(accepted.path);
      aside += core_->find(id)->state == core::State::registered ? 0 : 1;
    }
  }
  bool more = false;
  const std::vector<core::QueuedOperation> queue = core_->queue(Seq{}, 1000, more);
  for (const auto& [path, znode] : ensemble_->znodes().all()) {
    if (judge_.is_ours(znode.stat.ephemeral_owner) && !wanted.contains(path) && !judge_.resurrected(path, znode) &&
        !stays_for_a_move(path, queue)) {
      return "a ghost: " + path + " data=" + znode.data;
    }
  }
  const auto held = static_cast<std::size_t>(std::count_if(queue.begin(), queue.end(), [&](const auto& one) {
    return one.deregister && stays_for_a_move(one.path, queue);
  }));
  const core::StatusView status = core_->status(clock_.now());
  if (queue.size() != aside + held || status.queue_depth != aside + held) {
    return "the queue holds " + std::to_string(queue.size()) + ", set aside are " + std::to_string(aside) +
           ", old places of those " + std::to_string(held);
  }
  if (!status.storage_healthy() || status.session != ensemble_->attached_session() || status.total != present + held) {
    return "the status shows something else";
  }
  if (status.last_seq != store_.written().last_seq) {
    return "the status shows another last_seq than the store";
  }
  return "";
}

}  // namespace limpet::test
