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
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "agent/core/limits.h"
#include "agent/core/parents.h"
#include "agent/core/quick_table.h"
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
  // What is on its way to the disk of one name; by default, nothing. No larger than need be: each name has one.
  struct Draft {
    SharedRegistration registration;  // where it is gone: the one that ends
    std::uint64_t gone : 1 = 0;
    std::uint64_t through : 63 = 0;  // a seq: it stands when the batch that ends with this one does

    explicit operator bool() const { return static_cast<bool>(registration); }
    Seq seq() const { return Seq{through}; }
  };
  // One name: what stands, and what is planned on top of that. At least one of them is there.
  struct Entry {
    // Not what an entry is found by: that is the id, which never changes.
    mutable SharedRegistration live;
    mutable Draft draft;

    const RegistrationId& id() const { return (live ? live : draft.registration)->id; }
    // Null where it will be gone.
    const Registration* planned() const { return planned_with(draft); }
    const Registration* planned_with(const Draft& other) const {
      return !other ? live.get() : other.gone != 0 ? nullptr : other.registration.get();
    }
  };
  // Order of entries by their id.
  struct ById {
    using is_transparent = void;
    bool operator()(const Entry& a, const Entry& b) const { return a.id() < b.id(); }
    bool operator()(const Entry& a, const RegistrationId& id) const { return a.id() < id; }
    bool operator()(const RegistrationId& id, const Entry& b) const { return id < b.id(); }
  };

  // `parents` must outlive this object.
  Registry(const Options& options, const StoredState& stored, Parents& parents);

  // Plans `requests`, all or none, each with the next seq. `queued`: how many changes are queued now. The content is
  // moved out of the requests.
  std::variant<Plan, Problem> plan(std::vector<ChangeRequest>& requests, const Caller& caller, Now now,
                                   const Queued& queued);

  // True where every one of them is its owner's and asks for what stands, or is on its way to the disk: planning them
  // changes nothing.
  bool all_repeat(const std::vector<ChangeRequest>& requests, const Caller& caller) const;

  // Requests that deregister everything that is wanted, in order of seq.
  std::vector<ChangeRequest> everything_deregistered() const;

  // One planned change is on disk. Called in the order of planning.
  void committed(const Change& change);
  // The same of one that puts `registration`, where `entry` is what look_up() of its id gives.
  void committed(const SharedRegistration& registration, const Entry* entry);
  // The batch that ended with `through` is on disk: what was drafted up to it now stands.
  void committed_through(Seq through);

  // The store could not write: what it holds now is what stands, and nothing is on its way any more.
  void reset(const StoredState& stored);

  // ---- Durable state
  std::size_t live_count() const { return live_count_; }
  // By id. Of what is only planned so far, `live` holds nothing.
  const std::set<Entry, ById>& entries() const { return entries_; }
  // Calls `each` with every live registration, by id.
  template <typename Each>
  void for_each_live(Each each) const {
    for (const Entry& entry : entries_) {
      if (entry.live) {
        each(entry.live);
      }
    }
  }
  // Null, or holding nothing, where there is none.
  const Registration* find(const RegistrationId& id) const;
  SharedRegistration live(const RegistrationId& id) const;
  // Null where there is nothing of this name. Valid until the next change of the registry.
  const Entry* look_up(const RegistrationId& id) const;
  const std::map<Seq, Removal>& removals() const { return removals_; }
  // The removals of this name that are not done, by seq.
  const std::set<Seq>* removals_of(const RegistrationId& id) const;
  const std::map<RegistrationId, std::set<Seq>>& removals_by_id() const { return removals_by_id_; }
  void removal_done(Seq seq);

  // The registration as the newest planned change leaves it; null where that is gone. Valid until the next plan().
  const Registration* planned(const RegistrationId& id) const;

  // What is held of that which is bounded, as it will be when all that is planned is on disk.
  void show(StatusView& view) const;
  // True where a registration lies below `path`, or is planned to.
  bool any_below(std::string_view path) const;
  // True where `path` lies below `root` or one of `paths`, and so is not one of those places itself.
  bool lies_in_a_place(const std::string& path) const;

  // A seq for a change that is not about a registration's content.
  Seq take_seq() { return last_seq_ = Seq{last_seq_.value + 1}; }

  // Whose registrations a caller may change, and what others are told.
  static bool may_change(const Caller& caller, const Owner& owner);
  static Problem not_owner(const RegistrationId& id, const Owner& owner, const Caller& caller);

 private:
  // One plan while it is made: what it has come to, and how to take it back.
  struct Attempt {
    struct Redrafted {
      const Entry* entry = nullptr;
      Draft before;
    };
    struct Removal {
      std::string path;
      std::optional<Seq> before;
    };
    Plan plan;
    Seq last;                                            // that was given to a change
    std::vector<std::variant<Redrafted, Removal>> done;  // in this order
    std::map<std::uint32_t, Amount> amounts;             // by uid: by how much they change
    std::set<std::string> new_parents;                   // that nothing was known of
    std::int64_t operations = 0;
  };
  struct IdOf {
    static const RegistrationId& key(const Entry& entry) { return entry.id(); }
  };
  // Order of entries by the path that is planned for them.
  struct ByPath {
    using is_transparent = void;
    bool operator()(const Entry* a, const Entry* b) const { return a->planned()->path < b->planned()->path; }
    bool operator()(const Entry* a, std::string_view path) const { return a->planned()->path < path; }
    bool operator()(std::string_view path, const Entry* b) const { return path < b->planned()->path; }
  };

  std::optional<Problem> plan_register(Attempt& attempt, RegisterRequest& request, const Caller& caller, Now now);
  std::optional<Problem> plan_deregister(Attempt& attempt, const DeregisterRequest& request, const Caller& caller,
                                         WallMs wall_ms);
  std::optional<Problem> check_policy(const std::string& service, const std::string& path, const Caller& caller) const;
  std::optional<Problem> check_place(const std::string& path) const;
  std::optional<Problem> check_path(const std::string& path, const RegistrationId& id, bool in_place) const;
  std::optional<Problem> check_new_parents(Attempt& attempt, const std::string& path, const Caller& caller,
                                           Now now) const;

  // ---- registry_bounds.cc
  Amount amount_of(const Registration& registration) const;
  bool is_user(std::uint32_t uid) const;  // neither root nor the agent's own
  Amount amount_of_users() const;
  void count(std::map<std::uint32_t, Amount>& amounts, const Registration& registration, bool more) const;
  std::optional<Problem> check_bounds(const Attempt& attempt, bool registers, const Caller& caller,
                                      const Queued& queued) const;
  std::optional<Problem> check_checks(const Attempt& attempt, const Amount& own, const Caller& caller) const;
  std::optional<Problem> check_operations(const Attempt& attempt, bool registers, const Caller& caller,
                                          const Queued& queued) const;

  void add_removal(Attempt& attempt, const Registration& of, Seq seq, WallMs wall_ms, Owner who, bool moved);
  void set_removal(Attempt& attempt, const std::string& path, std::optional<Seq> seq);
  void redraft(Attempt& attempt, const Entry& entry, Draft draft);
  void take_back(Attempt& attempt);
  void adopt(Attempt& attempt, const Caller& caller, Now now);

  void end_moves(const RegistrationId& id, Seq before);

  const Entry& add_entry(Entry entry);
  void erase_entry(const Entry& entry);
  Draft exchange_draft(const Entry& entry, Draft draft);
  void place(const Entry& entry);
  void displace(const Entry& entry);

  const Options& options_;
  Parents& parents_;
  Seq last_seq_;  // highest ever planned

  // Every name, and two more ways to find it: the first is what find() asks, some times for each change.
  std::set<Entry, ById> entries_;
  QuickTable<const Entry*, IdOf> by_id_;
  std::set<const Entry*, ByPath> by_path_;           // only those that are planned to be there
  std::deque<std::pair<Seq, const Entry*>> drafts_;  // entries with a draft, by seq; it may have been overwritten

  // Durable.
  std::size_t live_count_ = 0;
  std::map<Seq, Removal> removals_;
  std::map<RegistrationId, std::set<Seq>> removals_by_id_;

  // Planned: durable and what is on its way.
  std::unordered_map<std::string, Seq> removal_at_;
  Amount total_;
  std::unordered_map<std::uint32_t, Amount> by_uid_;  // of those that hold any
};

}  // namespace limpet::core
