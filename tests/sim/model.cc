#include "tests/sim/model.h"

#include <algorithm>

#include "agent/core/path_budget.h"
#include "tests/sim/describe.h"

namespace limpet::test {

using core::AcceptedChange;
using core::ChangeRequest;
using core::DeregisterRequest;
using core::ProblemCode;
using core::RegisterRequest;

namespace {

bool under(const std::string& path, const std::string& root) {
  return path.starts_with(root + "/");
}

}  // namespace

const RegistrationId& Model::id_of(const ChangeRequest& change) {
  return std::visit([](const auto& c) -> const RegistrationId& { return c.id; }, change);
}

std::string Model::path_of(const RegisterRequest& request) const {
  return request.path.value_or(options_.root + "/" + request.id.str());
}

// ---- Calls

void Model::submitted(const core::Event& event, const core::Core& core, bool low) {
  Call call;
  core::Token token;
  if (const auto* submit = std::get_if<core::Submit>(&event)) {
    call.caller = submit->caller;
    call.changes = submit->changes;
    token = submit->token;
  } else {
    const auto& leave = std::get<core::Leave>(event);
    call.caller = leave.caller;
    call.leave = true;
    token = leave.token;
  }
  call.highest_acknowledged = highest_acknowledged_;
  for (const ChangeRequest& change : call.changes) {
    if (const auto* request = std::get_if<RegisterRequest>(&change)) {
      refused_data_.erase(request->data);
    }
  }
  if (!anything_open() && !store_.refusing()) {
    expect(call, core);
  }
  const auto registers = [](const ChangeRequest& change) { return std::holds_alternative<RegisterRequest>(change); };
  if (low && std::any_of(call.changes.begin(), call.changes.end(), registers)) {
    call.expected = std::set<ProblemCode>{ProblemCode::storage_full};
  }
  calls_.emplace(token, std::move(call));
}

// Only where nothing else is on its way can the outcome be told beforehand, and only of single changes.
void Model::expect(Call& call, const core::Core& core) const {
  if (call.leave || call.changes.size() != 1) {
    return;
  }
  const bool deregisters = std::holds_alternative<DeregisterRequest>(call.changes.front());
  if (const auto view = core.find(id_of(call.changes.front())); deregisters && view && !live(view)) {
    return;  // it is being removed: to ask again changes nothing, and may be answered either way
  }
  std::set<ProblemCode> problems;
  expect_one(call, problems);
  call.expected = std::move(problems);
}

void Model::expect_one(Call& call, std::set<ProblemCode>& problems) const {
  const ChangeRequest& change = call.changes.front();
  const auto it = accepted_.find(id_of(change));
  const bool present = it != accepted_.end() && it->second.present;
  const bool may = call.caller.privileged || !present || it->second.uid == call.caller.owner.uid;
  if (!may) {
    problems.insert(ProblemCode::not_owner);
  }
  const auto* request = std::get_if<RegisterRequest>(&change);
  if (request == nullptr) {
    if (!present) {
      problems.insert(ProblemCode::not_found);
    }
    return;
  }
  const std::string path = path_of(*request);
  const bool allowed =
      std::any_of(options_.paths.begin(), options_.paths.end(), [&](const auto& place) { return under(path, place); });
  const bool below_service =
      under(path, options_.root) && path.find('/', options_.root.size() + 1) != std::string::npos;
  if (!allowed && !below_service) {
    problems.insert(ProblemCode::not_allowed);
  }
  for (const auto& [id, other] : accepted_) {
    const bool nested = under(path, other.path) || under(other.path, path);  // an ephemeral znode has no children
    if (other.present && id != request->id && (other.path == path || nested)) {
      problems.insert(ProblemCode::path_taken);
    }
  }
  if (problems.empty() && present && it->second.path == path && it->second.data == request->data &&
      it->second.uid == call.caller.owner.uid && it->second.lifetime == request->lifetime) {
    call.same = it->second.seq;
  }
}

void Model::replied(const core::Reply& reply, const core::Core& core) {
  const auto it = calls_.find(reply.token);
  if (it == calls_.end()) {
    verdict_.fail("I2", "a reply to token " + std::to_string(reply.token.value) + ", which nobody waits for");
    return;
  }
  Call call = std::move(it->second);
  calls_.erase(it);
  if (const auto* problem = std::get_if<core::Problem>(&reply.result)) {
    refused(call, *problem);
  } else {
    acknowledged(call, std::get<std::vector<AcceptedChange>>(reply.result), core);
  }
}

// While the disk works, `storage_full` is a plain refusal, of registrations only.
void Model::refused(const Call& call, const core::Problem& problem) {
  const bool room_only = call.expected && call.expected->contains(ProblemCode::storage_full) && !store_.refusing();
  const bool full = problem.code == ProblemCode::storage_full && !room_only;
  if (full && !store_.refusing()) {
    verdict_.fail("I11", "refused for want of room, and there is room, or it needs none");
  }
  if (problem.code == ProblemCode::storage_failed || full) {
    doubtful_.push_back(call);
    return;
  }
  const bool limit = problem.code == ProblemCode::quota || problem.code == ProblemCode::queue_full;
  const bool limited = options_.limits.max_registrations < 100;
  if (limit ? !limited : call.expected && !call.expected->contains(problem.code)) {
    verdict_.fail("I11", std::string("refused without cause: ") + name_of(problem.code) + " (" + problem.detail + ")");
  }
  for (const ChangeRequest& change : call.changes) {
    const auto* request = std::get_if<RegisterRequest>(&change);
    if (request != nullptr && !asked_elsewhere(*request)) {
      refused_data_.insert(request->data);
    }
  }
}

// True where this content may come to stand by another call than the one that was refused.
bool Model::asked_elsewhere(const RegisterRequest& request) const {
  const auto asks = [&](const Call& call) {
    return std::any_of(call.changes.begin(), call.changes.end(), [&](const ChangeRequest& change) {
      const auto* other = std::get_if<RegisterRequest>(&change);
      return other != nullptr && other->data == request.data;
    });
  };
  const auto standing = accepted_.find(request.id);
  return (standing != accepted_.end() && standing->second.data == request.data) ||
         std::any_of(doubtful_.begin(), doubtful_.end(), asks) ||
         std::any_of(calls_.begin(), calls_.end(), [&](const auto& entry) { return asks(entry.second); });
}

void Model::acknowledged(const Call& call, const std::vector<AcceptedChange>& answers, const core::Core& core) {
  ++acknowledged_;
  // Saying again what stands needs nothing of a full disk.
  const bool only_full =
      call.expected && call.expected->size() == 1 && call.expected->contains(core::ProblemCode::storage_full);
  const bool all_repeat =
      std::none_of(answers.begin(), answers.end(), [](const AcceptedChange& answer) { return answer.changed; });
  if (call.expected && !call.expected->empty() && !(only_full && all_repeat)) {
    verdict_.fail("I15", std::string("accepted what must be refused: ") + name_of(*call.expected->begin()));
  }
  if (call.leave) {
    for (const AcceptedChange& answer : answers) {
      acknowledged_change(call, DeregisterRequest{answer.id}, answer, core);
    }
    return;
  }
  if (answers.size() != call.changes.size()) {
    verdict_.fail("I2", "an answer with " + std::to_string(answers.size()) + " results to " +
                            std::to_string(call.changes.size()) + " changes");
    return;
  }
  Seq before;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].id != id_of(call.changes[i])) {
      verdict_.fail("I2", "the answer's result is about another name");
    }
    if (answers[i].changed && before.value != 0 && answers[i].seq.value != before.value + 1) {
      verdict_.fail("I3a",
                    "a batch whose seqs are not consecutive: " + seq_text(before) + ", " + seq_text(answers[i].seq));
    }
    before = answers[i].changed ? answers[i].seq : before;
    acknowledged_change(call, call.changes[i], answers[i], core);
  }
}

void Model::acknowledged_change(const Call& call, const ChangeRequest& change, const AcceptedChange& answer,
                                const core::Core& core) {
  if (answer.changed) {
    const bool registers = std::holds_alternative<RegisterRequest>(change);
    if (answer.seq <= call.highest_acknowledged ||
        !acknowledged_changes_.emplace(answer.seq, std::pair(answer.id, registers)).second) {
      verdict_.fail(
          "I3a", "seq " + seq_text(answer.seq) + " after " + seq_text(call.highest_acknowledged) + " was acknowledged");
    }
  }
  if (call.same && (answer.changed || answer.seq != *call.same)) {
    verdict_.fail("I16", "repeating what stands as " + seq_text(*call.same) + " became " + seq_text(answer.seq));
  }
  check_durable(change, answer.seq);
  highest_acknowledged_ = std::max(highest_acknowledged_, answer.seq);
  touched_.insert(answer.id);
  Accepted& standing = accepted_[answer.id];
  if (standing.seq > answer.seq) {
    return;  // a newer change was decided meanwhile
  }
  const auto* request = std::get_if<RegisterRequest>(&change);
  standing = Accepted{request != nullptr,
                      request != nullptr ? path_of(*request) : "",
                      request != nullptr ? request->data : "",
                      call.caller.owner.uid,
                      answer.seq,
                      request != nullptr ? request->lifetime : Lifetime{},
                      standing.present ? standing.born : answer.seq};
  if (const auto view = core.find(answer.id); request != nullptr && live(view) && call.caller.privileged) {
    standing.uid = view->registration->owner.uid;  // root may change it without making it its own
  }
}

void Model::ended(Seq seq) {
  for (const Ending& ending : endings_) {
    Accepted& standing = accepted_[ending.id];
    if (ending.seq == seq && standing.seq < seq) {
      standing = Accepted{};
      standing.seq = seq;
    }
  }
  std::erase_if(endings_, [&](const Ending& ending) { return ending.seq == seq; });
}

// An acknowledged change must survive a power cut at this instant.
void Model::check_durable(const ChangeRequest& change, Seq seq) {
  const StoredMap& disk = store_.synced();
  const RegistrationId& id = id_of(change);
  const auto it = disk.registrations.find(id);
  if (disk.last_seq < seq) {
    verdict_.fail("I1", "acknowledged " + seq_text(seq) + " of " + id.str() + ", but only " + seq_text(disk.last_seq) +
                            " is on stable storage");
    return;
  }
  const auto* request = std::get_if<RegisterRequest>(&change);
  if (request != nullptr) {
    const bool removed_since = it == disk.registrations.end() && disk.last_seq > seq;
    const bool stands = it != disk.registrations.end() &&
                        (it->second.seq > seq || (it->second.seq == seq && it->second.data == request->data &&
                                                  it->second.path == path_of(*request)));
    if (!stands && !removed_since) {
      verdict_.fail("I1", "acknowledged " + seq_text(seq) + " of " + id.str() + " is not on stable storage");
    }
  } else if (it != disk.registrations.end() && it->second.seq < seq) {
    verdict_.fail("I1",
                  "acknowledged deregistration " + seq_text(seq) + " of " + id.str() + " is not on stable storage");
  }
}

void Model::agent_died() {
  for (auto& [token, call] : calls_) {
    doubtful_.push_back(std::move(call));
  }
  calls_.clear();
  touched_.clear();
}

// ---- What the core shows

void Model::check_shown(const RegistrationId& id, const core::Core& core) {
  const auto in_doubt = [&](const Call& call) {
    return call.leave || std::any_of(call.changes.begin(), call.changes.end(),
                                     [&](const ChangeRequest& change) { return id_of(change) == id; });
  };
  if (std::any_of(doubtful_.begin(), doubtful_.end(), in_doubt)) {
    return;
  }
  const auto it = accepted_.find(id);
  const auto view = core.find(id);
  if (it == accepted_.end() || !it->second.present) {
    if (live(view)) {
      verdict_.fail("I5", id.str() + " is shown alive as " + seq_text(view->registration->seq) +
                              ", but was deregistered or never accepted");
    }
    return;
  }
  const Accepted& standing = it->second;
  if (!live(view)) {
    verdict_.fail("I1", "acknowledged " + seq_text(standing.seq) + " of " + id.str() + " is not shown");
  } else if (view->registration->seq != standing.seq || view->registration->path != standing.path ||
             view->registration->data != standing.data) {
    verdict_.fail("I17", id.str() + " is shown as " + seq_text(view->registration->seq) + " " +
                             view->registration->path + " data=" + view->registration->data + ", but stands as " +
                             seq_text(standing.seq) + " " + standing.path + " data=" + standing.data);
  }
}

void Model::step_done(const core::Core& core) {
  for (const RegistrationId& id : touched_) {
    check_shown(id, core);
  }
  touched_.clear();
}

void Model::check(const core::Core& core) {
  for (const auto& [id, standing] : accepted_) {
    check_shown(id, core);
  }
  bool more = false;
  std::size_t count = 0;
  std::uint64_t path_bytes = core::kPacketHeadBytes;
  for (const auto& view : core.list(std::nullopt, std::nullopt, std::nullopt, 1000, more)) {
    count += live(view) ? 1 : 0;
    path_bytes += live(view) ? core::packet_bytes(view.registration->path, options_.chroot_bytes) : 0;
    if (live(view) && refused_data_.contains(view.registration->data)) {
      verdict_.fail("I2", "refused data=" + view.registration->data + " is shown");
    }
    if (live(view) && view.registration->seq > store_.synced().last_seq) {
      verdict_.fail("I17", view.registration->id.str() + " is shown before it is durable");
    }
  }
  if (count > options_.limits.max_registrations || path_bytes > options_.limits.max_path_bytes) {
    verdict_.fail("C23", "more accepted than the limits allow: " + std::to_string(count) + " registrations, " +
                             std::to_string(path_bytes) + " bytes of paths");
  }
}

}  // namespace limpet::test
