// A Core on a FakeStore, and a ZooKeeper in which all goes well: for tests of single steps.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/core/core.h"
#include "tests/support/fake_store.h"

namespace limpet::core {

class CoreLivesTest : public ::testing::Test {
 protected:
  CoreLivesTest() { start(); }

  // A new run of the agent, on what the store holds.
  void start() {
    options_.batch = 1;  // it answers single requests
    core_ = std::make_unique<Core>(options_, *store_.load());
    watches_.clear();
    step(Started{});
  }

  // One event, and what follows from it: on the disk, and of requests to ZooKeeper.
  void step(Event event) {
    todo_.clear();
    core_->step(std::move(event), now_, todo_);
    std::vector<Persist> writes;
    std::vector<ZkSend> sends;
    for (Action& action : todo_) {
      if (auto* persist = std::get_if<Persist>(&action)) {
        writes.push_back(std::move(*persist));
      } else if (auto* send = std::get_if<ZkSend>(&action)) {
        sends.push_back(std::move(*send));
      } else if (auto* reply = std::get_if<Reply>(&action)) {
        replies_.push_back(std::move(*reply));
      } else if (auto* watch = std::get_if<Watch>(&action)) {
        watches_.insert_or_assign(watch->id, std::move(*watch));
      } else if (auto* unwatch = std::get_if<Unwatch>(&action)) {
        watches_.erase(unwatch->id);
      } else if (auto* failure = std::get_if<VoidFailure>(&action)) {
        voided_.push_back(failure->id);
      } else if (auto* recheck = std::get_if<Recheck>(&action)) {
        rechecks_.push_back(recheck->all);
      } else if (auto* timer = std::get_if<SetTimer>(&action)) {
        timer_ms_ = timer->at_steady_ms;
      } else if (auto* note = std::get_if<Note>(&action)) {
        notes_.push_back(note->what + " " + note->detail);
      }
    }
    for (Persist& persist : writes) {
      held_.push_back(std::move(persist));
    }
    if (disk_runs_) {
      write();
    }
    for (const ZkSend& send : sends) {
      if (answers_run_) {
        answer(send);
      } else {
        unanswered_.push_back(send);
      }
    }
  }

  void write() {
    for (const Persist& persist : std::exchange(held_, {})) {
      step(Persisted{persist.ticket, store_.append(persist.batch, persist.sync)});
    }
  }

  void reopen() {
    StoreReopened event;
    event.status = store_.reopen();
    event.state = *store_.load();
    step(std::move(event));
  }

  void answer(const ZkSend& send) {
    const ZkRequest& request = send.request;
    ZkReply reply;
    const auto it = znodes_.find(request.path);
    reply.stat.ephemeral_owner = kSession;
    reply.stat.czxid = reply.stat.mzxid = Zxid{++zxid_};
    if (request.verb == ZkVerb::create || request.verb == ZkVerb::set) {
      znodes_[request.path] = {request.data, reply.stat};
    } else if (request.verb == ZkVerb::remove) {
      znodes_.erase(request.path);
    } else if (request.verb == ZkVerb::read || request.verb == ZkVerb::watch) {
      reply.code = it == znodes_.end() ? ZkCode::no_node : ZkCode::ok;
      if (it != znodes_.end()) {
        reply.data = it->second.first;
        reply.stat = it->second.second;
      }
    }
    step(ZkReplied{send.epoch, send.op, reply});
  }

  // What was sent while answers did not run.
  void answer_late() {
    answers_run_ = true;
    for (const ZkSend& send : std::exchange(unanswered_, {})) {
      answer(send);
    }
  }

  void connect() {
    Session session;
    session.id = kSession;
    session.timeout_ms = 10'000;
    step(ZkConnected{Epoch{1}, session, "10.0.0.1:2181"});
  }

  void pass(std::int64_t ms) {
    const std::int64_t until = now_.steady_ms + ms;
    while (timer_ms_ <= until) {
      const std::int64_t next = std::max(timer_ms_, now_.steady_ms);
      now_.wall_ms += next - now_.steady_ms;
      now_.steady_ms = next;
      timer_ms_ = kNever;
      step(Tick{});
    }
    now_.wall_ms += until - now_.steady_ms;
    now_.steady_ms = until;
  }

  // ---- Calls
  static RegisterRequest put(const std::string& instance, const std::string& data, Lifetime lifetime = {}) {
    RegisterRequest request;
    request.id = {"web", instance};
    request.data = data;
    request.lifetime = std::move(lifetime);
    return request;
  }
  void submit(std::vector<ChangeRequest> changes, std::uint32_t uid = 1000, std::uint64_t connection = 1) {
    Caller caller{{uid, 7}, uid == 0};
    caller.program = "test";
    caller.connection = ConnectionId{connection};
    step(Submit{Token{++token_}, caller, std::move(changes)});
  }
  void maintenance(std::optional<std::string> instance, std::optional<std::string> reason, std::uint32_t uid = 1000) {
    SetMaintenance event;
    event.token = Token{++token_};
    event.caller = Caller{{uid, 7}, uid == 0};
    if (instance) {
      event.id = RegistrationId{"web", *instance};
    }
    event.reason = std::move(reason);
    step(std::move(event));
  }
  void health(const std::string& instance, bool passing) {
    const Watch& watch = watches_.at({"web", instance});
    step(HealthChanged{watch.id, watch.seq, passing, passing ? "" : "connection refused"});
  }
  void process_ended(const std::string& instance, std::uint64_t seq) {
    step(ProcessEnded{{"web", instance}, Seq{seq}, "pid 4321 ended"});
  }

  // ---- What came of it
  // The answer to the last call; of a change its seq.
  AcceptedChange accepted() {
    EXPECT_FALSE(replies_.empty());
    const auto* answers = std::get_if<std::vector<AcceptedChange>>(&replies_.back().result);
    EXPECT_NE(answers, nullptr);
    return answers == nullptr || answers->empty() ? AcceptedChange{} : answers->back();
  }
  ProblemCode problem() {
    const auto* problem = std::get_if<Problem>(&replies_.back().result);
    EXPECT_NE(problem, nullptr);
    return problem == nullptr ? ProblemCode::invalid : problem->code;
  }
  bool there(const std::string& instance) const {
    const auto view = core_->find({"web", instance});
    return view && view->state != State::removing;
  }
  State state(const std::string& instance) const { return core_->find({"web", instance})->state; }
  bool stands(const std::string& instance) const { return znodes_.contains("/services/web/" + instance); }
  // What the history says of this name, oldest first: "what#seq".
  std::vector<std::string> history(const std::string& instance) {
    pass(1'000);
    std::vector<std::string> found;
    for (const HistoryEntry& entry : store_.written().history) {
      if (entry.id == RegistrationId{"web", instance}) {
        found.push_back(word(entry.what) + "#" + std::to_string(entry.seq.value));
      }
    }
    return found;
  }
  static std::string word(Happening what) {
    switch (what) {
      case Happening::accepted:
        return "accepted";
      case Happening::deregistered:
        return "deregistered";
      case Happening::superseded:
        return "superseded";
      case Happening::registered:
        return "registered";
      case Happening::removed:
        return "removed";
      case Happening::expired:
        return "expired";
      case Happening::ttl_expired:
        return "ttl_expired";
      case Happening::process_ended:
        return "process_ended";
      case Happening::connection_closed:
        return "connection_closed";
      case Happening::unhealthy:
        return "unhealthy";
      case Happening::healthy:
        return "healthy";
      case Happening::withdrawn:
        return "withdrawn";
      case Happening::maintenance_on:
        return "maintenance_on";
      case Happening::maintenance_off:
        return "maintenance_off";
      default:
        return "other";
    }
  }

  static Lifetime ttl(std::int64_t ms) {
    Lifetime lifetime;
    lifetime.ttl_ms = ms;
    return lifetime;
  }
  static Lifetime process(std::int32_t pid) {
    Lifetime lifetime;
    lifetime.bind = Bind::process;
    lifetime.process = ProcessId{pid, 100, "boot"};
    return lifetime;
  }
  static Lifetime connection() {
    Lifetime lifetime;
    lifetime.bind = Bind::connection;
    return lifetime;
  }
  static Lifetime expires(std::int64_t ms) {
    Lifetime lifetime;
    lifetime.expires_ms = ms;
    return lifetime;
  }
  static Lifetime checked() {
    Lifetime lifetime;
    lifetime.checks.resize(1);
    lifetime.checks[0].target = "127.0.0.1:80";
    return lifetime;
  }

  using Words = std::vector<std::string>;
  static constexpr SessionId kSession{0x1001};
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  Options options_;
  test::FakeStore store_;
  std::unique_ptr<Core> core_;
  Actions todo_;
  std::vector<Persist> held_;
  std::vector<ZkSend> unanswered_;
  std::vector<Reply> replies_;
  std::vector<std::string> notes_;
  std::map<RegistrationId, Watch> watches_;
  std::vector<RegistrationId> voided_;
  std::vector<bool> rechecks_;  // each: of all?
  std::map<std::string, std::pair<std::string, ZkStat>> znodes_;
  bool disk_runs_ = true;
  bool answers_run_ = true;  // false: what is sent is lost
  Now now_{1'000'000, 1'800'000'000'000, 0};
  std::int64_t timer_ms_ = kNever;
  std::uint64_t token_ = 0;
  std::int64_t zxid_ = 0;
};

}  // namespace limpet::core
