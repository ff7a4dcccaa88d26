#include "tests/sim/mutation.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "tests/sim/history.h"

namespace limpet::test {

using core::ZkCode;
using core::ZkVerb;

const char* name_of(Mutation mutation) {
  constexpr std::array<const char*, static_cast<std::size_t>(Mutation::kCount)> kNames = {
      "none",
      "AcknowledgeBeforeSync",
      "IgnoreSync",
      "ReplayOutOfOrder",
      "UnknownIsDone",
      "UnknownIsRefused",
      "SessionAfterCreates",
      "ForgetRemovals",
      "RemoveLate",
      "ForgetSessionOnRestart",
      "ForgetFormerSessions",
      "ReuseSeq",
      "AdoptForeign",
      "StealForeign",
      "EndSessionOnStop",
      "RefuseButApply",
      "TornBatches",
      "StaleData",
      "ConvictNeighbour",
      "TakeUpOtherMachine",
      "IgnoreLowSpace",
      "NeverStandBack",
      "LoseWatches",
      "WallClockTtl",
      "NoGraceAfterFreeze",
      "AdoptReusedPid",
      "ForgetMaintenance",
      "ForgetHealth",
      "LoseDeaths",
      "ForgetOutcomes",
      "ReuseEvents",
      "UnheardHeartbeats",
      "LoseMoves",
      "UntoldCauses",
  };
  return kNames[static_cast<std::size_t>(mutation)];
}

namespace {

// What a request writes: itself, or what it is made of.
template <typename Request>
std::vector<Request*> writes_of(Request& request) {
  std::vector<Request*> writes;
  if (request.batch.empty()) {
    writes.push_back(&request);
  }
  for (auto& part : request.batch) {
    writes.push_back(&part);
  }
  std::erase_if(writes, [](const core::ZkRequest* one) {
    return one->verb != ZkVerb::create && one->verb != ZkVerb::set && one->verb != ZkVerb::remove;
  });
  return writes;
}

}  // namespace

bool Mutator::event(core::Event& event, std::vector<core::Event>& before, core::Now now, bool disk_fails) {
  if (is(Mutation::none)) {
    return true;
  }
  if (!local_event(event, before, now, disk_fails)) {
    return false;
  }
  if (const auto* connected = std::get_if<core::ZkConnected>(&event)) {
    current_ = connected->session.id;
  } else if (const auto* lost = std::get_if<core::ZkDisconnected>(&event); lost != nullptr && lost->epoch == epoch_) {
    decide_unknown(lost->epoch, before);
    convict_neighbours();
  } else if (auto* reply = std::get_if<core::ZkReplied>(&event)) {
    replied(*reply);
  } else if (std::holds_alternative<core::SpaceChanged>(event) && is(Mutation::ignore_low_space)) {
    return false;
  } else if (std::holds_alternative<core::ZkWatchFired>(event) && is(Mutation::lose_watches)) {
    return false;
  }
  return true;
}

bool Mutator::local_event(core::Event& event, std::vector<core::Event>& before, core::Now now, bool disk_fails) {
  wall_ms_ = now.wall_ms;
  if (auto* process = std::get_if<core::ProcessEnded>(&event); process != nullptr && is(Mutation::adopt_reused_pid)) {
    process->seq = std::max(process->seq, watched_[process->id]);
  }
  if (is(Mutation::lose_deaths) && disk_fails &&
      (std::holds_alternative<core::ProcessEnded>(event) || std::holds_alternative<core::ConnectionClosed>(event))) {
    return false;
  }
  if (const auto* health = std::get_if<core::HealthChanged>(&event)) {
    return !(is(Mutation::forget_health) && health->passing);
  }
  if (const auto* heartbeat = std::get_if<core::Heartbeat>(&event)) {
    if (const auto it = wall_ttls_.find(heartbeat->id); it != wall_ttls_.end()) {
      it->second.at = now.wall_ms + it->second.ttl_ms;
    }
    return !is(Mutation::unheard_heartbeats);
  }
  if (is(Mutation::wall_clock_ttl)) {
    end_by_wall(before, now.wall_ms);
  }
  return true;
}

constexpr const char* kByWall = "by the wall clock";

static HistoryEntry as_ttl_expired(HistoryEntry entry) {
  entry.what = Happening::ttl_expired;
  return entry;
}

void Mutator::end_by_wall(std::vector<core::Event>& before, WallMs now) {
  for (auto it = wall_ttls_.begin(); it != wall_ttls_.end();) {
    if (it->second.at <= now) {
      before.push_back(core::ProcessEnded{it->first, it->second.seq, kByWall});
      it = wall_ttls_.erase(it);
    } else {
      ++it;
    }
  }
}

void Mutator::lives(core::Persist& persist) {
  for (Change& change : persist.batch.changes) {
    if (const auto* put = std::get_if<PutRegistration>(&change)) {
      const Registration& registration = put->registration;
      wall_ttls_.erase(registration.id);
      if (const std::int64_t ttl_ms = registration.lifetime.ttl_ms; ttl_ms > 0) {
        wall_ttls_[registration.id] = WallTtl{registration.seq, ttl_ms, wall_ms_ + ttl_ms};
      }
    } else if (auto* added = std::get_if<AddHistory>(&change); added != nullptr && added->entry->why == kByWall) {
      added->entry = as_ttl_expired(added->entry);
    }
  }
  if (is(Mutation::untold_causes)) {
    std::erase_if(persist.batch.changes, [](const Change& change) {
      const auto* added = std::get_if<AddHistory>(&change);
      return added != nullptr && added->entry->what == Happening::ttl_expired;
    });
  }
}

// What is under way when the connection goes gets a definite answer, which nobody gave.
void Mutator::decide_unknown(core::Epoch epoch, std::vector<core::Event>& before) {
  const bool done = is(Mutation::unknown_is_done);
  if (!done && !is(Mutation::unknown_is_refused)) {
    return;
  }
  for (const auto& [op, request] : sent_) {
    const auto writes = writes_of(request);
    if (writes.empty()) {
      continue;
    }
    core::ZkReply reply;
    reply.code = done ? ZkCode::ok : ZkCode::refused;
    reply.stat.ephemeral_owner = current_;
    if (done) {
      reply.batch.assign(request.batch.size(), reply);
    }
    for (const core::ZkRequest* write : writes) {
      if (!done) {
        refused_.emplace(write->path, write->data);
      }
    }
    before.push_back(core::ZkReplied{epoch, core::OpId{op}, reply});
  }
}

void Mutator::convict_neighbours() {
  const auto poisonous = [](const core::ZkRequest* one) { return one->data.find(kPoison) != std::string::npos; };
  std::vector<const core::ZkRequest*> writes;
  for (const auto& [op, request] : sent_) {
    const auto more = writes_of(request);
    writes.insert(writes.end(), more.begin(), more.end());
  }
  if (!is(Mutation::convict_neighbour) || std::none_of(writes.begin(), writes.end(), poisonous)) {
    return;
  }
  for (const core::ZkRequest* write : writes) {
    if (write->verb == ZkVerb::create && !poisonous(write)) {
      refused_.emplace(write->path, write->data);
    }
  }
}

bool Mutator::refuses(const core::ZkSend& send) const {
  const auto writes = writes_of(send.request);
  return (is(Mutation::unknown_is_refused) || is(Mutation::convict_neighbour)) &&
         std::any_of(writes.begin(), writes.end(), [this](const core::ZkRequest* write) {
           return refused_.contains({write->path, write->data});
         });
}

bool Mutator::stands_back(const core::Actions& actions) const {
  const auto has = [&](auto wanted) {
    return std::any_of(actions.begin(), actions.end(),
                       [](const core::Action& action) { return std::holds_alternative<decltype(wanted)>(action); });
  };
  return is(Mutation::never_stand_back) && has(core::ZkStop{}) && !has(core::ZkStart{});
}

void Mutator::replied(core::ZkReplied& replied) {
  const core::ZkRequest request = sent_[replied.op.value];
  sent_.erase(replied.op.value);
  core::ZkReply& reply = replied.reply;
  SessionId& owner = reply.stat.ephemeral_owner;
  const bool read = request.verb == ZkVerb::read && reply.code == ZkCode::ok;
  if (read && owner.value >= 0x7000'0000) {
    if (is(Mutation::adopt_foreign)) {
      owner = current_;
    } else if (is(Mutation::steal_foreign) && !former_.empty()) {
      owner = former_.back();
    }
  }
}

void Mutator::actions(core::Actions& actions) {
  if (is(Mutation::none)) {
    return;
  }
  if (is(Mutation::replay_out_of_order)) {
    swap_creates(actions);
  } else if (is(Mutation::remove_late)) {
    hold_removals(actions);
  }
  for (core::Action& action : actions) {
    if (auto* persist = std::get_if<core::Persist>(&action)) {
      lives(*persist);
      for (const Change& change : persist->batch.changes) {
        if (const auto* session = std::get_if<PutSession>(&change)) {
          former_ = session->former;
        }
      }
      if (is(Mutation::forget_removals)) {
        std::erase_if(persist->batch.changes,
                      [](const Change& change) { return std::holds_alternative<PutRemoval>(change); });
      } else if (is(Mutation::session_after_creates)) {
        std::erase_if(persist->batch.changes,
                      [](const Change& change) { return std::holds_alternative<PutSession>(change); });
      }
    } else if (auto* reply = std::get_if<core::Reply>(&action); reply != nullptr && is(Mutation::refuse_but_apply)) {
      if (std::holds_alternative<std::vector<core::AcceptedChange>>(reply->result)) {
        reply->result = core::Problem{core::ProblemCode::invalid, "mutated", "", 0};
      }
    } else if (auto* send = std::get_if<core::ZkSend>(&action)) {
      if (is(Mutation::stale_data)) {
        for (core::ZkRequest* write : writes_of(send->request)) {
          make_stale(*write);
        }
      }
      sent_[send->op.value] = send->request;
    } else if (auto* told = std::get_if<core::Recorded>(&action); told != nullptr && told->entry->why == kByWall) {
      told->entry = as_ttl_expired(told->entry);
    } else if (const auto* watch = std::get_if<core::Watch>(&action)) {
      watched_[watch->id] = watch->seq;
    } else if (const auto* start = std::get_if<core::ZkStart>(&action)) {
      epoch_ = start->epoch;
      sent_.clear();
    }
  }
}

void Mutator::make_stale(core::ZkRequest& write) {
  if (write.verb == ZkVerb::remove) {
    return;
  }
  const std::string wanted = write.data;
  if (newest_[write.path] != wanted) {
    older_[write.path] = std::exchange(newest_[write.path], wanted);
  }
  if (!older_[write.path].empty()) {
    write.data = older_[write.path];
  }
}

void Mutator::swap_creates(core::Actions& actions) const {
  core::ZkSend* earlier = nullptr;
  for (core::Action& action : actions) {
    auto* send = std::get_if<core::ZkSend>(&action);
    if (send != nullptr && send->request.verb == ZkVerb::transaction) {
      auto creates = writes_of(send->request);
      std::erase_if(creates, [](const core::ZkRequest* write) { return write->verb != ZkVerb::create; });
      if (creates.size() > 1) {
        std::swap(*creates[0], *creates[1]);
        return;
      }
    }
    if (send == nullptr || send->request.verb != ZkVerb::create) {
      continue;
    }
    if (earlier != nullptr) {
      std::swap(*earlier, *send);
      return;
    }
    earlier = send;
  }
}

// A delete leaves only with the next write: as if it were queued by another order than that of acceptance.
void Mutator::hold_removals(core::Actions& actions) {
  core::Actions result;
  for (core::Action& action : actions) {
    auto* send = std::get_if<core::ZkSend>(&action);
    if (send != nullptr && send->request.verb == ZkVerb::transaction) {
      auto& batch = send->request.batch;
      for (std::size_t i = 0; i + 1 < batch.size(); ++i) {
        if (batch[i].verb == ZkVerb::remove && batch[i + 1].verb == ZkVerb::create &&
            batch[i].path != batch[i + 1].path) {
          std::swap(batch[i], batch[i + 1]);
          break;
        }
      }
    }
    if (send != nullptr && send->request.verb == ZkVerb::remove && !held_) {
      sent_[send->op.value] = send->request;
      held_ = std::move(*send);
      continue;
    }
    const bool write = send != nullptr && (send->request.verb == ZkVerb::create || send->request.verb == ZkVerb::set);
    result.push_back(std::move(action));
    if (write && held_) {
      held_->request.version = -1;
      result.push_back(std::move(*held_));
      held_.reset();
    }
  }
  actions = std::move(result);
}

void Mutator::stored(StoredState& stored, const std::string& host) {
  if (is(Mutation::take_up_other_machine) && stored.session) {
    stored.session->host = host;
  }
  const auto forget = [&](HoldCause cause) {
    std::erase_if(stored.holds, [&](const Hold& hold) { return hold.cause == cause; });
  };
  if (is(Mutation::forget_maintenance)) {
    forget(HoldCause::maintenance);
  } else if (is(Mutation::forget_health)) {
    forget(HoldCause::check);
  } else if (is(Mutation::forget_outcomes)) {
    stored.outcomes.clear();
  } else if (is(Mutation::reuse_events)) {
    stored.last_event -= std::min<std::uint64_t>(stored.last_event, 3);
  }
  if (is(Mutation::lose_moves)) {
    for (Removal& removal : stored.removals) {
      removal.id.instance += "~";
    }
  }
  if (is(Mutation::forget_session_on_restart)) {
    stored.session.reset();
  } else if (is(Mutation::forget_former_sessions)) {
    stored.former.clear();
  } else if (is(Mutation::reuse_seq)) {
    stored.last_seq.value -= std::min<std::uint64_t>(stored.last_seq.value, 2);
  }
}

void Mutator::died() {
  sent_.clear();
  refused_.clear();
  held_.reset();
}

}  // namespace limpet::test
