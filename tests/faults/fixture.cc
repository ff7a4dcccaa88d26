#include "tests/faults/fixture.h"

#include <cstdlib>
#include <thread>

namespace limpet::test {

RealEnsemble& Faults::ensemble() {
  static RealEnsemble instance([] {
    RealEnsemble::Options options;
    options.java_options = {"-Djute.maxbuffer=300000", "-Dzookeeper.enforceQuota=true", "-Dreadonlymode.enabled=true"};
    return options;
  }());
  static RealEnsemble& running = RealEnsemble::started(instance);
  return running;
}

void Faults::SetUp() {
  ASSERT_TRUE(ensemble().restore()) << ensemble().console();
  for (int i = 0; i < ensemble().size(); ++i) {
    proxies_.push_back(std::make_unique<ZkProxy>(ensemble().address(i), i + 1));
  }
  observer_ = std::make_unique<ZkObserver>(ensemble().connect_string());
}

void Faults::TearDown() {
  ensemble().restore();
  observer_.reset();
  proxies_.clear();
}

std::string Faults::root() const {
  return std::string("/") + ::testing::UnitTest::GetInstance()->current_test_info()->name();
}

std::string Faults::through_proxies() const {
  std::string list;
  for (const auto& proxy : proxies_) {
    list += (list.empty() ? "" : ",") + proxy->address();
  }
  return list;
}

std::unique_ptr<AgentProcess> Faults::make_agent(const std::string& session_timeout, const std::string& servers) const {
  return std::make_unique<AgentProcess>(
      servers.empty() ? through_proxies() : servers,
      std::vector<std::string>{"--root", root(), "--session-timeout", session_timeout, "--log-level", "debug"});
}

std::unique_ptr<AgentProcess> Faults::start_agent(const std::string& session_timeout) {
  auto agent = make_agent(session_timeout);
  EXPECT_TRUE(agent->start()) << agent->log();
  EXPECT_TRUE(agent->wait_connected()) << agent->log();
  return agent;
}

int Faults::proxy_of(AgentProcess& agent) const {
  const auto status = agent.status();
  const auto& shown = status["zookeeper"]["server"];
  const std::string server = shown.is_string() ? shown.get<std::string>() : "";
  for (std::size_t i = 0; i < proxies_.size(); ++i) {
    if (proxies_[i]->address() == server) {
      return static_cast<int>(i);
    }
  }
  ADD_FAILURE() << "connected to \"" << server << "\"";
  return 0;
}

HttpAnswer Faults::put_one(AgentProcess& agent, const std::string& target, const std::string& data) {
  return UnixHttp(agent.socket()).put(target, nlohmann::json{{"data", data}}.dump());
}

void Faults::put(AgentProcess& agent, int from, int to, const std::string& data) {
  UnixHttp http(agent.socket());
  for (int i = from; i < to; ++i) {
    const auto answer = http.put(target(i), nlohmann::json{{"data", data + " " + std::to_string(i)}}.dump());
    ASSERT_TRUE(answer.status == 202 || answer.status == 200) << answer.status << answer.body;
  }
}

nlohmann::json Faults::show(AgentProcess& agent, int i) {
  return UnixHttp(agent.socket()).get(target(i)).json();
}

std::string Faults::state(AgentProcess& agent, int i) {
  return show(agent, i).value("state", "");
}

std::uint64_t Faults::session(AgentProcess& agent) {
  const auto status = agent.status();
  const auto& shown = status["zookeeper"]["session"];
  return shown.is_string() ? std::stoull(shown.get<std::string>(), nullptr, 16) : 0;
}

Tree Faults::registered() {
  observer_->sync();
  Tree found = observer_->tree(root());
  std::erase_if(found, [](const auto& entry) { return entry.second.ephemeral_owner == 0; });
  return found;
}

void Faults::expect_exactly(AgentProcess& agent, int from, int to, const std::string& data) {
  const Tree found = registered();
  EXPECT_EQ(found.size(), static_cast<std::size_t>(to - from));
  const std::uint64_t owner = session(agent);
  for (int i = from; i < to; ++i) {
    const auto one = found.find(path(i));
    if (one == found.end()) {
      ADD_FAILURE() << path(i) << " is missing; " << show(agent, i).dump();
      return;
    }
    EXPECT_EQ(one->second.data, data + " " + std::to_string(i));
    EXPECT_EQ(static_cast<std::uint64_t>(one->second.ephemeral_owner), owner) << path(i);
  }
}

void Faults::expect_created_in_order(const Tree& tree, const std::vector<std::string>& paths) {
  for (std::size_t i = 1; i < paths.size(); ++i) {
    ASSERT_TRUE(tree.contains(paths[i - 1]) && tree.contains(paths[i])) << paths[i];
    EXPECT_LE(tree.at(paths[i - 1]).czxid, tree.at(paths[i]).czxid) << paths[i];
  }
}

std::vector<Txn> Faults::transactions() const {
  std::vector<std::string> directories;
  for (int i = 0; i < ensemble().size(); ++i) {
    directories.push_back(ensemble().data_directory(i));
  }
  auto txns = read_txn_logs(directories);
  std::erase_if(txns, [&](const Txn& txn) { return !txn.path.starts_with(root() + "/"); });
  return txns;
}

std::size_t Faults::count(const std::vector<Txn>& txns, const std::string& what, const std::string& path) {
  return static_cast<std::size_t>(std::count_if(txns.begin(), txns.end(), [&](const Txn& txn) {
    return txn.what == what && (path.empty() || txn.path == path);
  }));
}

ZkProxy::Counts Faults::sums() const {
  ZkProxy::Counts sum;
  for (const auto& proxy : proxies_) {
    const auto one = proxy->counts();
    sum.connections += one.connections;
    sum.handshakes += one.handshakes;
    sum.words += one.words;
    sum.fired += one.fired;
    for (const auto& [opcode, n] : one.requests) {
      sum.requests[opcode] += n;
    }
  }
  return sum;
}

bool Faults::eventually(const std::function<bool()>& done, std::chrono::milliseconds limit) {
  return poll_until(done, limit);
}

void Faults::pause(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

int Faults::rounds(int in_ci) {
  const char* text = std::getenv("LIMPET_FAULT_ROUNDS");
  return text != nullptr ? std::max(1, std::atoi(text)) : in_ci;
}

}  // namespace limpet::test
