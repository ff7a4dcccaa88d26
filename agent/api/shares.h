// Something of which there is only so much, shared by all users of the host: connections, the memory for requests that
// are still arriving, the memory for answers that are not taken yet.
//
// A user may have a fixed share, and never more than half of what all other users leave: so whoever comes next finds
// room too, however many are there already. Root and the agent's own user are bounded by the whole only, of which a
// part is kept for them. Core thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "agent/core/types.h"

namespace limpet::api {

class Shares {
 public:
  struct Limits {
    std::size_t total = 0;
    std::size_t reserved = 0;  // of total, for root and the agent's own user
    std::size_t per_uid = 0;   // of anybody else
  };
  enum class Answer { taken, too_much_for_user, too_much_for_all };

  explicit Shares(Limits limits) : limits_(limits) {}

  // What is taken already stays taken, also where it is more than that.
  void set_limits(Limits limits) { limits_ = limits; }

  // Whether take() would take so much.
  Answer ask(const core::Caller& who, std::size_t amount) const;
  Answer take(const core::Caller& who, std::size_t amount);
  // Takes it whatever the limits say: for what cannot be refused.
  void add(const core::Caller& who, std::size_t amount);
  // Precondition: `who` took it.
  void give_back(const core::Caller& who, std::size_t amount);

  std::size_t total() const { return total_; }
  // What `who` has; 0 for root and the agent's own user.
  std::size_t of(const core::Caller& who) const;
  // What any one user may have at most.
  std::size_t per_uid() const { return limits_.per_uid; }

 private:
  Limits limits_;
  std::size_t total_ = 0;
  std::size_t unprivileged_ = 0;                           // of total_
  std::unordered_map<std::uint32_t, std::size_t> by_uid_;  // of those who are not privileged
};

}  // namespace limpet::api
