// What may block, done on threads of its own: names are looked up, unix sockets are connected. A look-up that hangs, as
// one does for half a minute where the name server is gone, holds up one of four threads, and the next question for the
// same name waits for the same answer.
//
// Owned by CheckSchedule; core thread only, answers are posted there. The threads start with the first use. The
// io_context outlives it. Destruction waits for what is under way.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "agent/liveness/descriptor.h"
#include "storage/error.h"

namespace limpet::liveness {

class OffThread {
 public:
  using Addresses = std::vector<boost::asio::ip::address>;
  using LookedUp = std::function<void(const Result<Addresses>&)>;
  using Connected = std::function<void(Result<Descriptor>)>;

  explicit OffThread(boost::asio::io_context& io);
  ~OffThread();
  OffThread(const OffThread&) = delete;
  OffThread& operator=(const OffThread&) = delete;

  // The addresses of a name, at least one; an error is a few words for people. Errc::full, here and below: the agent is
  // short of something, and nothing is known.
  void look_up(const std::string& name, LookedUp done);

  // See connect_unix_as().
  void connect_unix(std::uint32_t uid, const std::string& path, Connected done);

 private:
  bool start_threads();
  // Precondition: start_threads().
  void run(std::function<void()> work);
  void looked_up(const std::string& name, const Result<Addresses>& found);

  boost::asio::io_context& io_;
  std::unordered_map<std::string, std::vector<LookedUp>> asked_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // of what is posted: it may come late

  // Not a thread_pool: one that gets some of its threads and not all hangs in its constructor.
  boost::asio::io_context work_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> open_{work_.get_executor()};
  std::vector<std::thread> threads_;
};

}  // namespace limpet::liveness
