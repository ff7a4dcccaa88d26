#include "tests/end_to_end/fixture.h"

namespace limpet::test {

void EndToEnd::SetUpTestSuite() {
  ensemble();
}

RealEnsemble& EndToEnd::ensemble() {
  static RealEnsemble instance;
  static RealEnsemble& running = RealEnsemble::started(instance);
  return running;
}

void EndToEnd::SetUp() {
  ASSERT_TRUE(ensemble().restore()) << ensemble().console();
}

void EndToEnd::TearDown() {
  ensemble().restore();
}

std::string EndToEnd::root() const {
  return std::string("/") + ::testing::UnitTest::GetInstance()->current_test_info()->name();
}

std::map<std::string, Znode> EndToEnd::registered(ZkObserver& observer) const {
  observer.sync();
  std::map<std::string, Znode> found = observer.tree(root());
  std::erase_if(found, [](const auto& entry) { return entry.second.ephemeral_owner == 0; });
  return found;
}

std::string body(const std::string& data) {
  return nlohmann::json{{"data", data}}.dump();
}

}  // namespace limpet::test
