/* Loaded into limpetd by LD_PRELOAD: keeps account of what a power cut would leave of its state directory.
 *
 * LIMPET_POWERLOSS_STATE names the state directory, LIMPET_POWERLOSS_OUT a directory elsewhere. Every change of names
 * and every sync below the state directory is noted in OUT/events; what was written to a file between two syncs is
 * added to OUT/<id>. The sync itself is not done: it takes a fixed time, so that a good part of the kills falls into one, and it
 * is the copy that survives. The test kills the process and builds from this what a disk would hold (powerloss.cc).
 *
 * Files are told apart by their inodes: what is written through one descriptor is synced through any other.
 *
 * With LIMPET_POWERLOSS_LIE the disk lies: fdatasync and fsync report success and keep nothing. The tests must notice.
 *
 * A line of OUT/events, written by one write(2) after the thing was done:
 *   C id path   a file was made, or emptied, and opened for writing; id names it from then on
 *   O id path   an existing file without an id was opened for writing
 *   S id size from length   its size is safe now, and `length` bytes from `from` on, which are the next ones in OUT/<id>
 *   D path      the names in this directory are safe now
 *   M path, R from|to, U path   a directory was made; renamed; a file or directory was removed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kMaxFiles = 65536, kMaxLine = 2 * PATH_MAX + 64, kSyncNanoseconds = 150 * 1000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *state_dir;
static const char *out_dir;
static int lies;
static int events = -1;
static struct file {
  dev_t device;
  ino_t inode;
  off_t size;       /* at the last sync */
  off_t from, to;   /* what was written since lies in between */
} files[kMaxFiles]; /* the id is the place */
static int last_id = 0;

__attribute__((constructor)) static void begin(void) {
  char name[PATH_MAX];
  state_dir = getenv("LIMPET_POWERLOSS_STATE");
  out_dir = getenv("LIMPET_POWERLOSS_OUT");
  lies = getenv("LIMPET_POWERLOSS_LIE") != NULL;
  if (state_dir == NULL || out_dir == NULL) {
    return;
  }
  snprintf(name, sizeof name, "%s/events", out_dir);
  events = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_ours(const char *path) {
  const size_t length = state_dir == NULL ? 0 : strlen(state_dir);
  return events >= 0 && strncmp(path, state_dir, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* The full name of `path` as openat(2) and its like take it. */
static const char *full_name(int dir, const char *path, char *buffer, size_t size) {
  char link[64];
  ssize_t n;
  if (path[0] == '/' || dir == AT_FDCWD) {
    return path;
  }
  snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
  n = readlink(link, buffer, size - 1);
  if (n < 0) {
    return path;
  }
  buffer[n] = '\0';
  snprintf(buffer + n, size - (size_t)n, "/%s", path);
  return buffer;
}

static void note(const char *format, ...) {
  char line[kMaxLine];
  va_list arguments;
  int length;
  va_start(arguments, format);
  length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  line[length++] = '\n';
  if (syscall(SYS_write, events, line, (size_t)length) != length) {
    abort();
  }
}

/* The file that is open as `fd`, or NULL where it is not ours. An inode may have been that of a file before. */
static struct file *file_of(int fd, struct stat *info) {
  if (events < 0 || fstat(fd, info) != 0 || !S_ISREG(info->st_mode)) {
    return NULL;
  }
  for (int id = last_id; id > 0; --id) {
    if (files[id].inode == info->st_ino && files[id].device == info->st_dev) {
      return &files[id];
    }
  }
  return NULL;
}

static void add_range(struct file *file, off_t from, off_t to) {
  const int none = file->from >= file->to;
  file->from = none || from < file->from ? from : file->from;
  file->to = none || to > file->to ? to : file->to;
}

static int opened(int fd, const char *path, int flags, int existed) {
  const int kept_errno = errno;
  const int kept = existed && (flags & O_TRUNC) == 0;
  struct stat info;
  if (fd < 0 || !is_ours(path) || (flags & O_ACCMODE) == O_RDONLY) {
    return fd;
  }
  pthread_mutex_lock(&mutex);
  if (fstat(fd, &info) != 0 || last_id + 1 == kMaxFiles) {
    abort();
  }
  if (!kept || file_of(fd, &info) == NULL) {
    struct file *file = &files[++last_id];
    file->device = info.st_dev;
    file->inode = info.st_ino;
    file->from = 0;
    file->to = info.st_size; /* the first sync copies all of it */
    note("%c %d %s", kept ? 'O' : 'C', last_id, path);
  }
  pthread_mutex_unlock(&mutex);
  errno = kept_errno;
  return fd;
}

static int do_open(int dir, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = full_name(dir, path, buffer, sizeof buffer);
  struct stat info;
  const int existed = is_ours(name) && stat(name, &info) == 0;
  return opened((int)syscall(SYS_openat, dir, path, flags, mode), name, flags, existed);
}

#define MODE_OF(flags)                                     \
  mode_t mode = 0;                                         \
  if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) {          \
    va_list arguments;                                     \
    va_start(arguments, flags);                            \
    mode = va_arg(arguments, mode_t);                      \
    va_end(arguments);                                     \
  }

int open(const char *path, int flags, ...) {
  MODE_OF(flags)
  return do_open(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE_OF(flags)
  return do_open(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int dir, const char *path, int flags, ...) {
  MODE_OF(flags)
  return do_open(dir, path, flags, mode);
}
int openat64(int dir, const char *path, int flags, ...) {
  MODE_OF(flags)
  return do_open(dir, path, flags | O_LARGEFILE, mode);
}
int creat(const char *path, mode_t mode) {
  return do_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

/* After a write that returned `n`; `offset` is where it began, or negative: it ended where the file's offset stands. */
static ssize_t written(int fd, off_t offset, ssize_t n) {
  const int kept_errno = errno;
  struct stat info;
  if (n > 0 && events >= 0) {
    pthread_mutex_lock(&mutex);
    struct file *file = file_of(fd, &info);
    if (file != NULL) {
      const off_t begin = offset >= 0 ? offset : lseek(fd, 0, SEEK_CUR) - n;
      add_range(file, begin, begin + n);
    }
    pthread_mutex_unlock(&mutex);
  }
  errno = kept_errno;
  return n;
}

ssize_t write(int fd, const void *bytes, size_t size) {
  return written(fd, -1, syscall(SYS_write, fd, bytes, size));
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
  return written(fd, offset, syscall(SYS_pwrite64, fd, bytes, size, offset));
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
  return pwrite(fd, bytes, size, offset);
}

int ftruncate(int fd, off_t size) {
  struct stat info;
  const int result = (int)syscall(SYS_ftruncate, fd, size);
  if (result == 0 && events >= 0) {
    pthread_mutex_lock(&mutex);
    struct file *file = file_of(fd, &info);
    if (file != NULL && size < file->size) {
      add_range(file, size, file->size);
    }
    pthread_mutex_unlock(&mutex);
  }
  return result;
}
int ftruncate64(int fd, off64_t size) {
  return ftruncate(fd, size);
}

/* Adds what was written since the last sync to OUT/<id>, and says so: of a copy that is cut off, nothing counts. */
static void keep(struct file *file, int fd, off_t size) {
  static char chunk[1 << 16];
  char name[PATH_MAX];
  if (size > file->size) {
    add_range(file, file->size, size); /* also what became longer in another way */
  }
  const off_t end = file->to < size ? file->to : size;
  const off_t from = file->from < end ? file->from : end;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd); /* fd itself may be open for writing only */
  const int in = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
  snprintf(name, sizeof name, "%s/%d", out_dir, (int)(file - files));
  const int out = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  for (off_t at = from; at < end;) {
    const size_t left = (size_t)(end - at);
    const ssize_t n = pread(in, chunk, left < sizeof chunk ? left : sizeof chunk, at);
    if (n <= 0 || syscall(SYS_write, out, chunk, (size_t)n) != n) {
      abort();
    }
    at += n;
  }
  if (in < 0 || out < 0) {
    abort();
  }
  syscall(SYS_close, in);
  syscall(SYS_close, out);
  note("S %d %lld %lld %lld", (int)(file - files), (long long)size, (long long)from, (long long)(end - from));
  file->size = size;
  file->from = file->to = 0;
}

static int do_sync(int fd, long call) {
  const struct timespec time = {0, kSyncNanoseconds};
  struct stat info;
  char link[64];
  char name[PATH_MAX];
  ssize_t n;
  if (events < 0 || fstat(fd, &info) != 0) {
    return (int)syscall(call, fd);
  }
  if (lies) {
    return 0;
  }
  nanosleep(&time, NULL);
  pthread_mutex_lock(&mutex);
  struct file *file = file_of(fd, &info);
  if (S_ISDIR(info.st_mode)) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, name, sizeof name - 1);
    name[n < 0 ? 0 : n] = '\0';
    note("D %s", name); /* also of the directory in which the state directory is */
  } else if (file != NULL) {
    keep(file, fd, info.st_size);
  }
  pthread_mutex_unlock(&mutex);
  return 0;
}

int fsync(int fd) {
  return do_sync(fd, SYS_fsync);
}
int fdatasync(int fd) {
  return do_sync(fd, SYS_fdatasync);
}

static int do_rename(int from_dir, const char *from, int to_dir, const char *to) {
  char a[PATH_MAX];
  char b[PATH_MAX];
  const int result = (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
  const char *name = full_name(to_dir, to, b, sizeof b);
  if (result == 0 && is_ours(name)) {
    note("R %s|%s", full_name(from_dir, from, a, sizeof a), name);
  }
  return result;
}
int rename(const char *from, const char *to) {
  return do_rename(AT_FDCWD, from, AT_FDCWD, to);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
  return do_rename(from_dir, from, to_dir, to);
}

static int do_unlink(int dir, const char *path, int flags) {
  char buffer[PATH_MAX];
  const int result = (int)syscall(SYS_unlinkat, dir, path, flags);
  const char *name = full_name(dir, path, buffer, sizeof buffer);
  if (result == 0 && is_ours(name)) {
    note("U %s", name);
  }
  return result;
}
int unlink(const char *path) {
  return do_unlink(AT_FDCWD, path, 0);
}
int unlinkat(int dir, const char *path, int flags) {
  return do_unlink(dir, path, flags);
}
int rmdir(const char *path) {
  return do_unlink(AT_FDCWD, path, AT_REMOVEDIR);
}
int remove(const char *path) {
  const int result = do_unlink(AT_FDCWD, path, 0);
  return result != 0 && errno == EISDIR ? do_unlink(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

static int do_mkdir(int dir, const char *path, mode_t mode) {
  char buffer[PATH_MAX];
  const int result = (int)syscall(SYS_mkdirat, dir, path, mode);
  const char *name = full_name(dir, path, buffer, sizeof buffer);
  if (result == 0 && is_ours(name)) {
    note("M %s", name);
  }
  return result;
}
int mkdir(const char *path, mode_t mode) {
  return do_mkdir(AT_FDCWD, path, mode);
}
int mkdirat(int dir, const char *path, mode_t mode) {
  return do_mkdir(dir, path, mode);
}
