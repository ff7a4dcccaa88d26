// How RocksDB's write-ahead log lies on the disk: some way ahead of what is written it is filled with zeros, and read
// again, it ends where the writing ended.
//
// Why ahead: an fdatasync after an append that makes a file longer also has to commit the file's new length to the file
// system's journal; one after an overwrite has only the data to wait for. On ext4 that is 130 µs instead of 200 µs, and
// every acknowledgement waits for exactly this call. The zeros cost less than a tenth of what they save. (etcd's WAL
// does the same; so do its readers, from which the rule for torn records is taken.)
//
// Why it must be read with care: a power cut in the middle of such an overwrite leaves any part of its sectors as they
// were, zeros; a cut in the middle of an append leaves a shorter file. RocksDB forgives only the latter, and rightly
// so: it cannot tell the former from damage. written_end() can.
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace limpet {

// Where the writing of the log with these bytes ended: behind the last record that is whole, if nothing but zeros
// follows or the record that follows is torn (a stretch of it that shares no sector of 512 bytes with anything written
// is still all zeros). All of `log` where a record is broken in another way, or cut off by the end: that is for RocksDB
// to judge. Pure; any thread.
std::uint64_t written_end(std::string_view log);

// Takes the writing of the log `name`, new and empty, through `file`. From now on the file on disk is longer than what
// was appended, until Close() cuts it to that. Where zeros cannot be written (a full disk), it is as without.
// As RocksDB's files: one thread at a time, but for Sync().
std::unique_ptr<rocksdb::FSWritableFile> filled_ahead(const std::string& name,
                                                      std::unique_ptr<rocksdb::FSWritableFile> file);

// Opens the log `name` of the file system `files` for reading, up to its written_end(). Reads it once for that; a log
// is bounded by a few MiB.
rocksdb::IOStatus open_written_part(rocksdb::FileSystem& files, const std::string& name,
                                    const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSSequentialFile>* file, rocksdb::IODebugContext* debug);

}  // namespace limpet
