#include "agent/zk/zk_handle.h"

#include <sys/socket.h>
#include <zookeeper/zookeeper.h>

#include <boost/asio/ip/tcp.hpp>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <latch>
#include <limits>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "agent/zk/hosts.h"
#include "agent/zk/library_check.h"
#include "agent/zk/parking.h"
#include "agent/zk/transaction.h"
#include "agent/zk/zk_error.h"

namespace limpet::zk {
namespace {

using boost::asio::ip::tcp;

core::ZkStat to_stat(const Stat* stat) {
  if (stat == nullptr) {
    return {};
  }
  return {Zxid{stat->czxid}, Zxid{stat->mzxid}, stat->version, SessionId{stat->ephemeralOwner}, stat->numChildren};
}

std::optional<tcp::endpoint> connected_server(zhandle_t* zh) {
  tcp::endpoint endpoint;
  auto length = static_cast<socklen_t>(endpoint.capacity());
  if (zookeeper_get_connected_host(zh, endpoint.data(), &length) == nullptr || length > endpoint.capacity() ||
      (endpoint.data()->sa_family != AF_INET && endpoint.data()->sa_family != AF_INET6)) {
    return std::nullopt;
  }
  endpoint.resize(length);
  return endpoint;
}

// Why a session cannot be used; empty: it can. The library checks nothing, and divides the time-out by sixty for its
// own pauses: with a very short time-out it would spin.
std::string absurdity(const Session& session) {
  constexpr std::int32_t kShortestMs = 100;
  constexpr std::int32_t kLongestMs = 86'400'000;
  if (session.id == SessionId{}) {
    return "gave a session without a number";
  }
  if (session.timeout_ms < kShortestMs || session.timeout_ms > kLongestMs) {
    return "gave a session with a time-out of " + std::to_string(session.timeout_ms) + " ms";
  }
  return "";
}

Session session_of(zhandle_t* zh) {
  const clientid_t id = *zoo_client_id(zh);
  Session session;
  static_assert(sizeof(id.passwd) == sizeof(session.password));
  session.id = SessionId{id.client_id};
  std::memcpy(session.password.data(), id.passwd, session.password.size());
  session.timeout_ms = zoo_recv_timeout(zh);
  return session;
}

constexpr const char* kCredentialsRefused =
    "the ZooKeeper servers refuse the agent's credentials; correct the file that zookeeper_credentials names, and "
    "reload "
    "the agent";
constexpr const char* kCredentialsMissing =
    "the ZooKeeper servers demand authentication (enforce.auth.enabled) and the agent has no credentials: write "
    "user:password into a file, name it in zookeeper_credentials, and reload the agent";
constexpr const char* kSessionIsLocal =
    "the ZooKeeper servers give local sessions, which cannot hold registrations: set "
    "localSessionsUpgradingEnabled=true "
    "on them, or localSessionsEnabled=false";
constexpr const char* kSchemeNotOffered =
    "the ZooKeeper servers demand authentication (enforce.auth.enabled) by another scheme than digest, and the agent "
    "offers only that: add digest to their enforce.auth.schemes";

// An ACL in the library's form. Views what it is made of, and is not changed by the library.
class LibraryAcl {
 public:
  explicit LibraryAcl(const Acl& acl) {
    for (const AclEntry& entry : acl) {
      entries_.push_back(
          {entry.permissions, {const_cast<char*>(entry.scheme.c_str()), const_cast<char*>(entry.id.c_str())}});
    }
    vector_ = {static_cast<std::int32_t>(entries_.size()), entries_.data()};
  }
  const ACL_vector* get() const { return &vector_; }

 private:
  std::vector<ACL> entries_;
  ACL_vector vector_{};
};

// The library asserts that it gets its two threads, and so ends the process where the system has none to give.
bool threads_can_be_had() {
  std::latch done(1);
  const auto wait = [&] { done.wait(); };
  std::optional<std::jthread> first;
  std::optional<std::jthread> second;
  bool had = true;
  try {
    first.emplace(wait);
    second.emplace(wait);
  } catch (const std::system_error&) {
    had = false;
  }
  done.count_down();
  return had;
}

}  // namespace

struct ZkHandle::Callbacks {
  static void replied(const void* data, int rc, const Stat* stat, const char* value, int length) noexcept {
    // The library wants const; the object is ours and is not.
    auto* request = static_cast<Request*>(const_cast<void*>(data));
    ZkHandle& handle = *request->handle;
    core::ZkReply reply;
    reply.code = completion_code(rc);
    reply.stat = to_stat(stat);
    if (value != nullptr && length > 0) {
      reply.data.assign(value, static_cast<std::size_t>(length));
    }
    if (reply.code != core::ZkCode::ok) {
      reply.message = describe_code(rc);
    }
    handle.mailbox_->push(
        {handle.id_, request, request->internal, 0, core::ZkReplied{handle.epoch_, request->op, std::move(reply)}});
    tell_of_session(handle, rc);
  }
  // Of an expiry: either what the library says of all that was in flight, or a server's word on one request. A server
  // may say that and keep the connection, and answer pings, where two had the session; then no other word would ever
  // come.
  static void tell_of_session(ZkHandle& handle, int rc) noexcept {
    if (rc == ZSESSIONEXPIRED) {
      handle.mailbox_->push({handle.id_, nullptr, false, 0, core::ZkExpired{handle.epoch_}});
    } else if (demands_authentication(rc)) {
      handle.mailbox_->push(
          {handle.id_, nullptr, false, 0,
           core::ZkAuthFailed{handle.epoch_,
                              handle.access_->credentials.empty() ? kCredentialsMissing : kSchemeNotOffered}});
    }
  }

  static void on_void(int rc, const void* data) noexcept { replied(data, rc, nullptr, nullptr, 0); }
  static void on_stat(int rc, const Stat* stat, const void* data) noexcept { replied(data, rc, stat, nullptr, 0); }
  static void on_string(int rc, const char*, const void* data) noexcept { replied(data, rc, nullptr, nullptr, 0); }
  static void on_data(int rc, const char* value, int length, const Stat* stat, const void* data) noexcept {
    replied(data, rc, stat, value, length);
  }
  static void on_transaction(int rc, const void* data) noexcept {
    const auto* request = static_cast<const Request*>(data);
    ZkHandle& handle = *request->handle;
    request->transaction->set_done(rc);
    if (demands_global_session(rc)) {
      handle.mailbox_->push({handle.id_, nullptr, false, 0, core::ZkLimited{handle.epoch_, kSessionIsLocal}});
    }
    if (request->transaction->refused()) {
      // At once: where the server closes the connection behind this answer, the look is answered after the loss, and
      // nobody would ask why any more.
      handle.mailbox_->push({handle.id_, nullptr, false, 0, transaction_reply(*request)});
    }
    transaction_completed(data);
    tell_of_session(handle, rc);
  }
  static void on_look(int rc, const Stat* stat, const void* data) noexcept {
    static_cast<const Request*>(data)->transaction->set_looked(rc, stat);
    transaction_completed(data);
  }
  static void transaction_completed(const void* data) noexcept {
    auto* request = static_cast<Request*>(const_cast<void*>(data));
    if (request->transaction->completed()) {
      ZkHandle& handle = *request->handle;
      if (request->transaction->refused()) {
        handle.mailbox_->push({handle.id_, request, true});  // answered already
      } else {
        handle.mailbox_->push({handle.id_, request, false, 0, transaction_reply(*request)});
      }
    }
  }
  static core::ZkReplied transaction_reply(const Request& request) noexcept {
    const ZkHandle& handle = *request.handle;
    const SessionId session{zoo_client_id(handle.zh_.load())->client_id};
    core::ZkReply reply = request.transaction->reply(session);
    if (request.alone && !reply.batch.empty()) {
      core::ZkReply of_the_one = std::move(reply.batch.front());
      reply = std::move(of_the_one);
    }
    return {handle.epoch_, request.op, std::move(reply)};
  }
  static void ignore_void(int, const void*) noexcept {}

  // For the session. One callback per transition, in order with the completions.
  static void on_session(zhandle_t* zh, int type, int state, const char*, void* context) noexcept {
    if (type != ZOO_SESSION_EVENT) {
      return;
    }
    ZkHandle& handle = *static_cast<ZkHandle*>(context);
    Mail mail;
    mail.handle = handle.id_;
    if (state == ZOO_CONNECTED_STATE) {
      handle.zh_.store(zh);
      const Session session = session_of(zh);
      const auto server = connected_server(zh);
      const std::string name = server ? to_string(*server) : "";
      if (const std::string why = absurdity(session); !why.empty()) {
        mail.complaint = (name.empty() ? "a server" : name) + " " + why;
        mail.server = server.value_or(tcp::endpoint());
      } else {
        handle.show_credentials(zh);
        mail.losses = handle.log_->losses();
        mail.event = core::ZkConnected{handle.epoch_, session, name};
      }
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
      mail.event = core::ZkExpired{handle.epoch_};
    } else if (state == ZOO_AUTH_FAILED_STATE) {
      mail.event = core::ZkAuthFailed{handle.epoch_, kCredentialsRefused};
    } else {
      mail.event = core::ZkDisconnected{handle.epoch_};
    }
    handle.mailbox_->push(std::move(mail));
  }

  // For znodes. Session events come here too, once for each znode; they are told by on_session.
  static void on_znode(zhandle_t*, int type, int, const char* path, void* context) noexcept {
    if (type == ZOO_SESSION_EVENT || path == nullptr) {
      return;
    }
    ZkHandle& handle = *static_cast<ZkHandle*>(context);
    std::string_view inside(path);
    if (inside.starts_with(handle.chroot_)) {
      inside.remove_prefix(handle.chroot_.size());
    }
    handle.mailbox_->push({handle.id_, nullptr, false, 0, core::ZkWatchFired{handle.epoch_, std::string(inside)}});
  }
};

ZkHandle::ZkHandle(std::uint64_t id, core::Epoch epoch, std::string chroot, std::shared_ptr<const Access> access,
                   std::shared_ptr<Mailbox> mailbox, LogSink log)
    : id_(id),
      epoch_(epoch),
      chroot_(std::move(chroot)),
      access_(std::move(access)),
      mailbox_(std::move(mailbox)),
      log_(std::make_shared<LibraryLog>(std::move(log))) {}

ZkHandle::~ZkHandle() {
  assert(zh_.load() == nullptr);
}

Status ZkHandle::open(const Endpoints& endpoints, std::int32_t timeout_ms, const std::optional<Session>& session) {
  endpoints_ = endpoints;
  lease_.emplace(log_);
  // Both hold for the whole process. The order of the list is ours, and the library is to leave the system's random
  // numbers alone, which it would seed anew in each round of attempts.
  zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
  zoo_deterministic_conn_order(1);

  clientid_t id{};
  if (session) {
    id.client_id = session->id.value;
    std::memcpy(id.passwd, session->password.data(), sizeof(id.passwd));
  }
  zhandle_t* zh = nullptr;
  const bool threads = threads_can_be_had();
  if (std::string broken = threads ? broken_assumption() : ""; !broken.empty()) {
    lease_.reset();
    return {Errc::io, std::move(broken)};
  }
  if (threads) {
    zh = zookeeper_init2(library_list(pad_to_odd(endpoints)).c_str(), &Callbacks::on_session, timeout_ms,
                         session ? &id : nullptr, this, ZOO_NO_LOG_CLIENTENV, lease_->callback());
  }
  if (zh == nullptr) {
    const std::string why = std::generic_category().message(threads ? errno : EAGAIN);
    lease_.reset();
    return {Errc::io, "cannot make a ZooKeeper handle: " + why};
  }
  zoo_set_servers_resolution_delay(zh, -1);
  show_credentials(zh);
  zh_.store(zh);
  return {};
}

// Right after the handle is made, so that they go out with its first connection. Between two attempts at a connection
// the library takes none (ZOOKEEPER-800); then it is when the first connection stands, before anything is sent on it.
// Later would not do: the library puts them in front of what it is just sending.
void ZkHandle::show_credentials(_zhandle* zh) {
  if (access_->credentials.empty()) {
    return;
  }
  const std::lock_guard lock(credentials_mutex_);
  credentials_shown_ = credentials_shown_ || zoo_add_auth(zh, "digest", access_->credentials.data(),
                                                          static_cast<int>(access_->credentials.size()),
                                                          &Callbacks::ignore_void, nullptr) == ZOK;
}

bool ZkHandle::detach() {
  zhandle_t* zh = zh_.load();
  if (zh == nullptr) {
    return true;
  }
  const Parking parking(endpoints_);
  if (!parking.park(zh)) {
    // To close it now could end the session, and with it every registration.
    log_->note("could not let go of a ZooKeeper handle; it is left as it is");
    return false;
  }
  zookeeper_close(zh);
  zh_.store(nullptr);
  lease_.reset();
  return true;
}

bool ZkHandle::stands(std::uint64_t losses) const {
  return zoo_state(zh_.load()) == ZOO_CONNECTED_STATE && log_->losses() == losses;
}

core::ZkReply ZkHandle::submit(core::OpId op, const core::ZkRequest& request) {
  core::ZkReply refused;
  if (request.path.empty() || request.path.front() != '/') {
    refused.code = core::ZkCode::invalid_path;
    refused.message = "the path does not begin with a slash";
    return refused;
  }
  if (request.data.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    refused.code = core::ZkCode::refused;
    refused.message = "the data is larger than any server takes";
    return refused;
  }
  Request* context = take(op, false);
  int rc = ZOK;
  if (request.verb == core::ZkVerb::transaction) {
    rc = hand_in_transaction(request.batch, context);
  } else if (request.verb == core::ZkVerb::create) {
    // The library's call that answers the stat of what it creates is not known to servers before 3.5, nor to some that
    // are compatible: they cut the connection over it.
    context->alone = true;
    rc = hand_in_transaction(std::span(&request, 1), context);
  } else {
    rc = hand_in(request, full_path(request.path), context);
  }
  if (rc != ZOK) {
    release(context);
    refused.code = submit_code(rc);
    refused.message = describe_code(rc);
  }
  return refused;
}

int ZkHandle::hand_in(const core::ZkRequest& request, const std::string& path, Request* context) {
  zhandle_t* zh = zh_.load();
  const int length = static_cast<int>(request.data.size());
  const watcher_fn watcher = request.leave_watch ? &Callbacks::on_znode : nullptr;
  switch (request.verb) {
    case core::ZkVerb::create_parent: {
      const Acl entries = access_->acl_of_parents();
      // A container only so, and never in a transaction: see Transaction::hand_in.
      return zoo_acreate(zh, path.c_str(), "", 0, LibraryAcl(entries).get(),
                         access_->container_parents ? ZOO_CONTAINER : ZOO_PERSISTENT, &Callbacks::on_string, context);
    }
    case core::ZkVerb::set:
      return zoo_aset(zh, path.c_str(), request.data.data(), length, request.version, &Callbacks::on_stat, context);
    case core::ZkVerb::remove:
      return zoo_adelete(zh, path.c_str(), request.version, &Callbacks::on_void, context);
    case core::ZkVerb::read:
      return zoo_awget(zh, path.c_str(), watcher, this, &Callbacks::on_data, context);
    case core::ZkVerb::watch:
      return zoo_awexists(zh, path.c_str(), watcher, this, &Callbacks::on_stat, context);
    case core::ZkVerb::look:
      return zoo_aexists(zh, path.c_str(), 0, &Callbacks::on_stat, context);
    case core::ZkVerb::sync:
      return zoo_async(zh, path.c_str(), &Callbacks::on_string, context);
    case core::ZkVerb::create:
    case core::ZkVerb::check:
    case core::ZkVerb::transaction:
      break;
  }
  assert(false);
  return ZBADARGUMENTS;
}

int ZkHandle::hand_in_transaction(std::span<const core::ZkRequest> requests, Request* context) {
  context->transaction = std::make_shared<Transaction>(requests);
  LibraryAcl acl(access_->acl);
  return context->transaction->hand_in(zh_.load(), requests, chroot_, acl.get(), &Callbacks::on_transaction,
                                       &Callbacks::on_look, context);
}

void ZkHandle::create_chroot() {
  for (std::size_t slash = chroot_.empty() ? std::string::npos : 0; slash != std::string::npos;) {
    slash = chroot_.find('/', slash + 1);
    const std::string path = chroot_.substr(0, slash);
    Request* context = take({}, true);
    const core::ZkRequest create{core::ZkVerb::create_parent, path, "", -1};
    if (hand_in(create, path, context) != ZOK) {
      release(context);
    }
  }
}

std::string ZkHandle::full_path(const std::string& path) const {
  return path == "/" && !chroot_.empty() ? chroot_ : chroot_ + path;
}

Request* ZkHandle::take(core::OpId op, bool internal) {
  if (free_.empty()) {
    requests_.emplace_back();
    free_.push_back(&requests_.back());
  }
  Request* request = free_.back();
  free_.pop_back();
  *request = {this, op, internal, {}};
  return request;
}

}  // namespace limpet::zk
