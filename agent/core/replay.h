// What goes to ZooKeeper next, and in which order.
//
// For each znode path that concerns us there is one Node: what is wanted there (a registration's content, or nothing),
// what is known to stand there, and how far we are. Whatever differs is open, in the order of its seq, and is brought
// into line through a window of requests in flight on the one session, which keeps their order (FIFO).
//
// Order (P2): a write leaves only when nothing before it still has to be read, so every surprise is known before
// anything behind it is created. An unknown outcome makes its node unread again, and so holds back what follows. A
// refusal sets its node aside (conflict, blocked) and holds up nothing.
//
// Queued writes go out as transactions, several in flight (replay_batch.cc): one entry in the servers' log for many.
// Owned by Core; no clock, no I/O.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/core/ascending_map.h"
#include "agent/core/event.h"
#include "agent/core/figures.h"
#include "agent/core/known_parents.h"
#include "agent/core/pacer.h"
#include "agent/core/path_budget.h"
#include "agent/core/quick_table.h"
#include "agent/core/registry.h"
#include "agent/core/replay_effects.h"
#include "agent/core/session.h"
#include "agent/core/window.h"

namespace limpet::core {

class Replay {
 public:
  using Effects = ReplayEffects;
  struct Node;
  // How far a node is, as people are told. withdrawn: a live registration's znode that is not to be there for now,
  // whether it is gone yet or not.
  enum class Phase : std::uint8_t { pending, confirmed, conflict, blocked, removing, withdrawn };
  static constexpr std::size_t kPhaseCount = 6;

  Replay(const Options& options, const Registry& registry, const SessionMachine& session);

  // Preallocates the node. Called for all registrations at start, so that short-lived start-up allocations do not
  // fragment the long-lived ones.
  void expect(const SharedRegistration& registration, bool known) { node_at(registration, known); }
  // `known` is false after a restart: requests of the last run may have gone unrecorded. `there`: at() of its path.
  void want_present(const SharedRegistration& registration, bool known, Node* there);
  void want_absent(const Removal& removal, bool known, Effects& effects);
  // The registration stays, but its znode is to go until want_present().
  void want_withdrawn(const SharedRegistration& registration, bool known, Effects& effects);
  // What the last run recorded as confirmed. After want_present of the same registration.
  void remember(const RegistrationId& id, const Outcome& outcome);
  // A znode at `path` stood in an earlier run.
  void presume_parents(const std::string& path) { known_parents_.presume_above(path); }

  // The session is usable (again); `fresh`: it is new, and all earlier ones have surely ended.
  void resume(bool fresh, Now now, Effects& effects);
  // No connection: requests in flight have an unknown outcome, also those that are never answered.
  void lost(Now now, Effects& effects);
  // The session has surely ended, and every znode of ours with it. After lost(), or in resume().
  void forget_session(Effects& effects);

  void replied(OpId op, const ZkReply& reply, Now now, Effects& effects);
  // The next connection differs from the last in what may have been refused.
  void forget_last_refusal() { refused_last_.clear(); }
  void watch_fired(const std::string& path);
  // The parent at `path` was removed, or is to be.
  void parent_gone(const std::string& path) { known_parents_.forget(path); }
  // From now on so many writes a second at most; 0: as many as there are.
  void set_rate(std::uint32_t rate) { window_.set_rate(rate); }
  void limits_changed() { room_grew_ = true; }
  // Sends what may be sent now.
  void pump(Now now, Effects& effects);
  // When pump() wants to be called next though nothing happens.
  std::optional<std::int64_t> deadline() const;

  // ---- For the API
  // What is wanted at `path` and known of it, for the questions below; null: nothing. Valid until the next change here.
  const Node* at(const std::string& path) const { return find_node(path); }
  Node* at(const std::string& path) { return find_node(path); }
  static Phase phase(const Node* node);
  // True where the content of change `seq` is confirmed.
  static bool confirmed(const Node* node, Seq seq);
  // True where change `seq` is what is wanted, and no request for it has gone out.
  static bool unsent(const Node* node, Seq seq);
  // True where the znode has to be read first: its state after an earlier run or a lost connection is unknown.
  static bool doubtful(const Node* node);
  // True where no znode of ours stands there, nor may come to stand there by what was sent.
  static bool unpublished(const Node* node);
  // True where a live registration is withdrawn, and its znode stands as far as ZooKeeper has confirmed.
  static bool withdrawing(const Node* node);
  static const Reason* set_aside_reason(const Node* node);
  static std::optional<Outcome> znode(const Node* node);
  ReplayFigures figures() const;
  std::uint64_t depth() const { return open_.size(); }
  std::uint64_t depth_of(std::uint32_t uid) const;
  std::uint64_t bytes() const { return open_bytes_; }
  // Of the packet that ends the session, and of the one that sets all watches anew, as they would be now.
  std::uint64_t session_bytes() const { return session_bytes_; }
  std::uint64_t watch_bytes() const { return watch_bytes_; }
  std::uint64_t held_back() const { return held_.size(); }
  std::uint64_t count(Phase phase) const { return counts_[static_cast<std::size_t>(phase)]; }
  // The open nodes in order: (seq, a live registration's?) -> node.
  using Key = std::pair<Seq, bool>;  // of one change, the removal comes first
  using Line = AscendingMap<Key, Node*>;
  const Line& open() const { return open_; }
  static const std::string& path_of(const Node& node);
  static bool withdraws(const Node& node);
  static const RegistrationId& id_of(const Node& node);

  ~Replay();
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

 private:
  enum class Remote : std::uint8_t;  // replay_node.h
  enum class Place : std::uint8_t;
  enum class Budget : std::uint8_t;
  struct Flight {
    ZkVerb verb = ZkVerb::sync;
    Node* node = nullptr;         // of a read or write, and kept for as long
    std::string path = {};        // of what has none: an audit, whose node may go meanwhile, or a parent
    Seq seq = {};                 // whose content was sent
    Key key = {};                 // of a read: what it holds back
    bool present = false;         // what was wanted when it was sent
    bool clears_the_way = false;  // a removal with the create of the same znode right behind it
    std::int64_t sent_ms = 0;
    bool watches = false;            // leaves a watch, unless it is refused
    bool reserved = false;           // which watch_bytes_ counts already
    bool rides_along = false;        // a removal in the transaction of the write for which it was held
    SharedRegistration change = {};  // of a parent: for which it is created
  };
  // A transaction in flight.
  struct Batch {
    std::vector<Flight> parts;            // what it is made of
    std::size_t checks = 0;               // that stand before them
    std::uint64_t before = 0;             // the newest transaction that those are about
    std::vector<ZkRequest> anchors = {};  // hold where it was done; none: not to be told, or it was not
    std::uint64_t anchor_bytes = 0;
  };

  struct PathOf {
    static std::string_view key(const Node& node);
  };

  Node* find_node(std::string_view path) const;
  Node& node_at(const SharedRegistration& change, bool known);
  std::vector<std::pair<Key, Node*>> in_order() const;
  enum class Want { gone, withdrawn, present };
  void want(Node& node, const SharedRegistration& change, Want what);
  void want_no_more(Node& node, Effects& effects);
  void set_phase(Node& node, Phase phase);
  void open_node(Node& node);
  void close_node(Node& node);
  void take_out(Node& node);
  void stop_waiting(Node& node);
  void enqueue(Node& node);
  void queue_audit(Node& node);
  bool in_line(const Node& node) const;
  void confirm(Node& node, Now now, Effects& effects);
  void finish_removal(Node& node, Effects& effects);
  void record(Happening what, const Node& node, Seq seq, std::string why, Effects& effects) const;
  static void changed(Effects& effects);
  void settle(Node& node, Now now, Effects& effects);
  void retry_later(Node& node, Now now);
  void convict(Node& node, Now now, Effects& effects);
  void set_aside(Node& node, Phase phase, ReasonCode code, std::string message, Now now, Effects& effects);
  void refused(Node& node, const Flight& flight, const ZkReply& reply, Now now, Effects& effects);

  // ---- replay_move.cc
  bool must_wait_for_move(const Node& removal) const;
  std::vector<Node*> removals_held_for(const Node& node) const;
  std::uint64_t bytes_freed_by(const std::vector<Node*>& removals) const;
  void reconsider_removals(const RegistrationId& id);
  static Flight begin_ride(Node& removal, Now now);

  Flight begin_flight(Node& node, ZkVerb verb, Now now);
  static Flight begin_clearing(Node& node, Now now);
  void send(Flight flight, ZkRequest request, Actions& actions);
  void send_read(Node& node, Now now, Actions& actions);
  void send_audit(Node& node, Actions& actions);
  void send_parents(const Node& node, bool presume, Actions& actions);
  void send_looks(Actions& actions);
  ZkRequest write_of(const Node& node);
  ZkRequest removal_of(const Node& node);
  void send_write(Node& node, Now now, Actions& actions);
  void send_writes(Now now, Effects& effects);
  void send_by_itself(Node& node, Now now, Actions& actions);
  std::vector<Node*> next_batch(Now now);
  std::uint64_t wire_bytes(const Node& node) const;
  std::uint64_t anchor_bytes() const;
  bool goes_alone(const Node& node) const;
  bool may_send(const Node& first, Now now);
  bool may_follow() const;
  void send_batch(const std::vector<Node*>& nodes, Now now, Actions& actions);
  void batch_replied(std::uint64_t op, const Batch& batch, const ZkReply& reply, Now now, Effects& effects);
  void part_failed(const Batch& batch, std::size_t part, const ZkReply& reply, Now now, Effects& effects);
  static void settle_alone(const Batch& batch);
  void send_audits(Now now, Actions& actions);
  void send_sync(Actions& actions);
  bool may_write(const Key& key) const;
  void drop_idle_parents();

  void way_cleared(Node& node, const ZkReply& reply);
  void replied(const Flight& flight, const ZkReply& reply, Now now, Effects& effects);
  void lost(const Flight& flight, std::vector<std::string>& writes);
  void parent_replied(const Flight& flight, const ZkReply& reply, Effects& effects);
  static Parent created_for(const Flight& flight);
  void look_replied(const Flight& flight, const ZkReply& reply, Effects& effects);
  void read_replied(Node& node, const Flight& flight, const ZkReply& reply, Now now, Effects& effects);
  void audit_replied(Node& node, const ZkReply& reply, Effects& effects);
  void write_replied(Node& node, const Flight& flight, const ZkReply& reply, Now now, Effects& effects);
  void retry_due(Now now);

  // ---- replay_budget.cc
  std::uint64_t path_bytes(const Node& node) const;
  std::uint64_t path_bound() const;
  static bool creates(const Node& node);
  bool fits(const Node& node) const;
  bool awaits_answers() const;
  void learn(Node& node, Remote remote);
  void count_in_session(Node& node, bool may_stand);
  void session_begins();
  void hold_back(Node& node, Now now, Effects& effects);
  void stop_holding(Node& node);
  void release_held();
  void shed_excess(Now now, Effects& effects);
  void shed(Node& node, WallMs since);
  void tell_held(Effects& effects);
  void reserve_watch(const std::string& path, Flight& flight);
  void watch_answered(const Flight& flight, const ZkReply& reply);
  void watch_gone(const std::string& path);

  const Options& options_;
  const Registry& registry_;
  const SessionMachine& session_;
  std::mt19937_64 random_;
  Window window_;
  Pacer pacer_;

  QuickTable<std::unique_ptr<Node>, PathOf> nodes_;
  Line open_;        // everything that is not as wanted
  Line read_ready_;  // what stands there must be read first
  std::multiset<Key> read_flying_;
  Line write_ready_;
  std::set<Key> waiting_;                  // wanted anew while a request for what was wanted before is in flight
  std::deque<SharedRegistration> audits_;  // whose znodes, once confirmed, are to be looked at, and watched
  std::multimap<std::int64_t, std::string> retries_;  // steady ms -> set aside

  std::unordered_map<std::uint64_t, Flight> flights_;
  std::uint64_t next_op_ = 1;
  std::int64_t audit_share_began_ms_ = 0;
  std::uint32_t audit_share_left_ = 0;
  std::int64_t next_full_audit_ms_ = 0;
  std::uint32_t audits_flying_ = 0;
  std::uint32_t reads_and_writes_flying_ = 0;
  // The path of the write whose refusal was the last answer on this connection, if that was one: a server may close the
  // connection right behind it. Then it waits for its next try on the next connection, too.
  std::string refused_last_;
  bool running_ = false;  // the session is usable
  bool synced_ = false;   // reads on this connection are not older than its beginning
  bool sync_flying_ = false;

  std::map<std::uint64_t, Batch> batches_;  // in flight
  std::uint64_t last_done_batch_ = 0;

  KnownParents known_parents_;
  std::deque<std::pair<std::string, SharedRegistration>> looks_;  // parents whose czxid is to be read, and for whom
  std::uint32_t looks_flying_ = 0;

  std::uint64_t session_bytes_ = kPacketHeadBytes;  // with all znodes that may stand under counted_for_
  SessionId counted_for_;
  Line held_;               // held back
  bool room_grew_ = false;  // some of those may fit now
  bool held_told_ = false;
  std::uint64_t watch_bytes_ = kPacketHeadBytes;  // with what is watched, and what is being asked for with a watch
  std::unordered_set<std::string> watched_;       // on the handle of watch_epoch_
  Epoch watch_epoch_;

  std::uint64_t open_bytes_ = 0;
  std::unordered_map<std::uint32_t, std::uint64_t> open_of_;  // by the uid of their owner
  std::uint64_t counts_[kPhaseCount] = {};
  ReplayFigures figures_;  // what is counted of it
};

}  // namespace limpet::core
