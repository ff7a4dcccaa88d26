#include "tests/sim/judge.h"

#include <algorithm>

#include "agent/core/path_budget.h"
#include "tests/sim/describe.h"

namespace limpet::test {

using core::ZkCode;
using core::ZkVerb;

namespace {

std::string text(Seq seq) {
  return "#" + std::to_string(seq.value);
}

}  // namespace

// ---- The driver's reports

void Judge::persisting(const core::Persist& persist) {
  for (const Change& change : persist.batch.changes) {
    if (const auto* put = std::get_if<PutRegistration>(&change)) {
      const Registration& registration = put->registration;
      contents_[{registration.path, registration.data}] = {registration.seq, registration.id};
      places_[registration.id].insert(registration.path);
    } else if (const auto* erased = std::get_if<EraseRegistration>(&change)) {
      deregistered_[erased->id] = persist.batch.last_seq;
    } else if (const auto* removal = std::get_if<PutRemoval>(&change)) {
      removals_[removal->removal.path].insert(removal->removal.seq);
      if (removal->removal.moved) {
        moves_.emplace(removal->removal.seq, removal->removal.id);
      }
    } else if (const auto* session = std::get_if<PutSession>(&change)) {
      sessions_[session->session.id] = session->session;
    } else if (const auto* added = std::get_if<AddHistory>(&change);
               added != nullptr && added->entry->what == Happening::superseded) {
      superseded_.insert(added->entry->seq);
    }
  }
}

void Judge::starting(const core::ZkStart& start) {
  const std::optional<Session>& stored = store_.written().session;
  if (!start.session) {
    if (stored && !told_expired_.contains(stored->id) && !estranged_.contains(stored->id) &&
        ensemble_->session_alive(stored->id)) {
      verdict_.fail("I6", "a new session is asked for while the one on disk lives");
    }
    return;
  }
  if (estranged_.contains(start.session->id)) {
    verdict_.fail("I8", "the session of another machine is taken up");
  }
  if (told_expired_.contains(start.session->id) && !(stored && stored->id == start.session->id)) {
    verdict_.fail("I6", "a session that has ended is asked for");
  }
  const auto held = sessions_.find(start.session->id);
  if (held != sessions_.end() && held->second.password != start.session->password) {
    verdict_.fail("I6", "the session's password was forgotten");
  }
}

void Judge::estrange() {
  estranged_.insert(ours_.begin(), ours_.end());
  ours_.clear();
  for (const auto& [path, znode] : ensemble_->znodes().all()) {
    if (estranged_.contains(znode.stat.ephemeral_owner)) {
      foreign_since_[path] = clock_.steady_ms();
      disturbed_.insert(path);
      exempt(path);
    }
  }
}

void Judge::sending(const core::ZkSend& send, std::size_t in_flight, std::uint32_t window) {
  const core::ZkRequest& request = send.request;
  if (in_flight > window) {
    verdict_.fail("P10", std::to_string(in_flight) + " requests in flight, the window is " + std::to_string(window));
  }
  if (request.verb == ZkVerb::transaction) {
    for (const core::ZkRequest& part : request.batch) {
      sending_content(part);
    }
  } else {
    sending_content(request);
  }
}

void Judge::sending_content(const core::ZkRequest& request) {
  if (request.verb != ZkVerb::create && request.verb != ZkVerb::set) {
    return;
  }
  sent_.insert(request.path);
  const auto content = contents_.find({request.path, request.data});
  if (content == contents_.end()) {
    verdict_.fail("I5", "what was never accepted is sent: " + describe(request));
    return;
  }
  const auto& [seq, id] = content->second;
  if (superseded_.contains(seq)) {
    verdict_.fail("history", "called superseded, and sent: " + text(seq) + " " + describe(request));
  }
  if (store_.synced().last_seq < seq) {
    verdict_.fail("I1", "sent before it is durable: " + text(seq) + " " + describe(request));
  }
  const auto accepted = model_.accepted().find(id);
  if (accepted != model_.accepted().end() && accepted->second.seq > seq) {
    verdict_.fail("I3b",
                  "superseded by " + text(accepted->second.seq) + ", and sent: " + text(seq) + " " + describe(request));
  }
}

bool Judge::untouched(const std::string& path) const {
  const auto first = contents_.lower_bound({path, ""});
  const auto next = first == contents_.end() ? first : std::next(first);
  return first != contents_.end() && first->first.first == path && !sent_.contains(path) &&
         (next == contents_.end() || next->first.first != path);
}

// ---- The ensemble's

std::optional<Seq> Judge::seq_of(const std::string& path, const std::string& data) const {
  const auto it = contents_.find({path, data});
  return it == contents_.end() ? std::nullopt : std::optional<Seq>(it->second.first);
}

// A later registration took the path, and with it the place of the removal that was asked for; where that one is held
// back, the znode goes in its turn.
bool Judge::taken_by_held(const std::string& path, Seq content) const {
  for (auto it = contents_.lower_bound({path, ""}); it != contents_.end() && it->first.first == path; ++it) {
    if (it->second.first > content && held_ids_.contains(it->second.second)) {
      return true;
    }
  }
  return false;
}

bool Judge::was_held(const std::string& path, const std::string& data) const {
  const auto it = contents_.find({path, data});
  return all_held_ || (it != contents_.end() && held_ids_.contains(it->second.second));
}

bool Judge::exempted(const std::string& path) const {
  for (std::string above = path; !above.empty(); above = FakeZnodes::parent_of(above)) {
    if (exempt_.contains(above)) {
      return true;
    }
  }
  return false;
}

void Judge::on_request(const core::ZkRequest& request, const core::ZkReply& reply, const std::optional<Znode>& before,
                       SessionId by) {
  switch (reply.code) {
    case ZkCode::ok:
    case ZkCode::unknown_outcome:
    case ZkCode::not_sent:
    case ZkCode::no_node:      // a parent that is missing is the core's fault, unless somebody else removed it
    case ZkCode::bad_version:  // likewise
      return;
    case ZkCode::node_exists:
      if (request.verb == ZkVerb::create && before && before->stat.ephemeral_owner != by) {
        exempt(request.path);
      }
      return;
    case ZkCode::not_empty:
    case ZkCode::parent_ephemeral:
    case ZkCode::no_auth:
    case ZkCode::invalid_path:
    case ZkCode::quota_exceeded:
    case ZkCode::throttled:
    case ZkCode::refused:
      exempt(request.path);
      return;
  }
}

void Judge::check_session_packet(const Txn& txn) {
  if (session_bound_ == 0 || !is_ours(txn.by) || txn.before || !txn.after) {
    return;
  }
  std::uint64_t bytes = core::kPacketHeadBytes;
  for (const auto& [path, znode] : ensemble_->znodes().all()) {
    bytes += znode.stat.ephemeral_owner == txn.by ? core::packet_bytes(path, chroot_bytes_) : 0;
  }
  if (bytes > session_bound_) {
    verdict_.fail("A25", "the packet that ends the session would have " + std::to_string(bytes) + " bytes after the " +
                             "create of " + txn.path + ", and the limit is " + std::to_string(session_bound_));
  }
}

void Judge::on_transaction(const Txn& txn) {
  check_session_packet(txn);
  const bool was_foreign = txn.before && !is_ours(txn.before->stat.ephemeral_owner);
  const bool is_foreign = txn.after && !is_ours(txn.after->stat.ephemeral_owner);
  if (is_ours(txn.by)) {
    ++writes_;
    disturbed_.erase(txn.path);
    if (txn.before) {
      check_owner(txn);
    }
    if (!txn.after) {
      our_removal(txn);
    } else if (!is_foreign) {
      our_write(txn);
    }
  } else {
    disturbed_.insert(txn.path);
    if (!txn.session_end) {
      if (txn.after && txn.by.value == 0 && !is_foreign) {
        resurrected_[txn.path] = txn.after->stat.czxid;
      }
      exempt(txn.path);
    }
  }
  if (is_foreign && !was_foreign) {
    foreign_since_[txn.path] = clock_.steady_ms();
  } else if (!is_foreign) {
    foreign_since_.erase(txn.path);
  }
}

void Judge::on_session_end(SessionId session, FakeEnsemble::SessionEnd why) {
  if (is_ours(session) && why == FakeEnsemble::SessionEnd::closed) {
    verdict_.fail("I6", "the agent closed its session");
  }
}

void Judge::check_settled(const core::Core& core) {
  if (model_.anything_open()) {
    return;
  }
  for (const auto& [id, accepted] : model_.accepted()) {
    const auto view = core.find(id);
    const bool shown = view && view->state != core::State::removing;
    if (shown != accepted.present || (shown && view->registration->seq != accepted.seq) ||
        !core.settled(id, accepted.seq)) {
      continue;
    }
    if (accepted.present) {
      const Znode* standing = ensemble_->znodes().find(accepted.path);
      const bool stands =
          standing != nullptr && is_ours(standing->stat.ephemeral_owner) && standing->data == accepted.data;
      if (!stands && !disturbed_.contains(accepted.path)) {
        verdict_.fail("I4", id.str() + " is called settled as " + text(accepted.seq) + ", but does not stand at " +
                                accepted.path);
      }
      continue;
    }
    for (const auto& [path, znode] : ensemble_->znodes().all()) {
      // Where another registration took the path over, that one's change or removal puts it right.
      const bool taken_over =
          std::any_of(model_.accepted().begin(), model_.accepted().end(),
                      [&](const auto& other) { return other.second.present && other.second.path == path; }) ||
          std::any_of(store_.written().removals.begin(), store_.written().removals.end(),
                      [&](const auto& removal) { return removal.second.path == path; });
      if (!taken_over && !resurrected(path, znode) && is_ours(znode.stat.ephemeral_owner) &&
          znode.data.starts_with(id.str() + "!")) {
        verdict_.fail("I5", id.str() + " is called gone, but stands at " + path);
      }
    }
  }
}

// True where the core must know what became true at that time: not within the last round trip, and not in a stall.
bool Judge::surely_known(std::int64_t since_ms) const {
  const std::int64_t slack = 4 * ensemble_->options().max_latency_ms + 20;
  const std::int64_t now = clock_.steady_ms();
  return now - since_ms > slack && now - calm_since_ > slack && ensemble_->connected_for(slack);
}

void Judge::check_owner(const Txn& txn) {
  if (is_ours(txn.before->stat.ephemeral_owner)) {
    return;
  }
  const auto since = foreign_since_.find(txn.path);
  if (since == foreign_since_.end() || surely_known(since->second)) {
    verdict_.fail(
        "I8", "a znode of somebody else was " + std::string(txn.after ? "overwritten" : "deleted") + ": " + txn.path);
  }
}

void Judge::our_write(const Txn& txn) {
  const std::optional<Session>& stored = store_.synced().session;
  if (!txn.before && (!stored || stored->id != txn.by)) {
    verdict_.fail("Z32", "a create on a session that is not on disk: " + txn.path);
  }
  if (txn.before && txn.before->data == txn.after->data) {
    verdict_.fail("I6", "set to what stood there already: " + txn.path);
  }
  const auto seq = seq_of(txn.path, txn.after->data);
  if (!seq) {
    verdict_.fail("I5", "a znode that was never accepted: " + txn.path + " data=" + txn.after->data);
    return;
  }
  Seq& newest = newest_of_[contents_.at({txn.path, txn.after->data}).second];
  newest = std::max(newest, *seq);
  check_order(txn, *seq);
}

void Judge::check_order(const Txn& txn, Seq seq) {
  Seq& newest = newest_at_[txn.path];
  if (seq < newest) {
    verdict_.fail("I3b", txn.path + " became " + text(seq) + " after it had been " + text(newest));
  }
  newest = seq;
  if (order_of_ != txn.by) {
    order_of_ = txn.by;
    highest_ = Seq{};
    written_.clear();
  }
  if (!written_.insert(seq).second || exempted(txn.path) || was_held(txn.path, txn.after->data)) {
    return;
  }
  const auto content = contents_.find({txn.path, txn.after->data});
  if (seq < highest_ && !txn.before && held_back_.contains({content->second.second, seq})) {
    return;
  }
  if (seq < highest_) {
    verdict_.fail(txn.before ? "I3c (set)" : "I3c",
                  text(seq) + " " + txn.path + " reached ZooKeeper after " + text(highest_));
  }
  highest_ = std::max(highest_, seq);
}

bool Judge::was_placed(const std::string& name, const std::string& path) const {
  return std::any_of(places_.begin(), places_.end(),
                     [&](const auto& one) { return one.first.str() == name && one.second.contains(path); });
}

// Whether moves asked for the removal of `content` of `id` from `path`: only moves of `id`, some of the changes since,
// or none of them.
Judge::Moves Judge::moves_away(const std::string& path, Seq content, const RegistrationId& id) const {
  const std::set<Seq>& removals = removals_.at(path);
  const auto first = removals.upper_bound(content);
  if (std::none_of(first, removals.end(), [this](Seq seq) { return moves_.contains(seq); })) {
    return Moves::none;
  }
  const bool all = std::all_of(first, removals.end(), [&](Seq seq) {
    const auto move = moves_.find(seq);
    return move != moves_.end() && move->second == id;
  });
  return all ? Moves::only : Moves::some;
}

// A registration that moves is found at its old path until it stands at the new one.
void Judge::check_move(const Txn& txn, Seq content) {
  const RegistrationId& id = contents_.at({txn.path, txn.before->data}).second;
  const Seq move = *removals_.at(txn.path).upper_bound(content);
  const auto accepted = model_.accepted().find(id);
  const bool wanted = accepted != model_.accepted().end() && accepted->second.present;
  const auto gone = deregistered_.find(id);
  const std::set<std::string>& places = places_[id];
  // An ephemeral znode has no children: where the new path lies below it, it goes first.
  const bool nested = std::any_of(places.begin(), places.end(),
                                  [&](const std::string& place) { return place.starts_with(txn.path + "/"); });
  if (!wanted || nested || (gone != deregistered_.end() && gone->second > content) || newest_of_[id] >= move) {
    return;
  }
  const auto& znodes = ensemble_->znodes().all();
  const bool stands = std::any_of(znodes.begin(), znodes.end(), [&](const auto& one) {
    return is_ours(one.second.stat.ephemeral_owner) && one.second.data.starts_with(id.str() + "!");
  });
  if (!stands) {
    verdict_.fail("I6", id.str() + " moves by " + text(move) + ", and was removed from " + txn.path +
                            " while it stands nowhere else");
  }
}

void Judge::our_removal(const Txn& txn) {
  if (txn.before->stat.ephemeral_owner != txn.by) {
    return;  // left by an earlier session of ours: to be created anew
  }
  const auto content = seq_of(txn.path, txn.before->data);
  if (!content) {
    return;  // somebody overwrote it
  }
  if (was_held(txn.path, txn.before->data)) {
    return;
  }
  // Which deregistration it was for, one cannot see: one after the content that stood there.
  const std::set<Seq>& removals = removals_[txn.path];
  const auto earliest = removals.upper_bound(*content);
  if (earliest == removals.end()) {
    verdict_.fail("I6", txn.path + " was deleted, and nobody deregistered " + text(*content));
    return;
  }
  switch (moves_away(txn.path, *content, contents_.at({txn.path, txn.before->data}).second)) {
    case Moves::only:
      return check_move(txn, *content);  // in the order of the create at the new path, which is judged there
    case Moves::some:
      return;  // it may go with that create
    case Moves::none:
      break;
  }
  if (exempted(txn.path) || order_of_ != txn.by || taken_by_held(txn.path, *content)) {
    return;
  }
  const Seq latest = *removals.rbegin();
  if (latest < highest_) {
    verdict_.fail("I3c",
                  "the removal " + text(latest) + " of " + txn.path + " reached ZooKeeper after " + text(highest_));
  }
  highest_ = std::max(highest_, *earliest);
}

}  // namespace limpet::test
