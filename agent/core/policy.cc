#include "agent/core/policy.h"

#include <algorithm>

namespace limpet::core {

bool matches_pattern(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  // The last star, and how much of the text it takes so far: a mismatch behind it gives it one character more.
  std::size_t star = std::string_view::npos;
  std::size_t taken = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

namespace {

bool matches_any(const std::vector<std::string>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return matches_pattern(pattern, text); });
}

}  // namespace

template <typename Allows>
bool Policy::any_rule(std::uint32_t uid, const std::vector<std::uint32_t>& gids, Allows allows) const {
  if (rules_.empty() || uid == 0 || uid == agent_uid_) {
    return true;
  }
  const auto has = [](const std::vector<std::uint32_t>& ids, std::uint32_t id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  return std::any_of(rules_.begin(), rules_.end(), [&](const PolicyRule& rule) {
    const bool named =
        has(rule.uids, uid) || std::any_of(gids.begin(), gids.end(), [&](auto gid) { return has(rule.gids, gid); });
    return named && allows(rule);
  });
}

bool Policy::allows(std::uint32_t uid, const std::vector<std::uint32_t>& gids, std::string_view service) const {
  return any_rule(uid, gids, [&](const PolicyRule& rule) { return matches_any(rule.services, service); });
}

bool Policy::allows_at(std::uint32_t uid, const std::vector<std::uint32_t>& gids, std::string_view service,
                       std::string_view path) const {
  return any_rule(uid, gids, [&](const PolicyRule& rule) {
    return matches_any(rule.services, service) && matches_any(rule.paths, path);
  });
}

}  // namespace limpet::core
