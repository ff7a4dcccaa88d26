// What the callers know: which changes were accepted, refused or left in doubt; and whether the core agrees.
//
// Judges I1 (an acknowledged change is never lost), I2 (a refused one never happens, one in doubt happens wholly or not
// at all), I3a (seq rises and is never used twice), I16 (repeating changes nothing), I17 (reads see what was
// acknowledged), and that no acknowledgement comes before its change is on stable storage. Owned by Checker.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/core/core.h"
#include "tests/support/fake_store.h"

namespace limpet::test {

// True of a registration that is not being removed.
inline bool live(const std::optional<core::RegistrationView>& view) {
  return view && view->state != core::State::removing;
}

// The first violation of a history; later ones are its consequences.
class Verdict {
 public:
  void fail(const std::string& invariant, const std::string& what) {
    if (!failed()) {
      message_ = invariant + ": " + what;
    }
  }
  bool failed() const { return !message_.empty(); }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};

// What stands for a name, as far as its callers know.
struct Accepted {
  bool present = false;
  std::string path;
  std::string data;
  std::uint32_t uid = 0;
  Seq seq;
  Lifetime lifetime = {};
  Seq born = {};  // it has been there without a break since
};

class Model {
 public:
  Model(const FakeStore& store, const core::Options& options, Verdict& verdict)
      : store_(store), options_(options), verdict_(verdict) {}

  // A caller sent this; where the outcome can be told beforehand, it is remembered.
  // `low`: the core was told that there is no room for registrations.
  void submitted(const core::Event& submit_or_leave, const core::Core& core, bool low);
  // The core answered; `core` is asked whether it shows what it said.
  void replied(const core::Reply& reply, const core::Core& core);
  // All actions of a step were carried out: reads must now see what it acknowledged.
  void step_done(const core::Core& core);
  // The agent ends a registration by its own doing, by change `seq`: that is on its way to the disk; it is there.
  struct Ending {
    RegistrationId id;
    Seq seq;
  };
  void ending(Ending ending) { endings_.push_back(std::move(ending)); }
  void ended(Seq seq);
  // The agent died: nobody will answer any more.
  void agent_died();
  // The core was made anew from the store, or reopened it, or its disk answered after all: what was in doubt is now
  // decided.
  void decided(const core::Core& core);
  // Every name that is not in doubt is shown as it was accepted.
  void check(const core::Core& core);

  const std::map<RegistrationId, Accepted>& accepted() const { return accepted_; }
  bool in_doubt() const { return !doubtful_.empty(); }
  bool anything_open() const { return !calls_.empty() || !doubtful_.empty() || !endings_.empty(); }
  // By seq: the name, and whether it was registered.
  const std::map<Seq, std::pair<RegistrationId, bool>>& acknowledged_changes() const { return acknowledged_changes_; }
  std::string open_calls() const {
    std::string text =
        std::to_string(doubtful_.size()) + " in doubt, " + std::to_string(endings_.size()) + " ending, unanswered:";
    for (const auto& [token, call] : calls_) {
      text += " " + std::to_string(token.value);
    }
    return text;
  }
  std::uint64_t acknowledged() const { return acknowledged_; }

 private:
  struct Call {
    core::Caller caller;
    std::vector<core::ChangeRequest> changes;
    bool leave = false;
    Seq highest_acknowledged;                             // when it was sent
    std::optional<std::set<core::ProblemCode>> expected;  // nothing: cannot be told; empty: success
    std::optional<Seq> same;                              // it repeats what stands
  };

  std::string path_of(const core::RegisterRequest& request) const;
  void expect(Call& call, const core::Core& core) const;
  void expect_one(Call& call, std::set<core::ProblemCode>& problems) const;
  bool asked_elsewhere(const core::RegisterRequest& request) const;
  void refused(const Call& call, const core::Problem& problem);
  void acknowledged(const Call& call, const std::vector<core::AcceptedChange>& answers, const core::Core& core);
  void acknowledged_change(const Call& call, const core::ChangeRequest& change, const core::AcceptedChange& answer,
                           const core::Core& core);
  void check_durable(const core::ChangeRequest& change, Seq seq);
  void check_shown(const RegistrationId& id, const core::Core& core);
  bool explains(const Call& call, const RegistrationId& id, const std::optional<core::RegistrationView>& view) const;
  void check_whole(const Call& call, const std::map<RegistrationId, int>& touched, const core::Core& core);
  static const RegistrationId& id_of(const core::ChangeRequest& change);

  const FakeStore& store_;
  const core::Options& options_;
  Verdict& verdict_;

  std::map<RegistrationId, Accepted> accepted_;
  std::map<core::Token, Call> calls_;  // not answered yet
  std::vector<Call> doubtful_;         // never answered, or `storage_failed`
  std::set<std::string> refused_data_;
  std::set<RegistrationId> touched_;  // acknowledged in this step
  Seq highest_acknowledged_;
  std::map<Seq, std::pair<RegistrationId, bool>> acknowledged_changes_;
  std::vector<Ending> endings_;
  std::uint64_t acknowledged_ = 0;
};

}  // namespace limpet::test
