// Faults at the k-th system call of the real limpetd, put there by strace.
#pragma once

#include <string>

#include "tests/crash/daemon.h"

namespace limpet::test {

// Empty, or why strace cannot be used here.
std::string why_no_strace();

// Which calls count: all, those on the state directory, or those on the write-ahead log. strace counts for each thread
// by itself, and a fault befalls every thread that gets as far; so what the commit thread writes is reached by `wal`,
// while with the others the main thread, which opens the store, is there first.
enum class Files { any, state, wal };

// Runs limpetd under strace: `fault` ("signal=KILL:when=7", "error=EIO:when=3+", …) befalls `call`. The agent stays the
// direct child.
Injection inject(const Daemon& daemon, const std::string& call, const std::string& fault, Files files = Files::any);

// Only counts: after the run, how_often() says how often the busiest thread made that call.
Injection observe(const Daemon& daemon, const std::string& call, Files files = Files::any);
int how_often(const Daemon& daemon);

}  // namespace limpet::test
