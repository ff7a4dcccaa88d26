// A small agent for tests of the API: a real Core, a disk that never fails unless told to, and a ZooKeeper of
// its own that, once it serves, does all it is asked.
//
// Everything on the thread of its io_context.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
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

  void submit(core::Caller caller, std::vector<core::ChangeRequest> changes, ChangeDone done) override;
  void leave(core::Caller caller, ChangeDone done) override;
  void wait_settled(std::vector<std::pair<RegistrationId, Seq>> what, std::chrono::milliseconds timeout,
                    WaitDone done) override;
  const core::Core& core() const override { return core_; }
  core::Now now() const override { return {1'000, 1'700'000'000'123}; }
  ProcessInfo process_info() const override { return {"0.1.0", 42, 1'700'000'000'000, 40'960}; }
  bool accepting() const override { return accepting_; }

 private:
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

  void step(core::Event event);
  // The same from the event loop, as a driver would.
  void step_later(core::Event event);
  void carry_out(core::Action action);
  void check_waits();
  bool settled(const Wait& wait) const;
  core::ZkReply reply_to(const core::ZkRequest& request);

  boost::asio::io_context& io_;
  core::Core core_;
  bool accepting_ = true;
  bool disk_held_ = false;
  Status disk_;
  bool serving_ = false;
  core::Epoch epoch_;
  std::map<std::string, Znode> znodes_;
  std::int64_t last_zxid_ = 0x100;
  std::uint64_t last_token_ = 0;
  std::map<core::Token, ChangeDone> callers_;
  std::uint64_t last_wait_ = 0;
  std::map<std::uint64_t, Wait> waits_;
  std::vector<std::uint64_t> held_tickets_;
};

}  // namespace limpet::api
