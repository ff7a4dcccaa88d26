#include "bench/zk/session.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace limpet::bench {

void die(const std::string& what) {
  std::fprintf(stderr, "bench_zk: %s\n", what.c_str());
  std::_Exit(1);
}

// What the library needs to keep until a multi is answered.
struct Session::Multi {
  Session* session = nullptr;
  std::vector<std::string> paths;
  std::string data;
  std::vector<zoo_op_t> operations;
  std::vector<zoo_op_result_t> results;
};

Session::Session(const std::string& hosts, int timeout_ms) {
  zoo_set_debug_level(static_cast<ZooLogLevel>(0));
  zoo_deterministic_conn_order(0);
  handle_ = zookeeper_init(hosts.c_str(), nullptr, timeout_ms, nullptr, nullptr, 0);
  if (handle_ == nullptr) {
    die("cannot begin to connect to " + hosts);
  }
}

Session::~Session() {
  zookeeper_close(handle_);
}

void Session::wait_connected() const {
  while (!connected()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Session::make_parent(const std::string& path) {
  const int code = zoo_create(handle_, path.c_str(), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, nullptr, 0);
  if (code != ZOK && code != ZNODEEXISTS) {
    die("cannot create " + path + ": " + zerror(code));
  }
}

void Session::answered(int code, const char* what) {
  if (code != ZOK) {
    die(std::string(what) + " failed: " + zerror(code));
  }
  const std::lock_guard lock(mutex_);
  --open_;
  wake_.notify_one();
}

void Session::on_create(int code, const char*, const void* context) {
  const_cast<Session*>(static_cast<const Session*>(context))->answered(code, "a create");
}

void Session::on_multi(int code, const void* context) {
  const std::unique_ptr<const Multi> multi(static_cast<const Multi*>(context));
  multi->session->answered(code, "a multi");
}

void Session::send_create(const std::string& path, const std::string& data) {
  const int code = zoo_acreate(handle_, path.c_str(), data.data(), static_cast<int>(data.size()), &ZOO_OPEN_ACL_UNSAFE,
                               ZOO_EPHEMERAL, &Session::on_create, this);
  if (code != ZOK) {
    die(std::string("cannot send a create: ") + zerror(code));
  }
}

void Session::send_multi(std::unique_ptr<Multi> multi) {
  multi->session = this;
  multi->operations.resize(multi->paths.size());
  multi->results.resize(multi->paths.size());
  for (std::size_t i = 0; i < multi->paths.size(); ++i) {
    zoo_create_op_init(&multi->operations[i], multi->paths[i].c_str(), multi->data.data(),
                       static_cast<int>(multi->data.size()), &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, nullptr, 0);
  }
  Multi* const sent = multi.release();  // on_multi() takes it back
  const int code = zoo_amulti(handle_, static_cast<int>(sent->operations.size()), sent->operations.data(),
                              sent->results.data(), &Session::on_multi, sent);
  if (code != ZOK) {
    die(std::string("cannot send a multi: ") + zerror(code));
  }
}

void Session::create(const std::string& parent, const std::string& prefix, std::size_t count, std::size_t bytes,
                     std::size_t in_flight, std::size_t per_multi) {
  const std::string data(bytes, 'x');
  std::size_t next = 0;
  std::unique_lock lock(mutex_);
  while (next != count || open_ != 0) {
    wake_.wait(lock, [&] { return next != count ? open_ < in_flight : open_ == 0; });
    while (next != count && open_ < in_flight) {
      ++open_;
      lock.unlock();
      if (per_multi == 0) {
        send_create(parent + "/" + prefix + std::to_string(next++), data);
      } else {
        auto multi = std::make_unique<Multi>();
        multi->data = data;
        const std::size_t end = std::min(count, next + per_multi);
        for (; next != end; ++next) {
          multi->paths.push_back(parent + "/" + prefix + std::to_string(next));
        }
        send_multi(std::move(multi));
      }
      lock.lock();
    }
  }
}

}  // namespace limpet::bench
