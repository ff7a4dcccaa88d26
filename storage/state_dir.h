// The state directory: its privacy, its lock, and the file FORMAT that says what is in it. Knows nothing of RocksDB.
//
// Owned by RocksStore; called while the store is opened or reopened, by one thread. As long as a StateDir lives, the
// directory is locked (flock on the directory itself, which nobody can delete by accident as they can a lock file);
// the lock goes with the process, however that ends.
#pragma once

#include <cstdint>
#include <string>

#include "storage/error.h"

namespace limpet {

class StateDir {
 public:
  // How far the first start came, as FORMAT says. Only in `ready` was ever anything acknowledged.
  enum class Stage {
    absent,    // no FORMAT, no database: a new directory
    creating,  // the first start was cut off
    ready,
  };

  static constexpr int kFormat = 1;

  // Opens and locks `path` and reads FORMAT. Changes nothing inside, so a refusal leaves everything as it was.
  // Fails with Errc::in_use, Errc::newer_format, Errc::damaged (with what to do next), Errc::permission or Errc::io.
  static Result<StateDir> lock(const std::string& path);
  // As lock(), for the agent itself: makes the directory (mode 0700; its parent must exist) if it is missing, and
  // refuses with Errc::permission one that is not ours or that others may write to. One that others may only read is
  // made private, if it is limpet's or empty.
  static Result<StateDir> lock_for_writing(const std::string& path);

  StateDir(StateDir&& other) noexcept;
  StateDir& operator=(StateDir&&) = delete;
  ~StateDir();

  Stage stage() const { return stage_; }
  const std::string& path() const { return path_; }
  // Where the database is: a directory within.
  const std::string& db_path() const { return db_path_; }

  // The two steps of a first start, around the making of the database: FORMAT says `creating` (then an empty
  // directory is made for the database, and what a start that was cut off left there is removed), then `ready`.
  // Durable on return.
  Status begin_creation();
  Status finish_creation();

  // The two steps of putting another database in the place of this one, around the making of it in the directory that
  // begin_replacement() gives, which is empty. finish_replacement() exchanges the two at one stroke and removes the old
  // one; a crash leaves the one or the other, whole. What a crash left over is removed by discard_replacement().
  Result<std::string> begin_replacement() const;
  Status finish_replacement() const;
  void discard_replacement() const;

  // Errc::io if `path` no longer leads to the directory that is locked: it was moved, and perhaps replaced.
  Status still_there() const;

  // Errc::damaged, in words for an operator: `what` was found, what was there is unchanged, and what to do now.
  Status damaged(const std::string& what) const;
  // Errc::newer_format, likewise.
  Status newer_format(const std::string& what) const;

  // Bytes that the files in the directory at `path` and its database occupy, without Reserve's. Any thread.
  static std::uint64_t bytes_on_disk(const std::string& path);

 private:
  StateDir(std::string path, int fd);

  Status take_lock() const;
  Status check_private() const;
  Status make_private() const;
  Status read_format();
  Status parse_format(const std::string& text);
  Status write_format(const char* stage) const;

  std::string path_;
  std::string db_path_;
  int fd_;
  Stage stage_ = Stage::absent;
};

}  // namespace limpet
