// One handle of the ZooKeeper C library: opening it, handing requests in, turning its callbacks into Mail, and letting
// go of it without ending its session.
//
// open() and detach() run on the zk-life thread and block; the rest belongs to the core thread. The callbacks run on
// the library's threads: they copy, push into the mailbox and return. Whoever holds the handle keeps it until detach()
// has returned true; after that the library knows nothing of it any more.
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/core/event.h"
#include "agent/zk/acl.h"
#include "agent/zk/library_log.h"
#include "agent/zk/mailbox.h"

struct _zhandle;  // zhandle_t of <zookeeper/zookeeper.h>

namespace limpet::zk {

class Transaction;
class ZkHandle;

// What the library carries for us from a request to its completion. Owned by the handle: a completion that never comes
// (there are such at close) leaks nothing.
struct Request {
  ZkHandle* handle = nullptr;
  core::OpId op;
  bool internal = false;
  std::shared_ptr<Transaction> transaction = {};  // of a transaction, and of a create, which goes as one
  bool alone = false;                             // of a create: its answer is that of the one in the transaction
};

class ZkHandle {
 public:
  using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;

  // `id` is unlike that of any other handle of this client. `chroot` is put in front of every path. `access` is not
  // null.
  ZkHandle(std::uint64_t id, core::Epoch epoch, std::string chroot, std::shared_ptr<const Access> access,
           std::shared_ptr<Mailbox> mailbox, LogSink log);
  ~ZkHandle();  // precondition: never opened, or detached
  ZkHandle(const ZkHandle&) = delete;
  ZkHandle& operator=(const ZkHandle&) = delete;

  std::uint64_t id() const { return id_; }

  // Zk-life thread. Starts connecting to `endpoints`, in their order; at least one. Re-attaches to `session` where
  // there is one. Errc::io: the library could not make a handle.
  Status open(const Endpoints& endpoints, std::int32_t timeout_ms, const std::optional<Session>& session);

  // Zk-life thread. Lets go of the library's handle; its session lives on until the server ends it. Blocks for some
  // milliseconds. Once; harmless where open() failed or was never called. False: the library would not let go; it still
  // uses this object, which must then be kept for ever.
  [[nodiscard]] bool detach();

  // Core thread. True while the connection that ZkConnected told of (with this count of losses) stands.
  bool stands(std::uint64_t losses) const;

  // How many connections, or attempts at one, have failed. Any thread.
  std::uint64_t losses() const { return log_->losses(); }

  // Core thread. Hands a request in; its answer comes as Mail. A code other than ok: it was not taken, nothing was
  // sent, and no Mail comes. Precondition: a ZkConnected came from this handle.
  core::ZkReply submit(core::OpId op, const core::ZkRequest& request);

  // Core thread. Creates the chroot and what lies above it, in the same pipeline and before all that is submitted
  // after.
  void create_chroot();

  // Core thread. Takes back what a Mail of this handle carried.
  void release(Request* request) {
    request->transaction.reset();
    free_.push_back(request);
  }

 private:
  struct Callbacks;  // the functions that the library calls

  Request* take(core::OpId op, bool internal);
  int hand_in_transaction(std::span<const core::ZkRequest> requests, Request* context);
  int hand_in(const core::ZkRequest& request, const std::string& path, Request* context);
  std::string full_path(const std::string& path) const;
  void show_credentials(_zhandle* zh);

  const std::uint64_t id_;
  const core::Epoch epoch_;
  const std::string chroot_;
  const std::shared_ptr<const Access> access_;
  const std::shared_ptr<Mailbox> mailbox_;
  const std::shared_ptr<LibraryLog> log_;

  // Zk-life thread only.
  std::optional<LogCallbackLease> lease_;
  Endpoints endpoints_;

  // Core thread only.
  std::deque<Request> requests_;
  std::vector<Request*> free_;

  // Shared. Set by open(), or by a callback that comes before the library's open call has returned.
  std::atomic<_zhandle*> zh_{nullptr};
  std::mutex credentials_mutex_;
  bool credentials_shown_ = false;  // the library has them, and gives them with each connection
};

}  // namespace limpet::zk
