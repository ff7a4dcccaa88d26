// Faults at the k-th system call of the real limpetd, put there by strace.
#pragma once

#include <string>

#include "tests/crash/daemon.h"

namespace limpet::test {

// Empty, or why strace cannot be used here.
std::string why_no_strace();

// Runs limpetd under strace: `fault` ("signal=KILL:when=7", "error=EIO:when=3+", …) befalls `call`. strace counts the
// calls of each thread by itself: the fault befalls every thread that gets as far. With `only_state`, calls on the files of
// the state directory count, not those on sockets and the log. The agent stays the direct child.
Injection inject(const Daemon& daemon, const std::string& call, const std::string& fault, bool only_state = false);

// Only counts: after the run, how_often() says how often the busiest thread made that call.
Injection observe(const Daemon& daemon, const std::string& call, bool only_state = false);
int how_often(const Daemon& daemon);

// The calls of `thread`s that a fault hit in the last run.
int times_injected(const Daemon& daemon);

}  // namespace limpet::test
