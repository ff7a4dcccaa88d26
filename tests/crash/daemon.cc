#include "tests/crash/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace limpet::test {

namespace {

constexpr auto kPoll = std::chrono::milliseconds(3);

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) {
    out.push_back(word.data());
  }
  out.push_back(nullptr);
  return out;
}

}  // namespace

Daemon::Daemon(std::string zookeeper, std::vector<std::string> arguments, const std::string& disk)
    : zookeeper_(std::move(zookeeper)), arguments_(std::move(arguments)) {
  char name[] = "/tmp/limpet-crash-XXXXXX";
  if (::mkdtemp(name) == nullptr) {
    std::abort();
  }
  directory_ = name;
  data_dir_ = (disk.empty() ? directory_ : disk) + "/state";
  socket_ = directory_ + "/limpet.sock";
  std::ofstream(directory_ + "/limpet.json") << "{}\n";
}

Daemon::~Daemon() {
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

bool Daemon::start(const Injection& injection) {
  std::vector<std::string> words = injection.wrapper;
  for (const std::string& word :
       {std::string(LIMPETD_PATH), std::string("--config"), directory_ + "/limpet.json", std::string("--zookeeper"),
        zookeeper_, std::string("--data-dir"), data_dir_, std::string("--socket"), socket_}) {
    words.push_back(word);
  }
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  std::vector<std::string> environment = injection.environment;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  std::vector<char*> argv = pointers(words);
  std::vector<char*> envp = pointers(environment);
  const std::string log_file = directory_ + "/log";
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
      ::_exit(126);
    }
    const int log = ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::closefrom(STDERR_FILENO + 1);  // also what this process was born with: limits count them
    for (const auto& [resource, value] : injection.limits) {
      const rlimit limit{value, value};  // the hard one too: limpetd raises its own as far as it may
      ::setrlimit(resource, &limit);
    }
    ::execvpe(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  UnixHttp http(socket_);
  while (http.get("/healthz").status != 200) {
    if (ended()) {
      return false;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

void Daemon::signal(int number) const {
  if (pid_ > 0) {
    ::kill(pid_, number);
  }
}

void Daemon::kill() {
  if (!ended()) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
    exit_code_ = -SIGKILL;
  }
}

bool Daemon::ended() {
  int status = 0;
  if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) {
    pid_ = -1;
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  return pid_ <= 0;
}

bool Daemon::wait_ended(std::chrono::milliseconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!ended()) {
    if (std::chrono::steady_clock::now() >= until) {
      return false;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

std::string Daemon::log() const {
  std::ifstream stream(directory_ + "/log");
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

nlohmann::json Daemon::status() const {
  UnixHttp http(socket_);
  return http.get("/v1/status").json();
}

std::uint64_t bytes_below(const std::string& path) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    struct stat info {};
    if (::lstat(it->path().c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
      sum += static_cast<std::uint64_t>(info.st_blocks) * 512;
    }
  }
  return sum;
}

long number_from_environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::atol(text) : otherwise;
}

}  // namespace limpet::test
