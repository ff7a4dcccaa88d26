#include "agent/liveness/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "agent/liveness/orphans.h"
#include "agent/liveness/process_id.h"

namespace limpet::liveness {
namespace {

std::uint64_t soft_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

}  // namespace

void prepare_program() {
  descriptor_limit_of_children();
  boot_id();
  if (rlimit limit{}; ::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);  // where that fails, the old limit holds, and is kept to
  }
  ::signal(SIGCHLD, SIG_DFL);
  if (Orphans::may_come()) {
    Orphans::prepare();
  }
  int fd = 0;
  while (fd >= 0 && fd <= STDERR_FILENO) {
    fd = ::open("/dev/null", O_RDWR);  // the lowest that is free
  }
  if (fd >= 0) {
    ::close(fd);
  }
}

int first_own_descriptor() {
  const std::uint64_t limit = std::min<std::uint64_t>(soft_limit(), std::numeric_limits<int>::max());
  return static_cast<int>(limit - limit / 4);
}

std::uint64_t descriptor_limit_of_children() {
  static const std::uint64_t at_start = soft_limit();
  return at_start;
}

}  // namespace limpet::liveness
