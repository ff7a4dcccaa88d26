// Registry: how much registrations may hold, of one user and of all, and what somebody is told who asks for more.
#include <string>
#include <utility>

#include "agent/core/core.h"
#include "agent/core/path_budget.h"
#include "agent/core/registry.h"

namespace limpet::core {

namespace {

Problem quota(std::string detail) {
  return {ProblemCode::quota, std::move(detail), "", 0};
}

// One bounded thing: what this change adds for its owner, and what it then comes to.
struct Measure {
  const char* what;        // "registrations"
  const char* key;         // of the configuration
  const char* user_key;    // likewise, for one user
  const char* instead;     // what to do about it
  std::int64_t added = 0;  // by all changes together
  std::int64_t all = 0;    // then
  std::int64_t users = 0;  // of it, by users who are not privileged
  std::int64_t own = 0;    // of it, by the caller
  std::uint64_t limit = 0;
  std::uint64_t user_limit = 0;
};

bool past(std::int64_t amount, std::uint64_t limit) {
  return amount > 0 && static_cast<std::uint64_t>(amount) > limit;
}

std::optional<Problem> check(const Measure& measure, const Caller& caller) {
  if (measure.added <= 0) {
    return std::nullopt;
  }
  const auto text = [](auto number) { return std::to_string(number); };
  if (past(measure.all, measure.limit)) {
    return quota("This agent would hold " + text(measure.all) + " " + measure.what + ", and its limit (" + measure.key +
                 ") is " + text(measure.limit) + "; " + measure.instead + ".");
  }
  if (caller.privileged) {
    return std::nullopt;
  }
  if (past(measure.own, measure.user_limit)) {
    return quota("uid " + text(caller.owner.uid) + " would hold " + text(measure.own) + " " + measure.what +
                 " on this host, and one user's limit (" + measure.user_key + ") is " + text(measure.user_limit) +
                 "; " + measure.instead + ".");
  }
  if (past(measure.users, measure.limit - Limits::reserve(measure.limit))) {
    return quota("The users of this host would hold " + text(measure.users) + " " + measure.what + " of " +
                 text(measure.limit) + " (" + measure.key + "), and the last " + text(Limits::reserve(measure.limit)) +
                 " are kept for root and for registrations by file; " + measure.instead + ".");
  }
  return std::nullopt;
}

}  // namespace

Amount Registry::amount_of(const Registration& registration) const {
  Amount amount;
  amount.registrations = 1;
  amount.path_bytes = static_cast<std::int64_t>(packet_bytes(registration.path, options_.chroot_bytes));
  std::size_t bytes = registration.data.size();
  for (const Check& check : registration.lifetime.checks) {
    bytes += check.target.size();
    for (const std::string& argument : check.command) {
      bytes += argument.size();
    }
  }
  amount.data_bytes = static_cast<std::int64_t>(bytes);
  amount.checks = static_cast<std::int64_t>(registration.lifetime.checks.size());
  return amount;
}

bool Registry::is_user(std::uint32_t uid) const {
  return uid != 0 && uid != options_.agent_uid;
}

Amount Registry::amount_of_users() const {
  Amount users = total_;
  const auto leave_out = [&](std::uint32_t uid) {
    if (const auto of = by_uid_.find(uid); of != by_uid_.end()) {
      users += -of->second;
    }
  };
  leave_out(0);
  if (options_.agent_uid != 0) {
    leave_out(options_.agent_uid);
  }
  return users;
}

void Registry::count(std::map<std::uint32_t, Amount>& amounts, const Registration& registration, bool more) const {
  const Amount amount = amount_of(registration);
  amounts[registration.owner.uid] += more ? amount : -amount;
}

// Checks cost the agent work for as long as they stand. `own`: all that the caller's registrations then hold.
std::optional<Problem> Registry::check_checks(const Attempt& attempt, const Amount& own, const Caller& caller) const {
  const std::uint32_t uid = caller.owner.uid;
  const auto change = attempt.amounts.find(uid);
  const bool adds = change != attempt.amounts.end() && change->second.checks > 0;
  const bool bounded = !caller.privileged && (is_user(uid) || caller.owner.contained);
  if (!adds || !bounded || !past(own.checks, options_.limits.max_checks_per_uid)) {
    return std::nullopt;
  }
  return quota("uid " + std::to_string(uid) + " would have " + std::to_string(own.checks) +
               " health checks, and one user's limit (max_checks_per_uid) is " +
               std::to_string(options_.limits.max_checks_per_uid) + "; use fewer, or deregister some first.");
}

std::optional<Problem> Registry::check_bounds(const Attempt& attempt, bool registers, const Caller& caller,
                                              const Queued& queued) const {
  if (!registers) {
    return check_operations(attempt, false, caller, queued);
  }
  const Limits& limits = options_.limits;
  Amount added;
  Amount users = amount_of_users();
  Amount own;
  for (const auto& [uid, change] : attempt.amounts) {
    added += change;
    users += is_user(uid) ? change : Amount{};
    own += uid == caller.owner.uid ? change : Amount{};
  }
  Amount all = total_;
  all += added;
  if (const auto had = by_uid_.find(caller.owner.uid); had != by_uid_.end()) {
    own += had->second;
  }
  constexpr auto kHead = static_cast<std::int64_t>(kPacketHeadBytes);
  const Measure measures[] = {{"registrations", "max_registrations", "max_registrations_per_uid",
                               "deregister some first", added.registrations, all.registrations, users.registrations,
                               own.registrations, limits.max_registrations, limits.max_registrations_per_uid},
                              {"bytes of znode paths, counted as ZooKeeper does in the one packet that ends the "
                               "session (the chroot and 4 bytes "
                               "with each)",
                               "max_path_bytes", "max_share_per_uid", "deregister some, or use shorter paths",
                               added.path_bytes, all.path_bytes + kHead, users.path_bytes + kHead, own.path_bytes,
                               limits.max_path_bytes, limits.user_share(limits.max_path_bytes)},
                              {"bytes of data", "max_data_bytes", "max_share_per_uid",
                               "deregister some, or publish less", added.data_bytes, all.data_bytes, users.data_bytes,
                               own.data_bytes, limits.max_data_bytes, limits.user_share(limits.max_data_bytes)}};
  for (const Measure& measure : measures) {
    if (auto problem = check(measure, caller)) {
      return problem;
    }
  }
  if (auto problem = check_checks(attempt, own, caller)) {
    return problem;
  }
  return check_operations(attempt, true, caller, queued);
}

std::optional<Problem> Registry::check_operations(const Attempt& attempt, bool registers, const Caller& caller,
                                                  const Queued& queued) const {
  if (attempt.operations <= 0) {
    return std::nullopt;
  }
  const auto added = static_cast<std::uint64_t>(attempt.operations);
  const Limits& limits = options_.limits;
  const std::uint64_t own_limit = limits.user_share(limits.max_operations);
  if (registers && !caller.privileged && queued.of_caller + added > own_limit) {
    return quota(std::to_string(queued.of_caller) + " changes of uid " + std::to_string(caller.owner.uid) +
                 " wait for ZooKeeper, and one user's limit (max_share_per_uid) is " + std::to_string(own_limit) +
                 "; no more of them are accepted until ZooKeeper is back.");
  }
  const std::uint64_t reserve = registers && !caller.privileged ? Limits::reserve(limits.max_operations) : 0;
  if (queued.all + added > limits.max_operations - reserve) {
    return Problem{
        ProblemCode::queue_full,
        "The queue holds " + std::to_string(queued.all) + " changes that wait for ZooKeeper, and its limit " + "is " +
            std::to_string(limits.max_operations - reserve) + "; nothing more is accepted until ZooKeeper is back.",
        "", 0};
  }
  return std::nullopt;
}

void Registry::show(StatusView& view) const {
  const Limits& limits = options_.limits;
  const auto usage = [&](std::int64_t used, std::uint64_t limit) {
    return Usage{static_cast<std::uint64_t>(used), limit, limits.user_share(limit)};
  };
  view.registrations = usage(total_.registrations, limits.max_registrations);
  view.registrations.user_limit = limits.max_registrations_per_uid;
  view.path_bytes = usage(total_.path_bytes + static_cast<std::int64_t>(kPacketHeadBytes), limits.max_path_bytes);
  view.data_bytes = usage(total_.data_bytes, limits.max_data_bytes);
}

}  // namespace limpet::core
