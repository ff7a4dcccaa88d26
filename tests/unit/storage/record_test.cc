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

  // Ends with a field of a tag from 128 on, which counts by being there: its content is not read.
  bool ends_with_hint() const { return std::string_view(name) == "removal of a move"; }
};

template <typename T>
Result<std::string> encoded_again(const Result<T>& decoded) {
  return decoded.ok() ? Result<std::string>(encode(*decoded)) : Result<std::string>(decoded.status());
}

Registration living_registration(std::uint64_t seq) {
  Registration registration = sample_registration(seq);
  registration.lifetime = sample_lifetime();
  return registration;
}

HistoryEntry full_event() {
  HistoryEntry entry = sample_event(7);
  entry.why = "asked for";
  entry.last_seq = Seq{1010};
  entry.zxid = Zxid{0x200000007};
  return entry;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    text += digits;
  }
  return text;
}

Removal moved_away(std::uint64_t seq) {
  Removal removal = sample_removal(seq);
  removal.moved = true;
  return removal;
}

std::vector<Sample> samples() {
  return {
      {"registration", encode(sample_registration(17)),
       [](std::string_view bytes) { return encoded_again(decode_registration(bytes)); }},
      {"registration with a lifetime", encode(living_registration(17)),
       [](std::string_view bytes) { return encoded_again(decode_registration(bytes)); }},
      {"hold", encode(sample_hold(HoldCause::check, sample_id(3))),
       [](std::string_view bytes) { return encoded_again(decode_hold(bytes)); }},
      {"hold of the host", encode(sample_hold(HoldCause::maintenance, std::nullopt)),
       [](std::string_view bytes) { return encoded_again(decode_hold(bytes)); }},
      {"event", encode(full_event()),
       [](std::string_view bytes) { return encoded_again(decode_history_entry(bytes)); }},
      {"short event", encode(sample_event(5)),
       [](std::string_view bytes) { return encoded_again(decode_history_entry(bytes)); }},
      {"removal", encode(sample_removal(18)),
       [](std::string_view bytes) { return encoded_again(decode_removal(bytes)); }},
      {"removal of a move", encode(moved_away(18)),
       [](std::string_view bytes) { return encoded_again(decode_removal(bytes)); }},
      {"parent", encode(sample_parent()), [](std::string_view bytes) { return encoded_again(decode_parent(bytes)); }},
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

TEST(Crc32c, IsTheSameHoweverTheBytesAreCut) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) {
    bytes.push_back(static_cast<char>(i * 37));
  }
  for (std::size_t begin = 0; begin < 10; ++begin) {
    for (std::size_t end = begin; end <= bytes.size(); ++end) {
      const std::string part = bytes.substr(begin, end - begin);
      std::uint32_t byte_by_byte = 0;
      for (const char c : part) {
        byte_by_byte = ~frame::crc32c_by_tables(std::string_view(&c, 1), ~byte_by_byte);
      }
      ASSERT_EQ(frame::crc32c(part), byte_by_byte) << begin << " to " << end;
    }
  }
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

TEST(Record, WhatRemainsOfARegistrationIsWhatItsRemovalHas) {
  const Removal removal{Seq{7}, {"web", "i-1"}, "/services/web/i-1", {1000, 4321}, 1'700'000'000'123};
  const Registration remnant = remnant_of(removal);
  EXPECT_EQ(remnant.id, removal.id);
  EXPECT_EQ(remnant.path, removal.path);
  EXPECT_EQ(remnant.owner, removal.owner);
  EXPECT_EQ(remnant.seq, removal.seq);
  EXPECT_EQ(remnant.accepted_at, removal.accepted_at);
  EXPECT_EQ(remnant.data, "");
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
  EXPECT_EQ(hex(encode(removal)),
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

// As limpet wrote it before a registration had a lifetime: such records are read, and a plain one is not a byte longer.
TEST(Record, PlainRegistrationIsAsBeforeThereWereLifetimes) {
  const Registration registration{
      {"web", "i-1"}, "/services/web/i-1", Format::json, "hello", {1000, 4321}, Seq{17}, 1700000000000, {}};
  const std::string bytes = encode(registration);
  EXPECT_EQ(hex(bytes),
            "0152"
            "c68906f4"
            "0100000003"
            "776562"
            "0200000003"
            "692d31"
            "0300000011"
            "2f73657276696365732f7765622f692d31"
            "0400000001"
            "02"
            "0500000005"
            "68656c6c6f"
            "0600000004"
            "000003e8"
            "0700000004"
            "000010e1"
            "0800000008"
            "0000000000000011"
            "0900000008"
            "0000018bcfe56800");
  EXPECT_EQ(*decode_registration(bytes), registration);
}

TEST(Record, LifetimesComeBackEqual) {
  EXPECT_EQ(*decode_registration(encode(living_registration(3))), living_registration(3));
  const std::vector<std::function<void(Lifetime&)>> fields = {
      [](Lifetime& l) { l.ttl_ms = 1; },
      [](Lifetime& l) { l.bind = Bind::connection; },
      [](Lifetime& l) { l.process.emplace(); },
      [](Lifetime& l) { l.process = sample_lifetime().process; },
      [](Lifetime& l) { l.checks.emplace_back(); },
      [](Lifetime& l) { l.checks = sample_lifetime().checks; },
      [](Lifetime& l) { l.expires_ms = std::numeric_limits<std::int64_t>::max(); },
  };
  for (const auto& set : fields) {
    Registration registration = sample_registration(1);
    set(registration.lifetime);
    EXPECT_EQ(*decode_registration(encode(registration)), registration);
  }
}

// A limpet that does not know these fields must not make the registration immortal.
TEST(Record, EachFieldOfALifetimeMustBeUnderstood) {
  constexpr std::uint8_t kTagsBeforeLifetimes = 9;
  const std::vector<std::function<void(Lifetime&)>> fields = {
      [](Lifetime& l) { l.ttl_ms = 1000; },
      [](Lifetime& l) { l.bind = Bind::connection; },
      [](Lifetime& l) { l.checks.emplace_back(); },
      [](Lifetime& l) { l.expires_ms = 1000; },
  };
  for (const auto& set : fields) {
    Registration registration = sample_registration(1);
    const std::string plain = encode(registration);
    EXPECT_TRUE(frame::Reader(plain, frame::Kind::registration, kTagsBeforeLifetimes).status().ok());
    set(registration.lifetime);
    EXPECT_EQ(frame::Reader(encode(registration), frame::Kind::registration, kTagsBeforeLifetimes).status().code(),
              Errc::newer_format);
  }
}

TEST(Record, ParentsAndRemovalsOfAMoveComeBackEqual) {
  EXPECT_EQ(*decode_parent(encode(sample_parent())), sample_parent());
  EXPECT_EQ(*decode_removal(encode(moved_away(18))), moved_away(18));
  EXPECT_EQ(*decode_removal(encode(sample_removal(18))), sample_removal(18));
  // An older limpet removes first, and need not refuse it.
  constexpr std::uint8_t kTagsBeforeMoves = 7;
  EXPECT_TRUE(frame::Reader(encode(moved_away(18)), frame::Kind::removal, kTagsBeforeMoves).status().ok());
}

TEST(Record, HoldsAndEventsComeBackEqual) {
  for (const HoldCause cause : {HoldCause::maintenance, HoldCause::check}) {
    EXPECT_EQ(*decode_hold(encode(sample_hold(cause, sample_id(1)))), sample_hold(cause, sample_id(1)));
    EXPECT_EQ(*decode_hold(encode(sample_hold(cause, std::nullopt))), sample_hold(cause, std::nullopt));
  }
  for (std::uint64_t event = 1; event < 50; ++event) {
    EXPECT_EQ(*decode_history_entry(encode(sample_event(event))), sample_event(event));
  }
  EXPECT_EQ(*decode_history_entry(encode(full_event())), full_event());
  HistoryEntry entry;
  EXPECT_EQ(*decode_history_entry(encode(entry)), entry);
  entry.seq = Seq{5};  // and last_seq 0
  entry.id.emplace();
  entry.who.emplace();
  entry.zxid = Zxid{-1};
  EXPECT_EQ(*decode_history_entry(encode(entry)), entry);
}

TEST(Record, MemoryIsUsedAgain) {
  std::string room;
  for (std::uint64_t event = 1; event < 50; ++event) {
    room = encode(sample_event(event), std::move(room));
    EXPECT_EQ(room, encode(sample_event(event)));
  }
}

TEST(Record, UnknownKindOfAnythingIsOfALaterLimpet) {
  Registration registration = living_registration(1);
  registration.lifetime.bind = static_cast<Bind>(3);
  EXPECT_EQ(decode_registration(encode(registration)).status().code(), Errc::newer_format);
  registration = living_registration(1);
  registration.lifetime.checks[0].type = static_cast<CheckType>(4);
  EXPECT_EQ(decode_registration(encode(registration)).status().code(), Errc::newer_format);
  EXPECT_EQ(decode_hold(encode(sample_hold(static_cast<HoldCause>(9), std::nullopt))).status().code(),
            Errc::newer_format);
  HistoryEntry entry = sample_event(1);
  entry.what = static_cast<Happening>(200);
  EXPECT_EQ(decode_history_entry(encode(entry)).status().code(), Errc::newer_format);
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
    const std::size_t read = sample.bytes.size() - (sample.ends_with_hint() ? 1 : 0);
    for (std::size_t bit = 0; bit < read * 8; ++bit) {
      std::string bytes = sample.bytes;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      bytes = resealed(bytes);
      const Result<std::string> result = sample.decode_and_encode(bytes);
      // What says that a field has its default may also be left out; otherwise each content has one encoding.
      if (result.ok() && result->size() == bytes.size()) {
        EXPECT_EQ(*result, bytes) << sample.name << ", bit " << bit;
      } else if (result.ok()) {
        EXPECT_LT(result->size(), bytes.size()) << sample.name << ", bit " << bit;
        EXPECT_EQ(*sample.decode_and_encode(*result), *result) << sample.name << ", bit " << bit;
      }
    }
  }
}

// What is left may be a record without its last fields, where those may be absent; never one with half a field.
TEST(Record, EveryTruncationUnderAFittingChecksumIsRefusedOrOneWithFewerFields) {
  for (const Sample& sample : samples()) {
    int whole = 0;
    for (std::size_t size = frame::kHeaderSize; size < sample.bytes.size(); ++size) {
      const std::string bytes = resealed(sample.bytes.substr(0, size));
      const Result<std::string> result = sample.decode_and_encode(bytes);
      whole += result.ok() ? 1 : 0;
      EXPECT_TRUE(!result.ok() || *result == bytes) << sample.name << " cut to " << size;
    }
    EXPECT_LE(whole, 7) << sample.name;
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
    // Behind a field of a higher tag, one of a lower tag is damage.
    EXPECT_EQ(sample.decode_and_encode(with_field(sample.bytes, 0x40, "30s")).status().code(),
              sample.ends_with_hint() ? Errc::damaged : Errc::newer_format)
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
