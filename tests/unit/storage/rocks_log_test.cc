// The filling of a log's file ahead of the writing.
#include "storage/rocks_log.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>

#include "fixtures.h"

namespace limpet::test {
namespace {

std::string zero_bytes(std::size_t count) {
  return std::string(count, '\0');
}

// A file filled ahead, as RocksDB uses it.
class FilledFile {
 public:
  explicit FilledFile(const std::string& name) : name_(name) {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    EXPECT_TRUE(rocksdb::FileSystem::Default()->NewWritableFile(name, {}, &file, nullptr).ok());
    file_ = filled_ahead(name, std::move(file));
    file_->SetPreallocationBlockSize(1 << 20);
  }
  bool append(const std::string& text) {
    file_->PrepareWrite(appended_, text.size(), {}, nullptr);
    appended_ += text.size();
    return file_->Append(text, {}, nullptr).ok();
  }
  bool close() { return file_->Close({}, nullptr).ok(); }
  std::string content() const { return read_file(name_); }

 private:
  const std::string name_;
  std::unique_ptr<rocksdb::FSWritableFile> file_;
  std::size_t appended_ = 0;
};

TEST(FilledAhead, ZerosStandBehindWhatIsAppendedUntilItIsClosed) {
  TempDir temp;
  FilledFile file(temp.path("000001.log"));
  std::string written;
  for (const std::size_t size : {1, 5000, 200'000, 300'000, 1, 1'000'000, 7}) {
    written.append(size, 'x');
    ASSERT_TRUE(file.append(std::string(size, 'x')));
    const std::string content = file.content();
    ASSERT_GE(content.size(), written.size());
    EXPECT_EQ(content, written + zero_bytes(content.size() - written.size()));
    EXPECT_LE(content.size(), written.size() + (256u << 10));
  }
  EXPECT_GT(file.content().size(), written.size());
  ASSERT_TRUE(file.close());
  EXPECT_EQ(file.content(), written);
}

TEST(FilledAhead, BeginsWithTheZerosThatAreThere) {
  TempDir temp;
  const std::string name = temp.path("000001.log");
  write_file(name, zero_bytes(1 << 20));
  std::unique_ptr<rocksdb::FSWritableFile> file;
  ASSERT_TRUE(rocksdb::FileSystem::Default()->ReuseWritableFile(name, name, {}, &file, nullptr).ok());
  file = filled_ahead(name, std::move(file), 1 << 20);
  ASSERT_TRUE(file->Append(std::string(1 << 20, 'x'), {}, nullptr).ok());
  EXPECT_EQ(read_file(name), std::string(1 << 20, 'x')) << "filled before its end was reached";
  ASSERT_TRUE(file->Append("y", {}, nullptr).ok());
  EXPECT_EQ(read_file(name), std::string(1 << 20, 'x') + "y" + zero_bytes(256u << 10));
}

TEST(SpareLogs, AreZerosFromEndToEnd) {
  TempDir temp;
  SpareLogs spares;
  const std::string name = temp.path("000001.log");
  EXPECT_FALSE(spares.take(temp.path("000002.log"))) << "none was kept";
  write_file(name, std::string(3'000'000, 'x'));
  ASSERT_TRUE(spares.keep(name));
  EXPECT_FALSE(std::filesystem::exists(name));
  const auto spare = spares.take(temp.path("000002.log"));
  ASSERT_TRUE(spare);
  EXPECT_GE(spare->zeros, 3'000'000u);
  EXPECT_EQ(read_file(spare->path), zero_bytes(spare->zeros));
  EXPECT_FALSE(spares.take(temp.path("000003.log"))) << "the same twice";
}

TEST(SpareLogs, AreFewAndOfASizeThatIsWorthIt) {
  TempDir temp;
  SpareLogs spares;
  write_file(temp.path("000001.log"), std::string(100'000, 'x'));
  EXPECT_FALSE(spares.keep(temp.path("000001.log")));
  EXPECT_TRUE(std::filesystem::exists(temp.path("000001.log")));
  EXPECT_FALSE(spares.keep(temp.path("none.log")));
  int kept = 0;
  for (char digit = '1'; digit <= '9'; ++digit) {
    const std::string name = temp.path(std::string("00000") + digit + ".log");
    write_file(name, std::string(1 << 20, 'x'));
    kept += spares.keep(name) ? 1 : 0;
  }
  EXPECT_EQ(kept, 3);
}

TEST(SpareLogs, OneOfADirectoryThatWasReplacedIsNotTakenForOneThatIsBeingFilled) {
  TempDir temp;
  SpareLogs spares;
  const std::string name = temp.path("000001.log");
  EXPECT_FALSE(spares.take(name)) << "none was kept";
  write_file(name, std::string(2'000'000, 'x'));
  ASSERT_TRUE(spares.keep(name));
  // Another database in its place, with numbers of its own.
  std::filesystem::remove(temp.path("000001.spare"));
  write_file(name, std::string(2'000'000, 'x'));
  ASSERT_TRUE(spares.keep(name));
  ASSERT_TRUE(spares.take(temp.path("000002.log")));
  EXPECT_FALSE(spares.take(temp.path("000003.log"))) << "the one that is gone is still known";
}

TEST(SpareLogs, WhatAnEarlierProcessLeftIsRemoved) {
  TempDir temp;
  SpareLogs spares;
  write_file(temp.path("000001.spare"), std::string(1 << 20, 'x'));
  EXPECT_FALSE(spares.take(temp.path("000002.log")));
  EXPECT_FALSE(std::filesystem::exists(temp.path("000001.spare")));
}

// For as long as it lives, no file grows beyond `bytes`.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  sighandler_t handler_;
  rlimit before_{};
};

TEST(FilledAhead, WhereThereIsNoRoomForZerosItIsAsWithout) {
  TempDir temp;
  FilledFile file(temp.path("000001.log"));
  const FileSizeLimit limit(100'000);
  std::string written;
  for (int i = 0; i < 10; ++i) {
    written.append(10'000, 'x');
    ASSERT_TRUE(file.append(std::string(10'000, 'x')));
    EXPECT_EQ(file.content(), written);  // no room is held back either
  }
  EXPECT_FALSE(file.append("x"));
  ASSERT_TRUE(file.close());
  EXPECT_EQ(file.content(), written);
}

TEST(FilledAhead, AfterAnAppendThatFailedHalfWayNothingIsOverwritten) {
  TempDir temp;
  FilledFile file(temp.path("000001.log"));
  ASSERT_TRUE(file.append("begin"));
  std::string written = "begin";
  {
    const FileSizeLimit limit(300'000);
    EXPECT_FALSE(file.append(std::string(400'000, 'x')));
    written.append(300'000 - written.size(), 'x');
  }
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(file.append(std::string(150'000, 'y')));
    written.append(150'000, 'y');
    const std::string content = file.content();
    ASSERT_GE(content.size(), written.size());
    EXPECT_EQ(content, written + zero_bytes(content.size() - written.size()));
  }
}

TEST(EarlierLogs, AreSyncedOrItIsSaid) {
  TempDir temp;
  std::filesystem::create_directory(temp.path("db"));
  EXPECT_TRUE(sync_earlier_logs(temp.path("db/000001.log")).ok());
  write_file(temp.path("db/000001.log"), "x");
  EXPECT_TRUE(sync_earlier_logs(temp.path("db/000002.log")).ok());
  EXPECT_FALSE(sync_earlier_logs(temp.path("gone/000002.log")).ok());
}

}  // namespace
}  // namespace limpet::test
