#include "storage/ledger.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "storage/fnv1a.h"
#include "storage/frame.h"
#include "storage/overloaded.h"

namespace limpet {

namespace {

using frame::Kind;

namespace meta_tag {
enum : std::uint8_t { last_seq = 1, count, digest, last_event, kLast = last_event };
}

// So much memory is held on to between two batches.
constexpr std::size_t kKeptValueRoom = 64u << 10;

std::string single_key(Kind kind) {
  return std::string(1, static_cast<char>(kind));
}

std::string id_key(Kind kind, const RegistrationId& id) {
  // The core refuses such names; here they would let two registrations share a key.
  assert(id.service.find('/') == std::string::npos && id.instance.find('/') == std::string::npos);
  std::string key;
  key.reserve(1 + id.service.size() + 1 + id.instance.size());
  key += static_cast<char>(kind);
  return key.append(id.service).append(1, '/').append(id.instance);
}

std::string hold_key(HoldCause cause, const std::optional<RegistrationId>& id) {
  std::string key = single_key(Kind::hold) + static_cast<char>(cause);
  return id ? key += id->str() : key;
}

std::string removal_key(Seq seq) {
  std::string key = single_key(Kind::removal);
  frame::append_big_endian(key, seq.value);
  return key;
}

std::string parent_key(std::string_view path) {
  return single_key(Kind::parent).append(path);
}

// FNV-1a over the key, the frame's header and the length. The header holds the CRC of the rest, and a record whose
// CRC does not match is refused before it is accounted for; so a large value need not be hashed twice.
std::uint64_t fingerprint(std::string_view key, std::string_view value) {
  Fnv1a hash(key);
  hash.add(value.substr(0, frame::kHeaderSize));
  for (int shift = 0; shift < 32; shift += 8) {
    hash.add(static_cast<std::uint8_t>(value.size() >> shift));
  }
  return hash.value();
}

// Names come from other programs: what is not printable must not reach a terminal or a log line.
std::string printable(std::string_view key) {
  constexpr char kDigits[] = "0123456789abcdef";
  constexpr std::size_t kMaxShown = 200;
  std::string text;
  for (const char c : key.substr(0, kMaxShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '\\') {
      text += c;
    } else {
      text.append("\\x").append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
    }
  }
  return text;
}

Status at_key(std::string_view key, const Status& status) {
  return Status(status.code(), "key " + printable(key) + ": " + status.message());
}

Status misplaced(std::string_view key) {
  return Status(Errc::damaged, "key " + printable(key) + ": the record there belongs to another key");
}

// The value of `key`, a new one where there is none.
template <typename Map>
typename Map::mapped_type& at(Map& map, std::string_view key) {
  const auto it = map.find(key);
  return it != map.end() ? it->second : map[std::string(key)];
}

}  // namespace

// ---- Writing

Ledger::Mark& Ledger::mark(std::string_view key) {
  switch (static_cast<Kind>(key[0])) {
    case Kind::registration:
      return at(names_, key.substr(1)).registration;
    case Kind::outcome:
      return at(names_, key.substr(1)).outcome;
    default:
      return at(others_, key);
  }
}

void Ledger::drop_unmarked(std::string_view key) {
  const Kind kind = static_cast<Kind>(key[0]);
  if (kind != Kind::registration && kind != Kind::outcome) {
    others_.erase(others_.find(key));
  } else if (const auto it = names_.find(key.substr(1)); !it->second.registration && !it->second.outcome) {
    names_.erase(it);
  }
}

void Ledger::account(std::string_view key, std::string_view value) {
  const std::uint64_t now = fingerprint(key, value);
  Mark& stored = mark(key);
  count_ += stored ? 0 : 1;
  digest_ += now - stored.value_or(0);
  stored = now;
}

template <typename Record>
void Ledger::put(Sink& sink, const std::string& key, const Record& record) {
  value_ = encode(record, std::move(value_));
  sink.put(key, value_);
  account(key, value_);
}

void Ledger::erase(Sink& sink, const std::string& key) {
  if (Mark& stored = mark(key)) {  // where there is nothing a tombstone would only be one more thing to read over
    sink.erase(key);
    digest_ -= *stored;
    --count_;
    stored.reset();
  }
  drop_unmarked(key);
}

void Ledger::erase_registration(const RegistrationId& id, Sink& sink) {
  erase(sink, id_key(Kind::registration, id));
  erase(sink, id_key(Kind::outcome, id));
  erase(sink, hold_key(HoldCause::maintenance, id));
  erase(sink, hold_key(HoldCause::check, id));
}

void Ledger::add_history(const HistoryEntry& entry, Sink& sink) {
  if (pack_.full()) {
    write_history(sink);
  }
  pack_.add(entry);
  last_event_ = std::max(last_event_, entry.event);
}

void Ledger::write_history(Sink& sink) {
  if (!pack_.empty()) {
    sink.add_history(pack_.first_event(), pack_.finish());
  }
}

void Ledger::seen(Seq seq) {
  last_seq_ = std::max(last_seq_, seq);
}

void Ledger::apply_change(const Change& change, Sink& sink) {
  std::visit(Overloaded{
                 [&](const PutRegistration& put_registration) {
                   const Registration& registration = put_registration.registration;
                   seen(registration.seq);
                   put(sink, id_key(Kind::registration, registration.id), registration);
                 },
                 [&](const EraseRegistration& erased) { erase_registration(erased.id, sink); },
                 [&](const PutRemoval& put_removal) {
                   seen(put_removal.removal.seq);
                   put(sink, removal_key(put_removal.removal.seq), put_removal.removal);
                 },
                 [&](const EraseRemoval& erased) { erase(sink, removal_key(erased.seq)); },
                 [&](const PutOutcome& put_outcome) {
                   seen(put_outcome.outcome.seq);
                   put(sink, id_key(Kind::outcome, put_outcome.id), put_outcome.outcome);
                 },
                 [&](const PutSession& put_session) {
                   put(sink, single_key(Kind::session), put_session.session);
                   put(sink, single_key(Kind::former), put_session.former);
                 },
                 [&](const PutHold& put_hold) {
                   const Hold& hold = put_hold.hold;
                   seen(hold.seq);
                   put(sink, hold_key(hold.cause, hold.id), hold);
                 },
                 [&](const EraseHold& erased) { erase(sink, hold_key(erased.cause, erased.id)); },
                 [&](const PutParent& put_parent) { put(sink, parent_key(put_parent.parent.path), put_parent.parent); },
                 [&](const EraseParent& erased) { erase(sink, parent_key(erased.path)); },
                 [&](const AddHistory& added) { add_history(added.entry, sink); },
             },
             change);
}

void Ledger::apply(const Batch& batch, Sink& sink) {
  for (const Change& change : batch.changes) {
    apply_change(change, sink);
  }
  seen(batch.last_seq);
}

void Ledger::close(Sink& sink) {
  write_history(sink);
  value_ = frame::Writer(Kind::meta, frame::kFixedSize, std::move(value_))
               .u64(meta_tag::last_seq, last_seq_.value)
               .u64(meta_tag::count, count_)
               .u64(meta_tag::digest, digest_)
               .u64(meta_tag::last_event, last_event_)
               .finish();
  sink.put(single_key(Kind::meta), value_);
  if (value_.capacity() > kKeptValueRoom) {
    value_ = {};
  }
}

// ---- Reading

Status Ledger::add(std::string_view key, std::string_view value) {
  if (key.empty()) {
    return Status(Errc::damaged, "a record without a key");
  }
  switch (static_cast<Kind>(key[0])) {
    case Kind::meta:
      return add_meta(value);
    case Kind::registration:
      return add_registration(key, value);
    case Kind::removal:
      return add_removal(key, value);
    case Kind::outcome:
      return add_outcome(key, value);
    case Kind::session:
      return add_session(key, value);
    case Kind::former:
      return add_former(key, value);
    case Kind::hold:
      return add_hold(key, value);
    case Kind::parent:
      return add_parent(key, value);
    case Kind::event:
    case Kind::pack:
      return misplaced(key);  // the history is elsewhere
  }
  account(key, value);
  return add_unknown(key);
}

Status Ledger::add_unknown(std::string_view key) const {
  if (key[0] >= 'a' && key[0] <= 'z') {
    return {};  // of a later limpet that says: may be ignored
  }
  if (key[0] >= 'A' && key[0] <= 'Z') {
    return Status(Errc::newer_format, "key " + printable(key) + " is of a later limpet");
  }
  return Status(Errc::damaged, "key " + printable(key) + " is not one of limpet's");
}

Status Ledger::add_meta(std::string_view value) {
  frame::Reader reader(value, Kind::meta, meta_tag::kLast);
  Meta meta;
  reader.u64(meta_tag::last_seq, meta.last_seq.value);
  reader.u64(meta_tag::count, meta.count);
  reader.u64(meta_tag::digest, meta.digest);
  reader.optional(meta_tag::last_event, meta_tag::last_event);  // of a limpet that kept no history
  reader.u64(meta_tag::last_event, meta.last_event);
  if (!reader.status().ok()) {
    return at_key(single_key(Kind::meta), reader.status());
  }
  meta_ = meta;
  return {};
}

Status Ledger::add_registration(std::string_view key, std::string_view value) {
  Result<Registration> registration = decode_registration(value);
  if (!registration.ok()) {
    return at_key(key, registration.status());
  }
  // With one slash there is one way to read the key.
  if (key.substr(1) != registration->id.str() || std::count(key.begin(), key.end(), '/') != 1) {
    return misplaced(key);
  }
  seen(registration->seq);
  account(key, value);
  state_.registrations.push_back(std::move(*registration));
  return {};
}

Status Ledger::add_removal(std::string_view key, std::string_view value) {
  Result<Removal> removal = decode_removal(value);
  if (!removal.ok()) {
    return at_key(key, removal.status());
  }
  if (key != removal_key(removal->seq)) {
    return misplaced(key);
  }
  seen(removal->seq);
  account(key, value);
  state_.removals.push_back(std::move(*removal));
  return {};
}

Status Ledger::add_outcome(std::string_view key, std::string_view value) {
  Result<Outcome> outcome = decode_outcome(value);
  if (!outcome.ok()) {
    return at_key(key, outcome.status());
  }
  const std::string_view name = key.substr(1);
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos || slash != name.rfind('/')) {
    return misplaced(key);
  }
  seen(outcome->seq);
  account(key, value);
  RegistrationId id{std::string(name.substr(0, slash)), std::string(name.substr(slash + 1))};
  state_.outcomes.emplace_back(std::move(id), *outcome);
  return {};
}

Status Ledger::add_session(std::string_view key, std::string_view value) {
  Result<Session> session = decode_session(value);
  if (!session.ok()) {
    return at_key(key, session.status());
  }
  account(key, value);
  state_.session = *session;
  return {};
}

Status Ledger::add_former(std::string_view key, std::string_view value) {
  Result<FormerSessions> former = decode_former_sessions(value);
  if (!former.ok()) {
    return at_key(key, former.status());
  }
  account(key, value);
  state_.former = std::move(*former);
  return {};
}

Status Ledger::add_hold(std::string_view key, std::string_view value) {
  Result<Hold> hold = decode_hold(value);
  if (!hold.ok()) {
    return at_key(key, hold.status());
  }
  if (key != hold_key(hold->cause, hold->id)) {
    return misplaced(key);
  }
  seen(hold->seq);
  account(key, value);
  state_.holds.push_back(std::move(*hold));
  return {};
}

Status Ledger::add_parent(std::string_view key, std::string_view value) {
  Result<Parent> parent = decode_parent(value);
  if (!parent.ok()) {
    return at_key(key, parent.status());
  }
  if (key != parent_key(parent->path)) {
    return misplaced(key);
  }
  account(key, value);
  state_.parents.push_back(std::move(*parent));
  return {};
}

Result<StoredState> Ledger::finish() {
  if (!meta_) {
    return Status(Errc::damaged,
                  "the record of last_seq is missing (" + std::to_string(count_) + " other records were found)");
  }
  if (last_seq_ > meta_->last_seq) {
    return Status(Errc::damaged, "a record has seq " + std::to_string(last_seq_.value) + ", but last_seq is " +
                                     std::to_string(meta_->last_seq.value));
  }
  if (count_ != meta_->count || digest_ != meta_->digest) {
    return Status(Errc::damaged, "the records do not add up: " + std::to_string(count_) + " found, " +
                                     std::to_string(meta_->count) +
                                     " expected; some are missing, or older than they should be");
  }
  last_seq_ = meta_->last_seq;
  state_.last_seq = last_seq_;
  last_event_ = meta_->last_event;
  state_.last_event = last_event_;
  return std::exchange(state_, {});
}

}  // namespace limpet
