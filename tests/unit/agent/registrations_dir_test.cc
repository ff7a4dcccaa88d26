// How the registrations follow the files, over crashes too.
#include "agent/registrations_dir.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "agent/registrations_memory.h"
#include "tests/api/fake_service.h"
#include "tests/unit/agent/files_fixture.h"

namespace limpet {
namespace {

class RegistrationsDirTest : public FilesTest {
 protected:
  // One run of the agent: its core begins anew, its memory is the file.
  struct Agent {
    Agent(const std::string& memory_file, core::Options options)
        : service(io, std::move(options)),
          files(
              io, service,
              [this](const std::function<void()>& work, std::function<void()> then) {
                work();
                boost::asio::post(io, std::move(then));
              },
              memory_file, std::chrono::milliseconds(100)) {}

    api::FilesReport apply(const std::string& directory, api::Removals removals = api::Removals::guarded) {
      std::optional<api::FilesReport> report;
      files.apply({directory, true}, removals, [&](api::FilesReport came) { report = std::move(came); });
      while (!report && io.run_one_for(std::chrono::seconds(20)) > 0) {
      }
      return report.value_or(api::FilesReport{0, 0, 0, 0, {{"", "no report came"}}});
    }
    // What `caller` asks for through the API; "" or what was said against it.
    std::string submit(core::ChangeRequest change, std::uint32_t uid) {
      core::Caller caller;
      caller.owner.uid = uid;
      caller.privileged = uid == ::geteuid();
      std::optional<std::string> said;
      service.submit(caller, {std::move(change)}, [&](const auto& result) {
        const auto* problem = std::get_if<core::Problem>(&result);
        said = problem == nullptr ? "" : problem->detail;
      });
      while (!said && io.run_one_for(std::chrono::seconds(20)) > 0) {
      }
      return said.value_or("no answer");
    }
    std::string data(const std::string& instance) const {
      const auto view = service.core().find({"web", instance});
      return view && view->state != core::State::removing ? view->registration->data : "none";
    }

    boost::asio::io_context io;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
    api::FakeService service;
    RegistrationsDir files;
  };

  Agent& agent(core::Options options = {}) {
    if (!agent_) {
      agent_ = std::make_unique<Agent>(memory_file(), std::move(options));
    }
    return *agent_;
  }
  api::FilesReport apply() { return agent().apply(directory()); }
  api::FilesReport force() { return agent().apply(directory(), api::Removals::forced); }
  static core::RegisterRequest request(const std::string& instance) {
    core::RegisterRequest request;
    request.id = {"web", instance};
    request.data = "by the API";
    return request;
  }
  static void expect(const api::FilesReport& report, std::uint64_t added, std::uint64_t changed, std::uint64_t removed,
                     std::size_t errors = 0) {
    EXPECT_EQ(report.added, added);
    EXPECT_EQ(report.changed, changed);
    EXPECT_EQ(report.removed, removed);
    EXPECT_EQ(report.errors.size(), errors) << (report.errors.empty() ? "" : report.errors[0].error);
  }

  std::unique_ptr<Agent> agent_;
};

TEST_F(RegistrationsDirTest, FilesAreAddedChangedAndRemoved) {
  write("a.json", entry("a", "1"));
  write("b.json", "[" + entry("b", "1") + "," + entry("c", "1") + "]");
  expect(apply(), 3, 0, 0);
  EXPECT_EQ(agent().data("c"), "1");
  expect(apply(), 0, 0, 0);
  write("a.json", entry("a", "2"));
  write("b.json", entry("b", "1"));
  expect(apply(), 0, 1, 1);
  EXPECT_EQ(agent().data("a"), "2");
  EXPECT_EQ(agent().data("c"), "none");
  erase("a.json");
  expect(apply(), 0, 0, 1);
  erase("b.json");
  expect(apply(), 0, 0, 1);
  EXPECT_EQ(agent().data("a"), "none");
  EXPECT_TRUE(load_registrations_memory(memory_file())->empty());
}

TEST_F(RegistrationsDirTest, AFileThatIsBrokenKeepsWhatItHeldAndStopsNothing) {
  write("a.json", entry("a"));
  write("b.json", entry("b"));
  expect(apply(), 2, 0, 0);
  write("a.json", "{\"service\": ");
  write("c.json", entry("c"));
  expect(apply(), 1, 0, 0, 1);
  EXPECT_EQ(agent().data("a"), "x");
  EXPECT_EQ(agent().data("c"), "x");
  ASSERT_EQ(::chmod(directory().c_str(), 0777), 0);
  erase("b.json");
  expect(apply(), 0, 0, 0, 1);
  EXPECT_EQ(agent().data("b"), "x") << "nothing is known of what is in there";
}

TEST_F(RegistrationsDirTest, AWrongEntryKeepsWhatItSaidBeforeAndTakesNoOtherAlong) {
  write("a.json", "[" + entry("a") + "," + entry("b") + "," + entry("c") + "]");
  expect(apply(), 3, 0, 0);
  write("a.json", "[" + entry("a", "new") + R"(,{"service":"web","instance":"b","port":70000}])");
  expect(apply(), 0, 1, 1, 1);
  EXPECT_EQ(agent().data("a"), "new");
  EXPECT_EQ(agent().data("b"), "x") << "its entry is there, and wrong";
  EXPECT_EQ(agent().data("c"), "none") << "its entry is not";
  write("a.json", "[" + entry("a", "newer") + ",7]");
  expect(apply(), 0, 1, 0, 1);
  EXPECT_EQ(agent().data("b"), "x") << "it may be what the wrong entry was to be";
}

TEST_F(RegistrationsDirTest, ADirectoryThatIsNotThereChangesNothingAndIsTold) {
  write("a.json", entry("a"));
  write("b.json", entry("b"));
  expect(apply(), 2, 0, 0);
  const std::string away = directory() + ".away";
  for (const api::Removals removals : {api::Removals::guarded, api::Removals::forced}) {
    std::filesystem::rename(directory(), away);
    const auto report = agent().apply(directory(), removals);
    expect(report, 0, 0, 0, 1);
    EXPECT_EQ(report.errors[0].file, directory());
    EXPECT_NE(report.errors[0].error.find("stays registered (2)"), std::string::npos) << report.errors[0].error;
    std::filesystem::rename(away, directory());
  }
  expect(apply(), 0, 0, 0);
  EXPECT_EQ(agent().data("a"), "x");
}

TEST_F(RegistrationsDirTest, MoreThanHalfAtOnceStaysUntilItIsForced) {
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    write(std::string(name) + ".json", entry(name));
  }
  expect(apply(), 5, 0, 0);
  erase("a.json");
  erase("b.json");
  expect(apply(), 0, 0, 2);
  write("f.json", entry("f"));
  for (const char* name : {"c", "d", "e"}) {
    erase(std::string(name) + ".json");
  }
  const auto held = apply();
  expect(held, 1, 0, 0, 1);
  EXPECT_EQ(held.held, 3U);
  EXPECT_NE(held.errors[0].error.find("3 of the 3 registrations that came from files are not there any more (web/c, "),
            std::string::npos)
      << held.errors[0].error;
  EXPECT_NE(held.errors[0].error.find("limpet reload --force"), std::string::npos);
  EXPECT_EQ(agent().data("c"), "x");
  // A restart changes nothing in that.
  agent_.reset();
  for (const char* name : {"c", "d", "e", "f"}) {
    ASSERT_EQ(agent().submit(request(name), ::geteuid()), "");
  }
  EXPECT_EQ(apply().held, 3U);
  expect(force(), 0, 0, 3);
  EXPECT_EQ(agent().data("c"), "none");
  expect(apply(), 0, 0, 0);
}

TEST_F(RegistrationsDirTest, OneOfOneGoesWithoutForce) {
  write("a.json", entry("a"));
  expect(apply(), 1, 0, 0);
  erase("a.json");
  expect(apply(), 0, 0, 1);
}

TEST_F(RegistrationsDirTest, AFileThatIsBackAfterAMomentWasNeverGone) {
  write("a.json", entry("a"));
  write("b.json", entry("b"));
  expect(apply(), 2, 0, 0);
  erase("a.json");
  std::optional<api::FilesReport> report;
  agent().files.apply({directory(), true}, api::Removals::guarded,
                      [&](api::FilesReport came) { report = std::move(came); });
  // The first look is over when the timer has been set.
  agent().io.run_one_for(std::chrono::seconds(20));
  ASSERT_FALSE(report);
  write("a.json", entry("a", "written anew"));
  while (!report && agent().io.run_one_for(std::chrono::seconds(20)) > 0) {
  }
  ASSERT_TRUE(report);
  expect(*report, 0, 1, 0);
  EXPECT_EQ(agent().data("a"), "written anew");
}

TEST_F(RegistrationsDirTest, WhatTheApiMadeIsNotTheFiles) {
  ASSERT_EQ(agent().submit(request("theirs"), ::geteuid() + 4711), "");
  ASSERT_EQ(agent().submit(request("other"), ::geteuid() + 4711), "");
  write("a.json", entry("theirs"));
  const auto report = apply();
  expect(report, 0, 0, 0, 1);
  EXPECT_NE(report.errors[0].error.find("belongs to uid"), std::string::npos) << report.errors[0].error;
  EXPECT_EQ(agent().data("theirs"), "by the API");
  erase("a.json");
  expect(apply(), 0, 0, 0);
  EXPECT_EQ(agent().data("theirs"), "by the API");
  EXPECT_EQ(agent().data("other"), "by the API");
}

TEST_F(RegistrationsDirTest, WhatAnotherTookOverMeanwhileIsLeftToHim) {
  write("a.json", entry("a"));
  expect(apply(), 1, 0, 0);
  ASSERT_EQ(agent().submit(core::DeregisterRequest{{"web", "a"}}, ::geteuid()), "");
  ASSERT_EQ(agent().submit(request("a"), ::geteuid() + 4711), "");
  erase("a.json");
  expect(apply(), 0, 0, 0);
  EXPECT_EQ(agent().data("a"), "by the API");
  EXPECT_TRUE(load_registrations_memory(memory_file())->empty());
}

TEST_F(RegistrationsDirTest, WhatWasDeregisteredByHandComesBackWithTheNextReload) {
  write("a.json", entry("a"));
  expect(apply(), 1, 0, 0);
  ASSERT_EQ(agent().submit(core::DeregisterRequest{{"web", "a"}}, ::geteuid()), "");
  expect(apply(), 0, 1, 0);
  EXPECT_EQ(agent().data("a"), "x");
}

TEST_F(RegistrationsDirTest, AFileThatWentWhileTheAgentWasDownIsNoticedAtTheNextStart) {
  write("a.json", entry("a"));
  expect(apply(), 1, 0, 0);
  agent_.reset();
  erase("a.json");
  // The next run has it from the store.
  ASSERT_EQ(agent().submit(request("a"), ::geteuid()), "");
  expect(apply(), 0, 0, 1);
  EXPECT_EQ(agent().data("a"), "none");
}

// Killed after it was remembered and before, or after, it was accepted.
TEST_F(RegistrationsDirTest, WhatIsRememberedAndNotThereIsForgotten) {
  ASSERT_TRUE(save_registrations_memory(memory_file(), {{{"web", "a"}, "a.json"}, {{"web", "b"}, "b.json"}}).ok());
  write("b.json", entry("b"));
  expect(apply(), 0, 1, 0);
  EXPECT_EQ(*load_registrations_memory(memory_file()),
            (std::map<RegistrationId, std::string>{{{"web", "b"}, "b.json"}}));
}

TEST_F(RegistrationsDirTest, WhatCannotBeRememberedIsNotRegistered) {
  ASSERT_EQ(::mkdir(memory_file().c_str(), 0700), 0);
  write("a.json", entry("a"));
  const auto report = apply();
  EXPECT_EQ(report.added, 0U);
  EXPECT_EQ(report.errors.back().file, memory_file());
  EXPECT_EQ(agent().data("a"), "none");
  std::filesystem::remove(memory_file());
  expect(apply(), 1, 0, 0);
}

TEST_F(RegistrationsDirTest, AMemoryThatIsDamagedIsSaidAndMadeAnew) {
  std::ofstream(memory_file()) << R"({"version":1,"registrations":[{"service":"web"}]})";
  write("a.json", entry("a"));
  const auto report = apply();
  expect(report, 1, 0, 0, 1);
  EXPECT_NE(report.errors[0].error.find("is damaged"), std::string::npos);
  EXPECT_EQ(load_registrations_memory(memory_file())->size(), 1U);
}

TEST_F(RegistrationsDirTest, WhatIsPastALimitIsSaidAndHoldsUpNoOther) {
  core::Options options;
  options.limits.max_registrations = 2;
  agent(options);
  write("a.json", "[" + entry("a") + "," + entry("b") + "," + entry("c") + "]");
  const auto report = apply();
  expect(report, 2, 0, 0, 1);
  EXPECT_EQ(report.errors[0].file, "a.json");
  EXPECT_NE(report.errors[0].error.find("web/c: "), std::string::npos);
}

TEST_F(RegistrationsDirTest, TwoAtATimeAreOneAfterTheOther) {
  write("a.json", entry("a"));
  std::vector<std::uint64_t> added;
  for (int i = 0; i < 2; ++i) {
    agent().files.apply({directory(), true}, api::Removals::guarded,
                        [&](const api::FilesReport& report) { added.push_back(report.added); });
  }
  while (added.size() < 2 && agent().io.run_one_for(std::chrono::seconds(20)) > 0) {
  }
  EXPECT_EQ(added, (std::vector<std::uint64_t>{1, 0}));
}

TEST_F(RegistrationsDirTest, TheMemoryIsWhatWasSaved) {
  const std::map<RegistrationId, std::string> memory = {{{"a", "1"}, "x.json"}, {{"b", "\"2\""}, "y \\ z.json"}};
  EXPECT_TRUE(load_registrations_memory(memory_file())->empty());
  ASSERT_TRUE(save_registrations_memory(memory_file(), memory).ok());
  EXPECT_EQ(*load_registrations_memory(memory_file()), memory);
  for (const char* damaged : {"", "{}", "[]", R"({"version":2,"registrations":[]})",
                              R"({"version":1,"registrations":[{"service":"a","instance":"b","file":1}]})",
                              R"({"version":1,"registrations":[{"service":"a","instance":"b","file":"f"})"}) {
    std::ofstream(memory_file()) << damaged;
    EXPECT_EQ(load_registrations_memory(memory_file()).status().code(), Errc::damaged) << damaged;
  }
}

}  // namespace
}  // namespace limpet
