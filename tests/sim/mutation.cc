#include "tests/sim/mutation.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

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
      "UnknownIsDropped",
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
  };
  return kNames[static_cast<std::size_t>(mutation)];
}

bool Mutator::event(core::Event& event) {
  if (is(Mutation::none)) {
    return true;
  }
  if (const auto* connected = std::get_if<core::ZkConnected>(&event)) {
    current_ = connected->session.id;
  }
  if (is(Mutation::unknown_is_dropped) && std::holds_alternative<core::ZkDisconnected>(event)) {
    return false;
  }
  auto* reply = std::get_if<core::ZkReplied>(&event);
  return reply == nullptr || replied(*reply);
}

bool Mutator::replied(core::ZkReplied& replied) {
  const core::ZkRequest request = sent_[replied.op.value];
  sent_.erase(replied.op.value);
  core::ZkReply& reply = replied.reply;
  if (reply.code == ZkCode::unknown_outcome) {
    if (is(Mutation::unknown_is_done)) {
      reply = core::ZkReply{};
      reply.stat.ephemeral_owner = current_;
      reply.data = request.data;
    } else if (is(Mutation::unknown_is_refused)) {
      reply.code = ZkCode::refused;
    } else if (is(Mutation::unknown_is_dropped)) {
      return false;
    }
  }
  SessionId& owner = reply.stat.ephemeral_owner;
  const bool read = request.verb == ZkVerb::read && reply.code == ZkCode::ok;
  if (read && owner.value != 0 && owner.value >= 0x7000'0000) {
    if (is(Mutation::adopt_foreign)) {
      owner = current_;
    } else if (is(Mutation::steal_foreign) && !former_.empty()) {
      owner = former_.back();
    }
  }
  return true;
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

void Mutator::stored(StoredState& stored) {
  if (is(Mutation::forget_session_on_restart)) {
    stored.session.reset();
  } else if (is(Mutation::forget_former_sessions)) {
    stored.former.clear();
    stored.session.reset();
  } else if (is(Mutation::reuse_seq)) {
    stored.last_seq.value -= std::min<std::uint64_t>(stored.last_seq.value, 2);
  }
}

void Mutator::died() {
  sent_.clear();
  held_.reset();
}

}  // namespace limpet::test
