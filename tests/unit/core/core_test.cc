// Core by single steps: what each promise looks like from close by. The simulator (tests/sim) covers their mixtures.
#include "agent/core/core.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace limpet::core {

namespace {

// A Core with a store that keeps everything at once and an ensemble that answers when told to.
class CoreTest : public ::testing::Test {
 protected:
  CoreTest() {
    options_.batch = 1;  // transactions: batch_test.cc
    restart({});
  }

  void restart(StoredState stored) {
    core_ = std::make_unique<Core>(options_, std::move(stored));
    actions_.clear();
    step(Started{});
  }

  void step(Event event) { core_->step(std::move(event), now_, actions_); }

  template <typename T>
  std::vector<T> take() {
    std::vector<T> found;
    for (Action& action : actions_) {
      if (auto* one = std::get_if<T>(&action)) {
        found.push_back(std::move(*one));
      }
    }
    std::erase_if(actions_, [](const Action& action) { return std::holds_alternative<T>(action); });
    return found;
  }

  // Writes what is to be written, and says so.
  void write() {
    for (const Persist& persist : take<Persist>()) {
      step(Persisted{persist.ticket, Status()});
    }
  }

  void connect(std::int64_t session = 0x1001) {
    Session made;
    made.id = SessionId{session};
    made.timeout_ms = 10'000;
    step(ZkConnected{epoch_, made, "127.0.0.1:2181"});
    write();
  }

  // Answers all requests of the verb `ok`, and others that only prepare.
  void answer_all() {
    for (bool again = true; again;) {
      again = false;
      for (const ZkSend& send : take<ZkSend>()) {
        ZkReply reply;
        reply.stat.ephemeral_owner = SessionId{0x1001};
        reply.stat.czxid = reply.stat.mzxid = Zxid{++zxid_};
        if (send.request.verb == ZkVerb::watch) {
          reply.code = ZkCode::unknown_outcome;  // says nothing
        }
        step(ZkReplied{send.epoch, send.op, reply});
        again = true;
      }
    }
  }

  std::variant<std::vector<AcceptedChange>, Problem> submit(std::vector<ChangeRequest> changes,
                                                            std::uint32_t uid = 1000) {
    step(Submit{Token{++token_}, Caller{{uid, 1}, uid == 0}, std::move(changes)});
    write();
    auto replies = take<Reply>();
    EXPECT_EQ(replies.size(), 1u);
    return replies.at(0).result;
  }
  Seq accepted(std::vector<ChangeRequest> changes) {
    const auto result = submit(std::move(changes));
    EXPECT_TRUE(std::holds_alternative<std::vector<AcceptedChange>>(result)) << std::get<Problem>(result).detail;
    return std::get<std::vector<AcceptedChange>>(result).back().seq;
  }
  ProblemCode refused(std::vector<ChangeRequest> changes, std::uint32_t uid = 1000) {
    const auto result = submit(std::move(changes), uid);
    return std::get<Problem>(result).code;
  }

  static RegisterRequest put(const std::string& instance, const std::string& data,
                             std::optional<std::string> path = std::nullopt) {
    return RegisterRequest{{"web", instance}, std::move(path), Format::raw, data};
  }
  static DeregisterRequest gone(const std::string& instance) { return DeregisterRequest{{"web", instance}}; }
  std::uint64_t depth() const { return core_->status(now_).queue_depth; }
  State state(const std::string& instance) const { return core_->find({"web", instance})->state; }

  Options options_;
  std::unique_ptr<Core> core_;
  Actions actions_;
  Now now_{1'000, 1'700'000'000'000};
  Epoch epoch_{1};
  std::uint64_t token_ = 0;
  std::int64_t zxid_ = 0;
};

TEST_F(CoreTest, NothingIsAnsweredBeforeItIsOnDisk) {
  step(Submit{Token{1}, Caller{{1000, 1}, false}, {put("a", "1")}});
  EXPECT_TRUE(take<Reply>().empty());
  EXPECT_FALSE(core_->find({"web", "a"}));
  write();
  EXPECT_EQ(take<Reply>().size(), 1u);
  EXPECT_TRUE(core_->find({"web", "a"}));
}

TEST_F(CoreTest, TheSameAgainKeepsItsSeqAndWaitsForTheDisk) {
  step(Submit{Token{1}, Caller{{1000, 1}, false}, {put("a", "1")}});
  step(Submit{Token{2}, Caller{{1000, 2}, false}, {put("a", "1")}});
  EXPECT_TRUE(take<Reply>().empty());
  EXPECT_EQ(std::count_if(actions_.begin(), actions_.end(),
                          [](const Action& action) { return std::holds_alternative<Persist>(action); }),
            1);
  write();
  EXPECT_EQ(take<Reply>().size(), 2u);
  EXPECT_EQ(accepted({put("a", "1")}), Seq{1});
}

TEST_F(CoreTest, WhatIsOvertakenWhileAnEarlierOneIsInFlightIsSuperseded) {
  connect();
  accepted({put("a", "1")});
  step(ZkReplied{epoch_, take<ZkSend>().at(0).op, {}});  // the sync; the create goes out
  accepted({put("a", "2")});
  accepted({put("a", "3")});
  accepted({gone("a")});
  now_.steady_ms += 1'000;
  step(Tick{});
  write();
  std::vector<Seq> superseded;
  for (const Recorded& recorded : take<Recorded>()) {
    if (recorded.entry->what == Happening::superseded) {
      superseded.push_back(recorded.entry->seq);
    }
  }
  EXPECT_EQ(superseded, (std::vector<Seq>{Seq{2}, Seq{3}}));
}

TEST_F(CoreTest, TheTimeOfAcceptanceIsPutInAndTheSameAgainKeepsIt) {
  RegisterRequest request = put("a", "{at:}");
  request.time_at = 4;
  EXPECT_EQ(accepted({request}), Seq{1});
  EXPECT_EQ(core_->find({"web", "a"})->registration->data, "{at:1700000000000}");
  now_.wall_ms += 1'000;
  EXPECT_EQ(accepted({request}), Seq{1});
  // Two at once: the second finds the first while that is still on its way to the disk.
  RegisterRequest other = put("b", "{at:}");
  other.time_at = 4;
  EXPECT_EQ(accepted({other, other}), Seq{2});
  request.data = "[at:]";
  EXPECT_EQ(accepted({request}), Seq{3});
  EXPECT_EQ(core_->find({"web", "a"})->registration->data, "[at:1700000001000]");
}

TEST_F(CoreTest, ALeafStandsInPlaceOfTheInstance) {
  RegisterRequest request = put("a", "1");
  request.leaf = "member_0000000001";
  EXPECT_EQ(accepted({request}), Seq{1});
  EXPECT_EQ(core_->find({"web", "a"})->registration->path, "/services/web/member_0000000001");
  EXPECT_EQ(refused({put("member_0000000001", "1")}), ProblemCode::path_taken);
  EXPECT_EQ(accepted({put("a", "1")}), Seq{2});
  EXPECT_EQ(core_->find({"web", "a"})->registration->path, "/services/web/a");
}

TEST_F(CoreTest, ANewerChangeSupersedesAQueuedOne) {
  EXPECT_EQ(accepted({put("a", "1")}), Seq{1});
  EXPECT_EQ(accepted({put("b", "1")}), Seq{2});
  EXPECT_EQ(accepted({put("a", "2")}), Seq{3});
  bool more = false;
  const auto queue = core_->queue(Seq{}, 10, more);
  ASSERT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue[0].seq, Seq{2});
  EXPECT_EQ(queue[1].seq, Seq{3});
}

TEST_F(CoreTest, WhatWasNeverSentCancelsOut) {
  accepted({put("a", "1")});
  accepted({gone("a")});
  EXPECT_EQ(depth(), 0u);
  EXPECT_FALSE(core_->find({"web", "a"}));
  connect();
  for (const ZkSend& send : take<ZkSend>()) {
    EXPECT_EQ(send.request.verb, ZkVerb::sync);
  }
}

TEST_F(CoreTest, NothingIsCreatedBeforeTheSessionIsOnDisk) {
  accepted({put("a", "1")});
  Session made;
  made.id = SessionId{0x1001};
  step(ZkConnected{epoch_, made, "127.0.0.1:2181"});
  EXPECT_TRUE(take<ZkSend>().empty());
  write();
  EXPECT_FALSE(take<ZkSend>().empty());
}

TEST_F(CoreTest, ParentsGoBeforeTheFirstChildAndOnlyOnce) {
  accepted({put("a", "1"), put("b", "2")});
  connect();
  std::vector<std::string> creates;
  for (const ZkSend& send : take<ZkSend>()) {
    if (send.request.verb == ZkVerb::create || send.request.verb == ZkVerb::create_parent) {
      creates.push_back(send.request.path);
    }
  }
  EXPECT_EQ(creates, (std::vector<std::string>{"/services", "/services/web", "/services/web/a", "/services/web/b"}));
}

TEST_F(CoreTest, ParentsOfWhatIsLongGoneAreForgottenAndOthersAreNot) {
  options_.limits.max_new_parents = 10'000;
  restart({});
  connect();
  answer_all();
  accepted({put("a", "1")});
  answer_all();
  const auto parents_for = [this](const std::string& service, const std::string& instance) {
    accepted({RegisterRequest{{service, instance}, std::nullopt, Format::raw, "1"}});
    std::vector<std::string> parents;
    for (const Action& action : actions_) {
      const auto* send = std::get_if<ZkSend>(&action);
      if (send != nullptr && send->request.verb == ZkVerb::create_parent) {
        parents.push_back(send->request.path);
      }
    }
    answer_all();
    return parents;
  };
  for (int i = 0; i < 1'200; ++i) {
    const std::string service = "s-" + std::to_string(i);
    EXPECT_EQ(parents_for(service, "x").size(), 1u);
    accepted({DeregisterRequest{{service, "x"}}});
    answer_all();
  }
  EXPECT_EQ(parents_for("s-0", "x").size(), 1u) << "it is made anew";
  EXPECT_TRUE(parents_for("s-1199", "x").empty()) << "not long gone";
  EXPECT_TRUE(parents_for("web", "b").empty());
}

TEST_F(CoreTest, AnUpdateIsASetAndAMoveIsARemovalAndACreateInOneTransaction) {
  options_.paths = {"/dubbo"};
  restart({});
  accepted({put("a", "1")});
  connect();
  answer_all();
  EXPECT_EQ(state("a"), State::registered);
  accepted({put("a", "2")});
  auto sent = take<ZkSend>();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].request.verb, ZkVerb::set);
  step(ZkReplied{sent[0].epoch, sent[0].op, ZkReply{ZkCode::ok, ZkStat{{1}, {9}, 1, {0x1001}}, "", ""}});
  answer_all();
  accepted({put("a", "2", "/dubbo/x")});
  sent = take<ZkSend>();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].request.verb, ZkVerb::create_parent);
  const std::vector<ZkRequest>& batch = sent[1].request.batch;
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].verb, ZkVerb::remove);
  EXPECT_EQ(batch[1].verb, ZkVerb::create);
  EXPECT_EQ(batch[1].path, "/dubbo/x");
}

TEST_F(CoreTest, WhoseItIsAndWhereItMayLie) {
  accepted({put("a", "1")});
  EXPECT_EQ(refused({put("a", "2")}, 1001), ProblemCode::not_owner);
  EXPECT_EQ(refused({gone("a")}, 1001), ProblemCode::not_owner);
  EXPECT_EQ(refused({put("b", "1", "/elsewhere/b")}), ProblemCode::not_allowed);
  EXPECT_EQ(refused({put("b", "1", "/servicesque/b")}), ProblemCode::not_allowed);
  EXPECT_EQ(refused({put("b", "1", "/services/web/a")}), ProblemCode::path_taken);
  EXPECT_EQ(refused({put("b", "1", "/services/web/a/below")}), ProblemCode::path_taken);
  EXPECT_EQ(refused({put("b", "1", "/services/web")}), ProblemCode::not_allowed);
  EXPECT_EQ(refused({gone("missing")}), ProblemCode::not_found);
  // Root may, and it stays its owner's.
  EXPECT_TRUE(std::holds_alternative<std::vector<AcceptedChange>>(submit({put("a", "3")}, 0)));
  EXPECT_EQ(core_->find({"web", "a"})->registration->owner.uid, 1000u);
}

TEST_F(CoreTest, ABatchIsAllOrNothingAndNamesTheOneAtFault) {
  const auto result = submit({put("a", "1"), put("b", "1"), gone("missing")});
  EXPECT_EQ(std::get<Problem>(result).index, 2u);
  EXPECT_FALSE(core_->find({"web", "a"}));
  EXPECT_EQ(accepted({put("a", "1")}), Seq{1}) << "a refused batch used up a seq";
}

// An ephemeral znode there would leave no room for what others have below it.
TEST_F(CoreTest, PathThatTakesThePlaceOfAServiceIsRefused) {
  options_.paths = {"/dubbo", "/nerve/prod/eu"};
  restart({});
  for (const char* path : {"/services", "/services/web", "/dubbo", "/nerve", "/nerve/prod", "/nerve/prod/eu"}) {
    EXPECT_EQ(refused({put("b", "1", path)}), ProblemCode::not_allowed) << path;
  }
  accepted({put("a", "1", "/services/other/x/y")});
  accepted({put("b", "1", "/dubbo/x")});
  accepted({put("c", "1", "/nerve/prod/eu/x")});
  options_.paths = {"/", "/services"};
  restart({});
  for (const char* path : {"/services", "/services/web"}) {
    EXPECT_EQ(refused({put("d", "1", path)}), ProblemCode::not_allowed) << path;
  }
  accepted({put("d", "1", "/services/web/d2")});
  accepted({put("e", "1", "/elsewhere")});
}

TEST_F(CoreTest, LimitsAreRefusedBeforeTheyAreAccepted) {
  options_.limits.max_registrations = 2;
  options_.limits.max_registrations_per_uid = 2;
  options_.limits.max_share_per_uid = 100;
  options_.limits.max_path_bytes = 100;
  restart({});
  accepted({put("a", "1")});
  EXPECT_EQ(refused({put(std::string(60, 'x'), "1")}), ProblemCode::quota);
  accepted({put("b", "1")});
  EXPECT_EQ(refused({put("c", "1")}), ProblemCode::quota);
  accepted({put("b", "2")});
}

TEST_F(CoreTest, ARefusalHoldsUpNoOther) {
  accepted({put("a", "1"), put("b", "2")});
  connect();
  for (const ZkSend& send : take<ZkSend>()) {
    ZkReply reply;
    if (send.request.path == "/services/web/a") {
      reply.code = ZkCode::no_auth;
    }
    reply.stat.ephemeral_owner = SessionId{0x1001};
    step(ZkReplied{send.epoch, send.op, reply});
  }
  EXPECT_EQ(state("a"), State::blocked);
  EXPECT_EQ(core_->find({"web", "a"})->reason->code, ReasonCode::no_auth);
  EXPECT_EQ(state("b"), State::registered);
  // And is tried again by itself.
  take<ZkSend>();
  now_.steady_ms += 5'000;
  step(Tick{});
  const auto sent = take<ZkSend>();
  EXPECT_TRUE(std::any_of(sent.begin(), sent.end(), [](const ZkSend& send) {
    return send.request.verb == ZkVerb::create && send.request.path == "/services/web/a";
  }));
}

TEST_F(CoreTest, AFailedDiskRefusesChangesAndRecoversByLoading) {
  accepted({put("a", "1")});
  step(Submit{Token{7}, Caller{{1000, 1}, false}, {put("b", "1")}});
  const auto persists = take<Persist>();
  ASSERT_EQ(persists.size(), 1u);
  step(Persisted{persists[0].ticket, Status(Errc::io, "fdatasync: Input/output error")});
  auto replies = take<Reply>();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(std::get<Problem>(replies[0].result).code, ProblemCode::storage_failed);
  EXPECT_EQ(refused({put("c", "1")}), ProblemCode::storage_failed);
  EXPECT_TRUE(core_->find({"web", "a"})) << "reads go on";
  ASSERT_EQ(take<ReopenStore>().size(), 1u);
  // It turns out that the change had reached the disk.
  StoreReopened reopened;
  reopened.state.last_seq = Seq{2};
  for (const char* name : {"a", "b"}) {
    Registration one;
    one.id = {"web", name};
    one.path = std::string("/services/web/") + name;
    one.data = "1";
    one.owner.uid = 1000;
    one.seq = Seq{name[0] == 'a' ? 1u : 2u};
    reopened.state.registrations.push_back(one);
  }
  step(std::move(reopened));
  EXPECT_EQ(accepted({put("b", "1")}), Seq{2}) << "the same again is safe";
  EXPECT_EQ(accepted({put("c", "1")}), Seq{3});
}

TEST_F(CoreTest, OnAFullDiskOnlyDeregistrationsAreAccepted) {
  accepted({put("a", "1")});
  accepted({put("b", "1")});
  step(SpaceChanged{true});
  EXPECT_EQ(refused({put("c", "1")}), ProblemCode::storage_full);
  EXPECT_EQ(refused({gone("a"), put("c", "1")}), ProblemCode::storage_full);
  accepted({gone("a")});
  EXPECT_FALSE(core_->status(now_).storage_healthy());
  step(SpaceChanged{false});
  accepted({put("c", "1")});
  EXPECT_TRUE(core_->status(now_).storage_healthy());
}

TEST_F(CoreTest, AStateDirectoryOfAnotherMachineGivesUpItsSession) {
  StoredState stored;
  stored.session = Session{SessionId{0x77}, {}, 10'000, "there"};
  options_.host = "here";
  core_ = std::make_unique<Core>(options_, stored);
  actions_.clear();
  step(Started{});
  const auto starts = take<ZkStart>();
  ASSERT_EQ(starts.size(), 1u);
  EXPECT_FALSE(starts[0].session);
  stored.session->host = "here";
  core_ = std::make_unique<Core>(options_, stored);
  actions_.clear();
  step(Started{});
  EXPECT_TRUE(take<ZkStart>().at(0).session);
}

class PoisonRequest : public CoreTest, public ::testing::WithParamInterface<std::size_t> {};

TEST_P(PoisonRequest, IsFoundAndSetAsideAndOnlyALargeOneIsCalledTooLarge) {
  accepted({put("a", "1"), put("poison", std::string(GetParam(), 'x')), put("c", "3")});
  connect();
  // Whatever is in flight with the poison is lost with it.
  for (int round = 0; round < 20 && state("poison") != State::blocked; ++round) {
    for (bool again = true; again;) {
      again = false;
      const auto sent = take<ZkSend>();
      const bool cut = std::any_of(sent.begin(), sent.end(), [](const ZkSend& send) {
        return send.request.verb == ZkVerb::create && send.request.path == "/services/web/poison";
      });
      if (cut) {
        now_.steady_ms += 2'000;
        step(ZkDisconnected{epoch_});
        break;
      }
      for (const ZkSend& send : sent) {
        ZkReply reply;
        reply.stat.ephemeral_owner = SessionId{0x1001};
        if (send.request.verb == ZkVerb::read) {
          reply.code = ZkCode::no_node;
        }
        step(ZkReplied{send.epoch, send.op, reply});
        again = true;
      }
    }
    now_.steady_ms += 2'000;
    connect();
  }
  EXPECT_EQ(state("poison"), State::blocked);
  EXPECT_EQ(core_->find({"web", "poison"})->reason->code,
            GetParam() >= 100'000 ? ReasonCode::too_large : ReasonCode::refused);
  answer_all();
  EXPECT_EQ(state("a"), State::registered);
  EXPECT_EQ(state("c"), State::registered);
}

INSTANTIATE_TEST_SUITE_P(OfSize, PoisonRequest, ::testing::Values(1, 100'000));

// The servers may answer with a refusal and close the connection right behind it.
TEST_F(CoreTest, ARefusalBeforeALossWaitsForItsNextTryOnTheNextConnection) {
  accepted({put("a", "1")});
  connect();
  const auto refuse = [&] {
    bool asked = false;
    for (const ZkSend& send : take<ZkSend>()) {
      ZkReply reply;
      reply.code = send.request.verb == ZkVerb::create ? ZkCode::refused : ZkCode::ok;
      reply.message = "unimplemented (-6)";
      asked = asked || send.request.verb == ZkVerb::create;
      if (send.request.verb != ZkVerb::sync) {  // behind it, and never answered
        step(ZkReplied{send.epoch, send.op, reply});
      }
    }
    return asked;
  };
  ASSERT_TRUE(refuse());
  EXPECT_EQ(core_->find({"web", "a"})->reason->code, ReasonCode::refused);
  now_.steady_ms += 100;
  step(ZkDisconnected{epoch_});
  connect();
  EXPECT_FALSE(refuse()) << "sent again at once, it would cost the next connection";
  now_.steady_ms += 2'000;
  step(Tick{});
  EXPECT_TRUE(refuse());
}

TEST_F(CoreTest, ServersThatDemandCredentialsAreAskedEverLessOften) {
  accepted({put("a", "1")});
  std::vector<std::int64_t> waits;
  for (int i = 0; i < 8; ++i) {
    connect();
    take<ZkStart>();
    step(ZkAuthFailed{epoch_, "give credentials"});
    EXPECT_EQ(take<ZkStop>().size(), 1u) << "the library would go on by itself";
    const StatusView status = core_->status(now_);
    EXPECT_EQ(status.session_state, SessionState::auth_failed);
    EXPECT_EQ(status.session_message, "give credentials");
    const std::int64_t since = now_.steady_ms;
    std::vector<ZkStart> starts;
    while ((starts = take<ZkStart>()).empty() && now_.steady_ms - since < 600'000) {
      now_.steady_ms += 1'000;
      step(Tick{});
    }
    ASSERT_EQ(starts.size(), 1u);
    epoch_ = starts.front().epoch;
    waits.push_back((now_.steady_ms - since) / 1'000);
  }
  EXPECT_EQ(waits, (std::vector<std::int64_t>{5, 10, 20, 40, 60, 60, 60, 60}));
  // New credentials are tried at once, and the row begins anew.
  connect();
  step(ZkAuthFailed{epoch_, "give credentials"});
  take<ZkStart>();
  step(ServersChanged{});
  EXPECT_EQ(take<ZkStart>().size(), 1u);
}

TEST_F(CoreTest, ALimitOfTheSessionIsToldOnceAndForAsLongAsTheConnection) {
  accepted({put("a", "1")});
  connect();
  step(ZkLimited{epoch_, "local sessions"});
  step(ZkLimited{epoch_, "local sessions"});
  const auto notes = take<Note>();
  EXPECT_EQ(std::count_if(notes.begin(), notes.end(),
                          [](const Note& note) { return note.what == "zookeeper_session_limited"; }),
            1);
  EXPECT_EQ(core_->status(now_).session_message, "local sessions");
  step(ZkDisconnected{epoch_});
  connect();
  EXPECT_EQ(core_->status(now_).session_message, "");
}

TEST_F(CoreTest, ZnodesOfAFormerSessionAreReplacedInOrderHoweverMany) {
  StoredState stored;
  stored.former = {SessionId{0x77}};
  stored.last_seq = Seq{100};
  for (std::uint64_t i = 1; i <= 100; ++i) {
    Registration one;
    one.id = {"web", "i-" + std::to_string(i)};
    one.path = "/services/web/i-" + std::to_string(i);
    one.seq = Seq{i};
    stored.registrations.push_back(one);
  }
  core_ = std::make_unique<Core>(options_, stored);
  actions_.clear();
  step(Started{});
  connect();
  std::vector<std::string> created;
  for (bool again = true; again;) {
    again = false;
    for (const ZkSend& send : take<ZkSend>()) {
      ZkReply reply;
      reply.stat.ephemeral_owner = SessionId{send.request.verb == ZkVerb::read ? 0x77 : 0x1001};
      if (send.request.verb == ZkVerb::create) {
        created.push_back(send.request.path);
      }
      if (send.request.verb == ZkVerb::remove) {
        step(ZkWatchFired{send.epoch, send.request.path});
      }
      step(ZkReplied{send.epoch, send.op, reply});
      again = true;
    }
  }
  ASSERT_EQ(created.size(), 100u);
  for (std::size_t i = 0; i < created.size(); ++i) {
    EXPECT_EQ(created[i], "/services/web/i-" + std::to_string(i + 1));
  }
  EXPECT_EQ(depth(), 0u);
}

TEST_F(CoreTest, TheReplayRateIsKept) {
  options_.replay_rate = 20;
  restart({});
  std::vector<ChangeRequest> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back(put("i-" + std::to_string(i), "x"));
  }
  accepted(many);
  connect();
  answer_all();
  std::uint64_t before = core_->status(now_).by_state[static_cast<std::size_t>(State::registered)];
  EXPECT_LE(before, 2u);
  for (int tenth = 0; tenth < 10; ++tenth) {
    now_.steady_ms += 100;
    step(Tick{});
    answer_all();
  }
  const std::uint64_t after = core_->status(now_).by_state[static_cast<std::size_t>(State::registered)];
  EXPECT_EQ(after - before, 20u);
}

}  // namespace

}  // namespace limpet::core
