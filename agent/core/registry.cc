#include "agent/core/registry.h"

#include <algorithm>
#include <string_view>

#include "agent/core/core.h"

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
  return (options.root == "/" ? "" : options.root) + "/" + request.id.service + "/" +
         (request.leaf.empty() ? request.id.instance : request.leaf);
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

// True where `request`, which asks for `path`, asks for what stands.
bool repeats(const RegisterRequest& request, const std::string& path, const Registration& old) {
  return old.path == path && old.format == request.format && has_content(request, old.data) &&
         old.lifetime == request.lifetime;
}

std::string content_of(const RegisterRequest& request, WallMs wall_ms) {
  std::string data = request.data;
  if (request.time_at) {
    data.insert(*request.time_at, std::to_string(std::max<WallMs>(wall_ms, 0)));
  }
  return data;
}

}  // namespace

Registry::Registry(const Options& options, const StoredState& stored) : options_(options) {
  reset(stored);
}

void Registry::reset(const StoredState& stored) {
  last_seq_ = std::max(last_seq_, stored.last_seq);
  live_index_.clear();
  live_.clear();
  removals_.clear();
  for (const Registration& registration : stored.registrations) {
    live_index_.insert(&live_.emplace(registration.id, registration).first->second);
  }
  for (const Removal& removal : stored.removals) {
    removals_.emplace(removal.seq, removal);
  }
  rebuild_indexes();
}

void Registry::rebuild_indexes() {
  drafted_.clear();
  drafts_.clear();
  paths_.clear();
  removal_at_.clear();
  removals_by_id_.clear();
  count_ = live_.size();
  counts_.clear();
  path_bytes_ = 0;
  for (const auto& [id, registration] : live_) {
    ++counts_[registration.owner.uid];
    paths_.emplace(registration.path, id);
    path_bytes_ += registration.path.size();
  }
  for (const auto& [seq, removal] : removals_) {
    removal_at_[removal.path] = seq;
    removals_by_id_[removal.id].insert(seq);
  }
}

// ---- Planning

bool Registry::all_repeat(const std::vector<ChangeRequest>& requests, const Caller& caller) const {
  return std::all_of(requests.begin(), requests.end(), [&](const ChangeRequest& change) {
    const auto* request = std::get_if<RegisterRequest>(&change);
    const Registration* old = request != nullptr ? planned(request->id) : nullptr;
    return old != nullptr && may_change(caller, old->owner) && repeats(*request, path_of(options_, *request), *old);
  });
}

bool Registry::may_change(const Caller& caller, const Owner& owner) {
  return caller.privileged || caller.owner.uid == owner.uid;
}

Problem Registry::not_owner(const RegistrationId& id, const Owner& owner, const Caller& caller) {
  return {ProblemCode::not_owner,
          id.str() + " belongs to uid " + std::to_string(owner.uid) + "; uid " + std::to_string(caller.owner.uid) +
              " may not change it. Ask its owner, or do it as root.",
          "", 0};
}

const Registration* Registry::drafted(const Draft& draft, const RegistrationId& id) const {
  if (auto it = draft.registrations.find(id); it != draft.registrations.end()) {
    return it->second ? &*it->second : nullptr;
  }
  if (auto it = drafted_.find(id); it != drafted_.end()) {
    return it->second.registration ? &*it->second.registration : nullptr;
  }
  return find(id);
}

std::optional<RegistrationId> Registry::path_owner(const Draft& draft, const std::string& path) const {
  if (auto it = draft.paths.find(path); it != draft.paths.end()) {
    return it->second;
  }
  if (auto it = paths_.find(path); it != paths_.end()) {
    return it->second;
  }
  return std::nullopt;
}

std::optional<Seq> Registry::removal_at(const Draft& draft, const std::string& path) const {
  if (auto it = draft.removals.find(path); it != draft.removals.end()) {
    return it->second;
  }
  if (auto it = removal_at_.find(path); it != removal_at_.end()) {
    return it->second;
  }
  return std::nullopt;
}

const Registration* Registry::planned(const RegistrationId& id) const {
  return drafted(Draft{}, id);
}

std::variant<Plan, Problem> Registry::plan(const std::vector<ChangeRequest>& requests, const Caller& caller,
                                           WallMs wall_ms, std::uint64_t open_operations) {
  Draft draft;
  draft.next = last_seq_;
  draft.plan.answers.reserve(requests.size());
  draft.plan.batch.changes.reserve(2 * requests.size());  // with each one's place in the history
  for (std::size_t index = 0; index < requests.size(); ++index) {
    std::optional<Problem> problem;
    if (const auto* request = std::get_if<RegisterRequest>(&requests[index])) {
      problem = plan_register(draft, *request, caller, wall_ms);
      if (!problem) {
        problem = check_bounds(draft, true, caller, open_operations);
      }
    } else {
      problem = plan_deregister(draft, std::get<DeregisterRequest>(requests[index]), caller, wall_ms);
      if (!problem) {
        problem = check_bounds(draft, false, caller, open_operations);
      }
    }
    if (problem) {
      problem->index = index;
      return *std::move(problem);
    }
  }
  adopt(draft);
  return std::move(draft.plan);
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
  }
  return std::nullopt;
}

// `in_place`: the registration has this path already, so nobody else is there, above or below.
std::optional<Problem> Registry::check_path(const Draft& draft, const std::string& path, const RegistrationId& id,
                                            bool in_place) const {
  const bool allowed =
      lies_under(path, options_.root) || std::any_of(options_.paths.begin(), options_.paths.end(),
                                                     [&](const std::string& place) { return lies_under(path, place); });
  if (!allowed) {
    return Problem{ProblemCode::not_allowed,
                   "The znode path " + path + " lies neither under root (" + options_.root +
                       ") nor under one of the configured `paths`; choose another path, or have the agent's "
                       "administrator add its place to `paths`.",
                   "/path", 0};
  }
  if (in_place) {
    return std::nullopt;
  }
  const auto taken = [&](const RegistrationId& by, const std::string& where) {
    return Problem{ProblemCode::path_taken,
                   where == path ? "The znode path " + path + " is held by the registration " + by.str() +
                                       " of this agent; deregister that first, or choose another path."
                                 : "The znode path " + path + " and that of the registration " + by.str() + " (" +
                                       where + ") lie one under the other, and an ephemeral znode has no children.",
                   "/path", 0};
  };
  // The path itself and everything above it.
  for (std::size_t end = path.size(); end != std::string::npos && end > 0; end = path.rfind('/', end - 1)) {
    const std::string part = path.substr(0, end);
    if (auto by = path_owner(draft, part); by && *by != id) {
      return taken(*by, part);
    }
  }
  // Everything below it. Whatever this draft has given up does not count.
  const std::string below = path + "/";
  for (auto it = paths_.lower_bound(below); it != paths_.end() && it->first.starts_with(below); ++it) {
    if (auto by = path_owner(draft, it->first); by && *by != id) {
      return taken(*by, it->first);
    }
  }
  for (auto it = draft.paths.lower_bound(below); it != draft.paths.end() && it->first.starts_with(below); ++it) {
    if (it->second && *it->second != id) {
      return taken(*it->second, it->first);
    }
  }
  return std::nullopt;
}

std::optional<Problem> Registry::check_bounds(const Draft& draft, bool adds_path, const Caller& caller,
                                              std::uint64_t open_operations) const {
  const Limits& limits = options_.limits;
  const auto count = static_cast<std::int64_t>(count_) + draft.count;
  const auto bytes = static_cast<std::int64_t>(path_bytes_) + draft.path_bytes;
  if (adds_path && draft.count > 0 && count > limits.max_registrations) {
    return Problem{ProblemCode::quota,
                   "This agent holds " + std::to_string(count_) + " registrations, and its limit is " +
                       std::to_string(limits.max_registrations) + "; deregister some first.",
                   "", 0};
  }
  const std::uint32_t uid = caller.owner.uid;
  if (const auto added = draft.counts.find(uid); adds_path && !caller.privileged && added != draft.counts.end()) {
    const auto had = counts_.find(uid);
    const std::int64_t own = (had == counts_.end() ? 0 : static_cast<std::int64_t>(had->second)) + added->second;
    if (added->second > 0 && own > limits.max_registrations_per_uid) {
      return Problem{ProblemCode::quota,
                     "uid " + std::to_string(uid) + " would hold " + std::to_string(own) +
                         " registrations, and one user's limit is " + std::to_string(limits.max_registrations_per_uid) +
                         "; deregister some first.",
                     "", 0};
    }
  }
  if (adds_path && draft.path_bytes > 0 && bytes > limits.max_path_bytes) {
    return Problem{ProblemCode::quota,
                   "The znode paths of this agent would add up to " + std::to_string(bytes) +
                       " bytes, and ZooKeeper must name them all in one packet to end the session, so the limit is " +
                       std::to_string(limits.max_path_bytes) + "; deregister some, or use shorter paths.",
                   "", 0};
  }
  if (draft.operations > 0 && open_operations + static_cast<std::uint64_t>(draft.operations) > limits.max_operations) {
    return Problem{ProblemCode::queue_full,
                   "The queue holds " + std::to_string(open_operations) + " changes that wait for ZooKeeper, and its " +
                       "limit is " + std::to_string(limits.max_operations) +
                       "; nothing more is accepted until ZooKeeper is back.",
                   "", 0};
  }
  return std::nullopt;
}

void Registry::add_removal(Draft& draft, const Registration& of, Seq seq, WallMs wall_ms, Owner who) const {
  draft.plan.batch.changes.push_back(PutRemoval{{seq, of.id, of.path, who, wall_ms}});
  draft.removals[of.path] = seq;
  draft.paths[of.path] = std::nullopt;
  ++draft.operations;
}

std::optional<Problem> Registry::plan_register(Draft& draft, const RegisterRequest& request, const Caller& caller,
                                               WallMs wall_ms) const {
  const Registration* old = drafted(draft, request.id);
  if (old != nullptr && !may_change(caller, old->owner)) {
    return not_owner(request.id, old->owner, caller);
  }
  const std::string path = path_of(options_, request);
  if (auto problem = check_policy(request.id.service, path, caller)) {
    return problem;
  }
  if (old != nullptr && repeats(request, path, *old)) {
    draft.plan.answers.push_back({request.id, old->seq, false});
    return std::nullopt;
  }
  const bool in_place = old != nullptr && old->path == path;
  if (auto problem = check_path(draft, path, request.id, in_place)) {
    return problem;
  }
  const Seq seq{draft.next.value + 1};
  draft.next = seq;
  // Whoever made it keeps it, also when root changes it.
  Registration registration{request.id,   path, request.format, content_of(request, wall_ms),
                            caller.owner, seq,  wall_ms,        request.lifetime};
  if (old != nullptr && old->owner.uid != caller.owner.uid) {
    registration.owner = old->owner;
  }
  if (auto pending = removal_at(draft, path)) {
    draft.plan.batch.changes.push_back(EraseRemoval{*pending});
    draft.removals[path] = std::nullopt;
    --draft.operations;
  }
  if (old == nullptr) {
    ++draft.count;
    ++draft.counts[registration.owner.uid];
    ++draft.operations;
    draft.path_bytes += static_cast<std::int64_t>(path.size());
  } else if (old->path != path) {
    draft.path_bytes += static_cast<std::int64_t>(path.size()) - static_cast<std::int64_t>(old->path.size());
    add_removal(draft, *old, seq, wall_ms, caller.owner);
  }
  if (!in_place) {
    draft.paths[path] = request.id;
  }
  draft.plan.batch.changes.push_back(PutRegistration{registration});
  draft.registrations[request.id] = std::move(registration);
  draft.plan.answers.push_back({request.id, seq, true});
  return std::nullopt;
}

std::optional<Problem> Registry::plan_deregister(Draft& draft, const DeregisterRequest& request, const Caller& caller,
                                                 WallMs wall_ms) const {
  const Registration* old = drafted(draft, request.id);
  if (old == nullptr) {
    // Saying it twice is no error while the first is still on its way.
    if (const auto* seqs = removals_of(request.id); seqs != nullptr && !draft.registrations.contains(request.id)) {
      const Removal& removal = removals_.at(*seqs->rbegin());
      if (!may_change(caller, removal.owner)) {
        return not_owner(request.id, removal.owner, caller);
      }
      draft.plan.answers.push_back({request.id, removal.seq, false});
      return std::nullopt;
    }
    return Problem{ProblemCode::not_found, "There is no registration " + request.id.str() + " on this host.", "", 0};
  }
  if (!may_change(caller, old->owner)) {
    return not_owner(request.id, old->owner, caller);
  }
  const Seq seq{draft.next.value + 1};
  draft.next = seq;
  --draft.count;
  --draft.counts[old->owner.uid];
  draft.path_bytes -= static_cast<std::int64_t>(old->path.size());
  const Registration gone = *old;
  draft.plan.batch.changes.push_back(EraseRegistration{gone.id});
  add_removal(draft, gone, seq, wall_ms, gone.owner);
  draft.registrations[gone.id] = std::nullopt;
  draft.plan.answers.push_back({gone.id, seq, true});
  return std::nullopt;
}

void Registry::adopt(Draft& draft) {
  for (auto& [id, registration] : draft.registrations) {
    drafted_[id] = Drafted{std::move(registration), draft.next};
    drafts_.emplace_back(draft.next, id);
  }
  for (auto& [path, id] : draft.paths) {
    if (id) {
      paths_[path] = *id;
    } else {
      paths_.erase(path);
    }
  }
  for (auto& [path, seq] : draft.removals) {
    if (seq) {
      removal_at_[path] = *seq;
    } else {
      removal_at_.erase(path);
    }
  }
  count_ += static_cast<std::uint64_t>(draft.count);
  for (const auto& [uid, change] : draft.counts) {
    if ((counts_[uid] += static_cast<std::uint64_t>(change)) == 0) {
      counts_.erase(uid);
    }
  }
  path_bytes_ += static_cast<std::uint64_t>(draft.path_bytes);
  last_seq_ = draft.next;
  draft.plan.batch.last_seq = draft.next;
}

std::vector<ChangeRequest> Registry::everything_deregistered() const {
  std::vector<std::pair<Seq, RegistrationId>> ordered;
  for (const auto& [path, id] : paths_) {
    const auto it = drafted_.find(id);
    ordered.emplace_back(it != drafted_.end() ? it->second.registration->seq : live_.at(id).seq, id);
  }
  std::sort(ordered.begin(), ordered.end());
  std::vector<ChangeRequest> requests;
  requests.reserve(ordered.size());
  for (auto& [seq, id] : ordered) {
    requests.push_back(DeregisterRequest{std::move(id)});
  }
  return requests;
}

// ---- What is durable

void Registry::committed(const Change& change) {
  if (const auto* put = std::get_if<PutRegistration>(&change)) {
    const RegistrationId& id = put->registration.id;
    if (const auto it = live_index_.find(id); it != live_index_.end()) {
      **it = put->registration;
    } else {
      live_index_.insert(&live_.emplace(id, put->registration).first->second);
    }
  } else if (const auto* erase = std::get_if<EraseRegistration>(&change)) {
    if (const auto it = live_index_.find(erase->id); it != live_index_.end()) {
      live_index_.erase(it);
      live_.erase(erase->id);
    }
  } else if (const auto* removal = std::get_if<PutRemoval>(&change)) {
    removals_[removal->removal.seq] = removal->removal;
    removals_by_id_[removal->removal.id].insert(removal->removal.seq);
  } else if (const auto* done = std::get_if<EraseRemoval>(&change)) {
    removal_done(done->seq);
  }
}

void Registry::committed_through(Seq through) {
  for (; !drafts_.empty() && drafts_.front().first <= through; drafts_.pop_front()) {
    const auto it = drafted_.find(drafts_.front().second);
    if (it != drafted_.end() && it->second.seq <= through) {
      drafted_.erase(it);
    }
  }
}

void Registry::removal_done(Seq seq) {
  const auto it = removals_.find(seq);
  if (it == removals_.end()) {
    return;
  }
  if (auto at = removal_at_.find(it->second.path); at != removal_at_.end() && at->second == seq) {
    removal_at_.erase(at);
  }
  if (auto by_id = removals_by_id_.find(it->second.id); by_id != removals_by_id_.end()) {
    by_id->second.erase(seq);
    if (by_id->second.empty()) {
      removals_by_id_.erase(by_id);
    }
  }
  removals_.erase(it);
}

const Registration* Registry::find(const RegistrationId& id) const {
  const auto it = live_index_.find(id);
  return it == live_index_.end() ? nullptr : *it;
}

const std::set<Seq>* Registry::removals_of(const RegistrationId& id) const {
  const auto it = removals_by_id_.find(id);
  return it == removals_by_id_.end() ? nullptr : &it->second;
}

}  // namespace limpet::core
