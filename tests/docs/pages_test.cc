// What people read: that it agrees with what machines read (pages.py), and that what it tells them to type works
// (commands.py, migration.py).
#include "tests/docs/fixture.h"

namespace limpet::test {
namespace {

TEST_F(Docs, PagesAgreeWithTheDescriptionAndQuoteWhatIsSaid) {
  const Outcome outcome = run("pages.py", {LIMPET_SOURCE_DIR});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

TEST_F(Docs, EveryDocumentedCommandWorks) {
  const Outcome outcome =
      run("commands.py", {LIMPET_SOURCE_DIR, LIMPET_PATH, LIMPETD_PATH, ensemble().connect_string()});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

TEST_F(Docs, MigrationLeavesNoGap) {
  const Outcome outcome =
      run("migration.py", {LIMPET_PATH, LIMPETD_PATH, ensemble().connect_string(), LIMPET_SOURCE_DIR});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

}  // namespace
}  // namespace limpet::test
