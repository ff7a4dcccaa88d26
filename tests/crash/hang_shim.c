/* Loaded into limpetd by LD_PRELOAD: a disk that hangs. While the file exists that LIMPET_HANG_FILE names, fsync and
 * fdatasync do not return. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void hang(void) {
  const struct timespec pause = {0, 10 * 1000 * 1000};
  const char *file = getenv("LIMPET_HANG_FILE");
  while (file != NULL && syscall(SYS_access, file, F_OK) == 0) {
    nanosleep(&pause, NULL);
  }
}

int fsync(int fd) {
  hang();
  return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  hang();
  return (int)syscall(SYS_fdatasync, fd);
}
