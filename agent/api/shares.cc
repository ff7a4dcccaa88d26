#include "agent/api/shares.h"

#include <cassert>

namespace limpet::api {

Shares::Answer Shares::take(const core::Caller& who, std::size_t amount) {
  if (total_ + amount > limits_.total) {
    return Answer::too_much_for_all;
  }
  if (!who.privileged) {
    const auto found = by_uid_.find(who.owner.uid);
    if ((found == by_uid_.end() ? 0 : found->second) + amount > limits_.per_uid) {
      return Answer::too_much_for_user;
    }
    if (unprivileged_ + amount > limits_.total - limits_.reserved) {
      return Answer::too_much_for_all;
    }
    by_uid_[who.owner.uid] += amount;
    unprivileged_ += amount;
  }
  total_ += amount;
  return Answer::taken;
}

void Shares::give_back(const core::Caller& who, std::size_t amount) {
  assert(total_ >= amount);
  total_ -= amount;
  if (who.privileged || amount == 0) {
    return;
  }
  unprivileged_ -= amount;
  const auto found = by_uid_.find(who.owner.uid);
  assert(found != by_uid_.end() && found->second >= amount);
  found->second -= amount;
  if (found->second == 0) {
    by_uid_.erase(found);
  }
}

}  // namespace limpet::api
