// What reaches ZooKeeper, judged by the order of its transactions.
//
// Judges I3b and I3c (order), I5 (nothing that was never accepted), I6 (no blink, also of what moves to another path),
// I8 (no trespass), that a session is on disk before its first create, that nothing is written which is not durable,
// that nothing superseded is sent, the window, and that no living session is given up. Sees every request and
// transaction of the FakeEnsemble. Owned by Simulation.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "tests/sim/model.h"
#include "tests/support/fake_ensemble.h"

namespace limpet::test {

class Judge final : public FakeEnsemble::Observer {
 public:
  // What is passed must outlive this object.
  Judge(const FakeStore& store, const Model& model, const ManualClock& clock, Verdict& verdict)
      : store_(store), model_(model), clock_(clock), verdict_(verdict) {}
  void attach(const FakeEnsemble* ensemble) { ensemble_ = ensemble; }
  // The create of this registration is held back, because the packet that ends the session has no room for its path: it
  // is sent when others have made room, after later ones.
  void held_back(const RegistrationId& id, Seq seq) { held_back_.emplace(id, seq); }
  // From here on the packet that ends a session of ours must not become larger than this by a create.
  void bound_sessions(std::uint64_t bytes, std::uint32_t chroot_bytes) {
    session_bound_ = bytes;
    chroot_bytes_ = chroot_bytes;
  }

  // ---- The driver's reports
  void persisting(const core::Persist& persist);
  void starting(const core::ZkStart& start);
  void sending(const core::ZkSend& send, std::size_t in_flight, std::uint32_t window);
  void told_expired(SessionId session) { told_expired_.insert(session); }
  void thawed() { calm_since_ = clock_.steady_ms(); }
  // The state directory is another machine's from here on: what sessions it knows are a stranger's.
  void estrange();
  // From here on, the order at and below this path is nobody's fault.
  void exempt(const std::string& path) { exempt_.insert(path); }

  // Something may have withdrawn this registration, or all of them: it comes and goes, in an order of its own.
  void held(const std::optional<RegistrationId>& id) {
    if (id) {
      held_ids_.insert(*id);
    } else {
      all_held_ = true;
    }
  }

  // What the core calls settled is so, unless somebody else interfered since.
  void check_settled(const core::Core& core);

  // One content was accepted for this path, and nothing was ever sent for it.
  bool untouched(const std::string& path) const;
  bool is_ours(SessionId session) const { return ours_.contains(session); }
  // A backup that was restored brought back what had been deregistered, under a session that is still ours. Nobody
  // can know that, and it stays until the session ends.
  bool resurrected(const std::string& path, const Znode& znode) const {
    const auto it = resurrected_.find(path);
    return it != resurrected_.end() && it->second == znode.stat.czxid;
  }
  // True where the registration of that name was ever accepted for `path`.
  bool was_placed(const std::string& name, const std::string& path) const;
  std::uint64_t writes() const { return writes_; }

  // ---- FakeEnsemble::Observer
  void on_request(const core::ZkRequest& request, const core::ZkReply& reply, const std::optional<Znode>& before,
                  SessionId by) override;
  void on_transaction(const Txn& txn) override;
  void on_session_begin(const Session& session) override { ours_.insert(session.id); }
  void on_session_end(SessionId session, FakeEnsemble::SessionEnd why) override;

 private:
  void sending_content(const core::ZkRequest& request);
  bool exempted(const std::string& path) const;
  bool surely_known(std::int64_t since_ms) const;
  std::optional<Seq> seq_of(const std::string& path, const std::string& data) const;
  bool was_held(const std::string& path, const std::string& data) const;
  bool taken_by_held(const std::string& path, Seq content) const;
  void our_write(const Txn& txn);
  void our_removal(const Txn& txn);
  enum class Moves { none, some, only };
  Moves moves_away(const std::string& path, Seq content, const RegistrationId& id) const;
  void check_move(const Txn& txn, Seq content);
  void check_order(const Txn& txn, Seq seq);
  void check_owner(const Txn& txn);
  void check_session_packet(const Txn& txn);

  const FakeStore& store_;
  const Model& model_;
  const ManualClock& clock_;
  std::uint64_t session_bound_ = 0;  // 0: none
  std::uint32_t chroot_bytes_ = 0;
  Verdict& verdict_;
  const FakeEnsemble* ensemble_ = nullptr;

  std::set<SessionId> ours_;
  std::set<SessionId> told_expired_;
  std::set<SessionId> estranged_;
  std::map<std::string, Zxid> resurrected_;
  std::map<SessionId, Session> sessions_;  // that the store has held, with their passwords
  std::map<std::pair<std::string, std::string>, std::pair<Seq, RegistrationId>> contents_;  // (path, data) -> change
  std::map<std::string, std::set<Seq>> removals_;                                           // path -> asked for by
  std::map<Seq, RegistrationId> moves_;                                                     // changes of path
  std::map<RegistrationId, Seq> deregistered_;                                              // by the newest change
  std::map<RegistrationId, std::set<std::string>> places_;  // every path that was ever asked for
  std::map<RegistrationId, Seq> newest_of_;                 // newest content that ever stood anywhere
  std::set<std::string> exempt_;
  std::set<RegistrationId> held_ids_;
  bool all_held_ = false;
  std::set<Seq> superseded_;                           // as the history says
  std::set<std::string> disturbed_;                    // paths at which the newest transaction was not ours
  std::map<std::string, std::int64_t> foreign_since_;  // path -> steady ms
  std::int64_t calm_since_ = 0;
  std::uint64_t writes_ = 0;

  SessionId order_of_;  // the session that the next two are about
  Seq highest_;
  std::set<Seq> written_;
  std::map<std::string, Seq> newest_at_;  // path -> newest content that ever stood there
  std::set<std::pair<RegistrationId, Seq>> held_back_;
  std::set<std::string> sent_;  // paths of creates and sets
};

}  // namespace limpet::test
