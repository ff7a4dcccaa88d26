#include "agent/zk/transaction.h"

#include <algorithm>
#include <cassert>
#include <string_view>

#include "agent/zk/zk_error.h"

namespace limpet::zk {
namespace {

using core::ZkCode;
using core::ZkVerb;

void fill(zoo_op_t& op, const core::ZkRequest& request, const char* path, const ACL_vector* acl, Stat* stat) {
  const int length = static_cast<int>(request.data.size());
  switch (request.verb) {
    case ZkVerb::create:
      zoo_create_op_init(&op, path, request.data.data(), length, acl, ZOO_EPHEMERAL, nullptr, 0);
      return;
    case ZkVerb::set:
      zoo_set_op_init(&op, path, request.data.data(), length, request.version, stat);
      return;
    case ZkVerb::remove:
      zoo_delete_op_init(&op, path, request.version);
      return;
    case ZkVerb::check:
      zoo_check_op_init(&op, path, request.version);
      return;
    case ZkVerb::create_parent:
    case ZkVerb::read:
    case ZkVerb::watch:
    case ZkVerb::look:
    case ZkVerb::sync:
    case ZkVerb::transaction:
      break;
  }
  assert(false);
}

// A path that the library refuses in a transaction makes it free memory twice, so none such may come to it.
bool library_takes(std::string_view path) {
  if (path.size() < 2 || path.front() != '/' || path.back() == '/') {
    return false;
  }
  for (std::size_t begin = 1; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment.empty() || segment == "." || segment == "..") {
      return false;
    }
    begin = end + 1;
  }
  return std::none_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

// A parent is not created in a transaction: it may be a container, which the library cannot read the answer of there.
bool fits_transaction(ZkVerb verb) {
  return verb == ZkVerb::create || verb == ZkVerb::set || verb == ZkVerb::remove || verb == ZkVerb::check;
}

// What is said of the request as a whole, and not of one that it is made of.
bool of_the_whole(ZkCode code) {
  return code == ZkCode::unknown_outcome || code == ZkCode::not_sent || code == ZkCode::throttled;
}

}  // namespace

Transaction::Transaction(std::span<const core::ZkRequest> requests)
    : results_(requests.size()), stats_(requests.size()) {
  verbs_.reserve(requests.size());
  for (const core::ZkRequest& request : requests) {
    verbs_.push_back(request.verb);
  }
}

int Transaction::hand_in(zhandle_t* zh, std::span<const core::ZkRequest> requests, const std::string& chroot,
                         const ACL_vector* acl, void_completion_t done, stat_completion_t looked, const void* context) {
  std::vector<std::string> in_chroot;
  if (!chroot.empty()) {
    in_chroot.reserve(requests.size());
    for (const core::ZkRequest& request : requests) {
      in_chroot.push_back(chroot + request.path);
    }
  }
  const auto path_of = [&](std::size_t i) -> const std::string& {
    return chroot.empty() ? requests[i].path : in_chroot[i];
  };
  // Unlike all other requests, this one is taken by a handle that is dead, and is never answered.
  if (is_unrecoverable(zh) != ZOK) {
    return ZINVALIDSTATE;
  }
  std::vector<zoo_op_t> ops(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (!fits_transaction(verbs_[i]) || !library_takes(path_of(i))) {
      return ZBADARGUMENTS;
    }
    fill(ops[i], requests[i], path_of(i).c_str(), acl, &stats_[i]);
  }
  const auto last = std::find(verbs_.rbegin(), verbs_.rend(), ZkVerb::create);
  awaited_ = last == verbs_.rend() ? 1 : 2;
  if (const int rc = zoo_amulti(zh, static_cast<int>(ops.size()), ops.data(), results_.data(), done, context);
      rc != ZOK) {
    return rc;
  }
  if (last != verbs_.rend()) {
    const std::string& path = path_of(static_cast<std::size_t>(verbs_.rend() - last) - 1);
    if (zoo_aexists(zh, path.c_str(), 0, looked, context) != ZOK) {
      looked(ZCONNECTIONLOSS, nullptr, context);
    }
  }
  return ZOK;
}

void Transaction::set_looked(int rc, const Stat* stat) {
  look_rc_ = rc;
  if (rc == ZOK && stat != nullptr) {
    look_ = *stat;
  }
}

core::ZkReply Transaction::reply(SessionId session) const {
  if (rc_ != ZOK) {
    return refusal();
  }
  core::ZkReply reply;
  reply.batch.resize(verbs_.size());
  const auto stat = made(session);
  for (std::size_t i = 0; i < verbs_.size(); ++i) {
    core::ZkReply& one = reply.batch[i];
    if (verbs_[i] == ZkVerb::create && !stat) {
      one.code = ZkCode::unknown_outcome;  // it was done, but nobody knows when, and whether it still stands
      one.message = "done, but not seen since";
    } else if (verbs_[i] == ZkVerb::create) {
      one.stat = *stat;
    } else if (verbs_[i] == ZkVerb::set) {
      one.stat = {Zxid{stats_[i].czxid}, Zxid{stats_[i].mzxid}, stats_[i].version, SessionId{stats_[i].ephemeralOwner}};
    }
  }
  return reply;
}

// As they were right after they were made; nothing where the one that was looked at is not what was made.
std::optional<core::ZkStat> Transaction::made(SessionId session) const {
  if (look_rc_ != ZOK || look_.ephemeralOwner != session.value) {
    return std::nullopt;
  }
  return core::ZkStat{Zxid{look_.czxid}, Zxid{look_.czxid}, 0, session};
}

// Of the requests before the one at fault the servers say that they would have been well, of those behind it that they
// were not looked at.
core::ZkReply Transaction::refusal() const {
  core::ZkReply reply;
  reply.code = completion_code(rc_);
  reply.message = describe_code(rc_);
  const auto at_fault = std::find_if(results_.begin(), results_.end(), [](const zoo_op_result_t& result) {
    return result.err != ZOK && result.err != ZRUNTIMEINCONSISTENCY;
  });
  if (of_the_whole(reply.code) || at_fault == results_.end()) {
    return reply;
  }
  const bool all = results_.size() > 1 && std::all_of(results_.begin(), results_.end(), [&](const auto& result) {
                     return result.err == results_.front().err;
                   });
  if (all) {
    return reply;  // the library fills the whole answer with what came in place of one
  }
  reply.batch.resize(results_.size());
  for (core::ZkReply& one : reply.batch) {
    one.code = ZkCode::throttled;
    one.message = "another request of the same transaction was refused";
  }
  core::ZkReply& guilty = reply.batch[static_cast<std::size_t>(at_fault - results_.begin())];
  guilty.code = reply.code;
  guilty.message = reply.message;
  return reply;
}

}  // namespace limpet::zk
