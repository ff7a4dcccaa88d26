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
// Before the last of a ttl is over, what callers have already sent is heard: a stall shorter than that, or one that no
// timer noticed, may have kept it waiting.
constexpr std::int64_t kLastCallMs = 100;

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
  std::erase_if(found_, [](const auto& entry) { return entry.second.end.excusable; });
  for (auto& [id, life] : lives_) {
    set_ttl(life, id);
    set_orphan(life, id);
  }
}

void Lifetimes::set_ttl(Life& life, const RegistrationId& id) {
  if (life.ttl_ms == 0) {
    return;
  }
  if (life.ttl_at) {
    ttls_.erase(*life.ttl_at);
  }
  life.last_call = false;
  life.ttl_at = ttls_.emplace(ttl_clock() + life.ttl_ms, id);
}

void Lifetimes::set_orphan(Life& life, const RegistrationId& id) {
  if (life.orphaned_at) {
    orphans_.erase(*life.orphaned_at);
    life.orphaned_at.reset();
  }
  if (life.orphan) {
    life.orphaned_at = orphans_.emplace(ttl_clock() + connection_grace_ms_, id);
  }
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

void Lifetimes::begin(const Registration& registration, std::optional<std::int64_t> expires_in_ms, Now now) {
  const RegistrationId& id = registration.id;
  const Lifetime& lifetime = registration.lifetime;
  forget_found(id, registration.seq);
  unbind(id, registration.seq);
  if (const auto it = find_life(id); it != lives_.end()) {
    clear(it->second);
    lives_.erase(it);
  }
  bool orphan = false;
  if (lifetime.bind == Bind::connection) {
    const std::pair key(id, registration.seq);
    orphan = !connections_.contains(key) && !found_.contains(key);
  }
  if (lifetime.ttl_ms == 0 && !expires_in_ms && !orphan) {
    return;
  }
  Life& life = lives_[id];
  life.seq = registration.seq;
  life.ttl_ms = lifetime.ttl_ms;
  life.orphan = orphan;
  set_ttl(life, id);
  set_orphan(life, id);
  if (expires_in_ms) {
    life.expires_ms = lifetime.expires_ms;
    life.expires_at = expiries_.emplace(now.steady_ms + *expires_in_ms, id);
  }
}

void Lifetimes::end(const RegistrationId& id, Seq seq) {
  if (const auto it = find_life(id); it != lives_.end()) {
    clear(it->second);
    lives_.erase(it);
  }
  forget_found(id, Seq{seq.value + 1});
  unbind(id, Seq{seq.value + 1});
}

// As a rule there are none, and nothing has to be hashed.
Lifetimes::Lives::iterator Lifetimes::find_life(const RegistrationId& id) {
  return lives_.empty() ? lives_.end() : lives_.find(id);
}
Lifetimes::Lives::const_iterator Lifetimes::find_life(const RegistrationId& id) const {
  return lives_.empty() ? lives_.end() : lives_.find(id);
}

void Lifetimes::forget_found(const RegistrationId& id, Seq before) {
  if (found_.empty()) {
    return;
  }
  found_.erase(found_.lower_bound({id, Seq{}}), found_.lower_bound({id, before}));
}

bool Lifetimes::may_expire(const RegistrationId& id) const {
  const auto it = find_life(id);
  return it != lives_.end() && it->second.expires_at;
}

bool Lifetimes::reached(const RegistrationId& id, Seq seq) {
  // Found too late, but its end did not come to disk before it got there after all.
  if (const auto found = found_.find({id, seq});
      found != found_.end() && found->second.end.cause == Happening::expired) {
    found_.erase(found);
    return true;
  }
  const auto it = find_life(id);
  if (it == lives_.end() || it->second.seq != seq || !it->second.expires_at) {
    return false;
  }
  expiries_.erase(*it->second.expires_at);
  it->second.expires_at.reset();
  return true;
}

void Lifetimes::heartbeat(const RegistrationId& id) {
  if (const auto it = find_life(id); it != lives_.end()) {
    set_ttl(it->second, id);
  }
}

void Lifetimes::bind(const RegistrationId& id, Seq seq, ConnectionId connection) {
  const std::pair key(id, seq);
  if (const auto it = connections_.find(key); it != connections_.end()) {
    const auto before = bound_.find(it->second);
    before->second.erase(key);
    if (before->second.empty()) {
      bound_.erase(before);
    }
  }
  bound_[connection].insert(key);
  connections_[key] = connection;
  if (const auto it = find_life(id); it != lives_.end() && it->second.seq == seq) {
    it->second.orphan = false;
    set_orphan(it->second, id);
  }
}

// What was bound by changes before that one is so no longer.
void Lifetimes::unbind(const RegistrationId& id, Seq before) {
  if (connections_.empty()) {
    return;
  }
  auto it = connections_.lower_bound({id, Seq{}});
  while (it != connections_.end() && it->first < std::pair(id, before)) {
    const auto bound = bound_.find(it->second);
    bound->second.erase(it->first);
    if (bound->second.empty()) {
      bound_.erase(bound);
    }
    it = connections_.erase(it);
  }
}

void Lifetimes::closed(ConnectionId connection) {
  const auto it = bound_.find(connection);
  if (it == bound_.end()) {
    return;
  }
  const auto bound = std::move(it->second);
  bound_.erase(it);
  for (const auto& key : bound) {
    connections_.erase(key);
    found({key.first, key.second, Happening::connection_closed, "its connection closed"});
  }
}

void Lifetimes::found(End end) {
  const std::pair key(end.id, end.seq);
  found_.try_emplace(key, Found{std::move(end), false});
}

void Lifetimes::expire(Now now) {
  while (!ttls_.empty() && ttls_.begin()->first <= ttl_clock()) {
    const RegistrationId id = ttls_.begin()->second;
    Life& life = lives_.at(id);
    ttls_.erase(ttls_.begin());
    life.ttl_at.reset();
    if (!std::exchange(life.last_call, true)) {
      life.ttl_at = ttls_.emplace(ttl_clock() + kLastCallMs, id);
      continue;
    }
    found({id, life.seq, Happening::ttl_expired, "no heartbeat for " + seconds(life.ttl_ms), true});
  }
  while (!expiries_.empty() && expiries_.begin()->first <= now.steady_ms) {
    const RegistrationId id = expiries_.begin()->second;
    Life& life = lives_.at(id);
    expiries_.erase(expiries_.begin());
    life.expires_at.reset();
    found({id, life.seq, Happening::expired, "not in ZooKeeper within " + seconds(life.expires_ms)});
  }
  while (!orphans_.empty() && orphans_.begin()->first <= ttl_clock()) {
    const RegistrationId id = orphans_.begin()->second;
    Life& life = lives_.at(id);
    orphans_.erase(orphans_.begin());
    life.orphaned_at.reset();
    found({id, life.seq, Happening::connection_closed,
           "its connection ended with an earlier run of the agent, and it was not registered again within " +
               seconds(connection_grace_ms_),
           true});
  }
}

std::vector<Lifetimes::End> Lifetimes::take() {
  std::vector<End> ends;
  for (auto& [key, found] : found_) {
    if (!std::exchange(found.taken, true)) {
      ends.push_back(found.end);
    }
  }
  return ends;
}

void Lifetimes::spare(const End& end) {
  found_.erase({end.id, end.seq});
  if (const auto it = find_life(end.id); it != lives_.end()) {
    set_ttl(it->second, end.id);
    set_orphan(it->second, end.id);
  }
}

void Lifetimes::give_back() {
  for (auto& [key, found] : found_) {
    found.taken = false;
  }
}

std::optional<std::int64_t> Lifetimes::deadline() const {
  std::optional<std::int64_t> at;
  const auto sooner = [&](std::int64_t other) { at = at ? std::min(*at, other) : other; };
  if (!ttls_.empty()) {
    sooner(std::min(ttls_.begin()->first + stalled_ms_, watch_at_ms_));
  }
  if (!orphans_.empty()) {
    sooner(std::min(orphans_.begin()->first + stalled_ms_, watch_at_ms_));
  }
  if (!expiries_.empty()) {
    sooner(expiries_.begin()->first);
  }
  return at;
}

std::optional<WallMs> Lifetimes::ttl_expires_at(const RegistrationId& id) const {
  const auto it = find_life(id);
  if (it == lives_.end() || !it->second.ttl_at) {
    return std::nullopt;
  }
  return wall_ms_ + (*it->second.ttl_at)->first - ttl_clock();
}

}  // namespace limpet::core
