// The environment of a test program and of every program that it starts: the same on every machine, in a shell, a
// container, a service or `env -i`. Linked into each test program; runs before main().
//
// Kept are the settings of GoogleTest, of the sanitizers, and of our own tests. A new setting gets one of the prefixes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::array<std::string_view, 12> kKept = {
    "GTEST_",      "TEST_SHARD_",   "ASAN_OPTIONS=", "LSAN_OPTIONS=",     "UBSAN_OPTIONS=", "TSAN_OPTIONS=",
    "LIMPET_SIM_", "LIMPET_CHAOS_", "LIMPET_CRASH_", "LIMPET_POWERLOSS_", "LIMPET_FAULT_",  "LIMPET_TEST_"};

bool is_kept(std::string_view variable) {
  for (const std::string_view prefix : kKept) {
    if (variable.starts_with(prefix)) {
      return true;
    }
  }
  return variable.starts_with("LIMPET_OUTAGE_");
}

void set_variables() {
  std::vector<std::string> kept;
  for (char** variable = ::environ; variable != nullptr && *variable != nullptr; ++variable) {
    if (is_kept(*variable)) {
      kept.emplace_back(*variable);
    }
  }
  ::clearenv();
  for (const std::string& variable : kept) {
    const std::size_t equals = variable.find('=');
    ::setenv(variable.substr(0, equals).c_str(), variable.c_str() + equals + 1, 1);
  }
  ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  ::setenv("HOME", "/tmp", 1);
  // Java encodes its output by the locale, and writes '?' for 'ü' where none is set.
  ::setenv("LC_ALL", "C.UTF-8", 1);
}

// Standard input is empty, never a terminal; a file opened later never gets the number of a closed standard stream.
void set_standard_streams() {
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, STDIN_FILENO);
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) < 0) {
      ::dup2(null, stream);
    }
  }
  if (null > STDERR_FILENO) {
    ::close(null);
  }
}

const bool kPrepared = [] {
  set_variables();
  set_standard_streams();
  ::umask(022);
  return true;
}();

}  // namespace
