// One session of ZooKeeper's own C client, as plainly as it can be used: what limpet's replay is measured against.
//
// A wrapper of the multi-threaded library: connect() waits, creates are sent and counted by callbacks on the library's
// completion thread. One caller's thread at a time.
#pragma once

#include <zookeeper/zookeeper.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace limpet::bench {

class Session {
 public:
  // Begins to connect. Dies with a message where that cannot even be begun.
  Session(const std::string& hosts, int timeout_ms);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  bool connected() const { return zoo_state(handle_) == ZOO_CONNECTED_STATE; }
  // Blocks until there is a session.
  void wait_connected() const;
  zhandle_t* handle() { return handle_; }

  // A persistent, empty node; no error where it is there.
  void make_parent(const std::string& path);

  // Ephemeral znodes <parent>/<prefix>0 … of `bytes` bytes each; blocks until all are made, keeping as many requests
  // in flight as told. `per_multi` 0: single creates; otherwise so many in one multi. Dies where one fails.
  void create(const std::string& parent, const std::string& prefix, std::size_t count, std::size_t bytes,
              std::size_t in_flight, std::size_t per_multi);

 private:
  struct Multi;

  void send_create(const std::string& path, const std::string& data);
  void send_multi(std::unique_ptr<Multi> multi);
  void answered(int code, const char* what);
  static void on_create(int code, const char* name, const void* context);
  static void on_multi(int code, const void* context);

  zhandle_t* handle_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::size_t open_ = 0;  // requests in flight
};

[[noreturn]] void die(const std::string& what);

}  // namespace limpet::bench
