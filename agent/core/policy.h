// Who may register what: the rules that the configuration's `policy` gives, with names already resolved to numbers.
//
// A rule names users or groups and the services that they may register, and the znode paths outside root where these
// services may stand. Where there are rules, whoever none of them names may register nothing; where there is none,
// everybody may register everything. Root and the agent's own uid always may. Plain value, pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace limpet::core {

// True where `text` as a whole is of this pattern: `*` stands for any run of characters, also none; all else for
// itself.
bool matches_pattern(std::string_view pattern, std::string_view text);

struct PolicyRule {
  std::vector<std::uint32_t> uids;
  std::vector<std::uint32_t> gids;
  std::vector<std::string> services;    // patterns
  std::vector<std::string> paths = {};  // patterns of whole paths; a star also stands for slashes
  friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};

class Policy {
 public:
  // Allows everybody.
  Policy() = default;
  // `agent_uid`: the uid that the agent runs as.
  Policy(std::vector<PolicyRule> rules, std::uint32_t agent_uid) : rules_(std::move(rules)), agent_uid_(agent_uid) {}

  // True where this user, being of these groups (its own and the supplementary ones), may register this service.
  bool allows(std::uint32_t uid, const std::vector<std::uint32_t>& gids, std::string_view service) const;
  // The same of this service at this path outside root: one rule allows both.
  bool allows_at(std::uint32_t uid, const std::vector<std::uint32_t>& gids, std::string_view service,
                 std::string_view path) const;

  const std::vector<PolicyRule>& rules() const { return rules_; }
  bool empty() const { return rules_.empty(); }
  friend bool operator==(const Policy&, const Policy&) = default;

 private:
  template <typename Allows>
  bool any_rule(std::uint32_t uid, const std::vector<std::uint32_t>& gids, Allows allows) const;

  std::vector<PolicyRule> rules_;
  std::uint32_t agent_uid_ = 0;
};

}  // namespace limpet::core
