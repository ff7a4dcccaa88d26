// The end of a write-ahead log: the first byte of the input is a number of records, the rest a log. The checksums of so
// many records at its beginning are put right, because no fuzzer finds a CRC. They are shown, whatever follows; and of
// what follows, an end within the log, wherever it is cut into blocks.
#include <algorithm>
#include <cstdint>
#include <string>

#include "storage/frame.h"
#include "storage/log_end.h"
#include "tests/fuzz/fuzz.h"

namespace limpet {
namespace {

using fuzz::require;

constexpr std::size_t kHead = 7;

std::size_t byte_at(const std::string& log, std::size_t at) {
  return static_cast<unsigned char>(log[at]);
}

// Returns where they end.
std::size_t put_right(std::string& log, unsigned records) {
  std::size_t at = 0;
  for (; records > 0 && at + kHead <= log.size(); --records) {
    const std::size_t left = LogEnd::kBlock - at % LogEnd::kBlock;
    if (left < kHead) {
      at += left;
      continue;
    }
    const std::size_t end = at + kHead + (byte_at(log, at + 4) | byte_at(log, at + 5) << 8);
    if (end > log.size() || end > at + left) {
      break;
    }
    const std::uint32_t crc = frame::crc32c(std::string_view(log).substr(at + 6, end - at - 6));
    const std::uint32_t masked = (crc >> 15 | crc << 17) + 0xa282ead8U;
    for (std::size_t i = 0; i < 4; ++i) {
      log[at + i] = static_cast<char>(masked >> (8 * i));
    }
    at = end;
  }
  return std::min(at, log.size());
}

}  // namespace
}  // namespace limpet

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace limpet;
  if (size == 0) {
    return 0;
  }
  std::string log(fuzz::text_of(data + 1, size - 1));
  const std::size_t right = put_right(log, data[0]);
  LogEnd seeker;
  for (std::size_t at = 0; at < log.size(); at += LogEnd::kBlock) {
    seeker.add(std::string_view(log).substr(at, LogEnd::kBlock));
  }
  if (const auto end = seeker.end()) {
    require(*end <= log.size(), "the end is within the log");
    require(*end >= right, "what is whole is shown");
  }
  return 0;
}
