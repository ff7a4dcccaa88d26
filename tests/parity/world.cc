#include "tests/parity/world.h"

#include <gtest/gtest.h>

namespace limpet::test {

void World::start(const std::optional<Session>& session) {
  ++epoch_.value;
  forget();
  ensemble().start({epoch_, session});
}

void World::stop() {
  ensemble().stop({epoch_});
}

Session World::connect(const std::optional<Session>& session) {
  start(session);
  if (!wait<core::ZkConnected>()) {
    ADD_FAILURE() << "no session";
    return {};
  }
  sessions_.push_back(all<core::ZkConnected>().back().session);
  return sessions_.back();
}

core::OpId World::send(core::ZkVerb verb, const std::string& path, const std::string& data, std::int32_t version) {
  return send(core::ZkRequest{verb, path, data, version});
}

core::OpId World::send(core::ZkRequest request) {
  ++op_.value;
  ensemble().send({epoch_, op_, std::move(request)});
  return op_;
}

core::ZkReply World::call(std::vector<core::ZkRequest> batch) {
  const core::OpId op = send(core::ZkRequest{core::ZkVerb::transaction, batch.back().path, "", -1, std::move(batch)});
  EXPECT_TRUE(run_until([&] { return reply_to(op).has_value(); })) << "no answer to a transaction";
  return reply_to(op).value_or(core::ZkReply{core::ZkCode::refused, {}, "", "no answer"});
}

core::ZkReply World::call(core::ZkVerb verb, const std::string& path, const std::string& data, std::int32_t version) {
  const core::OpId op = send(verb, path, data, version);
  EXPECT_TRUE(run_until([&] { return reply_to(op).has_value(); })) << "no answer about " << path;
  return reply_to(op).value_or(core::ZkReply{core::ZkCode::refused, {}, "", "no answer"});
}

std::optional<core::ZkReply> World::reply_to(core::OpId op) const {
  for (const auto& event : events_) {
    if (const auto* replied = std::get_if<core::ZkReplied>(&event); replied != nullptr && replied->op == op) {
      return replied->reply;
    }
  }
  return std::nullopt;
}

std::vector<std::string> World::fired() const {
  std::vector<std::string> paths;
  for (const auto& fired : all<core::ZkWatchFired>()) {
    paths.push_back(fired.path);
  }
  return paths;
}

}  // namespace limpet::test
