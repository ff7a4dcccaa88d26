// The callers' and the faults' part of the simulation.
#include <algorithm>
#include <utility>

#include "tests/sim/simulation.h"

namespace limpet::test {

// ---- Callers

core::RegisterRequest Simulation::random_register() {
  core::RegisterRequest request;
  request.id = rng_.pick(ids_);
  const auto last = last_requests_.find(request.id);
  if (last != last_requests_.end() && rng_.chance(0.2)) {
    return last->second;  // the same again
  }
  request.format = Format::raw;
  request.data = request.id.str() + "!" + std::to_string(next_content_++);
  if (rng_.chance(0.25)) {
    constexpr const char* kPaths[] = {"/x/p1", "/x/p2", "/x/deep/er/p3", "/services/a/0", "/services/c/own"};
    request.path = rng_.pick(kPaths);
    if (history_.has(Fault::nested_paths) && rng_.chance(0.3)) {
      constexpr const char* kNested[] = {"/services/a", "/x/p1/below", "/x/deep", "/services/a/0/below"};
      request.path = rng_.pick(kNested);
    }
  }
  if (rng_.chance(0.02)) {
    request.path = "/elsewhere/p";
  }
  if (history_.has(Fault::lifetimes) && rng_.chance(0.7)) {
    give_lifetime(request.lifetime);
  }
  if (history_.has(Fault::poison) && rng_.chance(0.1)) {
    request.data += kPoison;
    ++tally_.faults[static_cast<std::size_t>(Fault::poison)];
  }
  last_requests_[request.id] = request;
  return request;
}

void Simulation::give_lifetime(Lifetime& lifetime) {
  constexpr std::int64_t kTtls[] = {1'000, 3'000, 10'000};
  constexpr std::int64_t kExpiries[] = {1'000, 5'000, 20'000};
  if (rng_.chance(0.4)) {
    lifetime.ttl_ms = rng_.pick(kTtls);
  }
  if (rng_.chance(0.3)) {
    lifetime.bind = Bind::process;
    lifetime.process = locals_.any_process();
  } else if (rng_.chance(0.3)) {
    lifetime.bind = Bind::connection;
  }
  if (rng_.chance(0.3)) {
    lifetime.checks.resize(1);
    lifetime.checks[0].target = rng_.chance(0.5) ? "127.0.0.1:80" : "127.0.0.1:81";
  }
  if (rng_.chance(0.3)) {
    lifetime.expires_ms = rng_.pick(kExpiries);
  }
}

// Of one or of the host: it begins, or ends.
void Simulation::call_maintenance(bool end) {
  core::SetMaintenance event;
  event.token = core::Token{next_token_++};
  event.caller.privileged = end || rng_.chance(0.9);
  event.caller.owner.uid = 1000;
  if (!end && rng_.chance(0.8)) {
    event.id = rng_.pick(ids_);
  }
  if (!end && rng_.chance(0.5)) {
    event.reason = "work " + std::to_string(rng_.below(3));
  }
  ++tally_.maintenance;
  ends_.maintenance_submitted(event);
  step(std::move(event));
}

core::ChangeRequest Simulation::random_change() {
  if (rng_.chance(0.3)) {
    const RegistrationId& id = rng_.pick(ids_);
    last_requests_.erase(id);  // a content that was deregistered does not come back: each has one seq
    return core::DeregisterRequest{id};
  }
  return random_register();
}

void Simulation::call() {
  if (!core_ || thaw_at_ != kNever) {
    return;
  }
  core::Caller caller;
  caller.owner.uid = rng_.chance(0.15) ? 1001 : 1000;
  caller.owner.pid = static_cast<std::int32_t>(rng_.between(2, 9));
  caller.privileged = rng_.chance(0.15);
  if (history_.has(Fault::lifetimes)) {
    caller.connection = locals_.any_connection();
  }
  if (history_.has(Fault::maintenance) && rng_.chance(0.15)) {
    return call_maintenance(false);
  }
  const core::Token token{next_token_++};
  core::Event event;
  if (rng_.chance(0.02)) {
    caller.privileged = true;
    event = core::Leave{token, caller};
    last_requests_.clear();
  } else {
    core::Submit submit{token, caller, {}};
    const std::int64_t changes = rng_.chance(0.15) ? rng_.between(2, 5) : 1;
    for (std::int64_t i = 0; i < changes; ++i) {
      submit.changes.push_back(random_change());
      if (const auto* request = std::get_if<core::RegisterRequest>(&submit.changes.back())) {
        locals_.client_ends(request->id);  // it is another's from here on; whose, the answer tells
      }
    }
    event = std::move(submit);
  }
  model_.submitted(event, *core_, low_);
  step(std::move(event));
}

// ---- Faults

std::int64_t Simulation::duration() {
  constexpr std::int64_t kScales[] = {10, 500, 5'000, 30'000};
  return rng_.between(0, rng_.pick(kScales));
}

void Simulation::undo_due() {
  const std::int64_t now = clock_.steady_ms();
  const auto due = [now](std::int64_t& at) { return at <= now ? (at = kNever, true) : false; };
  if (due(network_back_at_)) {
    ensemble_->set_network(true);
  }
  if (due(quorum_back_at_)) {
    ensemble_->set_quorum(true);
  }
  if (due(credentials_back_at_)) {
    ensemble_->set_auth_broken(false);
  }
  if (due(allow_at_)) {
    ensemble_->allow_all();
  }
  if (due(thaw_at_)) {
    thaw();
  }
  if (thaw_at_ == kNever && due(room_at_)) {
    space(false);
  }
  if (due(alone_at_)) {
    rival_gone();
  }
  if (due(restart_at_)) {
    start_agent();
  }
}

void Simulation::thaw() {
  constexpr std::int64_t kNoticedMs = 2'100;  // a second's timer that is a second late
  const std::int64_t now = clock_.steady_ms();
  if (now - frozen_at_ >= kNoticedMs) {
    ends_.graced();
  }
  if (mutator_.is(Mutation::no_grace_after_freeze)) {
    for (std::int64_t at = frozen_at_; at < now; at += 100) {
      mutated_now_ = clock_.now();
      mutated_now_->steady_ms = at;
      step(core::Tick{});
    }
    mutated_now_.reset();
  }
  ensemble_->set_frozen(false);
  judge_.thawed();
}

void Simulation::inject() {
  std::vector<Fault> enabled;
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    if (history_.faults[i]) {
      enabled.push_back(static_cast<Fault>(i));
    }
  }
  if (enabled.empty()) {
    return;
  }
  const Fault fault = rng_.pick(enabled);
  if (tracing_) {
    note(std::string("**** ") + name_of(fault));
  }
  ++injected_;
  if (fault != Fault::poison) {  // that one is counted by its requests
    ++tally_.faults[static_cast<std::size_t>(fault)];
  }
  inject_agent_fault(fault);
  inject_ensemble_fault(fault);
  inject_store_fault(fault);
  inject_outsider(fault);
  inject_neighbourhood_fault(fault);
  inject_local(fault);
}

void Simulation::inject_local(Fault fault) {
  switch (fault) {
    case Fault::processes_die:
      locals_.process_dies();
      break;
    case Fault::connections_close:
      locals_.connection_closes();
      break;
    case Fault::clients_die:
      locals_.client_dies();
      break;
    case Fault::flapping_checks:
      locals_.health_turns();
      break;
    case Fault::suspended_machine:
      clock_.suspend(rng_.between(1'000, 3'600'000));
      ends_.wall_jumped();
      ends_.graced();
      break;
    default:
      break;
  }
}

void Simulation::inject_agent_fault(Fault fault) {
  const std::int64_t now = clock_.steady_ms();
  if (!core_) {
    return;
  }
  switch (fault) {
    case Fault::process_crash:
    case Fault::power_cut:
      if (rng_.chance(0.5)) {
        crash_within_step_ = true;
      } else {
        crash_agent(fault == Fault::power_cut);
        restart_at_ = now + duration();
      }
      break;
    case Fault::clean_restart:
      if (thaw_at_ == kNever) {
        step(core::Stopping{});
        for (int i = 0; i < 100 && core_ && !in_hand_.empty(); ++i) {
          commit();  // what was accepted is still written and answered
        }
        if (core_) {
          if (mutator_.is(Mutation::end_session_on_stop)) {
            ensemble_->close_session();
          }
          crash_agent(false);
          restart_at_ = now + rng_.between(0, 1500);
        }
      }
      break;
    case Fault::frozen_agent:
      if (thaw_at_ == kNever) {
        thaw_at_ = now + duration();
        frozen_at_ = now;
        ensemble_->set_frozen(true);
      }
      break;
    case Fault::odd_ticks:
      if (thaw_at_ == kNever) {
        step(core::Tick{});
        timer_at_ = timer_at_ == kNever ? kNever : timer_at_;
      }
      break;
    case Fault::servers_changed:
      if (thaw_at_ == kNever) {
        step(core::ServersChanged{});
      }
      break;
    case Fault::wall_jumps:
      clock_.jump_wall(rng_.between(-86'400'000, 86'400'000));
      ends_.wall_jumped();
      break;
    default:
      break;
  }
}

void Simulation::inject_ensemble_fault(Fault fault) {
  const std::int64_t now = clock_.steady_ms();
  const auto attached = ensemble_->attached_session();
  switch (fault) {
    case Fault::disconnect:
      ensemble_->cut();
      break;
    case Fault::quorum_loss:
      ensemble_->set_quorum(false);
      quorum_back_at_ = now + duration();
      break;
    case Fault::network_loss:
      ensemble_->set_network(false);
      network_back_at_ = now + duration();
      break;
    case Fault::expiry:
    case Fault::silent_expiry:
    case Fault::ghosts: {
      const auto& stored = store_.written().session;
      if (ensemble_->serving() && stored) {
        ensemble_->expire(attached.value_or(stored->id), fault == Fault::ghosts);
      }
      break;
    }
    case Fault::refused_reattach:
      ensemble_->refuse_next_reattach();
      ensemble_->cut();
      break;
    case Fault::wiped_servers:
      if (rng_.chance(0.2)) {
        ensemble_->wipe();
      }
      break;
    case Fault::rolled_back:
      if (rng_.chance(0.3)) {
        ensemble_->roll_back(rng_.between(1, 30));
        judge_.exempt("/services");  // what stands out of order now was put there by the backup
        judge_.exempt("/x");
      }
      break;
    case Fault::bad_credentials:
      ensemble_->set_auth_broken(true);
      credentials_back_at_ = now + duration();
      break;
    case Fault::acl: {
      constexpr core::ZkCode kCodes[] = {core::ZkCode::no_auth, core::ZkCode::quota_exceeded, core::ZkCode::refused};
      constexpr const char* kPrefixes[] = {"/services", "/services/a", "/x", "/x/deep", "/services/b/1"};
      const std::string prefix = rng_.pick(kPrefixes);
      ensemble_->deny(prefix, rng_.pick(kCodes));
      judge_.exempt(prefix);
      allow_at_ = now + duration();
      break;
    }
    default:
      break;
  }
}

void Simulation::inject_store_fault(Fault fault) {
  if (fault == Fault::store_failure || fault == Fault::store_full) {
    store_.fail_next_append(fault == Fault::store_full ? Errc::full : Errc::io, rng_.chance(0.5));
    store_.fail_reopens(static_cast<std::uint32_t>(rng_.below(4)));
    if (history_.has(Fault::processes_die) && rng_.chance(0.5)) {
      locals_.process_dies();
    }
    if (history_.has(Fault::connections_close) && rng_.chance(0.5)) {
      locals_.connection_closes();
    }
  }
}

// The disk's room, and others who have what is ours: our session, or our state.
void Simulation::inject_neighbourhood_fault(Fault fault) {
  const std::int64_t now = clock_.steady_ms();
  if (fault == Fault::low_on_space && thaw_at_ == kNever) {
    space(true);
    room_at_ = now + duration();
  } else if (fault == Fault::rival_process && ensemble_->attached_session()) {
    ensemble_->end_rival();
    alone_at_ = now + duration();
    rival_since_ = now;
    rival_connects_ = ensemble_->connects();
    rival_faults_ = injected_;
    ensemble_->rival(*ensemble_->attached_session(), alone_at_ - now);
  } else if (fault == Fault::copied_state && core_) {
    crash_agent(false);
    locals_.reboot();  // it wakes up on another machine
    judge_.estrange();
    ensemble_->estrange_sessions(duration());  // the other machine goes on, for a while
    options_.host = "machine " + std::to_string(++hosts_);
    restart_at_ = now + rng_.between(0, 1500);
  }
}

void Simulation::space(bool low) {
  if (low_ != low) {
    low_ = low;
    step(core::SpaceChanged{low_});
  }
}

// Two processes with one session must not keep the servers busy: ten tries in a row, then one in five seconds.
void Simulation::rival_gone() {
  const std::uint64_t connects = ensemble_->connects() - rival_connects_;
  const auto seconds = static_cast<std::uint64_t>((clock_.steady_ms() - rival_since_) / 1000);
  if (injected_ == rival_faults_ && !any_poison() && connects > 12 + seconds / 5) {
    verdict_.fail("I12", std::to_string(connects) + " connects in " + std::to_string(seconds) +
                             " s while another process held the session");
  }
  ensemble_->end_rival();
}

std::string Simulation::random_path() {
  constexpr const char* kPaths[] = {"/x/p1",         "/x/p2",         "/x/deep/er/p3", "/x/deep/er",  "/services/a/0",
                                    "/services/b/1", "/services/a/2", "/services/b/3", "/services/a", "/services"};
  return rng_.pick(kPaths);
}

void Simulation::inject_outsider(Fault fault) {
  const std::string path = random_path();
  if (fault == Fault::foreign_znodes) {
    const SessionId owner = rng_.chance(0.7) ? ensemble_->foreign_session(duration()) : SessionId{0};
    if (ensemble_->outsider_create(path, "foreign", owner)) {
      judge_.exempt(path);
    }
  } else if (fault == Fault::operators) {
    const Znode* standing = ensemble_->znodes().find(path);
    const bool parent = standing != nullptr && standing->stat.ephemeral_owner.value == 0;
    const bool changed =
        rng_.chance(0.5) && !parent ? ensemble_->outsider_set(path, "overwritten") : ensemble_->outsider_remove(path);
    if (changed) {
      judge_.exempt(path);
    }
  }
}

}  // namespace limpet::test
