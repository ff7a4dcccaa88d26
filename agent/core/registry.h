// What is wanted: the live registrations and the znodes that must still go, as they are on disk.
//
// A change is first planned against what stands plus what is on its way to the disk (the draft of the future), and
// takes effect only when its batch is committed. So what the API shows is always durable, while a caller's second
// change can build on a first one that is still being written.
// Owned by Core; no clock, no I/O.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "agent/core/types.h"

namespace limpet::core {

struct Options;

// Who wants what at the znode of `path`; handed on to Replay as changes are committed.
struct Plan {
  Batch batch;                          // empty where nothing changes
  std::vector<AcceptedChange> answers;  // one for each request
};

class Registry {
 public:
  Registry(const Options& options, const StoredState& stored);

  // Plans `requests`, all or none, each with the next seq. `open_operations`: how many changes are queued now.
  std::variant<Plan, Problem> plan(const std::vector<ChangeRequest>& requests, const Caller& caller, WallMs wall_ms,
                                   std::uint64_t open_operations);

  // True where every one of them is its owner's and asks for what stands, or is on its way to the disk: planning them
  // changes nothing.
  bool all_repeat(const std::vector<ChangeRequest>& requests, const Caller& caller) const;

  // Requests that deregister everything that is wanted, in order of seq.
  std::vector<ChangeRequest> everything_deregistered() const;

  // One planned change is on disk. Called in the order of planning.
  void committed(const Change& change);
  // The batch that ended with `through` is on disk: what was drafted up to it now stands.
  void committed_through(Seq through);

  // The store could not write: what it holds now is what stands, and nothing is on its way any more.
  void reset(const StoredState& stored);

  // Durable state.
  const std::map<RegistrationId, Registration>& live() const { return live_; }
  const std::map<Seq, Removal>& removals() const { return removals_; }
  const Registration* find(const RegistrationId& id) const;
  // The removals of this name that are not done, by seq.
  const std::set<Seq>* removals_of(const RegistrationId& id) const;
  const std::map<RegistrationId, std::set<Seq>>& removals_by_id() const { return removals_by_id_; }
  void removal_done(Seq seq);

  // The registration as the newest planned change leaves it; null where that is gone. Valid until the next plan().
  const Registration* planned(const RegistrationId& id) const;

  // A seq for a change that is not about a registration's content.
  Seq take_seq() { return last_seq_ = Seq{last_seq_.value + 1}; }

  // Whose registrations a caller may change, and what others are told.
  static bool may_change(const Caller& caller, const Owner& owner);
  static Problem not_owner(const RegistrationId& id, const Owner& owner, const Caller& caller);

 private:
  // The changes of one plan, on top of the drafted state, until the plan is known to be accepted as a whole.
  struct Draft {
    std::map<RegistrationId, std::optional<Registration>> registrations;
    std::map<std::string, std::optional<RegistrationId>> paths;
    std::map<std::string, std::optional<Seq>> removals;  // by path
    std::map<std::uint32_t, std::int64_t> counts;        // by uid: change of the number of live registrations
    std::int64_t count = 0;                              // change of the number of live registrations
    std::int64_t path_bytes = 0;
    std::int64_t operations = 0;
    Seq next;
    Plan plan;
  };
  // Hash and equality of registrations by their id.
  struct ById {
    using is_transparent = void;
    std::size_t operator()(const RegistrationId& id) const { return std::hash<RegistrationId>()(id); }
    std::size_t operator()(const Registration* registration) const { return (*this)(registration->id); }
    bool operator()(const Registration* a, const Registration* b) const { return a == b; }
    bool operator()(const RegistrationId& id, const Registration* b) const { return id == b->id; }
    bool operator()(const Registration* a, const RegistrationId& id) const { return a->id == id; }
  };
  struct Drafted {
    std::optional<Registration> registration;
    Seq seq;
  };

  std::optional<Problem> plan_register(Draft& draft, const RegisterRequest& request, const Caller& caller,
                                       WallMs wall_ms) const;
  std::optional<Problem> plan_deregister(Draft& draft, const DeregisterRequest& request, const Caller& caller,
                                         WallMs wall_ms) const;
  std::optional<Problem> check_policy(const std::string& service, const std::string& path, const Caller& caller) const;
  std::optional<Problem> check_path(const Draft& draft, const std::string& path, const RegistrationId& id,
                                    bool in_place) const;
  std::optional<Problem> check_bounds(const Draft& draft, bool adds_path, const Caller& caller,
                                      std::uint64_t open_operations) const;
  void add_removal(Draft& draft, const Registration& of, Seq seq, WallMs wall_ms, Owner who) const;
  void adopt(Draft& draft);
  void rebuild_indexes();

  const Registration* drafted(const Draft& draft, const RegistrationId& id) const;
  std::optional<RegistrationId> path_owner(const Draft& draft, const std::string& path) const;
  std::optional<Seq> removal_at(const Draft& draft, const std::string& path) const;

  const Options& options_;
  Seq last_seq_;  // highest ever planned

  // Durable.
  std::map<RegistrationId, Registration> live_;
  std::unordered_set<Registration*, ById, ById> live_index_;  // what find() asks, some times for each change
  std::map<Seq, Removal> removals_;
  std::map<RegistrationId, std::set<Seq>> removals_by_id_;

  // Drafted: durable and what is on its way.
  std::unordered_map<RegistrationId, Drafted> drafted_;  // only what differs from live_
  std::deque<std::pair<Seq, RegistrationId>> drafts_;    // whose entries there are, by seq; some perhaps overwritten
  std::map<std::string, RegistrationId> paths_;
  std::unordered_map<std::string, Seq> removal_at_;
  std::uint64_t count_ = 0;
  std::unordered_map<std::uint32_t, std::uint64_t> counts_;  // by uid
  std::uint64_t path_bytes_ = 0;
};

}  // namespace limpet::core
