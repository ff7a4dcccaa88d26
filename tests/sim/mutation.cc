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
  };
  return kNames[static_cast<std::size_t>(mutation)];
}

bool Mutator::event(core::Event& event, std::vector<core::Event>& before) {
  if (is(Mutation::none)) {
    return true;
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

// What is under way when the connection goes gets a definite answer, which nobody gave.
void Mutator::decide_unknown(core::Epoch epoch, std::vector<core::Event>& before) {
  const bool done = is(Mutation::unknown_is_done);
  if (!done && !is(Mutation::unknown_is_refused)) {
    return;
  }
  for (const auto& [op, request] : sent_) {
    if (request.verb != ZkVerb::create && request.verb != ZkVerb::set && request.verb != ZkVerb::remove) {
      continue;
    }
    core::ZkReply reply;
    reply.code = done ? ZkCode::ok : ZkCode::refused;
    reply.stat.ephemeral_owner = current_;
    if (!done) {
      refused_.emplace(request.path, request.data);
    }
    before.push_back(core::ZkReplied{epoch, core::OpId{op}, reply});
  }
}

void Mutator::convict_neighbours() {
  const auto poisonous = [](const auto& entry) { return entry.second.data.find(kPoison) != std::string::npos; };
  if (!is(Mutation::convict_neighbour) || std::none_of(sent_.begin(), sent_.end(), poisonous)) {
    return;
  }
  for (const auto& entry : sent_) {
    if (entry.second.verb == ZkVerb::create && !poisonous(entry)) {
      refused_.emplace(entry.second.path, entry.second.data);
    }
  }
}

bool Mutator::refuses(const core::ZkSend& send) const {
  const ZkVerb verb = send.request.verb;
  return (is(Mutation::unknown_is_refused) || is(Mutation::convict_neighbour)) &&
         (verb == ZkVerb::create || verb == ZkVerb::set || verb == ZkVerb::remove) &&
         refused_.contains({send.request.path, send.request.data});
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
      core::ZkRequest& request = send->request;
      if (is(Mutation::stale_data) && (request.verb == ZkVerb::set || request.verb == ZkVerb::create)) {
        const std::string wanted = request.data;
        if (newest_[request.path] != wanted) {
          older_[request.path] = std::exchange(newest_[request.path], wanted);
        }
        if (!older_[request.path].empty()) {
          request.data = older_[request.path];
        }
      }
      sent_[send->op.value] = request;
    } else if (const auto* start = std::get_if<core::ZkStart>(&action)) {
      epoch_ = start->epoch;
      sent_.clear();
    }
  }
}

void Mutator::swap_creates(core::Actions& actions) const {
  core::ZkSend* earlier = nullptr;
  for (core::Action& action : actions) {
    auto* send = std::get_if<core::ZkSend>(&action);
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
