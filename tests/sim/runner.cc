#include "tests/sim/runner.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>

namespace limpet::test {

namespace {

// True where the history violates nothing. A core that throws is a violation too.
bool run(Simulation& simulation, std::string& violation) {
  try {
    if (simulation.run()) {
      return true;
    }
    violation = simulation.violation();
  } catch (const std::exception& error) {
    violation = std::string("thrown: ") + error.what();
  }
  return false;
}

// What an assertion within the core would otherwise not tell: which history it was.
volatile std::uint64_t g_seed = 0;

void tell_seed(int signal_number) {
  char text[64] = "simulated history aborted, LIMPET_SIM_SEED=";
  std::size_t length = std::strlen(text);
  char digits[24];
  std::size_t count = 0;
  std::uint64_t seed = g_seed;
  do {
    digits[count++] = static_cast<char>('0' + seed % 10);
    seed /= 10;
  } while (seed != 0);
  while (count > 0) {
    text[length++] = digits[--count];
  }
  text[length++] = '\n';
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, length);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

}  // namespace

RunResult run_histories(std::uint64_t first, std::uint64_t count, double seconds, Mutation mutation) {
  signal(SIGABRT, tell_seed);
  signal(SIGSEGV, tell_seed);
  RunResult result;
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    g_seed = seed;
    Simulation simulation(history_of(seed), mutation, false);
    const bool fine = run(simulation, result.violation);
    result.tally.add(simulation.tally());
    if (!fine) {
      result.failing_seed = seed;
      break;
    }
    if (seconds > 0 && std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > seconds) {
      break;
    }
  }
  return result;
}

std::string report(std::uint64_t seed, Mutation mutation) {
  const History history = history_of(seed);
  Simulation simulation(history, mutation, true);
  std::string violation;
  run(simulation, violation);
  std::string text = "seed " + std::to_string(seed) + "\n" + history.describe() + "\nthe last events:\n";
  for (const std::string& line : simulation.trace()) {
    text += "  " + line + "\n";
  }
  text += "violation: " + violation + "\nagain: LIMPET_SIM_SEED=" + std::to_string(seed) +
          " ./sim_tests --gtest_filter=Simulation.Histories\n";
  return text;
}

std::uint64_t env_number(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace limpet::test
