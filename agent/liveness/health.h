// From the results of a registration's checks to what the core is told of it. Pure: no clock, no I/O.
//
// A check fails after `fall` failures in a row and is well again after `rise` successes in a row; a registration fails
// while one of its checks does. It begins as it was when last heard of: where that was failing, every check has first
// to prove itself.
//
//   passing --`fall` failures--> failing --void_failures()--> doubtful --recheck()--> passing
//      ^------------ `rise` successes ------+---------------------'
//
//   unproven --one failure--> failing, --one success or recheck()--> passing
//
// Doubtful is a check whose failures were seen while ZooKeeper was away. It counts as failing for people, and does not
// make the registration fail. Unproven is a check of a registration that is made while ZooKeeper is away: nothing of it
// stands that a single failure could withdraw, and what has only failed is not to be published when ZooKeeper is back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/record.h"

namespace limpet::liveness {

// What one run of a check came to.
struct Finding {
  bool well = false;
  std::string words;  // of a failure: what happened, for people
  bool known = true;  // false: the agent could not look, and nothing is said about what is checked

  static Finding nothing() { return {false, {}, false}; }
};

class Health {
 public:
  struct Report {
    bool passing = true;
    std::string message;
  };

  // Last words that change while a registration goes on failing are told no more often than this.
  static constexpr std::int64_t kTellEveryMs = 10'000;

  explicit Health(bool failing = false) : told_failing_(failing) {}

  // Asks for other checks from now on; those of `checks` that are asked for already, in the same words, keep their
  // state. `failing`: as the core has it now. Returns for each check the place that it had before, if it had one.
  // `unproven`: the registration is not in ZooKeeper, and ZooKeeper is away.
  std::vector<std::optional<std::size_t>> replace(const std::vector<Check>& checks, bool failing,
                                                  bool unproven = false);

  // A run of check `index` ended.
  void take(std::size_t index, Finding finding);

  // The failure that was reported is void: what fails now is doubtful, until recheck().
  void void_failures();
  // What is doubtful or unproven passes, until it has failed `fall` times from here on. `all`: so for every check that
  // passes.
  void recheck(bool all);

  std::size_t checks() const { return checks_.size(); }
  std::size_t failing() const;

  // What is to be told now, if anything; it counts as told.
  std::optional<Report> report(std::int64_t now_ms);

 private:
  enum class Standing { unproven, passing, doubtful, failing };
  struct State {
    Check check;
    Standing standing = Standing::passing;
    std::uint32_t in_a_row = 0;  // failures of a check that passes, successes of any other
    std::string words;           // of its last failure; empty where it has not run yet
  };

  std::string message() const;

  std::vector<State> checks_;
  bool told_failing_;
  std::string told_message_;
  std::optional<std::int64_t> told_at_ms_;
};

// Whether the agent itself stood still while a run was under way, so that its failure says nothing: it ended far later
// than its time-out, or the machine was suspended meanwhile.
bool stood_still(std::int64_t took_ms, std::int64_t timeout_ms, std::int64_t slept_ms);

}  // namespace limpet::liveness
