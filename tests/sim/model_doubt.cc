// The model's doubt: what was never answered, or answered `storage_failed`, happened wholly or not at all.
#include <algorithm>

#include "tests/sim/describe.h"
#include "tests/sim/model.h"

namespace limpet::test {

using core::ChangeRequest;
using core::RegisterRequest;

bool Model::explains(const Call& call, const RegistrationId& id,
                     const std::optional<core::RegistrationView>& view) const {
  if (call.leave) {
    return !live(view);
  }
  for (const ChangeRequest& change : call.changes) {
    const auto* request = std::get_if<RegisterRequest>(&change);
    if (id_of(change) != id) {
      continue;
    }
    if (request == nullptr ? !live(view)
                           : live(view) && view->registration->data == request->data &&
                                 view->registration->path == path_of(*request)) {
      return true;
    }
  }
  return false;
}

// Of a batch that nothing else interferes with, all or nothing happened.
void Model::check_whole(const Call& call, const std::map<RegistrationId, int>& touched, const core::Core& core) {
  int in = 0;
  int out = 0;
  for (const ChangeRequest& change : call.changes) {
    const RegistrationId& id = id_of(change);
    if (touched.at(id) > 1) {
      return;
    }
    const auto* request = std::get_if<RegisterRequest>(&change);
    const auto it = accepted_.find(id);
    const bool was_present = it != accepted_.end() && it->second.present;
    if (request == nullptr ? !was_present : was_present && it->second.data == request->data) {
      continue;  // it would have changed nothing
    }
    (explains(call, id, core.find(id)) ? in : out) += 1;
  }
  if (in > 0 && out > 0) {
    verdict_.fail("I2", "a batch in doubt happened in part: " + std::to_string(in) + " of " + std::to_string(in + out) +
                            " changes");
  }
}

void Model::decided(const core::Core& core) {
  std::vector<Call> possible = doubtful_;
  std::map<RegistrationId, int> touched;
  std::set<RegistrationId> ids;
  bool left = false;
  for (const auto& [token, call] : calls_) {
    possible.push_back(call);
  }
  for (const Call& call : possible) {
    left = left || call.leave;
    for (const ChangeRequest& change : call.changes) {
      ++touched[id_of(change)];
      ids.insert(id_of(change));
    }
  }
  for (const Ending& ending : endings_) {
    ++touched[ending.id];
  }
  for (const auto& [id, standing] : accepted_) {
    ids.insert(id);
  }
  for (const Call& call : possible) {
    if (!left) {
      check_whole(call, touched, core);
    }
  }
  for (const RegistrationId& id : ids) {
    const auto view = core.find(id);
    Accepted& standing = accepted_[id];
    const bool same = live(view) == standing.present && (!live(view) || (view->registration->seq == standing.seq &&
                                                                         view->registration->data == standing.data &&
                                                                         view->registration->path == standing.path));
    if (same) {
      continue;
    }
    const bool ends =
        std::any_of(endings_.begin(), endings_.end(), [&](const Ending& ending) { return ending.id == id; });
    const bool explained =
        (ends && !live(view)) ||
        std::any_of(possible.begin(), possible.end(), [&](const Call& call) { return explains(call, id, view); });
    if (!explained || (live(view) && view->registration->seq <= standing.seq)) {
      verdict_.fail("I1", id.str() + (live(view) ? " stands as " + seq_text(view->registration->seq) : " is gone") +
                              ", but accepted was " +
                              (standing.present ? seq_text(standing.seq) + " data=" + standing.data : "nothing"));
      return;
    }
    if (live(view)) {
      const Registration& shown = view->registration;  // it may have been gone in between
      standing = Accepted{true, shown.path, shown.data, shown.owner.uid, shown.seq, shown.lifetime, shown.seq};
    } else {
      standing.present = false;  // its seq is not told; anything newer has a higher one
    }
  }
  doubtful_.clear();
  endings_.clear();
}

}  // namespace limpet::test
