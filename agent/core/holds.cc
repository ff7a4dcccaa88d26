#include "agent/core/holds.h"

namespace limpet::core {

namespace {

const Hold* find(const std::map<RegistrationId, Hold>& holds, const RegistrationId& id) {
  const auto it = holds.find(id);
  return it == holds.end() ? nullptr : &it->second;
}

}  // namespace

Holds::Holds(const std::vector<Hold>& stored) {
  reset(stored);
  for (const Hold& hold : stored) {
    if (hold.cause == HoldCause::check) {
      put(hold);
    }
  }
}

void Holds::reset(const std::vector<Hold>& stored) {
  host_.reset();
  maintenance_.clear();
  for (const Hold& hold : stored) {
    if (hold.cause == HoldCause::maintenance) {
      put(hold);
    }
  }
  planned_host_ = host_;
  planned_ = maintenance_;
}

void Holds::put(const Hold& hold) {
  if (!hold.id) {
    host_ = hold;
  } else if (hold.cause == HoldCause::maintenance) {
    maintenance_[*hold.id] = hold;
  } else {
    failing_[*hold.id] = hold;
  }
}

void Holds::erase(const std::optional<RegistrationId>& id, HoldCause cause) {
  if (!id) {
    host_.reset();
  } else if (cause == HoldCause::maintenance) {
    maintenance_.erase(*id);
  } else {
    failing_.erase(*id);
  }
}

void Holds::forget(const RegistrationId& id) {
  maintenance_.erase(id);
  failing_.erase(id);
}

const Hold* Holds::maintenance(const RegistrationId& id) const {
  const Hold* own = find(maintenance_, id);
  return own != nullptr ? own : host_maintenance();
}

const Hold* Holds::failing_check(const RegistrationId& id) const {
  return find(failing_, id);
}

const Hold* Holds::planned(const std::optional<RegistrationId>& id) const {
  if (id) {
    return find(planned_, *id);
  }
  return planned_host_ ? &*planned_host_ : nullptr;
}

void Holds::plan(const std::optional<RegistrationId>& id, std::optional<Hold> hold) {
  if (!id) {
    planned_host_ = std::move(hold);
  } else if (hold) {
    planned_[*id] = *std::move(hold);
  } else {
    planned_.erase(*id);
  }
}

}  // namespace limpet::core
