// Core: what the API is shown. From memory; nothing here changes anything.
#include <algorithm>

#include "agent/core/core_impl.h"

namespace limpet::core {

namespace {

Reason reason_of_hold(const Hold& hold, ReasonCode code, const char* otherwise) {
  return Reason{code, hold.message.empty() ? otherwise : hold.message, hold.since, 0};
}

}  // namespace

State Core::Impl::state_of(const Registration& registration, const Replay::Node* there) const {
  switch (Replay::phase(there)) {
    case Replay::Phase::confirmed:
      return session_.usable() ? State::registered : State::suspended;
    case Replay::Phase::conflict:
      return State::conflict;
    case Replay::Phase::blocked:
      return State::blocked;
    case Replay::Phase::withdrawn:
      return holds_.maintenance(registration.id) != nullptr ? State::maintenance : State::unhealthy;
    case Replay::Phase::pending:
    case Replay::Phase::removing:
      break;
  }
  return State::pending;
}

SharedReason Core::Impl::reason_of(const RegistrationId& id, const Replay::Node* there, State state) const {
  if (state == State::maintenance) {
    return reason_of_hold(*holds_.maintenance(id), ReasonCode::maintenance, "in maintenance");
  }
  if (state == State::unhealthy) {
    return reason_of_hold(*holds_.failing_check(id), ReasonCode::check_failed, "a health check fails");
  }
  if (state == State::conflict || state == State::blocked) {
    return *Replay::set_aside_reason(there);
  }
  if (state != State::registered && !session_.usable()) {
    return session_.reason();
  }
  if (state == State::removing && Replay::set_aside_reason(there) != nullptr) {
    return *Replay::set_aside_reason(there);
  }
  return {};
}

RegistrationView Core::Impl::view(const SharedRegistration& shared) const {
  const Registration& registration = *shared;
  const Replay::Node* there = replay_.at(registration.path);
  const State state = state_of(registration, there);
  const RegistrationId& id = registration.id;
  RegistrationView view{shared, state, reason_of(id, there, state), Replay::znode(there)};
  const auto copy = [](const Hold* hold) { return hold != nullptr ? std::optional(*hold) : std::nullopt; };
  view.maintenance = copy(holds_.maintenance(id));
  view.failing_check = copy(holds_.failing_check(id));
  view.ttl_expires_at = lifetimes_.ttl_expires_at(id);
  if (registration.lifetime.expires_ms > 0) {
    view.expires_at = registration.accepted_at + registration.lifetime.expires_ms;
  }
  return view;
}

RegistrationView Core::Impl::view(const Removal& removal) const {
  const Replay::Node* there = replay_.at(removal.path);
  return RegistrationView{remnant_of(removal), State::removing, reason_of(removal.id, there, State::removing),
                          Replay::znode(there)};
}

std::optional<RegistrationView> Core::find(const RegistrationId& id) const {
  if (const SharedRegistration registration = impl_->registry_.live(id)) {
    return impl_->view(registration);
  }
  if (const auto* seqs = impl_->registry_.removals_of(id)) {
    return impl_->view(impl_->registry_.removals().at(*seqs->rbegin()));
  }
  return std::nullopt;
}

std::optional<State> Core::state(const RegistrationId& id) const {
  if (const Registration* registration = impl_->registry_.find(id)) {
    return impl_->state_of(*registration, impl_->replay_.at(registration->path));
  }
  return impl_->registry_.removals_of(id) != nullptr ? std::optional(State::removing) : std::nullopt;
}

std::vector<RegistrationView> Core::list(const std::optional<std::string>& service, std::optional<State> state,
                                         const std::optional<RegistrationId>& after, std::size_t limit,
                                         bool& more) const {
  const auto& entries = impl_->registry_.entries();
  const auto& removing = impl_->registry_.removals_by_id();
  auto a = after ? entries.upper_bound(*after) : entries.begin();
  auto b = after ? removing.upper_bound(*after) : removing.begin();
  std::vector<RegistrationView> found;
  more = false;
  while (a != entries.end() || b != removing.end()) {
    if (a != entries.end() && !a->live) {
      ++a;
      continue;
    }
    const bool live_first = b == removing.end() || (a != entries.end() && a->id() <= b->first);
    const RegistrationId& id = live_first ? a->id() : b->first;
    const SharedRegistration* registration = live_first ? &a->live : nullptr;
    const Removal* removal = live_first ? nullptr : &impl_->registry_.removals().at(*b->second.rbegin());
    if (b != removing.end() && b->first == id) {
      ++b;  // shown as live where it is both
    }
    if (live_first) {
      ++a;
    }
    const std::string& of = registration != nullptr ? (*registration)->id.service : removal->id.service;
    if (service && of != *service) {
      continue;
    }
    RegistrationView view = registration != nullptr ? impl_->view(*registration) : impl_->view(*removal);
    if (state && view.state != *state) {
      continue;
    }
    if (found.size() == limit) {
      more = true;
      break;
    }
    found.push_back(std::move(view));
  }
  return found;
}

std::vector<QueuedOperation> Core::queue(Seq after, std::size_t limit, bool& more) const {
  const auto& open = impl_->replay_.open();
  std::vector<QueuedOperation> found;
  more = false;
  for (auto it = open.upper_bound({after, true}); it != open.end(); ++it) {
    if (found.size() == limit) {
      more = true;
      break;
    }
    const auto& [key, node] = *it;
    const std::string& path = Replay::path_of(*node);
    QueuedOperation operation;
    operation.seq = key.first;
    operation.deregister = !key.second;
    operation.withdraw = Replay::withdraws(*node);
    operation.path = path;
    if (key.second) {
      const Registration& registration = *impl_->registry_.find(Replay::id_of(*node));
      operation.id = registration.id;
      operation.state = impl_->state_of(registration, node);
      operation.accepted_at = registration.accepted_at;
    } else {
      const Removal& removal = impl_->registry_.removals().at(key.first);
      operation.id = removal.id;
      operation.state = State::removing;
      operation.accepted_at = removal.accepted_at;
    }
    operation.reason = impl_->reason_of(operation.id, node, operation.state);
    found.push_back(std::move(operation));
  }
  return found;
}

StatusView Core::status(Now now) const {
  StatusView status;
  impl_->session_.show(status);
  const Replay& replay = impl_->replay_;
  status.queue_depth = replay.depth();
  status.queue_bytes = replay.bytes();
  status.last_seq = impl_->committed_;
  status.applied_seq = impl_->committed_;
  const Limits& limits = impl_->options_.limits;
  status.max_operations = limits.max_operations;
  impl_->registry_.show(status);
  status.operations = {replay.depth(), limits.max_operations, limits.user_share(limits.max_operations)};
  status.session_path_bytes = replay.session_bytes();
  status.watch_path_bytes = replay.watch_bytes();
  status.held_back = replay.held_back();
  if (!replay.open().empty()) {
    const auto& [key, node] = *replay.open().begin();
    status.applied_seq = Seq{key.first.value - 1};
    const WallMs accepted_at = key.second ? impl_->registry_.find(Replay::id_of(*node))->accepted_at
                                          : impl_->registry_.removals().at(key.first).accepted_at;
    status.oldest_age_ms = std::max<std::int64_t>(0, now.wall_ms - accepted_at);
  }
  const auto count = [&](State state) -> std::uint64_t& { return status.by_state[static_cast<std::size_t>(state)]; };
  count(impl_->session_.usable() ? State::registered : State::suspended) = replay.count(Replay::Phase::confirmed);
  count(State::pending) = replay.count(Replay::Phase::pending);
  count(State::conflict) = replay.count(Replay::Phase::conflict);
  count(State::blocked) = replay.count(Replay::Phase::blocked);
  count(State::removing) = replay.count(Replay::Phase::removing);
  const std::uint64_t withdrawn = replay.count(Replay::Phase::withdrawn);
  const bool all = impl_->holds_.host_maintenance() != nullptr;
  count(State::maintenance) = all ? withdrawn : impl_->holds_.maintenance_count();
  count(State::unhealthy) = withdrawn - count(State::maintenance);
  for (const std::uint64_t n : status.by_state) {
    status.total += n;
  }
  impl_->show_storage(status, now);
  if (all) {
    status.maintenance = *impl_->holds_.host_maintenance();
  }
  return status;
}

Figures Core::figures(Now now) const {
  Figures figures;
  figures.replay = impl_->replay_.figures();
  figures.session = impl_->session_.figures(now);
  impl_->registry_.for_each_live([&](const Registration& registration) {
    const Lifetime& lifetime = registration.lifetime;
    figures.lifetimes.process += lifetime.bind == Bind::process ? 1 : 0;
    figures.lifetimes.connection += lifetime.bind == Bind::connection ? 1 : 0;
    figures.lifetimes.ttl += lifetime.ttl_ms > 0 ? 1 : 0;
    figures.lifetimes.checks += lifetime.checks.empty() ? 0 : 1;
    figures.lifetimes.expires += lifetime.expires_ms > 0 ? 1 : 0;
  });
  const Parents& parents = impl_->parents_;
  figures.parents = {parents.created().size(), parents.total_created(), impl_->parents_pruned_,
                     parents.total_forgotten()};
  return figures;
}

bool Core::settled(const RegistrationId& id, Seq seq) const {
  const Registration* registration = impl_->registry_.find(id);
  const auto* removals = impl_->registry_.removals_of(id);
  if (registration == nullptr) {
    return removals == nullptr;
  }
  if (removals != nullptr && *removals->begin() <= seq) {
    return false;
  }
  return impl_->session_.usable() && Replay::confirmed(impl_->replay_.at(registration->path), registration->seq);
}

}  // namespace limpet::core
