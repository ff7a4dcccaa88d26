#include "agent/core/lifetimes.h"

#include <algorithm>
#include <utility>

namespace limpet::core {

namespace {

// While there are ttls, somebody has to look at the clock so often, or a stall would not be seen.
constexpr std::int64_t kWatchMs = 1'000;
// A timer is late by so much on a busy machine without anything being wrong.
constexpr std::int64_t kLateMs = 50;
// Callers whose heartbeats came in while we stood still are given time to be heard.
constexpr std::int64_t kFrozenMs = 1'000;

std::string seconds(std::int64_t ms) {
  if (ms % 1'000 != 0) {
    return std::to_string(ms) + "ms";
  }
  return std::to_string(ms / 1'000) + "s";
}

}  // namespace

void Lifetimes::observe(Now now, std::optional<std::int64_t> expected_at_ms) {
  // Time in which other events were handled was no stall, however late the tick is.
  const std::int64_t late_ms = expected_at_ms ? now.steady_ms - std::max(*expected_at_ms, steady_ms_) : 0;
  const bool slept = observed_ && now.asleep_ms - asleep_ms_ >= kFrozenMs;
  if (late_ms > kLateMs) {
    stalled_ms_ += late_ms;
  }
  steady_ms_ = now.steady_ms;
  wall_ms_ = now.wall_ms;
  asleep_ms_ = now.asleep_ms;
  observed_ = true;
  if (steady_ms_ >= watch_at_ms_) {
    watch_at_ms_ = steady_ms_ + kWatchMs;
  }
  if (slept || late_ms >= kFrozenMs) {
    grant_grace();
  }
}

void Lifetimes::grant_grace() {
  for (const auto& [at, id] : std::exchange(ttls_, {})) {
    Life& life = lives_.at(id);
    life.ttl_at.reset();
    set_ttl(life, id);
  }
}

void Lifetimes::set_ttl(Life& life, const RegistrationId& id) {
  if (life.ttl_at) {
    ttls_.erase(*life.ttl_at);
  }
  life.ttl_at = ttls_.emplace(ttl_clock() + life.ttl_ms, id);
}

void Lifetimes::clear(Life& life) {
  const auto forget = [](Deadlines& deadlines, std::optional<Deadlines::iterator>& at) {
    if (at) {
      deadlines.erase(*at);
      at.reset();
    }
  };
  forget(ttls_, life.ttl_at);
  forget(expiries_, life.expires_at);
  forget(orphans_, life.orphaned_at);
}

void Lifetimes::begin(const Registration& registration, bool reached, Now now) {
  const RegistrationId& id = registration.id;
  const Lifetime& lifetime = registration.lifetime;
  if (const auto it = found_.find(id); it != found_.end() && it->second.end.seq != registration.seq) {
    found_.erase(it);
  }
  if (const auto it = lives_.find(id); it != lives_.end()) {
    clear(it->second);
    lives_.erase(it);
  }
  const bool may_expire = lifetime.expires_ms > 0 && !reached;
  const bool orphan = lifetime.bind == Bind::connection && !connections_.contains(id);
  if (lifetime.ttl_ms == 0 && !may_expire && !orphan) {
    return;
  }
  Life& life = lives_[id];
  life.seq = registration.seq;
  life.ttl_ms = lifetime.ttl_ms;
  if (life.ttl_ms > 0) {
    set_ttl(life, id);
  }
  if (may_expire) {
    // What is left by the wall clock, as far as that can be: it may have been set meanwhile.
    const std::int64_t left =
        std::clamp<std::int64_t>(registration.accepted_at + lifetime.expires_ms - now.wall_ms, 0, lifetime.expires_ms);
    life.expires_ms = lifetime.expires_ms;
    life.expires_at = expiries_.emplace(now.steady_ms + left, id);
  }
  if (orphan) {
    life.orphaned_at = orphans_.emplace(now.steady_ms + connection_grace_ms_, id);
  }
}

void Lifetimes::end(const RegistrationId& id) {
  if (const auto it = lives_.find(id); it != lives_.end()) {
    clear(it->second);
    lives_.erase(it);
  }
  found_.erase(id);
}

bool Lifetimes::reached(const RegistrationId& id, Seq seq) {
  const auto it = lives_.find(id);
  if (it == lives_.end() || it->second.seq != seq || !it->second.expires_at) {
    return false;
  }
  expiries_.erase(*it->second.expires_at);
  it->second.expires_at.reset();
  return true;
}

void Lifetimes::heartbeat(const RegistrationId& id) {
  const auto it = lives_.find(id);
  if (it != lives_.end() && it->second.ttl_ms > 0) {
    set_ttl(it->second, id);
  }
}

void Lifetimes::bind(const RegistrationId& id, ConnectionId connection) {
  unbind(id);
  bound_[connection].insert(id);
  connections_[id] = connection;
  if (const auto it = lives_.find(id); it != lives_.end() && it->second.orphaned_at) {
    orphans_.erase(*it->second.orphaned_at);
    it->second.orphaned_at.reset();
  }
}

void Lifetimes::unbind(const RegistrationId& id) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) {
    return;
  }
  const auto bound = bound_.find(it->second);
  bound->second.erase(id);
  if (bound->second.empty()) {
    bound_.erase(bound);
  }
  connections_.erase(it);
}

std::vector<RegistrationId> Lifetimes::closed(ConnectionId connection) {
  std::vector<RegistrationId> ids;
  if (const auto it = bound_.find(connection); it != bound_.end()) {
    ids.assign(it->second.begin(), it->second.end());
    bound_.erase(it);
  }
  for (const RegistrationId& id : ids) {
    connections_.erase(id);
  }
  return ids;
}

void Lifetimes::found(End end) {
  Found& found = found_[end.id];
  if (found.end.seq != end.seq) {
    found = Found{std::move(end), false};
  }
}

void Lifetimes::expire(Now now) {
  while (!ttls_.empty() && ttls_.begin()->first <= ttl_clock()) {
    const RegistrationId id = ttls_.begin()->second;
    Life& life = lives_.at(id);
    ttls_.erase(ttls_.begin());
    life.ttl_at.reset();
    found({id, life.seq, Happening::ttl_expired, "no heartbeat for " + seconds(life.ttl_ms)});
  }
  while (!expiries_.empty() && expiries_.begin()->first <= now.steady_ms) {
    const RegistrationId id = expiries_.begin()->second;
    Life& life = lives_.at(id);
    expiries_.erase(expiries_.begin());
    life.expires_at.reset();
    found({id, life.seq, Happening::expired, "not in ZooKeeper within " + seconds(life.expires_ms)});
  }
  while (!orphans_.empty() && orphans_.begin()->first <= now.steady_ms) {
    const RegistrationId id = orphans_.begin()->second;
    Life& life = lives_.at(id);
    orphans_.erase(orphans_.begin());
    life.orphaned_at.reset();
    found({id, life.seq, Happening::connection_closed,
           "its connection ended with an earlier run of the agent, and it was not registered again within " +
               seconds(connection_grace_ms_)});
  }
}

std::vector<Lifetimes::End> Lifetimes::take() {
  std::vector<End> ends;
  for (auto& [id, found] : found_) {
    if (!std::exchange(found.taken, true)) {
      ends.push_back(found.end);
    }
  }
  return ends;
}

void Lifetimes::give_back() {
  for (auto& [id, found] : found_) {
    found.taken = false;
  }
}

std::optional<std::int64_t> Lifetimes::deadline() const {
  std::optional<std::int64_t> at;
  const auto sooner = [&](std::int64_t other) { at = at ? std::min(*at, other) : other; };
  if (!ttls_.empty()) {
    sooner(std::min(ttls_.begin()->first + stalled_ms_, watch_at_ms_));
  }
  if (!expiries_.empty()) {
    sooner(expiries_.begin()->first);
  }
  if (!orphans_.empty()) {
    sooner(orphans_.begin()->first);
  }
  return at;
}

std::optional<WallMs> Lifetimes::ttl_expires_at(const RegistrationId& id) const {
  const auto it = lives_.find(id);
  if (it == lives_.end() || !it->second.ttl_at) {
    return std::nullopt;
  }
  return wall_ms_ + (*it->second.ttl_at)->first - ttl_clock();
}

}  // namespace limpet::core
