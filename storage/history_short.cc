#include "storage/history_short.h"

#include <array>
#include <utility>

namespace limpet {

namespace {

// What is told of an entry, besides what always is.
constexpr unsigned kSeq = 1;
constexpr unsigned kLastSeq = 2;  // absent: as seq
constexpr unsigned kId = 4;
constexpr unsigned kSameService = 8;  // with kId
constexpr unsigned kWhy = 16;
constexpr unsigned kWho = 32;
constexpr unsigned kSameWho = 64;  // with kWho
constexpr unsigned kZxid = 128;

// In sevens, the lowest first; each byte but the last has its high bit set.
constexpr std::size_t kMostOfANumber = 10;

char* put_number(char* target, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) {
    *target++ = static_cast<char>(value | 0x80);
  }
  *target++ = static_cast<char>(value);
  return target;
}

// As its distance from `before`, which may be either way: the sign is the lowest bit.
char* put_near(char* target, std::uint64_t value, std::uint64_t& before) {
  const std::uint64_t distance = value - std::exchange(before, value);
  return put_number(target, distance << 1 ^ (0 - (distance >> 63)));
}

unsigned told_of(const HistoryEntry& entry, const EntryBefore& before) {
  unsigned told = 0;
  told |= entry.seq != Seq{} ? kSeq : 0U;
  told |= entry.last_seq != entry.seq ? kLastSeq : 0U;
  told |= entry.id ? kId : 0U;
  told |= entry.id && entry.id->service == before.service ? kSameService : 0U;
  told |= !entry.why.empty() ? kWhy : 0U;
  told |= entry.who ? kWho : 0U;
  told |= entry.who && *entry.who == before.who ? kSameWho : 0U;
  told |= entry.zxid != Zxid{} ? kZxid : 0U;
  return told;
}

}  // namespace

// All numbers, then all texts.
void ShortWriter::append(const HistoryEntry& entry, std::string& list) {
  const unsigned told = told_of(entry, before_);
  const bool service = (told & (kId | kSameService)) == kId;
  const bool who = (told & (kWho | kSameWho)) == kWho;
  std::array<char, 2 + 11 * kMostOfANumber> numbers;
  char* end = numbers.data();
  *end++ = static_cast<char>(entry.what);
  *end++ = static_cast<char>(told);
  end = put_number(end, entry.event - std::exchange(before_.event, entry.event));
  end = put_near(end, static_cast<std::uint64_t>(entry.time), before_.time);
  end = (told & kSeq) != 0 ? put_near(end, entry.seq.value, before_.seq) : end;
  end = (told & kLastSeq) != 0 ? put_near(end, entry.last_seq.value, before_.last_seq) : end;
  end = (told & kZxid) != 0 ? put_near(end, static_cast<std::uint64_t>(entry.zxid.value), before_.zxid) : end;
  end = service ? put_number(end, entry.id->service.size()) : end;
  end = entry.id ? put_number(end, entry.id->instance.size()) : end;
  end = (told & kWhy) != 0 ? put_number(end, entry.why.size()) : end;
  if (who) {
    end = put_number(end, entry.who->owner.uid);
    end = put_number(end, static_cast<std::uint32_t>(entry.who->owner.pid));
    end = put_number(end, entry.who->program.size());
    before_.who = *entry.who;
  }
  list.append(numbers.data(), end);
  if (service) {
    list.append(entry.id->service);
    before_.service = entry.id->service;
  }
  if (entry.id) {
    list.append(entry.id->instance);
  }
  list.append(entry.why);
  if (who) {
    list.append(entry.who->program);
  }
}

std::uint8_t ShortReader::byte() {
  if (rest_.empty()) {
    whole_ = false;
    return 0;
  }
  const auto value = static_cast<std::uint8_t>(rest_.front());
  rest_.remove_prefix(1);
  return value;
}

std::uint64_t ShortReader::number() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 7 * kMostOfANumber; shift += 7) {
    const std::uint64_t part = byte();
    value |= (part & 0x7f) << shift;
    if (part < 0x80) {
      return value;
    }
  }
  whole_ = false;
  return 0;
}

std::uint64_t ShortReader::near(std::uint64_t& before) {
  const std::uint64_t coded = number();
  return before += coded >> 1 ^ (0 - (coded & 1));
}

std::string ShortReader::text(std::uint64_t size) {
  if (size > rest_.size()) {
    whole_ = false;
    return {};
  }
  std::string taken(rest_.substr(0, size));
  rest_.remove_prefix(size);
  return taken;
}

std::optional<StoredEntry> ShortReader::take() {
  HistoryEntry entry;
  const std::uint8_t what = byte();
  const unsigned told = byte();
  const bool service = (told & (kId | kSameService)) == kId;
  const bool who = (told & (kWho | kSameWho)) == kWho;
  entry.event = before_.event += number();
  entry.time = static_cast<WallMs>(near(before_.time));
  entry.seq.value = (told & kSeq) != 0 ? near(before_.seq) : 0;
  entry.last_seq.value = (told & kLastSeq) != 0 ? near(before_.last_seq) : entry.seq.value;
  entry.zxid.value = (told & kZxid) != 0 ? static_cast<std::int64_t>(near(before_.zxid)) : 0;
  const std::uint64_t service_size = service ? number() : 0;
  const std::uint64_t instance_size = (told & kId) != 0 ? number() : 0;
  const std::uint64_t why_size = (told & kWhy) != 0 ? number() : 0;
  std::uint64_t program_size = 0;
  if (who) {
    before_.who.owner.uid = static_cast<std::uint32_t>(number());
    before_.who.owner.pid = static_cast<std::int32_t>(static_cast<std::uint32_t>(number()));
    program_size = number();
  }
  if (service) {
    before_.service = text(service_size);
  }
  if ((told & kId) != 0) {
    entry.id = RegistrationId{before_.service, text(instance_size)};
  }
  entry.why = text(why_size);
  if (who) {
    before_.who.program = text(program_size);
  }
  if ((told & kWho) != 0) {
    entry.who = before_.who;
  }
  if (!whole_) {
    return std::nullopt;
  }
  entry.what = static_cast<Happening>(what);
  StoredEntry stored{entry.event, std::nullopt};
  if (entry.what >= Happening::accepted && entry.what <= Happening::pruned) {
    stored.entry = std::move(entry);
  }
  return stored;
}

}  // namespace limpet
