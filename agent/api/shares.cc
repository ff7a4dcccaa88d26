#include "agent/api/shares.h"

#include <cassert>

namespace limpet::api {

std::size_t Shares::of(const core::Caller& who) const {
  const auto found = who.privileged ? by_uid_.end() : by_uid_.find(who.owner.uid);
  return found == by_uid_.end() ? 0 : found->second;
}

Shares::Answer Shares::ask(const core::Caller& who, std::size_t amount) const {
  if (total_ + amount > limits_.total) {
    return Answer::too_much_for_all;
  }
  if (who.privileged) {
    return Answer::taken;
  }
  const std::size_t wanted = of(who) + amount;
  if (wanted > limits_.per_uid) {
    return Answer::too_much_for_user;
  }
  const std::size_t of_others = unprivileged_ - of(who);
  const std::size_t left =
      limits_.total - limits_.reserved > of_others ? limits_.total - limits_.reserved - of_others : 0;
  return wanted > (left + 1) / 2 ? Answer::too_much_for_all : Answer::taken;
}

Shares::Answer Shares::take(const core::Caller& who, std::size_t amount) {
  const Answer answer = ask(who, amount);
  if (answer == Answer::taken) {
    add(who, amount);
  }
  return answer;
}

void Shares::add(const core::Caller& who, std::size_t amount) {
  total_ += amount;
  if (!who.privileged && amount != 0) {
    by_uid_[who.owner.uid] += amount;
    unprivileged_ += amount;
  }
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
