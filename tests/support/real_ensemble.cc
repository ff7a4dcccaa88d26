#include "tests/support/real_ensemble.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/preload.h"

namespace limpet::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// Its manifest names all the jars that it needs; /usr/share/zookeeper/bin/zkEnv.sh uses it the same way.
constexpr const char* kJar = "/usr/share/java/zookeeper.jar";
constexpr const char* kJava = "/usr/bin/java";
constexpr const char* kMain = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "RealEnsemble: %s\n", what.c_str());
  std::abort();
}

sockaddr_in address_of(const std::string& ip, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, ip.c_str(), &address.sin_addr) != 1) {
    fail("no address: " + ip);
  }
  return address;
}

// Keeps a port by a socket that is bound and does not listen: with SO_REUSEADDR on both sides the server can bind and
// listen on it all the same, and nobody else's outgoing connection gets it. -1: the port is not free.
int try_to_reserve(const std::string& ip, std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  const sockaddr_in address = address_of(ip, port);
  if (fd >= 0 && (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
                  ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)) {
    ::close(fd);
    return -1;
  }
  return fd;
}

// A free port.
int reserve(const std::string& ip, std::uint16_t& port) {
  const int fd = try_to_reserve(ip, 0);
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  if (fd < 0 || ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    fail("cannot reserve a port on " + ip + ": " + std::strerror(errno));
  }
  port = ntohs(address.sin_port);
  return fd;
}

bool wait_for(int fd, short events, std::chrono::steady_clock::time_point until) {
  const auto left = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now()).count();
  pollfd entry{fd, events, 0};
  return left > 0 && ::poll(&entry, 1, static_cast<int>(left)) == 1;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

}  // namespace

RealEnsemble::RealEnsemble(Options options) : options_(std::move(options)) {
  if (!fs::exists(kJar)) {
    fail(std::string(kJar) + " is not there; install Debian's package zookeeper");
  }
  std::string pattern = (fs::temp_directory_path() / "limpet-zk-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    fail("cannot make " + pattern + ": " + std::strerror(errno));
  }
  directory_ = pattern;
  for (int i = 0; i < options_.servers; ++i) {
    Server server;
    server.ip = "127.0.0." + std::to_string(i + 1);
    server.client_ip = server.ip;
    for (auto* port : {&server.client_port, &server.quorum_port, &server.election_port}) {
      server.reservations.push_back(reserve(server.ip, *port));
    }
    server.directory = directory_ + "/" + std::to_string(i + 1);
    servers_.push_back(server);
  }
  for (int i = 0; i < options_.servers; ++i) {
    write_files(at(i), i + 1);
  }
}

RealEnsemble::~RealEnsemble() {
  kill_all();
  for (const auto& server : servers_) {
    for (const int fd : server.reservations) {
      ::close(fd);
    }
  }
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

RealEnsemble& RealEnsemble::started(RealEnsemble& ensemble) {
  ensemble.start_all();
  if (!ensemble.wait_serving()) {
    fail("the servers do not serve\n" + ensemble.console());
  }
  return ensemble;
}

void RealEnsemble::write_files(const Server& server, int id) const {
  fs::create_directories(server.directory + "/data");
  if (options_.servers > 1) {
    std::ofstream(server.directory + "/data/myid") << id << "\n";
  }
  std::ofstream config(server.directory + "/zoo.cfg");
  config << "tickTime=" << options_.tick_ms << "\ninitLimit=20\nsyncLimit=6\nmaxClientCnxns=0\n"
         << "dataDir=" << server.directory << "/data\n"
         << "clientPort=" << server.client_port << "\nclientPortAddress=" << server.client_ip << "\n"
         << "admin.enableServer=false\n";
  if (!options_.four_letter_words.empty()) {
    config << "4lw.commands.whitelist=" << options_.four_letter_words << "\n";
  }
  if (options_.servers > 1) {
    int other_id = 0;
    for (const auto& other : servers_) {
      config << "server." << ++other_id << "=" << other.ip << ":" << other.quorum_port << ":" << other.election_port
             << "\n";
    }
  }
  for (const auto& line : options_.config_lines) {
    config << line << "\n";
  }
  config.flush();
  if (!config) {
    fail("cannot write into " + server.directory);
  }
}

std::string RealEnsemble::connect_string() const {
  std::string list;
  for (int i = 0; i < size(); ++i) {
    list += (list.empty() ? "" : ",") + address(i);
  }
  return list;
}

std::string RealEnsemble::address(int index) const {
  return at(index).client_ip + ":" + std::to_string(at(index).client_port);
}

void RealEnsemble::start(int index) {
  Server& server = at(index);
  if (server.pid != 0) {
    return;
  }
  // A small JVM that is up soon: no second compiler, no parallel collector, no wait for the disk, quick elections.
  std::vector<std::string> words = {kJava,
                                    "-Xmx" + std::to_string(options_.heap_mb) + "m",
                                    "-XX:TieredStopAtLevel=1",
                                    "-XX:+UseSerialGC",
                                    "-Xshare:auto",
                                    "-Dzookeeper.preAllocSize=64",
                                    "-Dzookeeper.forceSync=no",
                                    "-Dzookeeper.fastleader.minNotificationInterval=100",
                                    "-Dzookeeper.fastleader.maxNotificationInterval=500",
                                    "-Dzookeeper.cnxTimeout=1000"};
  words.insert(words.end(), options_.java_options.begin(), options_.java_options.end());
  words.insert(words.end(), {"-cp", kJar, kMain, server.directory + "/zoo.cfg"});
  std::vector<char*> arguments;
  for (auto& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  std::vector<std::string> added;
  if (!options_.clock_shim.empty()) {
    added = {preload(options_.clock_shim), "LIMPET_CLOCK=" + clock_file(index)};
  }
  std::vector<char*> environment;
  for (auto& variable : added) {
    environment.push_back(variable.data());
  }
  for (char** variable = ::environ; *variable != nullptr; ++variable) {
    environment.push_back(*variable);
  }
  environment.push_back(nullptr);
  const std::string console = server.directory + "/console";
  const int out = ::open(console.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0 || out < 0) {
    fail(std::string("cannot start a server: ") + std::strerror(errno));
  }
  if (pid == 0) {
    // Only what is allowed between fork and exec in a program with threads.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
      ::_exit(126);
    }
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execve(kJava, arguments.data(), environment.data());
    ::_exit(127);
  }
  ::close(out);
  server.pid = pid;
  server.stopped = false;
}

void RealEnsemble::start_all() {
  for (int i = 0; i < size(); ++i) {
    start(i);
  }
}

void RealEnsemble::kill(int index) {
  Server& server = at(index);
  if (server.pid == 0) {
    return;
  }
  ::kill(server.pid, SIGKILL);
  while (::waitpid(server.pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  server.pid = 0;
  server.stopped = false;
}

void RealEnsemble::kill_all() {
  for (int i = 0; i < size(); ++i) {
    kill(i);
  }
}

void RealEnsemble::stop(int index) {
  if (at(index).pid != 0) {
    ::kill(at(index).pid, SIGSTOP);
    at(index).stopped = true;
  }
}

void RealEnsemble::cont(int index) {
  if (at(index).pid != 0) {
    ::kill(at(index).pid, SIGCONT);
    at(index).stopped = false;
  }
}

void RealEnsemble::kill_quorum() {
  const auto first = leader();
  if (!first) {
    fail("there is no leader to kill\n" + console());
  }
  kill(*first);
  int alive = 0;
  for (const auto& server : servers_) {
    alive += server.pid != 0 ? 1 : 0;
  }
  for (int i = 0; i < size() && alive * 2 > size(); ++i) {
    if (pid(i) != 0) {
      kill(i);
      --alive;
    }
  }
}

bool RealEnsemble::restore() {
  for (int i = 0; i < size(); ++i) {
    cont(i);
  }
  start_all();
  return wait_serving();
}

std::string RealEnsemble::move(int index) {
  kill(index);
  Server& server = at(index);
  for (int last_byte = 1; last_byte < 255; ++last_byte) {
    const std::string ip = "127.0.9." + std::to_string(last_byte);
    if (const int fd = try_to_reserve(ip, server.client_port); fd >= 0) {
      server.reservations.push_back(fd);
      server.client_ip = ip;
      write_files(server, index + 1);
      return ip;
    }
  }
  fail("no address is left to move to");
}

void RealEnsemble::wipe() {
  kill_all();
  for (int i = 0; i < size(); ++i) {
    fs::remove_all(at(i).directory + "/data");
    write_files(at(i), i + 1);
  }
}

std::string RealEnsemble::ask(int index, const std::string& word) const {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  const sockaddr_in address = address_of(at(index).client_ip, at(index).client_port);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    fail(std::string("no socket: ") + std::strerror(errno));
  }
  std::string answer;
  const int rc = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  if ((rc == 0 || errno == EINPROGRESS) && wait_for(fd, POLLOUT, until) &&
      ::send(fd, word.data(), word.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(word.size())) {
    char buffer[4096];
    while (wait_for(fd, POLLIN, until)) {
      const ssize_t got = ::recv(fd, buffer, sizeof(buffer), 0);
      if (got <= 0) {
        break;
      }
      answer.append(buffer, static_cast<std::size_t>(got));
    }
  }
  ::close(fd);
  return answer;
}

bool RealEnsemble::serves(int index) const {
  return at(index).pid != 0 && !at(index).stopped && ask(index, "srvr").find("Mode: ") != std::string::npos;
}

std::optional<int> RealEnsemble::leader() const {
  for (int i = 0; i < size(); ++i) {
    if (at(i).pid == 0 || at(i).stopped) {
      continue;
    }
    const std::string answer = ask(i, "srvr");
    if (answer.find("Mode: leader") != std::string::npos || answer.find("Mode: standalone") != std::string::npos) {
      return i;
    }
  }
  return std::nullopt;
}

bool RealEnsemble::wait_serving(milliseconds patience) const {
  return poll_until(
      [&] {
        for (int i = 0; i < size(); ++i) {
          if (at(i).pid != 0 && !at(i).stopped && !serves(i)) {
            return false;
          }
        }
        return leader().has_value();
      },
      patience);
}

bool RealEnsemble::wait_not_serving(milliseconds patience) const {
  return poll_until(
      [&] {
        for (int i = 0; i < size(); ++i) {
          if (serves(i)) {
            return false;
          }
        }
        return true;
      },
      patience);
}

std::string RealEnsemble::console() const {
  std::string all;
  for (const auto& server : servers_) {
    all += server.directory + ":\n" + read_file(server.directory + "/console");
  }
  return all;
}

}  // namespace limpet::test
