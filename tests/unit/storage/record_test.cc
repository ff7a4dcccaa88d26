// The encodings: what goes in comes out, and nothing that was altered is taken for something else.
#include "storage/record.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "fixtures.h"
#include "storage/frame.h"

namespace limpet::test {
namespace {

// A record of one kind with its decoder, whose result is given as its encoding: equal bytes, equal record.
struct Sample {
  const char* name;
  std::string bytes;
  std::function<Result<std::string>(std::string_view)> decode_and_encode;
};

template <typename T>
Result<std::string> encoded_again(const Result<T>& decoded) {
  return decoded.ok() ? Result<std::string>(encode(*decoded)) : Result<std::string>(decoded.status());
}

std::vector<Sample> samples() {
  return {
      {"registration", encode(sample_registration(17)),
       [](std::string_view bytes) { return encoded_again(decode_registration(bytes)); }},
      {"removal", encode(sample_removal(18)),
       [](std::string_view bytes) { return encoded_again(decode_removal(bytes)); }},
      {"outcome", encode(sample_outcome(19)),
       [](std::string_view bytes) { return encoded_again(decode_outcome(bytes)); }},
      {"session", encode(sample_session()),
       [](std::string_view bytes) { return encoded_again(decode_session(bytes)); }},
      {"former", encode(FormerSessions{SessionId{1}, SessionId{-2}}),
       [](std::string_view bytes) { return encoded_again(decode_former_sessions(bytes)); }},
  };
}

// `bytes` with a checksum that fits again.
std::string resealed(std::string bytes) {
  std::string crc;
  frame::append_big_endian(crc, frame::crc32c(bytes.substr(6), frame::crc32c(bytes.substr(0, 2))));
  return bytes.replace(2, 4, crc);
}

std::string with_field(std::string bytes, std::uint8_t tag, const std::string& content) {
  bytes.push_back(static_cast<char>(tag));
  frame::append_big_endian(bytes, static_cast<std::uint32_t>(content.size()));
  return resealed(bytes + content);
}

TEST(Crc32c, MatchesTheVectorsOfRfc3720) {
  std::string ascending;
  for (char c = 0; c < 32; ++c) {
    ascending.push_back(c);
  }
  EXPECT_EQ(frame::crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(frame::crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(frame::crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(frame::crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(frame::crc32c("6789", frame::crc32c("12345")), 0xe3069283u);
}

TEST(Record, EachKindComesBackEqual) {
  for (std::uint64_t seq = 1; seq < 100; ++seq) {
    EXPECT_EQ(*decode_registration(encode(sample_registration(seq))), sample_registration(seq));
    EXPECT_EQ(*decode_removal(encode(sample_removal(seq))), sample_removal(seq));
    EXPECT_EQ(*decode_outcome(encode(sample_outcome(seq))), sample_outcome(seq));
  }
  EXPECT_EQ(*decode_session(encode(sample_session())), sample_session());
  const FormerSessions former{SessionId{std::numeric_limits<std::int64_t>::min()}, SessionId{0}, SessionId{5}};
  EXPECT_EQ(*decode_former_sessions(encode(former)), former);
}

TEST(Record, ExtremesComeBackEqual) {
  Registration registration;
  EXPECT_EQ(*decode_registration(encode(registration)), registration);
  registration.id = {std::string(255, 's'), std::string(255, 'i')};
  registration.path = std::string(2048, '/');
  registration.data = std::string(1000000, '\0');
  registration.owner = {std::numeric_limits<std::uint32_t>::max(), std::numeric_limits<std::int32_t>::min()};
  registration.seq = Seq{std::numeric_limits<std::uint64_t>::max()};
  registration.accepted_at = std::numeric_limits<WallMs>::min();
  EXPECT_EQ(*decode_registration(encode(registration)), registration);

  const std::int64_t least = std::numeric_limits<std::int64_t>::min();
  const Outcome outcome{Seq{0}, SessionId{least}, Zxid{least}, Zxid{-1}, -1, least};
  EXPECT_EQ(*decode_outcome(encode(outcome)), outcome);
  EXPECT_EQ(*decode_former_sessions(encode(FormerSessions{})), FormerSessions{});
}

// These bytes are on disks: a change here is a change of format. storage/FORMAT.md explains them.
TEST(Record, BytesAreAsDocumented) {
  const Removal removal{Seq{18}, {"web", "i-1"}, "/services/web/i-1", {1000, 4321}, 1700000000000};
  std::string hex;
  for (const unsigned char c : encode(removal)) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", c);
    hex += digits;
  }
  EXPECT_EQ(hex,
            "0158"
            "8222bb11"
            "0100000008"
            "0000000000000012"
            "0200000003"
            "776562"
            "0300000003"
            "692d31"
            "0400000011"
            "2f73657276696365732f7765622f692d31"
            "0500000004"
            "000003e8"
            "0600000004"
            "000010e1"
            "0700000008"
            "0000018bcfe56800");
}

TEST(Record, EveryFlippedBitIsRefused) {
  for (const Sample& sample : samples()) {
    for (std::size_t bit = 0; bit < sample.bytes.size() * 8; ++bit) {
      std::string bytes = sample.bytes;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      const Result<std::string> result = sample.decode_and_encode(bytes);
      ASSERT_FALSE(result.ok()) << sample.name << ", bit " << bit;
      ASSERT_EQ(result.status().code(), Errc::damaged) << sample.name << ", bit " << bit;
    }
  }
}

TEST(Record, EveryTruncationAndExtensionIsRefused) {
  for (const Sample& sample : samples()) {
    for (std::size_t size = 0; size < sample.bytes.size(); ++size) {
      const Result<std::string> result = sample.decode_and_encode(sample.bytes.substr(0, size));
      ASSERT_FALSE(result.ok()) << sample.name << " cut to " << size;
      ASSERT_EQ(result.status().code(), Errc::damaged) << sample.name << " cut to " << size;
    }
    EXPECT_FALSE(sample.decode_and_encode(sample.bytes + '\0').ok()) << sample.name;
  }
}

// With a checksum that fits, the bounds checks stand alone: refused, or equal to what the bytes say.
TEST(Record, EveryFlippedBitUnderAFittingChecksumStaysInBounds) {
  for (const Sample& sample : samples()) {
    for (std::size_t bit = 0; bit < sample.bytes.size() * 8; ++bit) {
      std::string bytes = sample.bytes;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      bytes = resealed(bytes);
      const Result<std::string> result = sample.decode_and_encode(bytes);
      if (result.ok()) {
        EXPECT_EQ(*result, bytes) << sample.name << ", bit " << bit;
      }
    }
  }
}

TEST(Record, EveryTruncationUnderAFittingChecksumIsRefused) {
  for (const Sample& sample : samples()) {
    for (std::size_t size = frame::kHeaderSize; size < sample.bytes.size(); ++size) {
      EXPECT_FALSE(sample.decode_and_encode(resealed(sample.bytes.substr(0, size))).ok()) << sample.name;
    }
  }
}

TEST(Record, LaterVersionIsToldFromDamage) {
  for (const Sample& sample : samples()) {
    std::string bytes = sample.bytes;
    bytes[0] = 2;
    EXPECT_EQ(sample.decode_and_encode(bytes).status().code(), Errc::damaged) << sample.name;
    EXPECT_EQ(sample.decode_and_encode(resealed(bytes)).status().code(), Errc::newer_format) << sample.name;
  }
}

TEST(Record, LaterFieldIsRefusedUnlessItMayBeIgnored) {
  for (const Sample& sample : samples()) {
    EXPECT_EQ(sample.decode_and_encode(with_field(sample.bytes, 0x40, "30s")).status().code(), Errc::newer_format)
        << sample.name;
    const Result<std::string> ignored = sample.decode_and_encode(with_field(sample.bytes, 0xc0, "a hint"));
    ASSERT_TRUE(ignored.ok()) << sample.name;
    EXPECT_EQ(*ignored, sample.bytes) << sample.name;
  }
}

TEST(Record, LaterDataFormatIsRefused) {
  Registration registration = sample_registration(1);
  registration.format = static_cast<Format>(7);
  EXPECT_EQ(decode_registration(encode(registration)).status().code(), Errc::newer_format);
}

TEST(Record, RepeatedFieldIsRefused) {
  for (const Sample& sample : samples()) {
    EXPECT_EQ(sample.decode_and_encode(with_field(sample.bytes, 1, "twice")).status().code(), Errc::damaged);
  }
}

TEST(Record, MissingFieldIsRefused) {
  const std::string bytes = frame::Writer(frame::Kind::removal).u64(1, 18).finish();
  EXPECT_EQ(decode_removal(bytes).status().code(), Errc::damaged);
}

TEST(Record, OneKindIsNotTakenForAnother) {
  EXPECT_EQ(decode_removal(encode(sample_registration(1))).status().code(), Errc::damaged);
  EXPECT_EQ(decode_outcome(encode(sample_session())).status().code(), Errc::damaged);
}

}  // namespace
}  // namespace limpet::test
