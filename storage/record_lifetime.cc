#include "storage/record_lifetime.h"

#include <utility>

namespace limpet {

namespace {

using frame::Kind;
using frame::Reader;
using frame::Writer;

namespace check_tag {
enum : std::uint8_t { type = 1, target, command, status, interval_ms, timeout_ms, rise, fall, kLast = fall };
}

// pid (4), start_ticks (8), and the rest is the boot id.
constexpr std::size_t kProcessNumbers = 12;

void write_process(Writer& writer, const Rare<ProcessId>& process) {
  if (!process) {
    return;
  }
  std::string bytes;
  frame::append_big_endian(bytes, static_cast<std::uint32_t>(process->pid));
  frame::append_big_endian(bytes, process->start_ticks);
  writer.bytes(lifetime_tag::process, bytes + process->boot_id);
}

void read_process(Reader& reader, Rare<ProcessId>& target) {
  if (!reader.has(lifetime_tag::process)) {
    return;
  }
  std::string_view bytes;
  reader.bytes(lifetime_tag::process, bytes);
  if (bytes.size() < kProcessNumbers) {
    return reader.fail(Errc::damaged, "the process is cut off");
  }
  target = ProcessId{static_cast<std::int32_t>(static_cast<std::uint32_t>(frame::read_big_endian(bytes.substr(0, 4)))),
                     frame::read_big_endian(bytes.substr(4, 8)), std::string(bytes.substr(kProcessNumbers))};
}

std::string encode_check(const Check& check) {
  namespace tag = check_tag;
  std::string command;
  for (const std::string& word : check.command) {
    frame::append_item(command, word);
  }
  return Writer::nested()
      .u8(tag::type, static_cast<std::uint8_t>(check.type))
      .bytes(tag::target, check.target)
      .bytes(tag::command, command)
      .bytes(tag::status, check.status)
      .u64(tag::interval_ms, static_cast<std::uint64_t>(check.interval_ms))
      .u64(tag::timeout_ms, static_cast<std::uint64_t>(check.timeout_ms))
      .u32(tag::rise, check.rise)
      .u32(tag::fall, check.fall)
      .finish();
}

void write_checks(Writer& writer, const std::vector<Check>& checks) {
  if (checks.empty()) {
    return;
  }
  std::string list;
  for (const Check& check : checks) {
    frame::append_item(list, encode_check(check));
  }
  writer.bytes(lifetime_tag::checks, list);
}

Status read_check(std::string_view bytes, Check& check) {
  namespace tag = check_tag;
  Reader reader = Reader::nested(bytes, Kind::registration, tag::kLast);
  reader.choice(tag::type, CheckType::tcp, CheckType::command, "type of check", check.type);
  reader.string(tag::target, check.target);
  std::string_view command;
  reader.bytes(tag::command, command);
  reader.string(tag::status, check.status);
  reader.i64(tag::interval_ms, check.interval_ms);
  reader.i64(tag::timeout_ms, check.timeout_ms);
  reader.u32(tag::rise, check.rise);
  reader.u32(tag::fall, check.fall);
  while (reader.status().ok() && !command.empty()) {
    std::string_view word;
    if (!frame::take_item(command, word)) {
      reader.fail(Errc::damaged, "the command of a check is cut off");
      break;
    }
    check.command.emplace_back(word);
  }
  return reader.status();
}

void read_checks(Reader& reader, std::vector<Check>& target) {
  std::string_view list;
  reader.bytes(lifetime_tag::checks, list);
  while (reader.status().ok() && !list.empty()) {
    std::string_view item;
    if (!frame::take_item(list, item)) {
      return reader.fail(Errc::damaged, "the list of checks is cut off");
    }
    Check check;
    if (const Status status = read_check(item, check); !status.ok()) {
      return reader.fail(status);
    }
    target.push_back(std::move(check));
  }
}

}  // namespace

void write_lifetime(Writer& writer, const Lifetime& lifetime) {
  namespace tag = lifetime_tag;
  writer.u64_unless_0(tag::ttl_ms, static_cast<std::uint64_t>(lifetime.ttl_ms))
      .u8_unless_0(tag::bind, static_cast<std::uint8_t>(lifetime.bind));
  write_process(writer, lifetime.process);
  write_checks(writer, lifetime.checks);
  writer.u64_unless_0(tag::expires_ms, static_cast<std::uint64_t>(lifetime.expires_ms));
}

void read_lifetime(Reader& reader, Lifetime& lifetime) {
  namespace tag = lifetime_tag;
  reader.optional(tag::ttl_ms, tag::kLast);
  reader.i64(tag::ttl_ms, lifetime.ttl_ms);
  reader.choice(tag::bind, Bind::none, Bind::connection, "bind", lifetime.bind);
  read_process(reader, lifetime.process);
  read_checks(reader, lifetime.checks);
  reader.i64(tag::expires_ms, lifetime.expires_ms);
}

}  // namespace limpet
