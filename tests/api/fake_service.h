// A small agent for tests of the API: a real Core, a disk that never fails unless told to, and a ZooKeeper of
// its own that, once it serves, does all it is asked.
//
// Everything on the thread of its io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "agent/api/service.h"

namespace limpet::api {

class FakeService final : public Service {
 public:
  explicit FakeService(boost::asio::io_context& io, core::Options options = {});

  // ZooKeeper begins to serve, and answers all that is sent to it.
  void serve();
  // Writes fail from here on.
  void break_disk() { disk_ = Status(Errc::io, "the disk is broken"); }
  void stop_accepting() { accepting_ = false; }
  // Persist actions are kept back until release_disk().
  void hold_disk() { disk_held_ = true; }
  void release_disk();
  std::size_t waits() const { return waits_.size(); }
  // Processes that find_process does not know from here on.
  void end_process(std::int32_t pid) { ended_.insert(pid); }
  // How often a process was looked up.
  std::size_t lookups() const { return lookups_; }
  // From here on every pid is that of a process that began only now.
  void reuse_pids() { process_start_ticks_ = std::numeric_limits<std::uint64_t>::max(); }
  // This happened: it is in the history, and those who listen are told.
  void record(HistoryEntry entry);
  // The history up to this event is not kept any longer.
  void forget_history(std::uint64_t through);
  // Reads of the history are kept back until release_history().
  void hold_history() { history_held_ = true; }
  void release_history();
  const std::vector<HistoryQuery>& history_queries() const { return history_queries_; }
  std::size_t listeners() const { return listeners_.size(); }
  // Connections that ended, in their order.
  const std::vector<core::ConnectionId>& closed() const { return closed_; }
  // Of the change submitted last.
  const core::Caller& last_caller() const { return last_caller_; }

  void submit(core::Caller caller, std::vector<core::ChangeRequest> changes, ChangeDone done) override;
  void leave(core::Caller caller, ChangeDone done) override;
  void wait_settled(std::vector<std::pair<RegistrationId, Seq>> what, std::chrono::milliseconds timeout,
                    WaitDone done) override;
  // What reload() answers.
  ReloadResult reload_result;
  Removals last_removals = Removals::guarded;  // of the reload asked for last
  void reload(Removals removals, ReloadDone done) override;
  void heartbeat(core::Caller caller, RegistrationId id, ChangeDone done) override;
  void set_maintenance(core::Caller caller, std::optional<RegistrationId> id, std::optional<std::string> reason,
                       ChangeDone done) override;
  void prune(core::Prune prune, PruneDone done) override;
  std::variant<ProcessId, core::Problem> find_process(std::int32_t pid, const core::Caller& caller) override;
  void connection_closed(core::ConnectionId connection) override;
  void history(HistoryQuery query, HistoryDone done) override;
  std::uint64_t listen(HistoryListener listener) override;
  void stop_listening(std::uint64_t listener) override { listeners_.erase(listener); }
  void forbidden(const core::Caller& caller, std::string_view code, const std::string& target) override {
    forbidden_.push_back(std::to_string(caller.owner.uid) + " " + std::string(code) + " " + target);
  }
  void append_metrics(std::string& out) override { out += "limpet_up 1\n"; }
  const core::Core& core() const override { return core_; }
  core::Now now() const override { return {1'000, 1'700'000'000'123}; }
  ProcessInfo process_info() override { return {"0.1.0", 42, 1'700'000'000'000, 40'960}; }
  const liveness::CheckPolicy& check_policy() const override { return checks_; }
  // What health checks may reach and run; commands, too, until a test says otherwise.
  liveness::CheckPolicy& checks() { return checks_; }
  bool accepting() const override { return accepting_; }

  // "uid code target" of each call that was forbidden.
  const std::vector<std::string>& forbidden_calls() const { return forbidden_; }

 private:
  std::vector<std::string> forbidden_;
  std::uint64_t process_start_ticks_ = 17;
  std::size_t lookups_ = 0;
  struct Wait {
    Wait(std::vector<std::pair<RegistrationId, Seq>> for_what, boost::asio::steady_timer until, WaitDone then)
        : what(std::move(for_what)), timer(std::move(until)), done(std::move(then)) {}
    std::vector<std::pair<RegistrationId, Seq>> what;
    boost::asio::steady_timer timer;
    WaitDone done;
  };

  struct Znode {
    std::string data;
    core::ZkStat stat;
  };

  core::Token add_caller(const core::Caller& caller, ChangeDone done);
  void step(core::Event event);
  // The same from the event loop, as a driver would.
  void step_later(core::Event event);
  void carry_out(core::Action action);
  void check_waits();
  bool settled(const Wait& wait) const;
  Result<HistoryPage> read_history(const HistoryQuery& query) const;
  core::ZkReply reply_to(const core::ZkRequest& request);
  core::ZkReply reply_to_all(const std::vector<core::ZkRequest>& requests);

  boost::asio::io_context& io_;
  core::Core core_;
  liveness::CheckPolicy checks_;
  bool accepting_ = true;
  bool disk_held_ = false;
  Status disk_;
  bool serving_ = false;
  core::Epoch epoch_;
  std::map<std::string, Znode> znodes_;
  std::int64_t last_zxid_ = 0x100;
  std::uint64_t last_token_ = 0;
  std::map<core::Token, ChangeDone> callers_;
  std::map<core::Token, PruneDone> prunes_;
  std::uint64_t last_prune_ = 0;
  std::uint64_t last_wait_ = 0;
  std::map<std::uint64_t, Wait> waits_;
  std::vector<std::uint64_t> held_tickets_;
  core::Caller last_caller_;
  std::set<std::int32_t> ended_;
  std::vector<core::ConnectionId> closed_;
  std::deque<HistoryEntry> history_;
  std::vector<HistoryQuery> history_queries_;
  bool history_held_ = false;
  std::vector<std::function<void()>> held_reads_;
  std::uint64_t last_listener_ = 0;
  std::map<std::uint64_t, HistoryListener> listeners_;
};

}  // namespace limpet::api
