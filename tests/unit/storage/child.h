// A second process for tests that need one: to be killed, to be limited, or to hold a lock.
//
// It is this test program started anew, because a fork alone would carry over RocksDB's idea of its threads without
// the threads. A Role is a function that runs in the child instead of the tests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace limpet::test {

// Runs in the child; the return value is its exit status. `report` sends a number to the parent, which blocks when
// the parent has not read for long.
using Role = int (*)(const std::string& argument, void (*report)(std::uint64_t));

// At namespace scope: makes `role` known as `name`.
struct RegisterRole {
  RegisterRole(const char* name, Role role);
};

class Child {
 public:
  Child(const char* role, const std::string& argument);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // kills it if it still runs

  // The next number reported; nothing once the child has ended and all was read. Blocks.
  std::optional<std::uint64_t> next();
  // SIGKILL, and waits for the end. What was reported before can still be read.
  void kill();
  // Waits for the end; the exit status, or -1 if it was killed by a signal.
  int wait();

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

}  // namespace limpet::test
