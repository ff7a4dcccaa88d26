#include <gtest/gtest.h>

#include "tests/parity/world.h"
#include "tests/support/fake_ensemble.h"

namespace limpet::test {
namespace {

constexpr std::int64_t kLong = 1'000'000'000;

class FakeWorld final : public World {
 public:
  FakeWorld(std::int32_t session_timeout_ms, std::uint64_t seed)
      : fake_(
            clock_, seed, options(session_timeout_ms), [this](core::Event event) { take(std::move(event)); }, nullptr) {
    fake_.poison(more_than_a_request_holds());
  }

  std::optional<Seen> look(const std::string& path) override {
    const auto* znode = fake_.znodes().find(path);
    return znode == nullptr ? std::nullopt : std::optional<Seen>({znode->data, znode->stat});
  }
  void others_create(const std::string& path, const std::string& data, bool ephemeral) override {
    EXPECT_TRUE(fake_.outsider_create(path, data, ephemeral ? fake_.foreign_session(kLong) : SessionId{0})) << path;
  }
  void others_set(const std::string& path, const std::string& data) override {
    EXPECT_TRUE(fake_.outsider_set(path, data)) << path;
  }
  void others_remove(const std::string& path) override { EXPECT_TRUE(fake_.outsider_remove(path)) << path; }
  void lock(const std::string& path) override { fake_.deny(path, core::ZkCode::no_auth); }
  void unlock_all() override { fake_.allow_all(); }

  void cut() override { fake_.cut(); }
  void set_network(bool up) override { fake_.set_network(up); }
  void set_quorum(bool up) override { fake_.set_quorum(up); }
  void end_session(SessionId id) override { fake_.expire(id); }
  void hold_session(bool held) override {
    if (held) {
      fake_.rival(sessions().back().id, kLong);
    } else {
      fake_.end_rival();
    }
  }
  void wipe() override { fake_.wipe(); }
  bool lose_next_create(bool) override {
    run_until([this] { return fake_.in_flight() == 0; });
    cut_in_flight_ = true;
    return false;
  }
  std::string more_than_a_request_holds() const final { return "poison"; }

 protected:
  zk::Ensemble& ensemble() override { return fake_; }
  bool pass(const std::function<bool()>& done, std::int64_t ms) override {
    const std::int64_t until = clock_.steady_ms() + ms;
    while (!done()) {
      if (cut_in_flight_ && fake_.in_flight() > 0) {
        cut_in_flight_ = false;
        fake_.cut();
      }
      if (fake_.run_one()) {
        continue;
      }
      if (fake_.next_at() > until) {
        clock_.advance_to(until);
        return done();
      }
      clock_.advance_to(fake_.next_at());
    }
    return true;
  }

 private:
  static FakeEnsembleOptions options(std::int32_t session_timeout_ms) {
    FakeEnsembleOptions options;
    options.asked_timeout_ms = session_timeout_ms;
    return options;
  }

  ManualClock clock_;
  FakeEnsemble fake_;
  bool cut_in_flight_ = false;
};

}  // namespace

std::unique_ptr<World> make_fake_world(std::int32_t session_timeout_ms, std::uint64_t seed) {
  return std::make_unique<FakeWorld>(session_timeout_ms, seed);
}

}  // namespace limpet::test
