// The znodes above registrations: which of them this agent created, and how many new ones each user has asked for.
//
// A parent is persistent as a rule, so it stays for ever unless somebody removes it. Two bounds keep their number
// small: one user's registrations may add only so many parents in an hour, and the agent remembers those that it
// created, so that `limpet prune` finds the empty ones. It remembers kMaxCount of them with kMaxBytes of paths; past
// that it forgets the hundredth part that is unused for the longest time, which `limpet prune` then leaves alone.
// Owned by Core; no clock, no I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/core/types.h"

namespace limpet::core {

// Calls `each` with every path above `path` but "/", from the top down.
template <typename Each>
void for_each_parent(const std::string& path, Each each) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    each(path.substr(0, end));
  }
}

class Parents {
 public:
  static constexpr std::size_t kMaxCount = 50'000;
  static constexpr std::size_t kMaxBytes = std::size_t{8} << 20;
  static constexpr std::size_t kShareForgotten = 100;
  static constexpr std::int64_t kHourMs = 3'600'000;

  struct HashOfText {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Created = std::unordered_map<std::string, Parent, HashOfText, std::equal_to<>>;
  // True where a registration of this agent lies below a path.
  using InUse = std::function<bool(const std::string& path)>;

  explicit Parents(const std::vector<Parent>& stored);

  // ---- What this agent created
  const Created& created() const { return created_; }
  bool contains(std::string_view path) const { return created_.find(path) != created_.end(); }
  // Remembers `parent`, or more of one that is remembered: its fields stay where those of `parent` are 0. Appends the
  // changes to write.
  void put(Parent parent, const InUse& in_use, std::vector<Change>& changes);
  void forget(const std::string& path, std::vector<Change>& changes);
  // The last registration below `path`, or one of the last, ended at that time.
  void used(const std::string& path, WallMs at, std::vector<Change>& changes);
  // What the store lacks of it: an append failed, and the store was read again.
  void rescue(const std::vector<Parent>& stored, std::vector<Change>& changes) const;
  std::uint64_t total_created() const { return total_created_; }
  std::uint64_t total_forgotten() const { return total_forgotten_; }

  // ---- What each user asks for. `path`: of a parent that nothing is known of.
  // True where `uid` has asked for it within this hour already.
  bool counted(std::uint32_t uid, std::string_view path, Now now) const;
  // How many `uid` has asked for within this hour.
  std::size_t count(std::uint32_t uid, Now now) const;
  void count(std::uint32_t uid, std::string_view path, Now now);
  // Until the hour of `uid` ends.
  std::int64_t left_ms(std::uint32_t uid, Now now) const;

 private:
  struct Hour {
    std::int64_t began_ms = 0;              // steady
    std::unordered_set<std::size_t> asked;  // hashes of paths
  };

  const Hour* hour_of(std::uint32_t uid, Now now) const;
  void make_room(const InUse& in_use, std::vector<Change>& changes);

  Created created_;
  std::size_t bytes_ = 0;  // of their paths
  std::uint64_t total_created_ = 0;
  std::uint64_t total_forgotten_ = 0;
  std::map<std::uint32_t, Hour> hours_;  // by uid; those that are over go when the next begins
};

}  // namespace limpet::core
