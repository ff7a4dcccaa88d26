// What the storage tests share: a directory that goes away again, sample records, and pictures of files and of state
// that can be compared. One thread.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "storage/frame.h"
#include "storage/record.h"

namespace limpet::test {

// A new private directory, removed with everything in it at the end. path("x") is a name inside that does not exist.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "limpet-storage-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline RegistrationId sample_id(std::uint64_t number) {
  return {"web", "i-" + std::to_string(number)};
}

inline Registration sample_registration(std::uint64_t seq) {
  Registration registration;
  registration.id = sample_id(seq);
  registration.path = "/services/" + registration.id.str();
  registration.format = static_cast<Format>(1 + seq % 6);
  registration.data = std::string(20 + seq % 50, static_cast<char>('a' + seq % 26));
  registration.owner = {1000, static_cast<std::int32_t>(seq % 30000)};
  registration.seq = Seq{seq};
  registration.accepted_at = 1700000000000 + static_cast<WallMs>(seq);
  return registration;
}

inline Removal sample_removal(std::uint64_t seq) {
  return {Seq{seq}, sample_id(seq), "/services/" + sample_id(seq).str(), {1000, 4321}, 1700000000000};
}

inline Parent sample_parent() {
  return {"/services/web", "web", 1000, Zxid{0x200000017}, 1700000000000, 1700000000500};
}

inline Outcome sample_outcome(std::uint64_t seq) {
  return {Seq{seq}, SessionId{0x100001234560001}, Zxid{0x200000017}, Zxid{0x200000018}, 3, 1700000000500};
}

inline Session sample_session() {
  Session session{SessionId{-7}, {}, 10000, "0123456789abcdef"};
  for (std::size_t i = 0; i < session.password.size(); ++i) {
    session.password[i] = static_cast<std::uint8_t>(i * 16);
  }
  return session;
}

inline Hold sample_hold(HoldCause cause, std::optional<RegistrationId> id) {
  return {std::move(id), cause, "disk is being replaced", {0, 77}, Seq{12}, 1700000000001};
}

inline Lifetime sample_lifetime() {
  Lifetime lifetime;
  lifetime.ttl_ms = 30'000;
  lifetime.bind = Bind::process;
  lifetime.process = ProcessId{4321, 987654321, "3d5a6f0e-1c2b-4a5d-9e8f-001122334455"};
  lifetime.checks = {{CheckType::tcp, "127.0.0.1:80", {}, "", 10'000, 1'000, 1, 3},
                     {CheckType::http, "http://127.0.0.1/health", {}, "2xx", 5'000, 500, 2, 5},
                     {CheckType::command, "", {"/bin/test", "-e", "", "/run/ready"}, "", 60'000, 2'000, 1, 1}};
  lifetime.expires_ms = 600'000;
  return lifetime;
}

// Every third is about service "db", every fifth about no change, the others about one of service "web".
inline HistoryEntry sample_event(std::uint64_t event) {
  HistoryEntry entry;
  entry.event = event;
  entry.last_seq = Seq{1000 + event};
  entry.time = 1700000000000 + static_cast<WallMs>(event);
  if (event % 5 == 0) {
    entry.what = Happening::session_suspended;
    entry.why = "connection lost";
    return entry;
  }
  entry.seq = entry.last_seq;
  entry.id = RegistrationId{event % 3 == 0 ? "db" : "web", "i-" + std::to_string(event)};
  entry.what = event % 2 == 0 ? Happening::registered : Happening::accepted;
  if (event % 2 == 0) {
    entry.zxid = Zxid{0x200000000 + static_cast<std::int64_t>(event)};
  } else {
    entry.who = Actor{{1000, static_cast<std::int32_t>(event)}, "web-server"};
  }
  return entry;
}

// The batch that accepts change `seq`: one registration.
inline Batch register_batch(std::uint64_t seq) {
  return {Seq{seq}, {PutRegistration{sample_registration(seq)}}};
}

// The seqs of the registrations, ascending.
inline std::vector<std::uint64_t> seqs(const StoredState& state) {
  std::vector<std::uint64_t> found;
  for (const Registration& registration : state.registrations) {
    found.push_back(registration.seq.value);
  }
  std::sort(found.begin(), found.end());
  return found;
}

inline std::vector<std::uint64_t> up_to(std::uint64_t last) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t number = 1; number <= last; ++number) {
    numbers.push_back(number);
  }
  return numbers;
}

// So long as `wanted` does not hold, `step` is done: what RocksDB does in the background takes its time.
template <typename Wanted, typename Step>
bool eventually(Wanted wanted, Step step) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!wanted()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    step();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

// A copy of the state directory `from` in place of `to`. Without the reserve, which the store allocates anew: it is
// most of the bytes, and none of them matters.
inline void copy_state(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  fs::remove_all(to);
  fs::create_directory(to);
  fs::permissions(to, fs::perms::owner_all);
  for (const auto& entry : fs::directory_iterator(from)) {
    if (entry.path().filename() != "RESERVE") {
      fs::copy(entry.path(), fs::path(to) / entry.path().filename(), fs::copy_options::recursive);
    }
  }
}

inline void flip_bit(const std::string& path, std::size_t at) {
  std::string text = read_file(path);
  text.at(at) = static_cast<char>(text.at(at) ^ 0x10);
  write_file(path, text);
}

inline unsigned mode_of(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 ? info.st_mode & 07777u : 0u;
}

// The file FORMAT with these lines between its first and its last.
inline std::string format_file(const std::string& body) {
  const std::string text = "limpet state\n" + body;
  char line[20];
  std::snprintf(line, sizeof(line), "crc32c %08x\n", frame::crc32c(text));
  return text + line;
}

// Every file and directory below `path` with mode and content.
using Picture = std::map<std::string, std::pair<unsigned, std::string>>;

inline Picture picture_of(const std::string& path) {
  Picture picture;
  picture["."] = {mode_of(path), ""};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    const std::string name = entry.path().string();
    picture[name.substr(path.size())] = {mode_of(name), entry.is_regular_file() ? read_file(name) : ""};
  }
  return picture;
}

// The names that differ between two pictures: none, if nothing was touched.
inline std::vector<std::string> changed(const Picture& before, const Picture& after) {
  std::vector<std::string> names;
  for (const auto& [name, entry] : before) {
    const auto found = after.find(name);
    if (found == after.end() || found->second != entry) {
      names.push_back(name);
    }
  }
  for (const auto& [name, entry] : after) {
    if (!before.contains(name)) {
      names.push_back(name);
    }
  }
  return names;
}

// The files of the database in `dir` whose names begin and end so.
inline std::vector<std::string> db_files(const std::string& dir, const std::string& begin, const std::string& end) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(dir + "/db")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(begin) && name.ends_with(end)) {
      found.push_back(entry.path().string());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace limpet::test
