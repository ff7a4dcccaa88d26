// Another user, as far as the kernel is concerned with one thread: what it connects to sees that user. Only for root.
#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace limpet::test {

// Lives on the stack of the thread that it is about; not within another one.
class ActAs {
 public:
  // The library's setresuid() would change all threads. The file system's own uid is put back to root: paths stay open.
  explicit ActAs(uid_t uid) {
    ::syscall(SYS_setresuid, -1, uid, -1);
    ::syscall(SYS_setfsuid, 0);
  }
  ~ActAs() { ::syscall(SYS_setresuid, -1, 0, -1); }
  ActAs(const ActAs&) = delete;
  ActAs& operator=(const ActAs&) = delete;
};

}  // namespace limpet::test
