// The unix socket that programs connect to: made, or taken over, and removed again.
//
// A socket file that a dead process left behind is replaced; anything else that is in the way is an error. There is no
// moment in which the file exists with other rights than it is to have, or takes connections before it has them.
// Blocks for the file system only; core thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "storage/error.h"

namespace limpet::api {

class Listener {
 public:
  // Makes the socket at `path`, mode 0660, of group `group` where that group exists and the process may give it away;
  // its directory is made (0755) where it is missing. Fails with in_use where another process listens there, invalid
  // where something other than a socket has the path or it is too long, permission (also where others own the
  // directory or may write to it), or io.
  static Result<Listener> open(const std::string& path, const std::string& group);

  // Takes over a listening unix stream socket; it is not removed from the file system at the end.
  static Result<Listener> adopt(int fd);

  // Whether its file is still where it was, and the same: without it nobody can connect. True where it never had one.
  bool in_place() const;
  // Absolute; empty where it has none.
  const std::string& path() const { return path_; }

  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) = delete;
  // Closes the descriptor, and removes the file that open() made, unless another has taken its place.
  ~Listener();

  // Non-blocking, close-on-exec.
  int fd() const { return fd_; }
  // Gives fd() to the caller, who closes it before this is destroyed.
  void release() { fd_ = -1; }

 private:
  Listener() = default;
  Status bind_and_listen(const std::string& path, const std::string& group);

  int fd_ = -1;
  std::string path_;      // empty: it has none in the file system
  bool removes_ = false;  // the file, at the end
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace limpet::api
