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

std::vector<std::string> words(const Daemon& daemon, const std::string& call, Files files) {
  // -D: the agent stays our child, and strace is the grandchild. Not --seccomp-bpf: with -D, strace 6.1 then injects
  // nothing.
  std::vector<std::string> out = {"strace",        "-D", "-f",         "-qq", "-o", trace_file(daemon), "-e",
                                  "trace=" + call, "-e", "signal=none"};
  // strace knows files by their full names; RocksDB numbers its own from 1.
  const auto add = [&](const std::string& name) { out.insert(out.end(), {"-P", daemon.data_dir() + "/" + name}); };
  if (files == Files::state) {
    for (const char* name : {"", "FORMAT", "FORMAT.new", "db", "db/CURRENT", "db/IDENTITY", "db/KEY"}) {
      add(name);
    }
  }
  for (int i = 1; i < 60 && files != Files::any; ++i) {
    std::string number = std::to_string(i);
    number.insert(0, 6 - number.size(), '0');
    add("db/" + number + ".log");
    if (files == Files::state) {
      add("db/" + number + ".sst");
      add("db/" + number + ".dbtmp");
      add("db/MANIFEST-" + number);
    }
  }
  return out;
}

}  // namespace

std::string why_no_strace() {
  static const int result = std::system("strace -D -f -qq -o /dev/null -e trace=fsync true 2>/dev/null");
  return result == 0 ? "" : "strace cannot trace here (not installed, or ptrace is not allowed)";
}

Injection inject(const Daemon& daemon, const std::string& call, const std::string& fault, Files files) {
  Injection injection;
  injection.wrapper = words(daemon, call, files);
  injection.wrapper.insert(injection.wrapper.end(), {"-e", "inject=" + call + ":" + fault});
  return injection;
}

Injection observe(const Daemon& daemon, const std::string& call, Files files) {
  Injection injection;
  injection.wrapper = words(daemon, call, files);
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

}  // namespace limpet::test
