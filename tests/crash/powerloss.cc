#include "tests/crash/powerloss.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <vector>

#include "tests/support/preload.h"

namespace limpet::test {

namespace {

namespace fs = std::filesystem;

struct Object {
  bool directory = false;
  std::string safe;  // the synced bytes
};
using ObjectPtr = std::shared_ptr<Object>;
using Names = std::map<std::string, ObjectPtr>;

// A change of one directory's names. Without `object`: the name goes.
struct NameChange {
  std::string path;
  ObjectPtr object;
  std::string from;  // of a rename, within the same directory
};

std::string parent(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

void take_place(const NameChange& change, Names& names) {
  if (!change.from.empty()) {
    names.erase(change.from);
  }
  if (change.object) {
    names[change.path] = change.object;
  } else {
    names.erase(change.path);
  }
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

// Reads the notes again: `now` is what the process saw, `safe` what was synced, `pending` what lies between.
class Replay {
 public:
  Replay(const std::string& state, const std::string& before, const std::string& out) : out_(out) {
    seed(state, before);
    std::ifstream events(out + "/events");
    for (std::string line; std::getline(events, line);) {
      note(line);
    }
  }

  Names now;
  Names safe;
  std::vector<NameChange> pending;
  std::uint64_t syncs = 0;

 private:
  void seed(const std::string& state, const std::string& before) {
    if (!fs::exists(before)) {
      return;
    }
    add_seed(state, before);
    for (const auto& entry : fs::recursive_directory_iterator(before)) {
      add_seed(state + entry.path().string().substr(before.size()), entry.path().string());
    }
    safe = now;
  }

  void add_seed(const std::string& path, const std::string& copy) {
    const bool directory = fs::is_directory(copy);
    now[path] = std::make_shared<Object>(Object{directory, directory ? "" : read_file(copy)});
  }

  void change(NameChange one) {
    take_place(one, now);
    pending.push_back(std::move(one));
  }

  void directory_synced(const std::string& directory) {
    std::vector<NameChange> left;
    for (NameChange& one : pending) {
      if (parent(one.path) == directory) {
        take_place(one, safe);
      } else {
        left.push_back(std::move(one));
      }
    }
    pending = std::move(left);
  }

  void synced(int id, std::size_t size, std::size_t from, std::size_t length) {
    Copied& copied = copied_[id];
    if (copied.taken == 0) {
      copied.bytes = read_file(out_ + "/" + std::to_string(id));
    }
    by_id_[id]->safe.resize(size, '\0');
    by_id_[id]->safe.replace(from, length, copied.bytes, copied.taken, length);
    copied.taken += length;
  }

  void note(const std::string& line) {
    std::istringstream words(line.substr(1));
    std::string path;
    int id = 0;
    std::size_t size = 0;
    std::size_t from = 0;
    std::size_t length = 0;
    switch (line[0]) {
      case 'C':
        words >> id >> path;
        by_id_[id] = std::make_shared<Object>();
        change({path, by_id_[id], ""});
        break;
      case 'O':
        words >> id >> path;
        by_id_[id] = now[path];
        break;
      case 'S':
        words >> id >> size >> from >> length;
        if (by_id_[id]) {
          synced(id, size, from, length);
        }
        ++syncs;
        break;
      case 'D':
        words >> path;
        directory_synced(path);
        break;
      case 'M':
        words >> path;
        change({path, std::make_shared<Object>(Object{true, ""}), ""});
        break;
      case 'R': {
        words >> path;
        const std::size_t bar = path.find('|');
        change({path.substr(bar + 1), now[path.substr(0, bar)], path.substr(0, bar)});
        break;
      }
      case 'U':
        words >> path;
        change({path, nullptr, ""});
        break;
      default:
        break;
    }
  }

  const std::string out_;
  std::map<int, ObjectPtr> by_id_;
  struct Copied {
    std::string bytes;  // what OUT/<id> holds
    std::size_t taken = 0;
  };
  std::map<int, Copied> copied_;
};

constexpr std::size_t kSector = 512;

// The sectors of [from, to) that differ: each becomes as in `written` or stays as it is. Returns whether both happened.
bool tear(std::string& bytes, const std::string& written, std::size_t from, std::size_t to, Rng& rng) {
  enum class Kept { none, all, first, some };
  const auto kept = static_cast<Kept>(rng.below(4));
  std::vector<std::size_t> differing;
  for (std::size_t at = from; at < to; at = (at / kSector + 1) * kSector) {
    const std::size_t size = std::min(to, (at / kSector + 1) * kSector) - at;
    if (bytes.compare(at, size, written, at, size) != 0) {
      differing.push_back(at);
    }
  }
  const std::size_t first = rng.below(differing.size() + 1);
  std::size_t taken = 0;
  for (std::size_t i = 0; i < differing.size(); ++i) {
    if (kept == Kept::all || (kept == Kept::first && i < first) || (kept == Kept::some && rng.below(2) == 0)) {
      const std::size_t at = differing[i];
      const std::size_t size = std::min(to, (at / kSector + 1) * kSector) - at;
      bytes.replace(at, size, written, at, size);
      ++taken;
    }
  }
  return taken > 0 && taken < differing.size();
}

// The bytes of a file after the cut. `written`: what the process saw in it at the end; null where it had no name then.
// Zeros may stand amid the new bytes only of a log: of others, it is known to be refused, and the file systems that
// this is to show do not leave it.
std::string after_cut(const Object& object, const std::string* written, bool log, Rng& rng, std::uint64_t& torn) {
  std::string bytes = object.safe;
  if (written == nullptr) {
    return bytes;
  }
  std::size_t old_end = bytes.size();
  if (written->size() > old_end && rng.below(3) != 0) {
    bytes.resize(old_end + rng.below(written->size() - old_end + 1), '\0');
  } else if (written->size() < old_end && rng.below(2) == 0) {
    bytes.resize(written->size());
  }
  const std::size_t both = std::min(bytes.size(), written->size());
  // The sector in which the old bytes end is written as a whole.
  old_end = std::min(both, log ? (old_end + kSector - 1) / kSector * kSector : old_end);
  bool is_torn = tear(bytes, *written, 0, old_end, rng);
  if (log && rng.below(2) == 0) {
    is_torn = tear(bytes, *written, old_end, both, rng) || is_torn;
  } else if (rng.below(2) == 0) {
    bytes.replace(old_end, both - old_end, *written, old_end, both - old_end);
  }
  torn += is_torn ? 1 : 0;
  return bytes;
}

}  // namespace

PowerCut::PowerCut(const Daemon& daemon, bool lying_disk)
    : state_(daemon.data_dir()),
      out_(daemon.directory() + "/powerloss"),
      before_(daemon.directory() + "/before"),
      lying_(lying_disk) {}

Injection PowerCut::prepare() {
  fs::remove_all(out_);
  fs::remove_all(before_);
  fs::create_directory(out_);
  if (fs::exists(state_)) {
    fs::copy(state_, before_, fs::copy_options::recursive);
  }
  Injection injection;
  injection.environment = {preload(POWERLOSS_SHIM), "LIMPET_POWERLOSS_STATE=" + state_, "LIMPET_POWERLOSS_OUT=" + out_};
  if (lying_) {
    injection.environment.emplace_back("LIMPET_POWERLOSS_LIE=1");
  }
  return injection;
}

void PowerCut::cut(Rng& rng) {
  Replay replay(state_, before_, out_);
  syncs_ += replay.syncs;
  std::map<ObjectPtr, std::string> written;
  for (const auto& [path, object] : replay.now) {
    if (object && !object->directory && fs::exists(path)) {
      written[object] = read_file(path);
    }
  }
  Names names = replay.safe;
  const std::uint64_t count = replay.pending.size();
  const std::uint64_t kept = rng.below(3) == 0 ? 0 : rng.below(count + 1);
  for (std::uint64_t i = 0; i < kept; ++i) {
    take_place(replay.pending[i], names);
  }
  fs::remove_all(state_);
  for (const auto& [path, object] : names) {  // a directory sorts before what is in it
    if (!object || (path != state_ && !fs::exists(parent(path)))) {
      continue;
    }
    if (object->directory) {
      fs::create_directory(path);
      fs::permissions(path, fs::perms::owner_all);
    } else {
      const auto found = written.find(object);
      const std::string* now = found == written.end() ? nullptr : &found->second;
      std::ofstream(path, std::ios::binary) << after_cut(*object, now, path.ends_with(".log"), rng, torn_);
      fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    }
  }
}

}  // namespace limpet::test
