// RocksDB's checksum as ours takes its place.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>

namespace limpet::test {
namespace {

constexpr const char* kSymbol = "_ZN7rocksdb6crc32c6ExtendEjPKcm";
using Extend = std::uint32_t (*)(std::uint32_t, const char*, std::size_t);

// What a library finds that looks for it, as RocksDB does.
TEST(RocksChecksum, IsFoundInTheProgramBeforeTheLibrary) {
  Dl_info found{};
  Dl_info here{};
  ASSERT_NE(dladdr(dlsym(RTLD_DEFAULT, kSymbol), &found), 0);
  static const int of_the_program = 0;
  ASSERT_NE(dladdr(&of_the_program, &here), 0);
  EXPECT_EQ(found.dli_fbase, here.dli_fbase) << found.dli_fname;
}

TEST(RocksChecksum, IsTheLibrarysOwn) {
  const auto ours = reinterpret_cast<Extend>(dlsym(RTLD_DEFAULT, kSymbol));
  const auto theirs = reinterpret_cast<Extend>(dlsym(RTLD_NEXT, kSymbol));
  ASSERT_TRUE(theirs != nullptr && theirs != ours);
  std::mt19937_64 random(1);
  for (std::size_t size = 0; size < 200; ++size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) {
      c = static_cast<char>(random());
    }
    const auto before = static_cast<std::uint32_t>(random());
    EXPECT_EQ(ours(before, bytes.data(), size), theirs(before, bytes.data(), size)) << size;
  }
}

}  // namespace
}  // namespace limpet::test
