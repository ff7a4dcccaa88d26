#include "tests/sim/locals.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

namespace limpet::test {

namespace {

// Processes and connections are told of within a second (P9).
constexpr std::int64_t kToldWithinMs = 900;

template <typename Container>
auto any_of(Container& container, Rng& rng) {
  return std::next(container.begin(), static_cast<std::ptrdiff_t>(rng.below(container.size())));
}

}  // namespace

void Locals::soon(Due due, std::int64_t within_ms) {
  due_.emplace(clock_.steady_ms() + rng_.between(0, within_ms), std::move(due));
}

// ---- Processes

ProcessId Locals::any_process() {
  const bool another = alive_.empty() || rng_.chance(0.5);
  const std::uint64_t which = another ? next_process_++ : *any_of(alive_, rng_);
  alive_.insert(which);
  return ProcessId{static_cast<std::int32_t>(2 + which % 5), which, "boot " + std::to_string(boots_)};
}

bool Locals::process_dies() {
  if (alive_.empty()) {
    return false;
  }
  const auto it = any_of(alive_, rng_);
  for (const auto& [id, watched] : watched_) {
    const auto& process = watched.watch.process;
    if (process && process->start_ticks == *it) {
      soon(core::ProcessEnded{id, watched.watch.seq, "pid " + std::to_string(process->pid) + " ended"}, kToldWithinMs);
    }
  }
  alive_.erase(it);
  return true;
}

void Locals::reboot() {
  alive_.clear();
  clients_.clear();
  ++boots_;
}

// ---- Connections

core::ConnectionId Locals::any_connection() {
  if (connections_.empty() || rng_.chance(0.3)) {
    return *connections_.insert(core::ConnectionId{next_connection_++}).first;
  }
  return *any_of(connections_, rng_);
}

bool Locals::connection_closes() {
  if (connections_.empty()) {
    return false;
  }
  const auto it = any_of(connections_, rng_);
  soon(core::ConnectionClosed{*it}, kToldWithinMs);
  connections_.erase(it);
  return true;
}

// ---- Clients

void Locals::client_begins(const RegistrationId& id, std::int64_t ttl_ms) {
  const std::int64_t every_ms = ttl_ms / 3;
  clients_[id] = Client{every_ms, clock_.steady_ms() + rng_.between(1, every_ms)};
}

bool Locals::client_dies() {
  if (clients_.empty()) {
    return false;
  }
  clients_.erase(any_of(clients_, rng_));
  return true;
}

// ---- Health

bool Locals::health_turns() {
  std::vector<RegistrationId> checked;
  std::vector<RegistrationId> unwell;
  for (const auto& [id, watched] : watched_) {
    if (!watched.watch.checks.empty()) {
      (failing(id) ? unwell : checked).push_back(id);
    }
  }
  if (checked.empty() || (!unwell.empty() && rng_.chance(0.5))) {
    std::swap(checked, unwell);
  }
  if (checked.empty()) {
    return false;
  }
  const RegistrationId& id = rng_.pick(checked);
  if (failing_.erase(id) == 0) {
    failing_.insert(id);
  }
  soon(Look{id}, 300);
  return true;
}

// ---- The agent

void Locals::agent_started() {
  for (auto& [id, client] : clients_) {
    if (client.next_at <= clock_.steady_ms()) {  // what it sent meanwhile nobody heard
      client.next_at = clock_.steady_ms() + rng_.between(1, client.every_ms);
    }
  }
}

void Locals::agent_died() {
  connections_.clear();
  watched_.clear();
  due_.clear();
}

void Locals::watch(const core::Watch& watch) {
  watched_[watch.id] = Watched{watch, watch.failing};
  if (watch.process && !alive(*watch.process)) {
    soon(core::ProcessEnded{watch.id, watch.seq, "the process ended while nobody looked"}, kToldWithinMs);
  }
  if (!watch.checks.empty()) {
    soon(Look{watch.id}, 300);
  }
}

void Locals::void_failure(const RegistrationId& id) {
  if (const auto it = watched_.find(id); it != watched_.end()) {
    it->second.told_failing = false;
    it->second.doubtful = true;
  }
}

void Locals::recheck() {
  for (auto& [id, watched] : watched_) {
    if (std::exchange(watched.doubtful, false)) {
      soon(Look{id}, 300);
    }
  }
}

std::int64_t Locals::next_at() const {
  std::int64_t at = due_.empty() ? std::numeric_limits<std::int64_t>::max() : due_.begin()->first;
  for (const auto& [id, client] : clients_) {
    at = std::min(at, client.next_at);
  }
  return at;
}

std::optional<core::Event> Locals::take_due() {
  const std::int64_t now = clock_.steady_ms();
  for (auto& [id, client] : clients_) {
    if (client.next_at <= now) {
      client.next_at = now + client.every_ms;
      core::Heartbeat heartbeat;
      heartbeat.caller.privileged = true;
      heartbeat.id = id;
      return heartbeat;
    }
  }
  while (!due_.empty() && due_.begin()->first <= now) {
    const Due due = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    if (const auto* process = std::get_if<core::ProcessEnded>(&due)) {
      return *process;
    }
    if (const auto* connection = std::get_if<core::ConnectionClosed>(&due)) {
      return *connection;
    }
    const auto it = watched_.find(std::get<Look>(due).id);
    if (it == watched_.end() || it->second.watch.checks.empty()) {
      continue;
    }
    Watched& watched = it->second;
    const bool fails = failing(watched.watch.id);
    if (fails && watched.doubtful) {
      continue;
    }
    watched.doubtful = false;
    if (std::exchange(watched.told_failing, fails) != fails) {
      return core::HealthChanged{watched.watch.id, watched.watch.seq, !fails, fails ? "refused" : ""};
    }
  }
  return std::nullopt;
}

}  // namespace limpet::test
