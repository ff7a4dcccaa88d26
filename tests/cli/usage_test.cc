// The command line itself: what is refused with exit 2, and the help.
#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

struct WrongUsage {
  const char* name;
  std::vector<std::string> arguments;
  const char* complaint;
};

class Usage : public ::testing::TestWithParam<WrongUsage> {};

TEST_P(Usage, IsRefusedBeforeAnythingIsAsked) {
  const Outcome outcome = run_limpet(GetParam().arguments, {{"LIMPET_SOCKET=/nonexistent"}, "", {}, "", false, false});
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(has(outcome.err, GetParam().complaint));
}

INSTANTIATE_TEST_SUITE_P(
    Cli, Usage,
    ::testing::Values(
        WrongUsage{"Nothing", {}, "Commands:"}, WrongUsage{"UnknownCommand", {"frobnicate"}, "no command 'frobnicate'"},
        WrongUsage{"UnknownOption", {"list", "--frobnicate"}, "--frobnicate"},
        WrongUsage{"UnknownGlobalOption", {"--frobnicate"}, "no option '--frobnicate'"},
        WrongUsage{"NoInstance", {"register", "web"}, "INSTANCE is required"},
        WrongUsage{"EmptyService", {"register", "", "i-1"}, "SERVICE: must not be empty"},
        WrongUsage{"TooMany", {"show", "web", "i-1", "i-2"}, "i-2"},
        WrongUsage{"WaitWithoutUnit", {"deregister", "web", "i-1", "--wait", "10"}, "'10' is no duration"},
        WrongUsage{"NegativeWait", {"deregister", "web", "i-1", "--wait", "-1s"}, "'-1s' is no duration"},
        WrongUsage{"PortInHex", {"register", "web", "i-1", "--port", "0x50"}, "'0x50' is no port"},
        WrongUsage{"PortTooLarge", {"register", "web", "i-1", "--port", "65536"}, "'65536' is no port"},
        WrongUsage{"MetadataWithoutValue", {"register", "web", "i-1", "--metadata", "zone"}, "'zone' is not KEY=VALUE"},
        WrongUsage{"AddressNotText", {"register", "web", "i-1", "--address", "\xff"}, "not valid UTF-8"},
        WrongUsage{"DataTwice", {"register", "web", "i-1", "--data", "a", "--data-file", "b"}, "--data"},
        WrongUsage{"EmptySocket", {"--socket", "", "list"}, "--socket: must not be empty"},
        WrongUsage{"EmptySocketAfterEquals", {"list", "--socket="}, "--socket: must not be empty"},
        WrongUsage{"TtlWithoutUnit", {"register", "web", "i-1", "--ttl", "30"}, "'30' is no duration"},
        WrongUsage{"PidZero", {"register", "web", "i-1", "--pid", "0"}, "'0' is no process id"},
        WrongUsage{"BindUnknown", {"register", "web", "i-1", "--bind", "connection"}, "--bind"},
        WrongUsage{"PidWithoutBinding", {"register", "web", "i-1", "--bind", "none", "--pid", "1"}, "--pid"},
        WrongUsage{"MaintenanceNeitherOnNorOff", {"maintenance", "web", "i-1"}, "web"},
        WrongUsage{"MaintenanceOfHalfAName", {"maintenance", "on", "web"}, "INSTANCE is required"},
        WrongUsage{"ReasonForTheEnd", {"maintenance", "off", "--reason", "x"}, "--reason"},
        WrongUsage{"SinceIsANumber", {"events", "--since", "yesterday"}, "'yesterday' is no number"},
        WrongUsage{"RunOfNothing", {"run", "web", "i-1", "--"}, "COMMAND is required"},
        WrongUsage{"RunHasItsOwnBinding", {"run", "web", "i-1", "--pid", "1", "--", "true"}, "--pid"},
        WrongUsage{"LimitZero", {"list", "--limit", "0"}, "--limit"}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(UsageHelp, TellsANewcomerWhatThereIs) {
  const Outcome outcome = run_limpet({"--help"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.err, "");
  for (const char* word : {"Usage: limpet", "register ",     "deregister ",
                           "list ",         "show ",         "status ",
                           "queue ",        "wait ",         "leave ",
                           "heartbeat ",    "history ",      "events ",
                           "maintenance ",  "reload ",       "prune ",
                           "--socket",      "LIMPET_SOCKET", "/run/limpet/limpet.sock",
                           "--json",        "Examples:",     "Exit status: 0 done, 1 refused"}) {
    EXPECT_TRUE(has(outcome.out, word));
  }
}

TEST(UsageHelp, EachCommandHasItsOwn) {
  for (const char* verb : {"register", "deregister", "list", "show", "status", "queue", "wait", "leave", "heartbeat",
                           "history", "events", "maintenance", "reload", "prune", "run", "dump", "doctor"}) {
    const Outcome outcome = run_limpet({verb, "--help"});
    EXPECT_EQ(outcome.exit, 0);
    EXPECT_TRUE(has(outcome.out, std::string("Usage: limpet ") + verb));
    EXPECT_TRUE(has(outcome.out, std::string("  limpet ") + verb)) << "an example";
  }
}

TEST(UsageHelp, Version) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"--version"}, {"status", "--version"}}) {
    const Outcome outcome = run_limpet(arguments);
    EXPECT_EQ(outcome.exit, 0);
    EXPECT_EQ(outcome.out.rfind("limpet ", 0), 0u);
  }
}

}  // namespace
}  // namespace limpet::test
