// Core: the parents that this agent created: remembered, and pruned when somebody asks.
#include <utility>

#include "agent/core/core_impl.h"

namespace limpet::core {

// What is kept of parents while the disk fails is written when it works again: rescue_parents().
void Core::Impl::write_parents(std::vector<Change>&& changes, Now now) {
  if (changes.empty() || !disk_works()) {
    return;
  }
  lazy_.insert(lazy_.end(), std::make_move_iterator(changes.begin()), std::make_move_iterator(changes.end()));
  lazy_at_ms_ = now.steady_ms;
}

void Core::Impl::remember_parents(std::vector<Parent>&& created, Now now) {
  std::vector<Change> changes;
  for (Parent& parent : created) {
    parent.created_at = parent.used_at = now.wall_ms;
    parents_.put(
        std::move(parent), [this](const std::string& path) { return registry_.any_below(path); }, changes);
  }
  write_parents(std::move(changes), now);
}

// A znode at `path` has gone, and nothing is wanted there.
void Core::Impl::parents_used(const std::string& path, Now now) {
  std::vector<Change> changes;
  for_each_parent(path, [&](const std::string& parent) {
    if (parents_.contains(parent) && !registry_.any_below(parent)) {
      parents_.used(parent, now.wall_ms, changes);
    }
  });
  write_parents(std::move(changes), now);
}

void Core::Impl::rescue_parents(const StoredState& stored, Now now) {
  std::vector<Change> changes;
  parents_.rescue(stored.parents, changes);
  write_parents(std::move(changes), now);
}

void Core::Impl::on(Prune event, Now now, Actions& actions) {
  const auto refuse = [&](ProblemCode code, const char* detail) {
    actions.push_back(Pruned{event.token, Problem{code, detail, "", 0}});
  };
  if (!event.caller.privileged) {
    return refuse(ProblemCode::not_allowed, "Only root and the agent's own user may have parents removed.");
  }
  if (pruner_.busy()) {
    return refuse(ProblemCode::quota, "Parents are being removed for somebody else already; try again.");
  }
  if (!session_.usable()) {
    return refuse(ProblemCode::not_connected,
                  "ZooKeeper is away, and which parents are empty is known there alone; try again when it is back.");
  }
  pruner_.start(std::move(event), parents_, now, actions);
  pruner_done(now, actions);
}

void Core::Impl::pruner_done(Now now, Actions& actions) {
  std::optional<Pruner::Result> result = pruner_.take_result();
  if (!result) {
    return;
  }
  std::vector<Change> changes;
  for (const std::string& path : result->gone) {
    parents_.forget(path, changes);
    replay_.parent_gone(path);
  }
  write_parents(std::move(changes), now);
  const PruneReport& report = result->report;
  if (!report.dry_run) {
    parents_pruned_ += report.removed;
    HistoryEntry happened;
    happened.what = Happening::pruned;
    happened.why = std::to_string(report.removed) + " of " + std::to_string(report.examined) +
                   " parents removed that this agent had created";
    happened.who.emplace(result->asked.caller.owner, result->asked.caller.program);
    record(std::move(happened), now);
  }
  actions.push_back(Pruned{result->asked.token, std::move(result->report)});
}

}  // namespace limpet::core
