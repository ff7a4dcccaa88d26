// The driver: feeds events to the core and carries out what it decides. It decides nothing itself.
//
// Lives on the core thread (the one that runs `io`), and so does everything that it calls but the commit thread of
// GroupCommit and the threads of the ZooKeeper client, whose results are posted here.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "agent/api/server.h"
#include "agent/api/service.h"
#include "agent/config.h"
#include "agent/core/core.h"
#include "agent/forbidden_log.h"
#include "agent/history_reads.h"
#include "agent/idle_trim.h"
#include "agent/liveness/liveness.h"
#include "agent/mailbox.h"
#include "agent/metrics.h"
#include "agent/registrations_dir.h"
#include "agent/zk/zk_client.h"
#include "storage/group_commit.h"
#include "storage/rocks_store.h"
#include "storage/worker.h"

namespace limpet {

class Agent : public api::Service {
 public:
  // `source` reads the configuration again, from where `config` came. `store` is open, and `stored` is what it loaded.
  // `io` must outlive the agent.
  Agent(boost::asio::io_context& io, const Config& config, ConfigSource source, std::unique_ptr<RocksStore> store,
        StoredState stored);
  ~Agent() override;

  // Binds the socket, or takes over the listening one that it is given, and starts to look for ZooKeeper. An error is
  // one sentence for a human.
  Status start(int listen_fd = -1);

  // `changed` is called, from the event loop, after each change of what status() tells; often. Before start().
  void when_changed(std::function<void()> changed) { changed_ = std::move(changed); }

  // Stops without leaving: refuses new changes, answers what is in progress, makes everything durable, and keeps the
  // ZooKeeper session. Calls `stopped` when all that is done, on the core thread, within a few seconds.
  void stop(std::function<void()> stopped);

  // api::Service.
  void submit(core::Caller caller, std::vector<core::ChangeRequest> changes, ChangeDone done) override;
  void leave(core::Caller caller, ChangeDone done) override;
  void heartbeat(core::Caller caller, RegistrationId id, ChangeDone done) override;
  void set_maintenance(core::Caller caller, std::optional<RegistrationId> id, std::optional<std::string> reason,
                       ChangeDone done) override;
  void prune(core::Prune prune, PruneDone done) override;
  std::variant<ProcessId, core::Problem> find_process(std::int32_t pid, const core::Caller& caller) override;
  void connection_closed(core::ConnectionId connection) override;
  void history(HistoryQuery query, HistoryDone done) override;
  std::uint64_t listen(HistoryListener listener) override;
  void stop_listening(std::uint64_t listener) override;
  void wait_settled(std::vector<std::pair<RegistrationId, Seq>> what, std::chrono::milliseconds timeout,
                    WaitDone done) override;
  // Logs what it came to, too. (agent_reload.cc)
  void reload(api::Removals removals, ReloadDone done) override;
  // (agent_metrics.cc)
  void forbidden(const core::Caller& caller, std::string_view code, const std::string& target) override;
  void append_metrics(std::string& out) override;
  const core::Core& core() const override { return core_; }
  core::Now now() const override;
  api::ProcessInfo process_info() override;
  const liveness::CheckPolicy& check_policy() const override { return check_policy_; }
  bool accepting() const override { return accepting_; }

 private:
  struct Waiter {
    std::vector<std::pair<RegistrationId, Seq>> what;  // those not yet known to be settled
    WaitDone done;
    boost::asio::steady_timer timer;
  };

  void feed(core::Event&& event);
  void ask(core::Event&& event);
  void carry_out(core::Actions& actions);
  void carry_out(core::Action& action);
  void reply(core::Reply&& reply);
  void reply(core::Pruned&& pruned);
  void tell(const HistoryEntry& entry);
  void gather(core::Persist&& persist);
  void hand_over_when_quiet(std::size_t before);
  GroupCommit& commit();
  void reopen_store(std::int64_t delay_ms);
  void watch_space();
  void set_timer(std::int64_t at_steady_ms);
  void check_waiters();
  void finish_waiter(std::uint64_t id, bool settled);
  core::Token expect_reply(ChangeDone done);
  api::ReloadReport apply(const Config& config);
  void apply_zookeeper(const Config& config, const std::vector<std::string>& keys);
  void apply_registration_files(api::Removals removals, RegistrationsDir::Done done);
  void note_registration_files(const api::FilesReport& report, bool again);
  void look_at_disk();
  void in_background(std::function<void()> work, std::function<void()> then);

  // Constant after construction.
  boost::asio::io_context& io_;
  const WallMs started_at_;
  const ConfigSource config_source_;
  std::function<void()> changed_;

  // Core thread only.
  Config config_;
  // GroupCommit is declared after the store that it uses, so that it is joined first.
  std::unique_ptr<RocksStore> store_;
  Mailbox mailbox_;  // of the threads below, which are joined before this goes
  core::Core core_;
  zk::ZkClient zookeeper_;
  liveness::CheckPolicy check_policy_;
  liveness::Liveness liveness_;
  std::unique_ptr<api::Server> server_;
  std::unique_ptr<GroupCommit> commit_;
  std::unique_ptr<HistoryReads> history_reads_;
  std::unique_ptr<Worker> background_;
  std::vector<GroupCommit::Submission> gathered_;  // decided on, and not yet with the commit thread
  std::chrono::steady_clock::time_point gathering_since_;
  boost::asio::steady_timer tick_;
  boost::asio::steady_timer reopen_timer_;
  boost::asio::steady_timer space_timer_;  // runs while the store is low on space
  RegistrationsDir registrations_dir_;
  std::shared_ptr<const api::FilesStatus> files_status_;  // never null
  std::unordered_map<std::uint64_t, ChangeDone> replies_;
  std::unordered_map<std::uint64_t, PruneDone> prunes_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Waiter>> waiters_;
  std::uint64_t next_token_ = 1;
  std::uint64_t next_waiter_ = 1;
  std::map<std::uint64_t, HistoryListener> listeners_;
  std::uint64_t next_listener_ = 1;
  DriverCounters counters_;
  ForbiddenLog forbidden_log_;
  // Of the disk of the state, when last looked at.
  std::optional<std::uint64_t> free_bytes_;
  std::uint64_t bytes_on_disk_ = 0;
  std::chrono::steady_clock::time_point looked_at_disk_;
  bool looking_at_disk_ = false;
  IdleTrim idle_trim_;
  core::Actions actions_;            // of the step that is under way; empty otherwise
  std::deque<core::Event> backlog_;  // arrived while a step was under way
  bool stepping_ = false;
  bool from_service_ = false;  // replies must not come from within the caller's own call
  bool something_changed_ = false;
  bool accepting_ = true;
};

}  // namespace limpet
