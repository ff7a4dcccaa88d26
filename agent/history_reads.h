// Reads of the history, on a thread of their own: no append waits for one, and none waits for an append.
//
// Reads are carried out one after the other, each a bounded piece. Where the disk answers none for kPatience, those
// that wait are answered with Errc::io, and so is every other, at once, until the disk answers. So there are never more
// under way than callers waiting at one time, and no caller waits for a disk that hangs. Owned by Agent; core thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>

#include "agent/mailbox.h"
#include "storage/store.h"
#include "storage/worker.h"

namespace limpet {

class HistoryReads {
 public:
  using Done = std::function<void(Result<HistoryPage>)>;

  static constexpr std::chrono::milliseconds kPatience{5'000};

  // `store` and `mailbox` outlive this.
  HistoryReads(boost::asio::io_context& io, Store& store, Mailbox& mailbox,
               std::chrono::milliseconds patience = kPatience);

  // `done` is called once, from the event loop, never from within this call.
  void read(HistoryQuery query, Done done);

 private:
  void finish(std::uint64_t read, Result<HistoryPage> page);
  void be_patient();
  void give_up();

  boost::asio::io_context& io_;
  Store& store_;
  Mailbox& mailbox_;
  const std::chrono::milliseconds patience_;
  std::map<std::uint64_t, Done> waiting_;  // by number, in their order
  std::uint64_t last_ = 0;                 // number of a read
  bool hangs_ = false;
  boost::asio::steady_timer timer_;  // runs while something waits
  Worker worker_{"history"};         // last: its tasks use all of the above
};

}  // namespace limpet
