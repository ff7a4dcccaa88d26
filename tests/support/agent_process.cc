#include "tests/support/agent_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace limpet::test {

namespace {

constexpr auto kPoll = std::chrono::milliseconds(5);

}  // namespace

AgentProcess::AgentProcess(std::string servers, std::vector<std::string> arguments)
    : zookeeper(std::move(servers)), arguments_(std::move(arguments)) {
  char name[] = "/tmp/limpet-test-XXXXXX";
  directory_ = ::mkdtemp(name);
  data_dir_ = directory_ + "/state";
  socket_ = directory_ + "/limpet.sock";
  std::filesystem::create_directory(registrations_dir());
  std::filesystem::permissions(registrations_dir(), std::filesystem::perms(0755));
}

AgentProcess::~AgentProcess() {
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

bool AgentProcess::start() {
  const std::string config = directory_ + "/limpet.json";
  if (!std::filesystem::exists(config)) {
    std::ofstream(config) << "{}\n";
  }
  std::vector<std::string> words = {
      LIMPETD_PATH, "--data-dir",          data_dir_,          "--socket", socket_, "--config",
      config,       "--registrations-dir", registrations_dir()};
  if (!zookeeper.empty()) {
    words.insert(words.end(), {"--zookeeper", zookeeper});
  }
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  words.insert(words.begin(), wrapper.begin(), wrapper.end());
  std::vector<char*> variables;
  for (std::string& variable : environment) {
    variables.push_back(variable.data());
  }
  for (char** variable = ::environ; *variable != nullptr; ++variable) {
    variables.push_back(*variable);
  }
  variables.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
      ::_exit(1);
    }
    const int log = ::open((directory_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    std::vector<char*> argv;
    for (std::string& word : words) {
      argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    ::execvpe(argv[0], argv.data(), variables.data());
    ::_exit(127);
  }
  UnixHttp http(socket_);
  while (http.get("/healthz").status != 200) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      return false;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

void AgentProcess::signal(int number) {
  if (pid_ > 0) {
    ::kill(pid_, number);
  }
}

void AgentProcess::kill() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
}

int AgentProcess::terminate() {
  signal(SIGTERM);
  return wait_exit();
}

int AgentProcess::wait_exit(std::chrono::seconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < until) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return -1;
}

std::string AgentProcess::log() const {
  std::ifstream stream(directory_ + "/log");
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::chrono::milliseconds AgentProcess::cpu_time() const {
  // proc(5): utime and stime are the fields 14 and 15 of stat; the name before them is in parentheses.
  std::ifstream stream("/proc/" + std::to_string(pid_) + "/stat");
  std::string text;
  std::getline(stream, text);
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int i = 3; i < 14; ++i) {
    fields >> skipped;
  }
  long user = 0;
  long system = 0;
  fields >> user >> system;
  return std::chrono::milliseconds((user + system) * 1000 / ::sysconf(_SC_CLK_TCK));
}

std::size_t AgentProcess::resident_bytes() const {
  std::ifstream stream("/proc/" + std::to_string(pid_) + "/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  stream >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

nlohmann::json AgentProcess::status() {
  UnixHttp http(socket_);
  return http.get("/v1/status").json();
}

bool AgentProcess::wait_status(const std::function<bool(const nlohmann::json&)>& done, std::chrono::seconds limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  UnixHttp http(socket_);
  do {
    const HttpAnswer answer = http.get("/v1/status");
    if (answer.status == 200 && done(answer.json())) {
      return true;
    }
    std::this_thread::sleep_for(kPoll * 4);
  } while (std::chrono::steady_clock::now() < until);
  return false;
}

bool AgentProcess::wait_connected() {
  return wait_status([](const nlohmann::json& status) { return status["zookeeper"]["state"] == "connected"; });
}

bool AgentProcess::wait_settled(std::chrono::seconds limit) {
  return wait_status(
      [](const nlohmann::json& status) {
        return status["zookeeper"]["state"] == "connected" && status["queue"]["depth"] == 0;
      },
      limit);
}

}  // namespace limpet::test
