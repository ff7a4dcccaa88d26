#include "log_bytes.h"

#include "storage/frame.h"
#include "storage/log_end.h"

namespace limpet::test {

namespace {

enum Type : char { kFull = 1, kFirst, kMiddle, kLast };

void append_little_endian(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    to.push_back(static_cast<char>(value >> (8 * i)));
  }
}

}  // namespace

std::size_t LogBytes::add(std::string_view payload) {
  const std::size_t begin = bytes_.size();
  bool first = true;
  do {
    const std::size_t left = kLogBlock - bytes_.size() % kLogBlock;
    if (left < kLogHead) {
      bytes_.append(left, '\0');
      continue;
    }
    const std::string_view part = payload.substr(0, left - kLogHead);
    payload.remove_prefix(part.size());
    add_fragment(first ? payload.empty() ? kFull : kFirst : payload.empty() ? kLast : kMiddle, part);
    first = false;
  } while (first || !payload.empty());
  return begin;
}

void LogBytes::add_fragment(char type, std::string_view part) {
  const std::uint32_t crc = frame::crc32c(type + std::string(part));
  append_little_endian(bytes_, (crc >> 15 | crc << 17) + 0xa282ead8U, 4);
  append_little_endian(bytes_, part.size(), 2);
  bytes_.push_back(type);
  bytes_.append(part);
}

const LogKey& test_log_key() {
  static const LogKey key("0123456789abcdef");
  return key;
}

std::string batch_with_mark(std::uint64_t number, std::size_t content, std::string_view mark) {
  std::string batch;
  append_little_endian(batch, number, 8);
  append_little_endian(batch, 1, 4);
  if (!mark.empty()) {
    batch.push_back('\3');
    batch.push_back(static_cast<char>(mark.size()));
    batch += mark;
  }
  return batch.append(content, static_cast<char>('a' + number % 26));
}

std::string batch_of(std::uint64_t number, std::size_t content, bool synced) {
  return batch_with_mark(number, content, synced ? test_log_key().mark(number) : std::string());
}

std::vector<std::string> records_of(std::string_view log) {
  std::vector<std::string> records;
  std::string gathered;
  for (std::size_t at = 0; at + kLogHead <= log.size();) {
    const std::size_t left = kLogBlock - at % kLogBlock;
    if (left < kLogHead) {
      at += left;
      continue;
    }
    const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(log[at + i])); };
    const std::size_t length = byte(4) | byte(5) << 8;
    const char type = log[at + 6];
    if (type < kFull || type > kLast || at + kLogHead + length > log.size()) {
      break;
    }
    gathered += log.substr(at + kLogHead, length);
    at += kLogHead + length;
    if (type == kFull || type == kLast) {
      records.push_back(std::move(gathered));
      gathered.clear();
    }
  }
  return records;
}

std::optional<std::uint64_t> written_end(std::string_view log, const std::optional<LogKey>& key) {
  LogEnd end(key);
  for (std::size_t at = 0; at < log.size(); at += LogEnd::kBlock) {
    end.add(log.substr(at, LogEnd::kBlock));
  }
  return end.end();
}

}  // namespace limpet::test
