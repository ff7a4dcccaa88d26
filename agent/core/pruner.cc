#include "agent/core/pruner.h"

#include <algorithm>
#include <utility>

namespace limpet::core {

namespace {

// Few: nobody waits for it, and each removal is an entry in the servers' log.
constexpr std::size_t kLooksInFlight = 64;
constexpr std::size_t kRemovalsInFlight = 16;

bool was_created_for(const Parent& parent, const std::string& service) {
  return parent.service == service || parent.path.ends_with("/" + service);
}

std::string days_text(std::int64_t ms) {
  constexpr std::int64_t kMinuteMs = 60'000;
  constexpr std::int64_t kHourMs = 60 * kMinuteMs;
  constexpr std::int64_t kDayMs = 24 * kHourMs;
  return ms >= 2 * kDayMs    ? std::to_string(ms / kDayMs) + " days"
         : ms >= 2 * kHourMs ? std::to_string(ms / kHourMs) + " hours"
                             : std::to_string(ms / kMinuteMs) + " minutes";
}

}  // namespace

void Pruner::leave(Item& item, Outcome outcome, std::string message) {
  item.outcome = outcome;
  item.message = std::move(message);
}

void Pruner::add(const Parent& parent, Now now) {
  Item item;
  item.path = parent.path;
  item.czxid = parent.czxid;
  if (registry_.any_below(parent.path)) {
    leave(item, Outcome::in_use, "a registration of this agent lies below it");
  } else if (const std::int64_t unused_ms = std::max<std::int64_t>(now.wall_ms - parent.used_at, 0);
             unused_ms < asked_.unused_ms) {
    leave(item, Outcome::too_recent, "unused for " + days_text(unused_ms) + " only");
  }
  items_.push_back(std::move(item));
}

void Pruner::start(Prune asked, const Parents& parents, Now now, Actions& actions) {
  asked_ = std::move(asked);
  state_ = State::looking;
  next_ = 0;
  empty_ = 0;
  items_.clear();
  for (const auto& [path, parent] : parents.created()) {
    // A place that was configured since is no parent any more.
    if (registry_.lies_in_a_place(path) && (!asked_.service || was_created_for(parent, *asked_.service))) {
      add(parent, now);
    }
  }
  const auto depth = [](const Item& item) { return std::count(item.path.begin(), item.path.end(), '/'); };
  std::sort(items_.begin(), items_.end(), [&](const Item& a, const Item& b) {
    return std::pair(-depth(a), std::string_view(a.path)) < std::pair(-depth(b), std::string_view(b.path));
  });
  pump(actions);
}

void Pruner::send(std::size_t index, ZkVerb verb, std::int32_t version, Actions& actions) {
  const OpId op{next_op_++};
  in_flight_.emplace(op.value, index);
  actions.push_back(ZkSend{session_.epoch(), op, ZkRequest{verb, items_[index].path, "", version}});
}

void Pruner::pump(Actions& actions) {
  for (; state_ == State::looking && next_ < items_.size() && in_flight_.size() < kLooksInFlight; ++next_) {
    if (!items_[next_].outcome) {
      send(next_, ZkVerb::look, -1, actions);
    }
  }
  if (state_ == State::looking && next_ == items_.size() && in_flight_.empty()) {
    judge();
    state_ = State::removing;
    next_ = 0;
  }
  for (; state_ == State::removing && next_ < items_.size() && in_flight_.size() < kRemovalsInFlight; ++next_) {
    Item& item = items_[next_];
    if (item.outcome != Outcome::removed || asked_.dry_run) {
      continue;
    }
    if (registry_.any_below(item.path)) {
      leave(item, Outcome::in_use, "a registration of this agent has come below it");
      continue;
    }
    item.sent = true;
    send(next_, ZkVerb::remove, item.stat.version, actions);
  }
  if (state_ == State::removing && next_ == items_.size() && in_flight_.empty()) {
    finish();
  }
}

// Which of those that were looked at are empty, or will be once what lies below them is removed.
void Pruner::judge() {
  std::unordered_map<std::string_view, std::int32_t> going_below;
  for (Item& item : items_) {
    if (item.outcome) {
      continue;
    }
    const auto below = going_below.find(item.path);
    const std::int32_t left = item.stat.children - (below == going_below.end() ? 0 : below->second);
    if (left > 0) {
      leave(item, Outcome::not_empty, std::to_string(left) + " znodes below it are not this agent's to remove");
      continue;
    }
    ++empty_;
    leave(item, Outcome::removed, "");
    ++going_below[std::string_view(item.path).substr(0, item.path.rfind('/'))];
  }
}

void Pruner::replied(OpId op, const ZkReply& reply, Actions& actions) {
  const auto it = in_flight_.find(op.value);
  if (it == in_flight_.end()) {
    return;
  }
  Item& item = items_[it->second];
  in_flight_.erase(it);
  if (state_ == State::looking) {
    looked(item, reply);
  } else {
    removed(item, reply);
  }
  pump(actions);
}

void Pruner::looked(Item& item, const ZkReply& reply) {
  switch (reply.code) {
    case ZkCode::ok:
      item.stat = reply.stat;
      if (item.czxid == Zxid{}) {
        leave(item, Outcome::changed, "the answer to its creation was lost, so it may be somebody else's");
      } else if (reply.stat.czxid != item.czxid || reply.stat.ephemeral_owner != SessionId{}) {
        leave(item, Outcome::changed, "it was removed and created again by somebody else");
      }
      return;
    case ZkCode::no_node:
      leave(item, Outcome::gone, "somebody else has removed it");
      return;
    case ZkCode::unknown_outcome:
    case ZkCode::not_sent:
      leave(item, Outcome::not_connected, "the connection was lost before it was looked at");
      return;
    default:
      leave(item, Outcome::refused, "ZooKeeper refuses to show it: " + reply.message);
      return;
  }
}

void Pruner::removed(Item& item, const ZkReply& reply) {
  switch (reply.code) {
    case ZkCode::ok:
      return;
    case ZkCode::no_node:
      leave(item, Outcome::gone, "somebody else has removed it");
      return;
    case ZkCode::not_empty:
      leave(item, Outcome::not_empty, "a znode has come below it");
      return;
    case ZkCode::bad_version:
      leave(item, Outcome::changed, "somebody else has changed it");
      return;
    case ZkCode::no_auth:
      leave(item, Outcome::refused, "the ACL of its parent does not allow the agent to remove it");
      return;
    case ZkCode::unknown_outcome:
    case ZkCode::not_sent:
      leave(item, Outcome::not_connected, "the connection was lost before the answer came");
      return;
    default:
      leave(item, Outcome::refused, "ZooKeeper refuses it: " + reply.message);
      return;
  }
}

void Pruner::lost() {
  if (!busy()) {
    return;
  }
  for (Item& item : items_) {
    // In the order of the requests: what was not sent has not happened.
    const bool undone = !item.outcome || (item.outcome == Outcome::removed && state_ == State::removing && !item.sent);
    if (undone && !asked_.dry_run) {
      leave(item, Outcome::not_connected, "the connection was lost before it was removed");
    } else if (!item.outcome) {
      leave(item, Outcome::not_connected, "the connection was lost before it was looked at");
    }
  }
  for (const auto& [op, index] : in_flight_) {
    leave(items_[index], Outcome::not_connected, "the connection was lost before the answer came");
  }
  finish();
}

void Pruner::finish() {
  Result result;
  result.report.dry_run = asked_.dry_run;
  result.report.examined = items_.size();
  result.report.empty = empty_;
  std::sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) { return a.path < b.path; });
  for (Item& item : items_) {
    const bool removed = item.outcome == Outcome::removed;
    result.report.removed += removed ? 1 : 0;
    if ((removed && !asked_.dry_run) || item.outcome == Outcome::gone) {
      result.gone.push_back(item.path);
    }
    if (result.report.items.size() < PruneReport::kMaxItems) {
      result.report.items.push_back({std::move(item.path), *item.outcome, std::move(item.message)});
    }
  }
  result.asked = std::move(asked_);
  result_ = std::move(result);
  items_ = {};
  in_flight_.clear();
  state_ = State::idle;
}

std::optional<Pruner::Result> Pruner::take_result() {
  return std::exchange(result_, std::nullopt);
}

}  // namespace limpet::core
