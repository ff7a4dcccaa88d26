// Canaries: what limpet relies on of the real RocksDB beyond its headers: the shape of its log files (storage/log_end.h
// reads them, storage/rocks_log.h lays them out) and what it makes of a log that is torn or damaged. One that fails
// names the assumption that a new release no longer meets.
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fixtures.h"
#include "log_bytes.h"
#include "storage/rocks_store_options.h"

namespace limpet::test {
namespace {

// The store's own options, but RocksDB's own files: without rocks_log.h.
rocksdb::Options plain_options() {
  rocksdb::Options options = options_for_writing(true);
  options.env = rocksdb::Env::Default();
  return options;
}

std::unique_ptr<rocksdb::DB> opened(const rocksdb::Options& options, const std::string& dir) {
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, dir, &db);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return std::unique_ptr<rocksdb::DB>(db);
}

class RocksLog : public ::testing::Test {
 protected:
  RocksLog() : db_(opened(plain_options(), dir())) {}

  std::string dir() const { return temp_.path("db"); }
  std::vector<std::string> logs() const { return db_files(temp_.path("."), "", ".log"); }
  std::string log() const { return read_file(logs().at(0)); }

  // Writes a batch with log data in front and a value of `size` bytes; returns the batch's bytes as they go to the log.
  std::string write(std::uint64_t number, std::size_t size, bool sync = true) {
    rocksdb::WriteBatch batch;
    EXPECT_TRUE(batch.PutLogData("mark " + std::to_string(number)).ok());
    EXPECT_TRUE(batch.Put(key(number), std::string(size, static_cast<char>('a' + number % 26))).ok());
    rocksdb::WriteOptions options;
    options.sync = sync;
    const std::uint64_t sequence = db_->GetLatestSequenceNumber() + 1;
    EXPECT_TRUE(db_->Write(options, &batch).ok());
    std::string bytes = batch.Data();
    for (std::size_t i = 0; i < 8; ++i) {
      bytes[i] = static_cast<char>(sequence >> (8 * i));  // RocksDB numbers a copy
    }
    return bytes;
  }
  static std::size_t batch_size_without_value(std::uint64_t number) {
    rocksdb::WriteBatch batch;
    EXPECT_TRUE(batch.PutLogData("mark " + std::to_string(number)).ok());
    EXPECT_TRUE(batch.Put(key(number), "").ok());
    return batch.GetDataSize() - 1;  // of the value's length
  }
  static std::string key(std::uint64_t number) { return "key " + std::to_string(number); }

  // How many of the keys 1, 2, 3 … are there when RocksDB alone opens the directory with this in place of its log;
  // nothing where it refuses to.
  std::optional<std::uint64_t> found_with(const std::string& log) {
    const std::string copy = temp_.path("copy");
    std::filesystem::remove_all(copy);
    std::filesystem::copy(dir(), copy);
    write_file(copy + "/" + std::filesystem::path(logs().at(0)).filename().string(), log);
    rocksdb::Options options = plain_options();
    options.create_if_missing = false;
    options.error_if_exists = false;
    rocksdb::DB* raw = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options, copy, &raw);
    const std::unique_ptr<rocksdb::DB> db(raw);
    if (!status.ok()) {
      EXPECT_TRUE(status.IsCorruption()) << status.ToString();
      return std::nullopt;
    }
    std::string value;
    std::uint64_t count = 0;
    while (db->Get({}, key(count + 1), &value).ok()) {
      ++count;
    }
    return count;
  }

  TempDir temp_;
  std::unique_ptr<rocksdb::DB> db_;
};

// Blocks of 32 KiB, heads of seven bytes with a masked CRC, fragments, zeros where no head has room; nothing else, such
// as a record of RocksDB's own in front.
TEST_F(RocksLog, IsByteForByteTheFormatThatIsRead) {
  LogBytes expected;
  std::uint64_t number = 0;
  for (const std::size_t size : {1, 100, 32'000, 600, 70'000, 5, 200'000}) {
    expected.add(write(++number, size));
  }
  // Every room that a block's end can leave for the next head, and some more.
  for (std::size_t left = 0; left < 12; ++left) {
    const std::size_t room = kLogBlock - expected.size() % kLogBlock;
    const std::size_t around = kLogHead + batch_size_without_value(++number) + 3;  // three bytes of length
    ASSERT_GT(room, around + left + 16'384) << "a value whose length takes three bytes";
    expected.add(write(number, room - around - left));
    ASSERT_EQ((kLogBlock - expected.size() % kLogBlock) % kLogBlock, left);
    expected.add(write(++number, 50));
  }
  ASSERT_EQ(logs().size(), 1U);
  EXPECT_EQ(log(), expected.bytes());
}

// The mark in front of an append is found at a fixed place behind the record's head.
TEST_F(RocksLog, HasABatchesLogDataAsItsFirstPart) {
  write(1, 10);
  const std::vector<std::string> records = records_of(log());
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].substr(12, 2 + 6), std::string("\3\6mark 1"));
}

TEST_F(RocksLog, IsNotUsedAgainForTheNext) {
  EXPECT_EQ(db_->GetOptions().recycle_log_file_num, 0U);
  for (std::uint64_t round = 1; round <= 3; ++round) {
    const std::string before = logs().at(0);
    write(round, 50'000);
    ASSERT_TRUE(db_->Flush({}).ok());
    const std::string next = write(round + 100, 10);
    const std::string newest = logs().back();
    EXPECT_GT(newest, before) << "numbers of logs rise";
    LogBytes expected;
    expected.add(next);
    EXPECT_EQ(read_file(newest), expected.bytes()) << "nothing of an earlier log is behind it";
  }
}

TEST_F(RocksLog, TornAtItsEndIsForgiven) {
  for (std::uint64_t number = 1; number <= 20; ++number) {
    write(number, 300);
  }
  const std::string whole = log();
  EXPECT_EQ(found_with(whole), 20U);
  EXPECT_EQ(found_with(whole + std::string(300'000, '\0')), 20U) << "zeros behind it are no record";
  for (std::size_t cut = 1; cut < 300; cut += 23) {
    EXPECT_EQ(found_with(whole.substr(0, whole.size() - cut)), 19U) << cut;
  }
}

TEST_F(RocksLog, DamagedInTheMiddleIsRefused) {
  for (std::uint64_t number = 1; number <= 20; ++number) {
    write(number, 300);
  }
  std::string damaged = log();
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  EXPECT_EQ(found_with(damaged), std::nullopt);
}

}  // namespace
}  // namespace limpet::test
