#include "agent/forbidden_log.h"

#include "agent/log.h"

namespace limpet {

std::optional<std::string> ForbiddenLog::note(const core::Caller& caller, std::string_view code,
                                              std::string_view target, std::int64_t steady_ms) {
  const auto is_over = [&](const User& user) { return steady_ms - user.written_ms >= kPeriodMs; };
  auto found = users_.find(caller.owner.uid);
  if (found == users_.end()) {
    if (users_.size() >= kMaxUsers) {
      std::erase_if(users_, [&](const auto& entry) { return is_over(entry.second); });
    }
    if (users_.size() >= kMaxUsers) {
      return std::nullopt;
    }
    found = users_.emplace(caller.owner.uid, User{steady_ms, 0}).first;
  } else if (is_over(found->second)) {
    found->second.written_ms = steady_ms;
  } else {
    ++found->second.left_out;
    return std::nullopt;
  }
  std::string line = "uid=" + std::to_string(caller.owner.uid) + " pid=" + std::to_string(caller.owner.pid) +
                     " program=" + quoted_value(caller.program) + " code=" + log_value(code);
  if (!target.empty()) {
    line += " target=" + quoted_value(target);
  }
  if (found->second.left_out > 0) {
    line += " and_before=" + std::to_string(found->second.left_out);
    found->second.left_out = 0;
  }
  return line;
}

}  // namespace limpet
