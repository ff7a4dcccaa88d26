// Why registrations that are accepted are withdrawn from ZooKeeper for now: maintenance, of one or of the whole host,
// and health checks that fail.
//
// Maintenance is a change like any other: planned, then on disk, then in effect. A check's failure takes effect at once
// and is on disk a moment later, for the next run. Owned by Core; no clock, no I/O.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/core/types.h"

namespace limpet::core {

class Holds {
 public:
  explicit Holds(const std::vector<Hold>& stored);
  // The store could not write: what it holds now is what stands. Failing checks stay as they were last heard of.
  void reset(const std::vector<Hold>& stored);

  // ---- In effect
  void put(const Hold& hold);
  void erase(const std::optional<RegistrationId>& id, HoldCause cause);
  // The registration is gone, and every reason to withdraw it.
  void forget(const RegistrationId& id);

  // Its own maintenance, or that of the whole host; null: none.
  const Hold* maintenance(const RegistrationId& id) const;
  const Hold* host_maintenance() const { return host_ ? &*host_ : nullptr; }
  const Hold* failing_check(const RegistrationId& id) const;
  bool held(const RegistrationId& id) const { return maintenance(id) != nullptr || failing_check(id) != nullptr; }
  const std::map<RegistrationId, Hold>& failing() const { return failing_; }
  std::uint64_t maintenance_count() const { return maintenance_.size(); }  // without that of the host

  // ---- Planned: in effect, or on its way to the disk
  // What stands of the maintenance of `id` (absent: of the host) when all that is planned has happened.
  const Hold* planned(const std::optional<RegistrationId>& id) const;
  void plan(const std::optional<RegistrationId>& id, std::optional<Hold> hold);

 private:
  std::optional<Hold> host_;
  std::map<RegistrationId, Hold> maintenance_;
  std::map<RegistrationId, Hold> failing_;

  std::optional<Hold> planned_host_;
  std::map<RegistrationId, Hold> planned_;
};

}  // namespace limpet::core
