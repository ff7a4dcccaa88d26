// A ZooKeeper ensemble and the agent's handle on it, in memory, stepped by a test.
//
// What it claims to be like the real thing (confirmed on real servers by tests/ensemble and tests/parity):
// - requests of a handle are applied and answered in their order; when the connection breaks, a prefix of those under
//   way was applied, and each without an answer ends as unknown_outcome, after ZkDisconnected;
// - what is sent while there is no connection is answered not_sent;
// - a transaction is done whole, with one zxid, or not at all; the answer then names the request at fault;
// - a watch fires once; a new connection of the same handle sets its watches again, and those whose znode changed
//   meanwhile fire; a new handle has none;
// - a session outlives its connection by its time-out, and the loss of the quorum by a whole time-out after that;
// - a request that holds the poison mark is larger than the servers take: they cut the connection, and it never
// happens;
// - a new connection may be to a follower that lags: reads are stale until a sync or a write of our own.
// Time is the ManualClock's: the test asks next_at() when something is due, and run_one() lets it happen. All chance
// is drawn from the seed. One thread; the sink is called by run_one() only.
#pragma once

#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/zk/ensemble.h"
#include "tests/support/fake_znodes.h"
#include "tests/support/manual_clock.h"
#include "tests/support/rng.h"

namespace limpet::test {

struct FakeEnsembleOptions {
  std::int64_t min_latency_ms = 0;  // one way, of a request and of its reply
  std::int64_t max_latency_ms = 2;
  std::int64_t max_connect_ms = 300;    // from looking for a server to having one
  std::int32_t granted_timeout_ms = 0;  // 0: what was asked
  std::int32_t asked_timeout_ms = 10'000;
  double lag_chance = 0;            // of a new connection being to a follower that lags
  double throttle_chance = 0;       // of a request being refused as `throttled`
  double silent_expiry_chance = 0;  // of an expiry that is told without ZkDisconnected and without further replies
};

class FakeEnsemble final : public zk::Ensemble {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  enum class SessionEnd { timed_out, forced, wiped, closed };

  // Sees each request of the agent when the servers answer it, and of a transaction that is refused the one at
  // fault and all others that would have been refused for another's znode in their way. `before`: the znode of its path
  // at that moment.
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void on_request(const core::ZkRequest& request, const core::ZkReply& reply,
                            const std::optional<Znode>& before, SessionId by) = 0;
    virtual void on_transaction(const Txn& txn) = 0;
    virtual void on_session_begin(const Session& session) = 0;
    virtual void on_session_end(SessionId session, SessionEnd why) = 0;
  };

  // `clock` and `observer` (may be null) must outlive this object.
  FakeEnsemble(ManualClock& clock, std::uint64_t seed, FakeEnsembleOptions options, Sink sink, Observer* observer);

  // ---- zk::Ensemble
  void start(const core::ZkStart& start) override;
  void stop(const core::ZkStop& stop) override;
  void send(core::ZkSend request) override;

  // ---- Time
  std::int64_t next_at() const;  // steady ms; kNever: nothing will happen by itself
  bool run_one();                // does the next thing that is due by now; false: nothing is

  // ---- Faults
  void cut();                         // the connection breaks; the handle looks for another
  void set_network(bool up);          // no server can be reached
  void set_quorum(bool up);           // servers can be reached, but serve nobody; coming back is a new leader
  void set_auth_broken(bool broken);  // credentials are refused
  void set_frozen(bool frozen);       // the agent's process stands still: no pings, no deliveries
  void process_died();                // the handle is gone without a word
  void expire(SessionId session, bool leave_ghost = false);  // the servers end it now
  void close_session();  // the client says goodbye: what the agent must never do unasked
  void refuse_next_reattach() { refuse_reattach_ = true; }      // as servers do that cannot re-attach
  void wipe();                                                  // the servers lost everything
  void roll_back(std::int64_t transactions);                    // restored from a backup so much older
  void poison(std::string mark) { poison_ = std::move(mark); }  // creates and sets with this in their data
  // Another process re-attaches to this session whenever we do, so that our connection is cut, for so long.
  void rival(SessionId session, std::int64_t for_ms);
  void end_rival() { rival_until_ = 0; }
  // All sessions of the agent are from here on somebody else's, who holds them for so long.
  void estrange_sessions(std::int64_t lives_ms);
  void deny(const std::string& prefix, core::ZkCode code) { denied_[prefix] = code; }
  void allow_all() { denied_.clear(); }
  void set_options(const FakeEnsembleOptions& options) { options_ = options; }
  const FakeEnsembleOptions& options() const { return options_; }

  // ---- Others, who write where we do
  SessionId foreign_session(std::int64_t lives_ms);  // ends by itself after that
  void settle_foreign_sessions(bool end);            // they all end now, or live for ever
  bool outsider_create(const std::string& path, const std::string& data, SessionId owner);  // 0: persistent
  bool outsider_set(const std::string& path, const std::string& data);
  bool outsider_remove(const std::string& path);  // with everything below it

  // ---- What the test may look at
  const FakeZnodes& znodes() const { return znodes_; }
  bool session_alive(SessionId id) const { return sessions_.contains(id); }
  std::uint64_t connects() const { return connects_; }      // of the agent
  std::uint64_t poisonings() const { return poisonings_; }  // connections cut for a request's sake
  bool serving() const { return network_ && quorum_; }
  bool connected() const { return handle_ && handle_->connected; }
  bool connected_for(std::int64_t ms) const;  // without a break, at least so long
  std::size_t in_flight() const;              // requests of the present handle without a delivered reply
  std::optional<SessionId> attached_session() const;

 private:
  struct ServerSession {
    Session session;
    bool foreign = false;
    Zxid begun;
    std::int64_t deadline = kNever;  // kNever: somebody pings it
  };
  struct Request {
    std::int64_t at;
    core::OpId op;
    core::ZkRequest request;
  };
  struct Outgoing {
    std::int64_t at;
    bool wire;  // comes over the connection, so that it can be lost with it
    core::Event event;
    std::optional<std::pair<std::string, bool>> sets_watch;  // path, and whether a znode stood there
    Zxid zxid;                                               // of the server when it said this
  };
  struct ServerWatch {
    bool exists;  // a znode stood there
    Zxid since;
  };
  struct Handle {
    core::Epoch epoch;
    std::optional<Session> session;
    Zxid last_zxid;
    bool connected = false;
    bool dead = false;
    bool loss_untold = false;  // the connection broke, and the core has not yet been told
    std::int64_t connect_at = kNever;
    std::int64_t connected_since = 0;
    std::int64_t rival_at = kNever;   // the other process takes the session over
    std::int64_t refused_since = -1;  // for being ahead of wiped servers
    std::optional<Zxid> view;         // of a lagging follower; nullopt: up to date
    std::int64_t view_until = kNever;
    std::deque<Request> to_server;
    std::map<std::string, bool> watches;  // the library's: path, and whether a znode stood there
    std::map<std::string, ServerWatch> server_watches;
  };

  std::int64_t latency();
  void push(core::Event event, bool wire, std::optional<std::pair<std::string, bool>> sets_watch = std::nullopt);
  void deliver();
  bool deliver_late();
  void library_receives(const Outgoing& out);
  void apply_next();
  bool poisonous(const core::ZkRequest& request) const;
  core::ZkReply apply(const core::ZkRequest& request);
  core::ZkReply execute(const core::ZkRequest& request);
  core::ZkReply apply_transaction(const std::vector<core::ZkRequest>& requests);
  std::optional<core::ZkCode> denial(const core::ZkRequest& request) const;
  void try_connect();
  bool take_over_session();
  void begin_connection();
  void set_watches_again();
  void lose_connection(bool told);
  void end_handle(core::Event last_word);
  void drop_handle();
  void catch_up();
  void fire_watches(const std::string& path);
  void on_txn(const Txn& txn);
  void end_session(SessionId id, SessionEnd why, const std::string& spared);
  void expire(SessionId session, SessionEnd why, bool leave_ghost);
  std::int64_t earliest_deadline() const;
  std::int64_t lease(const Session& session);

  ManualClock& clock_;
  Rng rng_;
  FakeEnsembleOptions options_;
  Sink sink_;
  Observer* observer_;

  FakeZnodes znodes_;
  std::map<SessionId, ServerSession> sessions_;
  std::map<std::string, core::ZkCode> denied_;
  bool network_ = true;
  bool quorum_ = true;
  bool auth_broken_ = false;
  bool frozen_ = false;
  bool refuse_reattach_ = false;
  std::string poison_;
  SessionId rival_session_;
  std::int64_t rival_until_ = 0;
  std::uint64_t connects_ = 0;
  std::uint64_t poisonings_ = 0;
  std::vector<std::pair<Zxid, ServerSession>> ended_;  // sessions, and the newest zxid before their end
  std::int64_t next_session_ = 0x1000;

  std::optional<Handle> handle_;
  std::deque<Outgoing> to_client_;
  std::vector<Outgoing> late_;  // what handles that were let go still say, on threads of their own
};

}  // namespace limpet::test
