// How RocksDB's write-ahead log lies on the disk: some way ahead of what is written it is filled with zeros, and read
// again, it ends where the writing ended.
//
// Why ahead: an fdatasync after an append that makes a file longer also has to commit the file's new length to the file
// system's journal; one after an overwrite has only the data to wait for. On ext4 that is 130 µs instead of 200 µs, and
// every acknowledgement waits for exactly this call. The zeros cost less than a tenth of what they save. (etcd's WAL
// does the same.) A file system that never overwrites in place (btrfs, zfs) gains nothing, and writes twice.
//
// What a power cut leaves of such a log, and how it is told from damage: log_end.h.
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace limpet {

// Takes the writing of the log `name`, new and empty, through `file`; the first `zeros` bytes of it are zeros already,
// and on stable storage. The file on disk is then longer than what was appended, until it is closed: RocksDB cuts it to
// that, as it does with what it allocated ahead itself. Where zeros cannot be written (a full disk), it is as without.
// As RocksDB's files: one thread at a time, but for Sync().
std::unique_ptr<rocksdb::FSWritableFile> filled_ahead(const std::string& name,
                                                      std::unique_ptr<rocksdb::FSWritableFile> file,
                                                      std::uint64_t zeros = 0);

// Logs that are no longer needed, a few for each directory, filled with zeros to be the next. To delete a log of some
// MiB and to make the next one longer step by step keeps the file system's journal busy, and whoever waits for an
// fdatasync meanwhile waits for that: a millisecond or two, several times a second at full load. The names of
// spares end in ".spare"; those that an earlier process left are removed, because nobody knows what is in them. Where
// the disk has little room there are none. Any thread.
class SpareLogs {
 public:
  // Takes the log `name`, in place of its deletion. Blocks for the disk. False: it is not kept, and still there: it is
  // too small to be worth it, or far too large, there are enough, or the disk fails or has little room left (then those
  // that were kept go, too).
  bool keep(const std::string& name);
  struct Spare {
    std::string path;
    std::uint64_t zeros = 0;
  };
  // What the log `name` can be made of by renaming it; nothing if there is none.
  std::optional<Spare> take(const std::string& name);

 private:
  struct Directory {
    std::vector<Spare> ready;
    std::size_t being_filled = 0;
    bool looked_at = false;  // for what an earlier process left
  };

  void let_go(const std::string& directory);

  std::mutex mutex_;
  std::map<std::string, Directory> directories_;
};

// To be called before the log `name` is made: sees to it that what was appended without sync to those before it is on
// stable storage. Otherwise a power cut could leave what the new one holds without what came before. Blocks.
rocksdb::IOStatus sync_earlier_logs(const std::string& name);

// Opens the log `name` of the file system `files` for reading, up to its LogEnd; Corruption where it has none. Reads it
// once for that, a block at a time; a log is bounded by options_for_writing().
rocksdb::IOStatus open_written_part(rocksdb::FileSystem& files, const std::string& name,
                                    const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSSequentialFile>* file, rocksdb::IODebugContext* debug);

}  // namespace limpet
