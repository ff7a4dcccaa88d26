#include "agent/core/parents.h"

#include <algorithm>
#include <utility>

namespace limpet::core {

Parents::Parents(const std::vector<Parent>& stored) {
  for (const Parent& parent : stored) {
    bytes_ += parent.path.size();
    created_.emplace(parent.path, parent);
  }
}

void Parents::put(Parent parent, const InUse& in_use, std::vector<Change>& changes) {
  auto it = created_.find(parent.path);
  if (it == created_.end()) {
    make_room(in_use, changes);
    bytes_ += parent.path.size();
    ++total_created_;
    it = created_.emplace(parent.path, parent).first;
  } else if (parent.czxid == Zxid{}) {
    ++total_created_;  // anew: somebody had removed it
    it->second = parent;
  } else {
    it->second.czxid = parent.czxid;
  }
  changes.push_back(PutParent{it->second});
}

void Parents::forget(const std::string& path, std::vector<Change>& changes) {
  if (const auto it = created_.find(path); it != created_.end()) {
    bytes_ -= it->first.size();
    changes.push_back(EraseParent{it->first});
    created_.erase(it);
  }
}

void Parents::used(const std::string& path, WallMs at, std::vector<Change>& changes) {
  if (const auto it = created_.find(path); it != created_.end()) {
    it->second.used_at = std::max(it->second.used_at, at);
    changes.push_back(PutParent{it->second});
  }
}

// Some at a time, because finding them takes a look at all.
void Parents::make_room(const InUse& in_use, std::vector<Change>& changes) {
  if (created_.size() < kMaxCount && bytes_ < kMaxBytes) {
    return;
  }
  std::vector<std::pair<std::pair<bool, WallMs>, const std::string*>> all;
  all.reserve(created_.size());
  for (const auto& [path, parent] : created_) {
    all.emplace_back(std::pair(in_use(path), parent.used_at), &path);
  }
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(1 + all.size() / kShareForgotten);
  std::nth_element(all.begin(), end - 1, all.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : *a.second < *b.second;
  });
  std::for_each(all.begin(), end, [&](const auto& one) {
    ++total_forgotten_;
    forget(std::string(*one.second), changes);
  });
}

void Parents::rescue(const std::vector<Parent>& stored, std::vector<Change>& changes) const {
  std::unordered_map<std::string_view, const Parent*> there;
  for (const Parent& parent : stored) {
    there.emplace(parent.path, &parent);
    if (!contains(parent.path)) {
      changes.push_back(EraseParent{parent.path});
    }
  }
  for (const auto& [path, parent] : created_) {
    const auto it = there.find(path);
    if (it == there.end() || *it->second != parent) {
      changes.push_back(PutParent{parent});
    }
  }
}

// ---- What each user asks for

const Parents::Hour* Parents::hour_of(std::uint32_t uid, Now now) const {
  const auto it = hours_.find(uid);
  return it == hours_.end() || now.steady_ms - it->second.began_ms >= kHourMs ? nullptr : &it->second;
}

bool Parents::counted(std::uint32_t uid, std::string_view path, Now now) const {
  const Hour* hour = hour_of(uid, now);
  return hour != nullptr && hour->asked.contains(HashOfText()(path));
}

std::size_t Parents::count(std::uint32_t uid, Now now) const {
  const Hour* hour = hour_of(uid, now);
  return hour == nullptr ? 0 : hour->asked.size();
}

void Parents::count(std::uint32_t uid, std::string_view path, Now now) {
  if (hour_of(uid, now) == nullptr) {
    std::erase_if(hours_, [&](const auto& one) { return now.steady_ms - one.second.began_ms >= kHourMs; });
    hours_[uid].began_ms = now.steady_ms;
  }
  hours_[uid].asked.insert(HashOfText()(path));
}

std::int64_t Parents::left_ms(std::uint32_t uid, Now now) const {
  const Hour* hour = hour_of(uid, now);
  return hour == nullptr ? 0 : kHourMs - (now.steady_ms - hour->began_ms);
}

}  // namespace limpet::core
