// What the servers of the fake ensemble do with a request.
#include <algorithm>
#include <cassert>
#include <utility>

#include "tests/support/fake_ensemble.h"

namespace limpet::test {

using core::ZkCode;
using core::ZkReply;
using core::ZkRequest;
using core::ZkVerb;

bool FakeEnsemble::poisonous(const ZkRequest& request) const {
  const auto marked = [this](const ZkRequest& one) { return one.data.find(poison_) != std::string::npos; };
  return !poison_.empty() && (marked(request) || std::any_of(request.batch.begin(), request.batch.end(), marked));
}

void FakeEnsemble::apply_next() {
  Request next = std::move(handle_->to_server.front());
  handle_->to_server.pop_front();
  const Znode* standing = znodes_.find(next.request.path);
  const std::optional<Znode> before = standing == nullptr ? std::nullopt : std::optional<Znode>(*standing);
  ZkReply reply = apply(next.request);
  if (reply.code != ZkCode::ok) {
    reply.message = "refused by the fake ensemble";
  }
  if (observer_ != nullptr && next.request.verb != ZkVerb::transaction) {
    observer_->on_request(next.request, reply, before, handle_->session->id);
  }
  std::optional<std::pair<std::string, bool>> sets_watch;
  const bool exists = reply.code == ZkCode::ok;
  if (next.request.leave_watch &&
      (next.request.verb == ZkVerb::watch ? (exists || reply.code == ZkCode::no_node)
                                          : (next.request.verb == ZkVerb::read && exists))) {
    handle_->server_watches.insert_or_assign(next.request.path,
                                             ServerWatch{exists, handle_->view.value_or(znodes_.zxid())});
    sets_watch.emplace(next.request.path, exists);
  }
  push(core::ZkReplied{handle_->epoch, next.op, std::move(reply)}, true, std::move(sets_watch));
}

std::optional<ZkCode> FakeEnsemble::denial(const ZkRequest& request) const {
  const bool looks = request.verb == ZkVerb::watch || request.verb == ZkVerb::look;
  const bool reads = request.verb == ZkVerb::read || looks || request.verb == ZkVerb::check;
  for (const auto& [prefix, code] : denied_) {
    const bool below = request.path == prefix || request.path.starts_with(prefix + "/");
    // READ is a right on the znode itself, the others are quotas and rights to write.
    if (below && (!reads || (code == ZkCode::no_auth && !looks))) {
      return code;
    }
  }
  return std::nullopt;
}

ZkReply FakeEnsemble::apply(const ZkRequest& request) {
  ZkReply reply;
  if (request.verb != ZkVerb::sync && rng_.chance(options_.throttle_chance)) {
    reply.code = ZkCode::throttled;
    return reply;
  }
  reply = request.verb == ZkVerb::transaction ? apply_transaction(request.batch) : execute(request);
  const bool reads = request.verb == ZkVerb::read || request.verb == ZkVerb::watch || request.verb == ZkVerb::look;
  if (handle_->view && !reads && (reply.code == ZkCode::ok || !denial(request))) {
    catch_up();  // the follower answers a write, or a sync, when it has seen it
  }
  return reply;
}

ZkReply FakeEnsemble::execute(const ZkRequest& request) {
  ZkReply reply;
  if (const auto code = request.verb == ZkVerb::sync ? std::nullopt : denial(request)) {
    reply.code = *code;
    return reply;
  }
  const SessionId by = handle_->session->id;
  const Znode* seen = nullptr;
  switch (request.verb) {
    case ZkVerb::create:
      reply.code = znodes_.create(request.path, request.data, by, by, &reply.stat);
      break;
    case ZkVerb::create_parent:
      reply.code = znodes_.create(request.path, {}, SessionId{0}, by, nullptr);
      break;
    case ZkVerb::set:
      reply.code = znodes_.set(request.path, request.data, request.version, by, &reply.stat);
      break;
    case ZkVerb::remove:
      reply.code = znodes_.remove(request.path, request.version, by);
      break;
    case ZkVerb::read:
    case ZkVerb::watch:
    case ZkVerb::look:
      seen = handle_->view ? znodes_.find_at(request.path, *handle_->view) : znodes_.find(request.path);
      if (seen == nullptr) {
        reply.code = ZkCode::no_node;
      } else {
        reply.stat = seen->stat;
        reply.stat.children = request.verb == ZkVerb::look ? znodes_.count_children(request.path) : 0;
        reply.data = request.verb == ZkVerb::read ? seen->data : std::string();
      }
      break;
    case ZkVerb::check:  // by the leader, who sees everything
      seen = znodes_.find(request.path);
      if (seen == nullptr) {
        reply.code = ZkCode::no_node;
      } else if (request.version != -1 && request.version != seen->stat.version) {
        reply.code = ZkCode::bad_version;
      }
      break;
    case ZkVerb::sync:
      break;
    case ZkVerb::transaction:
      assert(false);
  }
  return reply;
}

ZkReply FakeEnsemble::apply_transaction(const std::vector<ZkRequest>& requests) {
  ZkReply reply;
  reply.batch.reserve(requests.size());
  znodes_.begin();
  for (const ZkRequest& request : requests) {
    reply.batch.push_back(execute(request));
    if (reply.batch.back().code != ZkCode::ok) {
      break;
    }
  }
  if (reply.batch.back().code == ZkCode::ok) {
    znodes_.commit();
    return reply;
  }
  znodes_.undo();
  const std::size_t guilty = reply.batch.size() - 1;
  reply.code = reply.batch.back().code;
  reply.batch.resize(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    reply.batch[i].code = i == guilty ? reply.code : ZkCode::throttled;
    reply.batch[i].stat = {};
    reply.batch[i].message = "refused by the fake ensemble";
  }
  for (std::size_t i = 0; observer_ != nullptr && i < requests.size(); ++i) {
    const Znode* standing = znodes_.find(requests[i].path);
    const bool in_the_way = requests[i].verb == ZkVerb::create && standing != nullptr &&
                            standing->stat.ephemeral_owner != handle_->session->id;
    if (i == guilty || in_the_way) {
      ZkReply told = reply.batch[guilty];
      told.code = i == guilty ? reply.code : ZkCode::node_exists;
      observer_->on_request(requests[i], told, standing == nullptr ? std::nullopt : std::optional<Znode>(*standing),
                            handle_->session->id);
    }
  }
  return reply;
}

}  // namespace limpet::test
