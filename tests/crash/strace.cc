#include "tests/crash/strace.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>

namespace limpet::test {

namespace {

std::string trace_file(const Daemon& daemon) {
  return daemon.directory() + "/strace";
}

std::vector<std::string> words(const Daemon& daemon, const std::string& call, bool only_state) {
  // -D: the agent stays our child, and strace is the grandchild. --seccomp-bpf: only the calls named cost time.
  std::vector<std::string> out = {"strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", trace_file(daemon),
                                  "-e",     "trace=" + call, "-e", "signal=none"};
  if (only_state) {
    // strace knows files by their full names; RocksDB numbers its own from 1.
    const auto add = [&](const std::string& name) {
      out.insert(out.end(), {"-P", daemon.data_dir() + "/" + name});
    };
    for (const char* name : {"", "FORMAT", "FORMAT.new", "db", "db/CURRENT", "db/IDENTITY"}) {
      add(name);
    }
    for (int i = 1; i < 60; ++i) {
      std::string number = std::to_string(i);
      number.insert(0, 6 - number.size(), '0');
      for (const std::string& name : {"db/" + number + ".log", "db/" + number + ".sst", "db/" + number + ".dbtmp",
                                      "db/MANIFEST-" + number}) {
        add(name);
      }
    }
  }
  return out;
}

}  // namespace

std::string why_no_strace() {
  static const int result = std::system("strace -D -f -qq --seccomp-bpf -o /dev/null -e trace=fsync true 2>/dev/null");
  return result == 0 ? "" : "strace cannot trace here (not installed, or ptrace is not allowed)";
}

Injection inject(const Daemon& daemon, const std::string& call, const std::string& fault, bool only_state) {
  Injection injection;
  injection.wrapper = words(daemon, call, only_state);
  injection.wrapper.insert(injection.wrapper.end(), {"-e", "inject=" + call + ":" + fault});
  return injection;
}

Injection observe(const Daemon& daemon, const std::string& call, bool only_state) {
  Injection injection;
  injection.wrapper = words(daemon, call, only_state);
  return injection;
}

int how_often(const Daemon& daemon) {
  std::ifstream stream(trace_file(daemon));
  std::map<std::string, int> by_thread;
  for (std::string line; std::getline(stream, line);) {
    if (line.find('(') != std::string::npos && line.find("resumed>") == std::string::npos) {
      ++by_thread[line.substr(0, line.find(' '))];
    }
  }
  int most = 0;
  for (const auto& [thread, count] : by_thread) {
    most = std::max(most, count);
  }
  return most;
}

int times_injected(const Daemon& daemon) {
  std::ifstream stream(trace_file(daemon));
  int count = 0;
  for (std::string line; std::getline(stream, line);) {
    count += line.find("(INJECTED)") != std::string::npos || line.find("killed by SIGKILL") != std::string::npos ? 1 : 0;
  }
  return count;
}

}  // namespace limpet::test
