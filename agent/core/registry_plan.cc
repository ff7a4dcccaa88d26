// Registry: what a request comes to, planned on top of what stands and of what is on its way to the disk.
#include <algorithm>
#include <string_view>
#include <utility>

#include "agent/core/core.h"
#include "agent/core/registry.h"

namespace limpet::core {

namespace {

bool lies_under(const std::string& path, const std::string& place) {
  if (place == "/") {
    return path.size() > 1;
  }
  return path.size() > place.size() + 1 && path.compare(0, place.size(), place) == 0 && path[place.size()] == '/';
}

std::string path_of(const Options& options, const RegisterRequest& request) {
  if (request.path) {
    return *request.path;
  }
  const std::string& leaf = request.leaf.empty() ? request.id.instance : request.leaf;
  const std::string_view root = options.root == "/" ? std::string_view() : options.root;
  std::string path(root.size() + request.id.service.size() + leaf.size() + 2, '/');
  char* const service = std::copy(root.begin(), root.end(), path.data()) + 1;
  std::copy(leaf.begin(), leaf.end(), std::copy(request.id.service.begin(), request.id.service.end(), service) + 1);
  return path;
}

// True where `data` is what this request asks for, at whatever time.
bool has_content(const RegisterRequest& request, std::string_view data) {
  if (!request.time_at) {
    return data == request.data;
  }
  const std::string_view before = std::string_view(request.data).substr(0, *request.time_at);
  const std::string_view after = std::string_view(request.data).substr(*request.time_at);
  if (data.size() <= before.size() + after.size() || !data.starts_with(before) || !data.ends_with(after)) {
    return false;
  }
  const std::string_view time = data.substr(before.size(), data.size() - before.size() - after.size());
  return time.find_first_not_of("0123456789") == std::string_view::npos;
}

// True where `request`, which asks for the path of `old`, asks for what stands.
bool repeats(const RegisterRequest& request, const Registration& old) {
  return old.format == request.format && has_content(request, old.data) && old.lifetime == request.lifetime;
}

// Moves the content out of `request`.
std::string content_of(RegisterRequest& request, WallMs wall_ms) {
  std::string data = std::move(request.data);
  if (request.time_at) {
    data.insert(*request.time_at, std::to_string(std::max<WallMs>(wall_ms, 0)));
  }
  return data;
}

}  // namespace

bool Registry::all_repeat(const std::vector<ChangeRequest>& requests, const Caller& caller) const {
  return std::all_of(requests.begin(), requests.end(), [&](const ChangeRequest& change) {
    const auto* request = std::get_if<RegisterRequest>(&change);
    const Registration* old = request != nullptr ? planned(request->id) : nullptr;
    return old != nullptr && may_change(caller, old->owner) && old->path == path_of(options_, *request) &&
           repeats(*request, *old);
  });
}

bool Registry::may_change(const Caller& caller, const Owner& owner) {
  return caller.privileged || (caller.owner.uid == owner.uid && caller.owner.contained == owner.contained);
}

Problem Registry::not_owner(const RegistrationId& id, const Owner& owner, const Caller& caller) {
  return {ProblemCode::not_owner,
          id.str() + " belongs to uid " + std::to_string(owner.uid) + "; uid " + std::to_string(caller.owner.uid) +
              " may not change it. Ask its owner, or do it as root.",
          "", 0};
}

const Registration* Registry::planned(const RegistrationId& id) const {
  const Entry* entry = look_up(id);
  return entry != nullptr ? entry->planned() : nullptr;
}

std::variant<Plan, Problem> Registry::plan(std::vector<ChangeRequest>& requests, const Caller& caller, Now now,
                                           const Queued& queued) {
  Attempt attempt;
  attempt.last = last_seq_;
  attempt.plan.answers.reserve(requests.size());
  attempt.plan.batch.changes.reserve(2 * requests.size());  // with each one's place in the history
  attempt.done.reserve(requests.size());
  for (std::size_t index = 0; index < requests.size(); ++index) {
    auto* request = std::get_if<RegisterRequest>(&requests[index]);
    std::optional<Problem> problem =
        request != nullptr
            ? plan_register(attempt, *request, caller, now)
            : plan_deregister(attempt, std::get<DeregisterRequest>(requests[index]), caller, now.wall_ms);
    if (!problem) {
      problem = check_bounds(attempt, request != nullptr, caller, queued);
    }
    if (problem) {
      take_back(attempt);
      problem->index = index;
      return *std::move(problem);
    }
  }
  adopt(attempt, caller, now);
  return std::move(attempt.plan);
}

// Readers of a service look at what stands under its name, so a path of the caller's own choice counts as well.
std::optional<Problem> Registry::check_policy(const std::string& service, const std::string& path,
                                              const Caller& caller) const {
  const auto refuse = [&](const std::string& what, const char* pointer) {
    return Problem{ProblemCode::not_allowed,
                   "The policy of this agent does not let uid " + std::to_string(caller.owner.uid) +
                       " register the service " + what + "; ask its administrator.",
                   pointer, 0};
  };
  const auto allows = [&](const std::string& name) {
    return options_.limits.policy.allows(caller.owner.uid, caller.groups, name);
  };
  if (caller.privileged || options_.limits.policy.empty()) {
    return std::nullopt;
  }
  if (!allows(service)) {
    return refuse(service, "");
  }
  if (lies_under(path, options_.root)) {
    const std::size_t begin = options_.root == "/" ? 1 : options_.root.size() + 1;
    const std::string place = path.substr(begin, path.find('/', begin) - begin);
    if (!allows(place)) {
      return refuse(place + ", which readers would find at " + path, "/path");
    }
    return std::nullopt;
  }
  if (!options_.limits.policy.allows_at(caller.owner.uid, caller.groups, service, path)) {
    return refuse(service + " at " + path + ", which lies outside root: that takes a rule whose `paths` name it",
                  "/path");
  }
  return std::nullopt;
}

// An ephemeral znode has no children: where many have their parents, none may stand.
std::optional<Problem> Registry::check_place(const std::string& path) const {
  const auto refuse = [&](const std::string& why) {
    return Problem{ProblemCode::not_allowed, "The znode path " + path + " " + why, "/path", 0};
  };
  const auto in_the_way_of = [&](const std::string& place) { return place == path || lies_under(place, path); };
  if (in_the_way_of(options_.root) || std::any_of(options_.paths.begin(), options_.paths.end(), in_the_way_of)) {
    return refuse(
        "is root, one of the configured `paths`, or above one of them, and would leave no room for anything "
        "below it; choose a path under root or under one of `paths`.");
  }
  if (lies_under(path, options_.root)) {
    const std::size_t begin = options_.root == "/" ? 1 : options_.root.size() + 1;
    if (path.find('/', begin) == std::string::npos) {
      return refuse("is where the instances of the service " + path.substr(begin) +
                    " have their parent; an instance's path has two segments at least below root (" + options_.root +
                    ").");
    }
    return std::nullopt;
  }
  if (std::none_of(options_.paths.begin(), options_.paths.end(),
                   [&](const std::string& place) { return lies_under(path, place); })) {
    return refuse("lies neither under root (" + options_.root +
                  ") nor under one of the configured `paths`; choose another path, or have the agent's administrator "
                  "add its place to `paths`.");
  }
  return std::nullopt;
}

// `in_place`: the registration has this path already, so nobody else is there, above or below.
std::optional<Problem> Registry::check_path(const std::string& path, const RegistrationId& id, bool in_place) const {
  if (auto problem = check_place(path)) {
    return problem;
  }
  if (in_place) {
    return std::nullopt;
  }
  const auto taken = [&](const Registration& by) {
    return Problem{ProblemCode::path_taken,
                   by.path == path ? "The znode path " + path + " is held by the registration " + by.id.str() +
                                         " of this agent; deregister that first, or choose another path."
                                   : "The znode path " + path + " and that of the registration " + by.id.str() + " (" +
                                         by.path + ") lie one under the other, and an ephemeral znode has no children.",
                   "/path", 0};
  };
  // The path itself and everything above it.
  for (std::size_t end = path.size(); end != std::string::npos && end > 0; end = path.rfind('/', end - 1)) {
    const auto it = by_path_.find(std::string_view(path).substr(0, end));
    if (it != by_path_.end() && (*it)->id() != id) {
      return taken(*(*it)->planned());
    }
  }
  // Everything below it.
  const std::string below = path + "/";
  for (auto it = by_path_.lower_bound(std::string_view(below)); it != by_path_.end(); ++it) {
    const Registration& by = *(*it)->planned();
    if (!by.path.starts_with(below)) {
      break;
    }
    if (by.id != id) {
      return taken(by);
    }
  }
  return std::nullopt;
}

void Registry::add_removal(Attempt& attempt, const Registration& of, Seq seq, WallMs wall_ms, Owner who, bool moved) {
  attempt.plan.batch.changes.push_back(PutRemoval{{seq, of.id, of.path, who, wall_ms, moved}});
  set_removal(attempt, of.path, seq);
  ++attempt.operations;
}

bool Registry::lies_in_a_place(const std::string& path) const {
  return lies_under(path, options_.root) ||
         std::any_of(options_.paths.begin(), options_.paths.end(),
                     [&](const std::string& place) { return lies_under(path, place); });
}

bool Registry::any_below(std::string_view path) const {
  const std::string below = std::string(path) + "/";
  const auto it = by_path_.lower_bound(std::string_view(below));
  return it != by_path_.end() && (*it)->planned()->path.starts_with(below);
}

// Where one is known, so are those above it.
std::optional<Problem> Registry::check_new_parents(Attempt& attempt, const std::string& path, const Caller& caller,
                                                   Now now) const {
  const std::uint32_t uid = caller.owner.uid;
  std::string parent = path;
  while (true) {
    parent.resize(parent.rfind('/'));
    if (!lies_in_a_place(parent) || parents_.contains(parent) || any_below(parent)) {
      break;
    }
    if (!parents_.counted(uid, parent, now)) {
      attempt.new_parents.insert(parent);
    }
  }
  const std::size_t before = parents_.count(uid, now);
  const std::uint32_t most = options_.limits.max_new_parents;
  if (attempt.new_parents.empty() || before + attempt.new_parents.size() <= most) {
    return std::nullopt;
  }
  constexpr std::int64_t kMinuteMs = 60'000;
  const std::int64_t left_ms = before == 0 ? Parents::kHourMs : parents_.left_ms(uid, now);
  return Problem{ProblemCode::quota,
                 "uid " + std::to_string(uid) + " has added " + std::to_string(before) +
                     " znodes above registrations (services, or the places of a path) within an hour, and this would "
                     "be " +
                     std::to_string(attempt.new_parents.size()) +
                     " more; they stay in ZooKeeper, so the "
                     "limit (max_new_parents) is " +
                     std::to_string(most) + ". Use names that are there, or " +
                     (before == 0 ? "fewer new ones at a time."
                                  : "try again in " + std::to_string((left_ms + kMinuteMs - 1) / kMinuteMs) + " min."),
                 "", 0};
}

std::optional<Problem> Registry::plan_register(Attempt& attempt, RegisterRequest& request, const Caller& caller,
                                               Now now) {
  const WallMs wall_ms = now.wall_ms;
  const Entry* entry = look_up(request.id);
  const Registration* old = entry != nullptr ? entry->planned() : nullptr;
  if (old != nullptr && !may_change(caller, old->owner)) {
    return not_owner(request.id, old->owner, caller);
  }
  std::string path = path_of(options_, request);
  if (auto problem = check_policy(request.id.service, path, caller)) {
    return problem;
  }
  const bool in_place = old != nullptr && old->path == path;
  if (in_place && repeats(request, *old)) {
    attempt.plan.answers.emplace_back(request.id, old->seq, false);
    return std::nullopt;
  }
  if (auto problem = check_path(path, request.id, in_place)) {
    return problem;
  }
  if (!in_place) {
    if (auto problem = check_new_parents(attempt, path, caller, now)) {
      return problem;
    }
  }
  const Seq seq{attempt.last.value + 1};
  attempt.last = seq;
  // Whoever made it keeps it, also when root changes it.
  const bool others =
      old != nullptr && (old->owner.uid != caller.owner.uid || old->owner.contained != caller.owner.contained);
  const Owner owner = others ? old->owner : caller.owner;
  if (const auto pending = removal_at_.find(path); pending != removal_at_.end()) {
    attempt.plan.batch.changes.push_back(EraseRemoval{pending->second});
    set_removal(attempt, path, std::nullopt);
    --attempt.operations;
  }
  if (old == nullptr) {
    ++attempt.operations;
  } else {
    count(attempt.amounts, *old, false);
    if (!in_place) {
      add_removal(attempt, *old, seq, wall_ms, caller.owner, true);
    }
  }
  auto registration = SharedRegistration::made_by([&] {
    return Registration{request.id, std::move(path), request.format,  content_of(request, wall_ms), owner,
                        seq,        wall_ms,         request.lifetime};
  });
  count(attempt.amounts, *registration, true);
  Draft draft{registration, 0, seq.value};
  if (entry != nullptr) {
    redraft(attempt, *entry, std::move(draft));
  } else {
    const Entry& added = add_entry(Entry{{}, std::move(draft)});
    place(added);
    attempt.done.emplace_back(Attempt::Redrafted{&added, {}});
  }
  attempt.plan.batch.changes.emplace_back(PutRegistration{std::move(registration)});
  attempt.plan.answers.emplace_back(request.id, seq, true);
  return std::nullopt;
}

std::optional<Problem> Registry::plan_deregister(Attempt& attempt, const DeregisterRequest& request,
                                                 const Caller& caller, WallMs wall_ms) {
  const Entry* entry = look_up(request.id);
  const Registration* old = entry != nullptr ? entry->planned() : nullptr;
  if (old == nullptr) {
    // Saying it twice is no error while the first is still on its way.
    const bool in_this_plan = entry != nullptr && entry->draft.seq() > last_seq_;
    if (const auto* seqs = removals_of(request.id); seqs != nullptr && !in_this_plan) {
      const Removal& removal = removals_.at(*seqs->rbegin());
      if (!may_change(caller, removal.owner)) {
        return not_owner(request.id, removal.owner, caller);
      }
      attempt.plan.answers.push_back({request.id, removal.seq, false});
      return std::nullopt;
    }
    return Problem{ProblemCode::not_found, "There is no registration " + request.id.str() + " on this host.", "", 0};
  }
  if (!may_change(caller, old->owner)) {
    return not_owner(request.id, old->owner, caller);
  }
  const Seq seq{attempt.last.value + 1};
  attempt.last = seq;
  count(attempt.amounts, *old, false);
  attempt.plan.batch.changes.push_back(EraseRegistration{old->id});
  attempt.plan.answers.push_back({old->id, seq, true});
  add_removal(attempt, *old, seq, wall_ms, old->owner, false);
  const SharedRegistration ends = entry->draft ? entry->draft.registration : entry->live;
  redraft(attempt, *entry, Draft{ends, 1, seq.value});
  return std::nullopt;
}

void Registry::set_removal(Attempt& attempt, const std::string& path, std::optional<Seq> seq) {
  const auto it = removal_at_.find(path);
  attempt.done.emplace_back(Attempt::Removal{path, it != removal_at_.end() ? std::optional(it->second) : std::nullopt});
  if (seq) {
    removal_at_[path] = *seq;
  } else {
    removal_at_.erase(path);
  }
}

void Registry::redraft(Attempt& attempt, const Entry& entry, Draft draft) {
  attempt.done.emplace_back(std::in_place_type<Attempt::Redrafted>, &entry, exchange_draft(entry, std::move(draft)));
}

// Leaves everything as it was before the first of `attempt`.
void Registry::take_back(Attempt& attempt) {
  for (auto it = attempt.done.rbegin(); it != attempt.done.rend(); ++it) {
    if (auto* redrafted = std::get_if<Attempt::Redrafted>(&*it)) {
      const Entry& entry = *redrafted->entry;
      if (!redrafted->before && !entry.live) {
        erase_entry(entry);
      } else {
        exchange_draft(entry, std::move(redrafted->before));
      }
    } else {
      const auto& removal = std::get<Attempt::Removal>(*it);
      if (removal.before) {
        removal_at_[removal.path] = *removal.before;
      } else {
        removal_at_.erase(removal.path);
      }
    }
  }
}

void Registry::adopt(Attempt& attempt, const Caller& caller, Now now) {
  for (const std::string& parent : attempt.new_parents) {
    parents_.count(caller.owner.uid, parent, now);
  }
  for (const auto& done : attempt.done) {
    const auto* redrafted = std::get_if<Attempt::Redrafted>(&done);
    const bool again = redrafted != nullptr && redrafted->before && redrafted->before.seq() > last_seq_;
    if (redrafted != nullptr && !again) {
      redrafted->entry->draft.through = attempt.last.value;
      drafts_.emplace_back(attempt.last, redrafted->entry);
    }
  }
  for (const auto& [uid, change] : attempt.amounts) {
    total_ += change;
    if ((by_uid_[uid] += change).registrations == 0) {
      by_uid_.erase(uid);
    }
  }
  last_seq_ = attempt.last;
  attempt.plan.batch.last_seq = attempt.last;
}

std::vector<ChangeRequest> Registry::everything_deregistered() const {
  std::vector<std::pair<Seq, RegistrationId>> ordered;
  for (const Entry* entry : by_path_) {
    ordered.emplace_back(entry->planned()->seq, entry->id());
  }
  std::sort(ordered.begin(), ordered.end());
  std::vector<ChangeRequest> requests;
  requests.reserve(ordered.size());
  for (auto& [seq, id] : ordered) {
    requests.push_back(DeregisterRequest{std::move(id)});
  }
  return requests;
}

}  // namespace limpet::core
