// Something of which there is only so much, shared by all users of the host, so that none of them can take it all:
// connections, and the memory for requests that are still arriving.
//
// Root and the agent's own user are bounded by the whole only, of which a part is kept for them. Core thread.
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

  Answer take(const core::Caller& who, std::size_t amount);
  // Precondition: `who` took it.
  void give_back(const core::Caller& who, std::size_t amount);

  std::size_t total() const { return total_; }

 private:
  Limits limits_;
  std::size_t total_ = 0;
  std::size_t unprivileged_ = 0;                           // of total_
  std::unordered_map<std::uint32_t, std::size_t> by_uid_;  // of those who are not privileged
};

}  // namespace limpet::api
