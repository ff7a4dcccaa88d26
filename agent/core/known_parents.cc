#include "agent/core/known_parents.h"

#include <utility>

#include "agent/core/parents.h"

namespace limpet::core {

bool KnownParents::must_create(const std::string& path, bool presume) {
  return !(presume && presumed_.contains(path)) && standing_.insert(path).second;
}

void KnownParents::refused(const std::string& path, const ZkReply& reply) {
  standing_.erase(path);
  errors_[path] = reply;
}

void KnownParents::forget(const std::string& path) {
  standing_.erase(path);
  presumed_.erase(path);
  errors_.erase(path);
}

void KnownParents::forget_above(const std::string& path) {
  for_each_parent(path, [this](const std::string& parent) { forget(parent); });
}

void KnownParents::presume_above(const std::string& path) {
  for_each_parent(path, [this](std::string parent) { presumed_.insert(std::move(parent)); });
}

bool KnownParents::doubt_above(const std::string& path) {
  bool presumed = false;
  for_each_parent(path, [&](const std::string& parent) { presumed = presumed_.erase(parent) > 0 || presumed; });
  return presumed;
}

const ZkReply* KnownParents::error_above(const std::string& path) const {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    if (const auto it = errors_.find(path.substr(0, end)); it != errors_.end()) {
      return &it->second;
    }
  }
  return nullptr;
}

void KnownParents::session_ended() {
  presumed_.merge(standing_);
  standing_.clear();
}

void KnownParents::keep_only(const std::unordered_set<std::string>& needed) {
  const auto idle = [&](const std::string& parent) { return !needed.contains(parent); };
  std::erase_if(standing_, idle);
  std::erase_if(presumed_, idle);
  std::erase_if(errors_, [&](const auto& error) { return idle(error.first); });
  allowed_ = kAllowed + 2 * size();
}

}  // namespace limpet::core
