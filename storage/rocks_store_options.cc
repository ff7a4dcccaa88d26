#include "storage/rocks_store_options.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "storage/rocks_buffer.h"
#include "storage/rocks_log.h"

namespace limpet {

namespace {

// No LOG file. What RocksDB has to say of an error comes with the Status, too; and if the disk fills up or fails while
// it writes a LOG, Debian's 7.8.3, which is built with its assertions, ends the process at the next line.
class SilentLogger : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// The file system as RocksDB is to see it.
//
// Every file is made 0600, whatever the process's umask is. The directory is private anyway; this is for copies that
// leave it, because the files hold the session's password. (Env::SetAllowNonOwnerAccess has no effect on the default
// Env of 7.8.)
//
// The OPTIONS file is refused: nobody reads it, and it is one more thing that can fail. RocksDB goes on without.
//
// The write-ahead log is filled with zeros ahead of what is written: see rocks_log.h.
class PrivateFiles : public rocksdb::FileSystemWrapper {
 public:
  using rocksdb::FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "limpet.PrivateFiles"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    if (name.find("/OPTIONS-") != std::string::npos) {
      return rocksdb::IOStatus::NotSupported("limpet keeps no OPTIONS file");
    }
    rocksdb::IOStatus status = is_log(name) ? sync_earlier_logs(name) : rocksdb::IOStatus::OK();
    if (!status.ok()) {
      return status;
    }
    if (const std::optional<SpareLogs::Spare> spare = is_log(name) ? spare_logs_.take(name) : std::nullopt;
        spare && target()->ReuseWritableFile(name, spare->path, options, file, debug).ok()) {
      *file = filled_ahead(name, std::move(*file), spare->zeros);
      return status;
    }
    status = made_private(name, target()->NewWritableFile(name, options, file, debug));
    if (status.ok() && is_log(name)) {
      *file = filled_ahead(name, std::move(*file));
    }
    return status;
  }
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    return is_log(name) && spare_logs_.keep(name) ? rocksdb::IOStatus::OK()
                                                  : target()->DeleteFile(name, options, debug);
  }
  rocksdb::IOStatus NewSequentialFile(const std::string& name, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* file,
                                      rocksdb::IODebugContext* debug) override {
    return is_log(name) ? open_written_part(*target(), name, options, file, debug)
                        : target()->NewSequentialFile(name, options, file, debug);
  }
  rocksdb::IOStatus LockFile(const std::string& name, const rocksdb::IOOptions& options, rocksdb::FileLock** lock,
                             rocksdb::IODebugContext* debug) override {
    return made_private(name, target()->LockFile(name, options, lock, debug));
  }

 private:
  static bool is_log(const std::string& name) { return name.ends_with(".log"); }
  static rocksdb::IOStatus made_private(const std::string& name, rocksdb::IOStatus status) {
    if (status.ok()) {
      // It is ours and was made just now; should this fail all the same, the directory still keeps others out.
      (void)chmod(name.c_str(), 0600);
    }
    return status;
  }

  SpareLogs spare_logs_;
};

// One for the process, never destroyed: background threads may use it until the very end.
rocksdb::Env* private_env() {
  static rocksdb::Env* const env = [] {
    rocksdb::Env* const made =
        rocksdb::NewCompositeEnv(std::make_shared<PrivateFiles>(rocksdb::FileSystem::Default())).release();
    // Flushes and compactions give way to the threads that somebody waits for. They keep a share of a busy processor
    // (nice 10), so they get done; should a buffer fill up sooner all the same, appends wait for them.
    for (const rocksdb::Env::Priority pool : {rocksdb::Env::LOW, rocksdb::Env::HIGH}) {
      (void)made->LowerThreadPoolCPUPriority(pool, rocksdb::CpuPriority::kLow);
    }
    return made;
  }();
  return env;
}

// Some hundred small records: the defaults are for a thousand times as much.
rocksdb::BlockBasedTableOptions table_options() {
  rocksdb::BlockBasedTableOptions table;
  table.format_version = 5;  // every RocksDB since 6.6 reads it, so going back to an older package works
  // Takes a quarter of a CRC by tables, and no more than one by the processor's instruction.
  table.checksum = rocksdb::kxxHash64;
  table.block_size = 32u << 10;  // tables are read from one end to the other
  // Everything is read once, at open, past the cache; afterwards only compaction reads.
  table.block_cache = rocksdb::NewLRUCache(64 * 1024, 0);
  return table;
}

rocksdb::Options base_options() {
  rocksdb::Options options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table_options()));
  options.compression = rocksdb::kNoCompression;
  options.paranoid_checks = true;
  // Defaults that a later RocksDB (8.2, 9.x) changed: files are laid out as by Debian 12's, whichever release wrote
  // them.
  options.level_compaction_dynamic_level_bytes = false;
  options.write_dbid_to_manifest = false;
  // The default mode would open a log that is broken in the middle with what stands before the break: silent loss.
  // This one forgives only a record that was cut off at the end, which is what a crash leaves.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.env = private_env();
  options.max_open_files = 64;
  options.max_file_opening_threads = 1;
  options.table_cache_numshardbits = 2;
  options.fail_if_options_file_error =
      false;  // there is none: see PrivateFiles; releases since 8 are strict by default
  options.info_log = std::make_shared<SilentLogger>();
  options.info_log_level = rocksdb::InfoLogLevel::FATAL_LEVEL;  // so that nothing is formatted in vain
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.skip_stats_update_on_db_open = true;
  return options;
}

// Memory: two write buffers of 8 MiB at most, filled in small steps; two background threads, started when needed. The
// larger a buffer, the more of what was superseded meanwhile is never written to a table.
void bound_memory(rocksdb::Options& options) {
  options.write_buffer_size = 8u << 20;
  options.max_write_buffer_number = 2;
  options.arena_block_size = 128u << 10;
  options.max_background_jobs = 1;
  options.allow_concurrent_memtable_write = false;  // one writer
  // Nothing is looked up while the store is open, so a buffer need not be in order until it is written to a table: a
  // third of what an append costs went into finding places in a list that nobody reads.
  options.memtable_factory = unordered_buffer();
  options.flush_verify_memtable_count = false;  // it leaves out what was superseded
  options.enable_write_thread_adaptive_yield = false;
}

// Disk: a log is deleted once its buffer is flushed, tombstones are compacted away as they gather, and
// MANIFEST and preallocations stay small.
void bound_disk(rocksdb::Options& options) {
  options.max_total_wal_size = 24u << 20;
  options.allow_fallocate = false;
  options.target_file_size_base = 4u << 20;
  options.level0_file_num_compaction_trigger = 4;
  options.table_properties_collector_factories.push_back(rocksdb::NewCompactOnDeletionCollectorFactory(1000, 500));
  options.max_manifest_file_size = 1u << 20;
  options.manifest_preallocation_size = 64u << 10;
}

}  // namespace

rocksdb::Options options_for_writing(bool create) {
  rocksdb::Options options = base_options();
  bound_memory(options);
  bound_disk(options);
  // Never both: a database that has lost its files must not be replaced by an empty one.
  options.create_if_missing = create;
  options.error_if_exists = create;
  options.create_missing_column_families = true;  // the history, of which a store may know nothing yet
  options.avoid_flush_during_shutdown = true;     // the log has it all
  return options;
}

rocksdb::ColumnFamilyOptions options_for_history(const HistoryLimits& limits) {
  constexpr std::uint64_t kLargestBuffer = 4u << 20;
  constexpr std::uint64_t kSmallestBuffer = 64u << 10;
  rocksdb::ColumnFamilyOptions options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table_options()));
  options.compression = rocksdb::kNoCompression;
  // Entries are only ever added at the end and fall off at the beginning, by whole tables. Small tables, which each
  // start leaves one of, are merged.
  options.compaction_style = rocksdb::kCompactionStyleFIFO;
  options.num_levels = 1;
  options.compaction_options_fifo.max_table_files_size = limits.max_bytes;
  options.compaction_options_fifo.allow_compaction = true;
  options.level0_file_num_compaction_trigger = 8;
  // Each goes behind the one before, whose place is remembered by the first byte that both have (the highest of a
  // number that never gets there): a tenth of what an append of one change costs went into finding it.
  options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));
  // RocksDB's own way to drop tables by age wants all of them open at all times (max_open_files = -1): see
  // RocksHistory::drop_aged().
  options.ttl = 0;
  options.periodic_compaction_seconds = 0;
  options.write_buffer_size = std::clamp(limits.max_bytes / 16, kSmallestBuffer, kLargestBuffer);
  options.max_compaction_bytes = 2 * options.write_buffer_size;  // so that a table of full size is not written again
  options.max_write_buffer_number = 2;
  options.arena_block_size = 64u << 10;
  return options;
}

rocksdb::Options options_for_reading() {
  return base_options();
}

}  // namespace limpet
