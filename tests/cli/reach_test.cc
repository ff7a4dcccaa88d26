// Exit 3: why the agent cannot be reached, said so that a newcomer knows what to do.
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

class Reach : public ::testing::Test {
 protected:
  Reach() : socket(directory.path() + "/limpet.sock") {}
  Outcome list(Setting setting = {}) {
    return run_limpet({"--socket", socket, "list", "--answer-timeout", "20ms"}, setting);
  }
  TemporaryDirectory directory;
  std::string socket;
};

TEST_F(Reach, NoSuchSocket) {
  const Outcome outcome = list();
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(has(outcome.err, "limpet: no such socket: " + socket + " (from --socket). Is limpetd running?"));
}

TEST_F(Reach, AsJson) {
  for (const std::string verb : {"list", "status", "leave", "history", "events", "reload"}) {
    const Outcome outcome = run_limpet({"--socket", socket, "--json", verb});
    EXPECT_EQ(outcome.exit, 3);
    EXPECT_EQ(outcome.err, "");
    const auto problem = nlohmann::json::parse(outcome.out, nullptr, false);
    ASSERT_TRUE(problem.is_object()) << outcome.out;
    EXPECT_EQ(problem["code"], "unreachable");
    EXPECT_TRUE(has(problem["detail"], "no such socket: " + socket));
  }
}

TEST_F(Reach, EnvironmentNamesTheSocketAndTheOptionWins) {
  const Setting setting{{"LIMPET_SOCKET=" + directory.path() + "/other"}, "", {}, "", false, false};
  EXPECT_TRUE(has(run_limpet({"list"}, setting).err, "/other (from LIMPET_SOCKET)"));
  EXPECT_TRUE(has(run_limpet({"list", "--socket", socket}, setting).err, socket + " (from --socket)"));
  EXPECT_EQ(run_limpet({"list"}, {{"LIMPET_SOCKET="}, "", {}, "", false, false}).err.find("LIMPET_SOCKET)"),
            std::string::npos);
}

// A container that was given the socket's file alone keeps that of the agent's earlier run.
TEST_F(Reach, StaleMountOfTheSocketFile) {
  ::close(bind_unix_socket(socket, 1));
  const std::string mounted = directory.path() + "/mounted.sock";
  std::ofstream(mounted).close();
  int said[2];
  ASSERT_EQ(::pipe(said), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount(socket.c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      ::_exit(77);
    }
    const std::string err = run_limpet({"--socket", mounted, "list"}).err;
    ::_exit(::write(said[1], err.data(), err.size()) == static_cast<ssize_t>(err.size()) ? 0 : 1);
  }
  ::close(said[1]);
  std::string err(4096, '\0');
  err.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(said[0], err.data(), err.size()), 0)));
  ::close(said[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 77) {
    GTEST_SKIP() << "takes the right to mount";
  }
  EXPECT_TRUE(has(err, "the socket's file alone is mounted here")) << err;
  EXPECT_TRUE(has(err, "The agent may well be running. Mount the directory instead (" + directory.path() + ")")) << err;
  EXPECT_FALSE(has(err, "Start it")) << err;
}

TEST_F(Reach, StaleSocketFile) {
  ::close(bind_unix_socket(socket, 1));
  const Outcome outcome = list();
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "nobody listens on " + socket));
  EXPECT_TRUE(has(outcome.err, "left over"));
}

TEST_F(Reach, NotASocket) {
  std::ofstream(socket) << "text";
  const Outcome outcome = list();
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "is not a socket"));
}

TEST_F(Reach, PathTooLongForASocket) {
  socket = directory.path() + "/" + std::string(120, 'a');
  const Outcome outcome = list();
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "longer than a unix socket's may be"));
}

TEST_F(Reach, ListenerThatTakesNoConnections) {
  const int listener = bind_unix_socket(socket, 0);
  // Fill its queue until the kernel takes no more.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket.data(), socket.size());
  std::vector<int> waiting;
  int result = 0;
  while (result == 0) {
    waiting.push_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    result = ::connect(waiting.back(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  const Outcome outcome = list();
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "does not take the connection"));
  for (const int fd : waiting) {
    ::close(fd);
  }
  ::close(listener);
}

TEST_F(Reach, DirectoryShutToThisUser) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can run the program as somebody else";
  }
  const int listener = bind_unix_socket(socket, 1);
  Setting setting;
  setting.as_nobody = true;
  const Outcome outcome = list(setting);
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "permission denied: the directory " + directory.path() +
                                   " is open to its owner root only (mode 0700), and you are nobody"));
  ::close(listener);
}

TEST_F(Reach, SocketOfAGroupThatThisUserIsNotIn) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can run the program as somebody else";
  }
  const group* daemon = ::getgrnam("daemon");
  ASSERT_NE(daemon, nullptr);
  const int listener = bind_unix_socket(socket, 1);
  ASSERT_EQ(::chmod(directory.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(socket.c_str(), 0660), 0);
  ASSERT_EQ(::chown(socket.c_str(), 0, daemon->gr_gid), 0);
  Setting setting;
  setting.as_nobody = true;
  const Outcome outcome = list(setting);
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, socket + " belongs to group daemon (mode 0660), and nobody is not in it"));
  EXPECT_TRUE(has(outcome.err, "sudo usermod -aG daemon nobody\nthen log in again"));
  ::close(listener);
}

TEST_F(Reach, NobodyIsToldToJoinTheGroupRoot) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can run the program as somebody else";
  }
  const int listener = bind_unix_socket(socket, 1);
  ASSERT_EQ(::chmod(directory.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(socket.c_str(), 0660), 0);
  Setting setting;
  setting.as_nobody = true;
  const Outcome outcome = list(setting);
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "groupadd --system limpet"));
  EXPECT_EQ(outcome.err.find("usermod -aG root"), std::string::npos);
  ::close(listener);
}

TEST_F(Reach, SocketWithoutAnyPermission) {
  if (::geteuid() == 0) {
    GTEST_SKIP() << "root is let in everywhere";
  }
  const int listener = bind_unix_socket(socket, 1);
  ASSERT_EQ(::chmod(socket.c_str(), 0), 0);
  const Outcome outcome = list();
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "permission denied: " + socket));
  ::close(listener);
}

TEST_F(Cli, HungAgentIsReportedAfterTheTimeout) {
  server.hang();
  const Outcome outcome = run({"register", "web", "i-1", "--wait", "1ms", "--answer-timeout", "20ms"});
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "did not answer within 21ms"));
  EXPECT_TRUE(has(outcome.err, "the same command again is safe"));
}

TEST_F(Cli, CutConnectionLeavesTheOutcomeOpen) {
  server.cut();
  server.cut();  // it is asked once more
  const Outcome outcome = run({"register", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "closed the connection without an answer"));
  EXPECT_TRUE(has(outcome.err, "the same command again is safe"));
}

TEST_F(Cli, AgentThatIsRestartedUnderTheRequestIsAskedAgain) {
  const std::string stopping = R"({"type":"urn:limpet:problem:shutting_down","title":"The agent is stopping",)"
                               R"("status":503,"detail":"x","code":"shutting_down","retryable":true})";
  const std::string good = R"({"id":"web/i-1","seq":1,"state":"pending"})";
  server.answer(503, stopping);
  server.answer(202, good);
  EXPECT_EQ(run({"register", "web", "i-1"}).exit, 0);
  server.cut();
  server.answer(202, good);
  EXPECT_EQ(run({"register", "web", "i-1"}).exit, 0);
  // The second time there would be nothing to deregister: the first may have done it.
  server.cut();
  EXPECT_EQ(run({"deregister", "web", "i-1"}).exit, 3);
  EXPECT_EQ(server.seen().size(), 5u);
}

TEST_F(Cli, AnswerThatBreaksOffIsNoAnswer) {
  server.send_raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"registrations\"");
  const Outcome outcome = run({"list"});
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_EQ(outcome.out, "");
}

TEST_F(Cli, SomethingElseListensThere) {
  server.send_raw("220 mail.example.org ESMTP\r\n");
  const Outcome outcome = run({"list"});
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "does not answer as limpetd does"));
}

TEST_F(Cli, AnswerThatIsNotJsonIsAFailure) {
  server.answer(200, "<html>hello</html>");
  const Outcome outcome = run({"status"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "not JSON: <html>hello</html>"));
}

}  // namespace
}  // namespace limpet::test
