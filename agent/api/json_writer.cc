#include "agent/api/json_writer.h"

#include <array>
#include <chrono>
#include <cstring>

#include "agent/api/base64.h"
#include "agent/api/plain_text.h"
#include "agent/core/unicode.h"

namespace limpet::api {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

constexpr std::array<bool, 256> make_plain() {
  std::array<bool, 256> plain{};
  for (std::size_t byte = 0x20; byte < 0x7F; ++byte) {
    plain[byte] = byte != '"' && byte != '\\';
  }
  return plain;
}
constexpr std::array<bool, 256> kPlain = make_plain();

// How a JSON string names this byte, which cannot stand for itself; `room` is for what has to be put together.
std::string_view escape(unsigned char byte, std::array<char, 6>& room) {
  switch (byte) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      room = {'\\', 'u', '0', '0', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
      return {room.data(), room.size()};
  }
}

// Of a number below a hundred.
void put_two(char* to, unsigned value) {
  to[0] = static_cast<char>('0' + value / 10);
  to[1] = static_cast<char>('0' + value % 10);
}

// Decimal with leading zeros; of a larger number the last digits.
void put_padded(char* to, unsigned value, std::size_t width) {
  for (std::size_t i = width; i-- > 0; value /= 10) {
    to[i] = static_cast<char>('0' + value % 10);
  }
}

}  // namespace

std::size_t plain_prefix(std::string_view text) {
  using plain_text::count_marked;
  using plain_text::plain_marks;
  constexpr std::ptrdiff_t kOne = sizeof(plain_text::Block);
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const char* at = begin;
  while (end - at >= 4 * kOne && count_marked(plain_marks(at) & plain_marks(at + kOne) & plain_marks(at + 2 * kOne) &
                                              plain_marks(at + 3 * kOne)) == kOne) {
    at += 4 * kOne;
  }
  for (; end - at >= kOne; at += kOne) {
    if (const std::size_t plain = count_marked(plain_marks(at)); plain != kOne) {
      return static_cast<std::size_t>(at - begin) + plain;
    }
  }
  while (at != end && kPlain[static_cast<unsigned char>(*at)]) {
    ++at;
  }
  return static_cast<std::size_t>(at - begin);
}

bool is_plain(std::string_view text) {
  using plain_text::count_marked;
  using plain_text::plain_marks;
  constexpr std::size_t kBlock = sizeof(plain_text::Block);
  constexpr std::size_t kHalf = kBlock / 2;
  if (text.size() < kHalf) {
    return plain_prefix(text) == text.size();
  }
  // The end is looked at in a piece of full size, which overlaps the one before it.
  const char* const end = text.data() + text.size();
  if (text.size() >= kBlock) {
    const std::string_view blocks = text.substr(0, text.size() - text.size() % kBlock);
    return count_marked(plain_marks(end - kBlock)) == kBlock && plain_prefix(blocks) == blocks.size();
  }
  std::array<char, kBlock> halves;
  std::memcpy(halves.data(), text.data(), kHalf);
  std::memcpy(halves.data() + kHalf, end - kHalf, kHalf);
  return count_marked(plain_marks(halves.data())) == kBlock;
}

bool is_utf8(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    at += plain_prefix(std::string_view(at, static_cast<std::size_t>(end - at)));
    if (at == end) {
      break;
    }
    const std::size_t length = utf8_sequence(at, end);
    if (length == 0) {
      return false;
    }
    at += length;
  }
  return true;
}

// What stands between the quotes.
void JsonWriter::put_escaped(std::string_view text) {
  std::array<char, 6> room;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    const std::size_t run = plain_prefix(std::string_view(at, static_cast<std::size_t>(end - at)));
    put(std::string_view(at, run));
    at += run;
    if (at == end) {
      break;
    }
    if (static_cast<unsigned char>(*at) < 0x80) {
      put(escape(static_cast<unsigned char>(*at), room));
      ++at;
    } else if (const std::size_t length = utf8_sequence(at, end); length != 0) {
      const std::string_view character(at, length);
      put(is_control(character) ? escape(static_cast<unsigned char>(character.back()), room) : character);
      at += length;
    } else {
      put(kReplacement);
      ++at;
    }
  }
}

void JsonWriter::string(std::string_view text) {
  if (is_plain(text)) {
    return plain(text);
  }
  separate();
  put('"');
  put_escaped(text);
  put('"');
  complete();
}

// What is too long to be gathered.
void JsonWriter::plain_piecewise(std::string_view text) {
  separate();
  put('"');
  put(text);
  put('"');
  complete();
}

void JsonWriter::hex(std::int64_t value) {
  constexpr std::size_t kMaxBytes = 20;
  char* const to = copy("\"0x", begin_value(kMaxBytes));
  end_value(quote(std::to_chars(to, to + 16, static_cast<std::uint64_t>(value), 16).ptr));
}

void JsonWriter::time(WallMs at) {
  using namespace std::chrono;
  const sys_time<milliseconds> instant{milliseconds(at)};
  const auto day = floor<days>(instant);
  // Nearly all are of the same day.
  thread_local sys_days known_day{days::min()};
  thread_local char text[] = "\"0000-00-00T00:00:00.000Z\"";
  if (day != known_day) {
    const year_month_day date{day};
    put_padded(text + 1, static_cast<unsigned>(static_cast<int>(date.year())), 4);
    put_padded(text + 6, static_cast<unsigned>(date.month()), 2);
    put_padded(text + 9, static_cast<unsigned>(date.day()), 2);
    known_day = day;
  }
  const auto of_day = static_cast<unsigned>((instant - day).count());
  const unsigned second = of_day / 1'000;
  const unsigned minute = second / 60;
  put_two(text + 12, minute / 60);
  put_two(text + 15, minute % 60);
  put_two(text + 18, second % 60);
  text[21] = static_cast<char>('0' + of_day % 1'000 / 100);
  put_two(text + 22, of_day % 100);
  literal(std::string_view(text, sizeof text - 1));
}

void JsonWriter::base64(std::string_view bytes) {
  separate();
  put('"');
  flush();
  append_base64(out_, bytes);
  put('"');
  complete();
}

}  // namespace limpet::api
