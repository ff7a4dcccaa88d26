// The room kept back on the disk. What happens on a disk that is really full, tests/crash/disk_full_test.cc shows.
#include "storage/reserve.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "fixtures.h"
#include "storage/rocks_store.h"

namespace limpet::test {
namespace {

std::uint64_t allocated(const std::string& file) {
  struct stat info {};
  return stat(file.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_blocks) * 512 : 0;
}

TEST(Reserve, IsKeptFromTheFirstStartAndIsPrivate) {
  TempDir temp;
  const mode_t before = umask(0);
  const auto store = RocksStore::open(temp.path("state"));
  umask(before);
  ASSERT_TRUE(store.ok());
  EXPECT_FALSE((*store)->low_on_space());
  const std::string file = temp.path("state/") + Reserve::kFile;
  EXPECT_GE(allocated(file), Reserve::kMaxBytes);
  EXPECT_EQ(std::filesystem::file_size(file), Reserve::kMaxBytes);
  EXPECT_EQ(std::filesystem::status(file).permissions(), std::filesystem::perms(0600));
}

TEST(Reserve, DoesNotCountAsData) {
  TempDir temp;
  const auto store = RocksStore::open(temp.path("state"));
  ASSERT_TRUE(store.ok());
  EXPECT_LT((*store)->bytes_on_disk(), Reserve::kMaxBytes);
}

TEST(Reserve, WhatAPowerCutLeftOfItIsMadeWholeAtTheNextStart) {
  for (const char* what : {"short", "sparse", "gone"}) {
    TempDir temp;
    ASSERT_TRUE(RocksStore::open(temp.path("state")).ok());
    const std::string file = temp.path("state/") + Reserve::kFile;
    std::filesystem::resize_file(file, 1000);
    if (std::string(what) == "sparse") {
      std::filesystem::resize_file(file, Reserve::kMaxBytes);
    } else if (std::string(what) == "gone") {
      std::filesystem::remove(file);
    }
    ASSERT_TRUE(RocksStore::open(temp.path("state")).ok()) << what;
    EXPECT_GE(allocated(file), Reserve::kMaxBytes) << what;
  }
}

TEST(Reserve, ADamagedStoreIsLeftWithoutOne) {
  TempDir temp;
  ASSERT_TRUE(RocksStore::open(temp.path("state")).ok());
  const std::string file = temp.path("state/") + Reserve::kFile;
  std::filesystem::remove(file);
  std::filesystem::remove(temp.path("state/db/CURRENT"));
  EXPECT_EQ(RocksStore::open(temp.path("state")).status().code(), Errc::damaged);
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST(Reserve, IsLowBetweenGivingUpAndRegaining) {
  TempDir temp;
  std::filesystem::create_directory(temp.path("dir"));
  Reserve reserve(temp.path("dir"));
  reserve.regain();
  EXPECT_FALSE(reserve.low());
  reserve.give_up();
  EXPECT_TRUE(reserve.low());
  EXPECT_EQ(allocated(temp.path("dir/") + Reserve::kFile), 0u);
  reserve.regain();
  EXPECT_FALSE(reserve.low());
  EXPECT_GE(allocated(temp.path("dir/") + Reserve::kFile), Reserve::kMaxBytes);
}

// Such a limit will not pass: to refuse registrations for ever because of it would be worse than to go without.
TEST(Reserve, ALimitOnTheSizeOfFilesIsNotAFullDisk) {
  TempDir temp;
  std::filesystem::create_directory(temp.path("dir"));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1u << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  Reserve reserve(temp.path("dir"));
  reserve.regain();
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_FALSE(reserve.low());
  EXPECT_FALSE(std::filesystem::exists(temp.path("dir/") + Reserve::kFile));
}

}  // namespace
}  // namespace limpet::test
