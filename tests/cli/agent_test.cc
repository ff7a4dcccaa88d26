// maintenance, reload: what is asked of the agent as a whole.
#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

TEST_F(Cli, MaintenanceOfOne) {
  server.answer(200, R"({"id":"web/i-1","state":"maintenance"})");
  Outcome outcome = run({"maintenance", "on", "web", "i-1", "--reason", "new \"disk\""});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "PUT /v1/registrations/web/i-1/maintenance");
  EXPECT_EQ(body(0), R"({"reason":"new \"disk\""})");
  EXPECT_TRUE(has(outcome.out, "web/i-1 is in maintenance"));
  EXPECT_TRUE(has(outcome.out, "limpet maintenance off web i-1"));
  server.answer(200, R"({"id":"web/i-1","state":"pending"})");
  outcome = run({"maintenance", "off", "web", "i-1"});
  EXPECT_EQ(asked(1), "DELETE /v1/registrations/web/i-1/maintenance");
  EXPECT_EQ(body(1), "");
  EXPECT_TRUE(has(outcome.out, "the maintenance of web/i-1 has ended: it goes back"));
  server.answer(200, R"({"id":"web/i-1","state":"maintenance"})");
  EXPECT_TRUE(has(run({"maintenance", "off", "web", "i-1"}).out, "that of the whole host still keeps it out"));
  server.answer(404, R"({"detail":"there is no web/i-2","code":"not_found"})");
  outcome = run({"maintenance", "on", "web", "i-2"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(body(3), "{}");
  EXPECT_TRUE(has(outcome.err, "cannot begin the maintenance of web/i-2: there is no web/i-2 (not_found)"));
}

TEST_F(Cli, MaintenanceOfTheHost) {
  const std::string answer = R"({"maintenance":{"enabled":true,"reason":"r","since":null}})";
  server.answer(200, answer);
  EXPECT_TRUE(has(run({"maintenance", "on", "--reason", "r"}).out, "this host is in maintenance"));
  EXPECT_EQ(asked(0), "PUT /v1/maintenance");
  server.answer(200, answer);
  EXPECT_EQ(run({"maintenance", "off", "--json"}).out, answer + "\n");
  EXPECT_EQ(asked(1), "DELETE /v1/maintenance");
}

TEST_F(Cli, PruneSaysWhatItRemovedAndWhyItLeftTheRest) {
  server.answer(200,
                R"({"dry_run":false,"examined":2,"empty":1,"removed":1,"parents":[)"
                R"({"path":"/services/a","outcome":"removed","reason":null,"message":null},)"
                R"({"path":"/services/b","outcome":"left","reason":"in_use","message":"it is used"}],"more":false})");
  Outcome outcome = run({"prune", "--older-than", "30d", "--service", "a"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "POST /v1/prune");
  EXPECT_EQ(body(0), R"({"older_than":"30d","service":"a"})");
  EXPECT_TRUE(has(outcome.out, "1 of 2 parents removed\n"));
  EXPECT_TRUE(has(outcome.out, "/services/b  left"));
  EXPECT_TRUE(has(outcome.out, "it is used"));
  server.answer(200, R"({"dry_run":true,"examined":1,"empty":1,"removed":1,"parents":[)"
                     R"({"path":"/services/a","outcome":"removed","reason":null,"message":null}],"more":false})");
  outcome = run({"prune", "--dry-run"});
  EXPECT_EQ(body(1), R"({"dry_run":true})");
  EXPECT_TRUE(has(outcome.out, "1 of 1 parent would be removed\n"));
  server.answer(409, R"({"detail":"ZooKeeper is away","code":"not_connected"})");
  outcome = run({"prune"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "cannot prune: ZooKeeper is away (not_connected)"));
  EXPECT_EQ(run({"prune", "--older-than", "soon"}).exit, 2);
}

TEST_F(Cli, Reload) {
  server.answer(200, R"({"applied":["log_level","zookeeper"],"needs_restart":["root"],)"
                     R"("registrations_d":{"added":2,"changed":1,"removed":0,"errors":[]}})");
  const Outcome outcome = run({"reload"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "POST /v1/reload");
  EXPECT_TRUE(has(outcome.out, "log_level, zookeeper\n"));
  EXPECT_TRUE(has(outcome.out, "Needs a restart     root (sudo systemctl restart limpet"));
  EXPECT_TRUE(has(outcome.out, "2 added, 1 changed, 0 removed\n"));
}

TEST_F(Cli, ReloadByForceAndWhatWasHeld) {
  server.answer(200,
                R"({"applied":[],"needs_restart":[],"registrations_d":{"added":0,"changed":0,"removed":0,"held":3,)"
                R"("errors":[{"file":"/etc/limpet/registrations.d","error":"3 of the 4 registrations"}]}})");
  const Outcome held = run({"reload"});
  EXPECT_EQ(held.exit, 1);
  EXPECT_TRUE(has(held.out, "0 added, 0 changed, 0 removed; 3 gone from the files and"));
  server.answer(
      200, R"({"applied":[],"needs_restart":[],"registrations_d":{"added":0,"changed":0,"removed":3,"errors":[]}})");
  EXPECT_EQ(run({"reload", "--force"}).exit, 0);
  EXPECT_EQ(asked(1), "POST /v1/reload?force=true");
}

TEST_F(Cli, ReloadWithABadFile) {
  server.answer(200, R"({"applied":[],"needs_restart":[],"registrations_d":{"added":0,"changed":0,"removed":0,)"
                     R"("errors":["/etc/x.json is not valid JSON",{"file":"y.json","detail":"no service"}]}})");
  const Outcome outcome = run({"reload"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.out, "Bad file            /etc/x.json is not valid JSON\n"));
  EXPECT_TRUE(has(outcome.out, "y.json: no service\n"));
}

TEST_F(Cli, ReloadThatIsRefused) {
  server.answer(422, R"({"detail":"limpet.json is not valid JSON","code":"invalid"})");
  const Outcome outcome = run({"reload"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.err,
            "limpet: cannot reload: limpet.json is not valid JSON (invalid)\nThe old configuration stays.\n");
}

}  // namespace
}  // namespace limpet::test
