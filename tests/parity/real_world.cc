#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>

#include "agent/zk/zk_client.h"
#include "tests/parity/world.h"
#include "tests/support/real_ensemble.h"
#include "tests/support/zk_bench.h"
#include "tests/support/zk_observer.h"
#include "tests/support/zk_proxy.h"

namespace limpet::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kLargestRequest = 64'000;

RealEnsemble& servers() {
  static RealEnsemble instance([] {
    RealEnsemble::Options options;
    options.java_options = {"-Djute.maxbuffer=" + std::to_string(kLargestRequest)};
    return options;
  }());
  static RealEnsemble& running = RealEnsemble::started(instance);
  return running;
}

// With the leader: what it has answered, everybody's requests are checked against. Elsewhere an ACL may be known sooner
// than there.
std::unique_ptr<ZkObserver> make_others() {
  return std::make_unique<ZkObserver>(servers().address(servers().leader().value_or(0)));
}

class RealWorld final : public World {
 public:
  RealWorld(std::int32_t session_timeout_ms, std::uint64_t seed) {
    EXPECT_TRUE(servers().restore()) << servers().console();
    others_ = make_others();
    others_->remove_tree("/");
    std::string hosts;
    for (int i = 0; i < servers().size(); ++i) {
      proxies_.push_back(std::make_unique<ZkProxy>(servers().address(i), i + 1));
      hosts += (i == 0 ? "" : ",") + proxies_.back()->address();
    }
    options_ = ZkBench::options(hosts);
    options_.session_timeout_ms = session_timeout_ms;
    options_.seed = seed;
    client_ = std::make_unique<zk::ZkClient>(io_, options_, [this](core::Event event) { take(std::move(event)); });
  }

  std::optional<Seen> look(const std::string& path) override {
    others_->sync();
    const auto znode = others_->get(path);
    if (!znode) {
      return std::nullopt;
    }
    return Seen{znode->data,
                {Zxid{znode->czxid}, Zxid{znode->mzxid}, znode->version, SessionId{znode->ephemeral_owner}}};
  }
  void others_create(const std::string& path, const std::string& data, bool ephemeral) override {
    EXPECT_EQ(others_->create_with_parents(path, data, ephemeral), 0) << path;
  }
  void others_set(const std::string& path, const std::string& data) override {
    EXPECT_EQ(others_->set(path, data), 0) << path;
  }
  void others_remove(const std::string& path) override { others_->remove_tree(path); }
  void lock(const std::string& path) override {
    EXPECT_EQ(others_->lock(path), 0) << path;
    locked_.push_back(path);
  }
  void unlock_all() override {
    for (const auto& path : locked_) {
      EXPECT_EQ(others_->unlock(path), 0) << path;
    }
    locked_.clear();
  }

  void cut() override {
    for (const auto& proxy : proxies_) {
      proxy->cut();
    }
  }
  void set_network(bool up) override {
    for (const auto& proxy : proxies_) {
      proxy->set_mode(up ? ZkProxy::Mode::pass : ZkProxy::Mode::refuse);
    }
    if (!up) {
      cut();
    }
  }
  void set_quorum(bool up) override {
    if (up) {
      EXPECT_TRUE(servers().restore()) << servers().console();
    } else {
      servers().kill_quorum();
    }
  }
  void end_session(SessionId id) override {
    for (const auto& session : sessions()) {
      if (session.id == id) {
        EXPECT_TRUE(ZkObserver::end_session(servers().connect_string(), session));
        return;
      }
    }
    ADD_FAILURE() << "whose session?";
  }
  void hold_session(bool held) override {
    if (held) {
      zk::ZkClient::Options options = options_;
      options.hosts = servers().connect_string();
      rival_ = std::make_unique<zk::ZkClient>(io_, options, [](const core::Event&) {});
      rival_->start({core::Epoch{1}, sessions().back()});
    } else {
      rival_.reset();
    }
  }
  void wipe() override {
    others_.reset();
    servers().wipe();
    EXPECT_TRUE(servers().restore()) << servers().console();
    others_ = make_others();
  }
  bool lose_next_create(bool done) override {
    for (const auto& proxy : proxies_) {
      proxy->lose_reply({ZkOpcode::multi}, 1, !done);
    }
    return true;
  }
  std::string more_than_a_request_holds() const override { return std::string(kLargestRequest + 1'000, 'x'); }

 protected:
  zk::Ensemble& ensemble() override { return *client_; }
  bool pass(const std::function<bool()>& done, std::int64_t ms) override {
    for (const auto until = steady_clock::now() + milliseconds(ms); !done();) {
      if (steady_clock::now() >= until) {
        return false;
      }
      io_.run_one_until(until);
    }
    return true;
  }

 private:
  zk::ZkClient::Options options_;
  std::unique_ptr<ZkObserver> others_;  // straight to the servers
  std::vector<std::string> locked_;
  std::vector<std::unique_ptr<ZkProxy>> proxies_;
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  std::unique_ptr<zk::ZkClient> client_;
  std::unique_ptr<zk::ZkClient> rival_;
};

}  // namespace

std::unique_ptr<World> make_real_world(std::int32_t session_timeout_ms, std::uint64_t seed) {
  return std::make_unique<RealWorld>(session_timeout_ms, seed);
}

}  // namespace limpet::test
