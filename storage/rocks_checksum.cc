// RocksDB's CRC-32C, which every byte of its log goes through, taken by the processor's instruction. Debian builds
// RocksDB for every amd64 processor, so that its own goes by tables: a fifth of all that an append costs. The symbol of
// a program goes before that of a library (as with operator new), so what stands here under the library's name is what
// the library calls. Where a later RocksDB calls its function otherwise, this one is not called, and nothing breaks.
#include <cstddef>
#include <cstdint>

#include "storage/frame.h"

namespace rocksdb::crc32c {

// Declared by none of RocksDB's public headers. CRC-32C of what `crc` is of, and of `size` bytes from `data` on.
std::uint32_t Extend(std::uint32_t crc, const char* data, std::size_t size);

std::uint32_t Extend(std::uint32_t crc, const char* data, std::size_t size) {
  return limpet::frame::crc32c({data, size}, crc);
}

}  // namespace rocksdb::crc32c
