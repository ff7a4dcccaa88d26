#include "tests/support/fake_znodes.h"

#include <utility>

namespace limpet::test {

using core::ZkCode;
using core::ZkStat;

std::string FakeZnodes::parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

ZkCode FakeZnodes::create(const std::string& path, std::string data, SessionId owner, SessionId by, ZkStat* stat) {
  const std::string parent = parent_of(path);
  const Znode* above = parent.empty() ? nullptr : find(parent);
  if (!parent.empty() && above == nullptr) {
    return ZkCode::no_node;
  }
  if (find(path) != nullptr) {
    return ZkCode::node_exists;
  }
  if (above != nullptr && above->stat.ephemeral_owner.value != 0) {
    return ZkCode::parent_ephemeral;
  }
  const Zxid zxid = take_zxid();
  Znode znode{std::move(data), ZkStat{zxid, zxid, 0, owner}};
  if (stat != nullptr) {
    *stat = znode.stat;
  }
  apply(zxid, path, by, false, std::move(znode));
  return ZkCode::ok;
}

ZkCode FakeZnodes::set(const std::string& path, std::string data, std::int32_t version, SessionId by, ZkStat* stat) {
  const Znode* standing = find(path);
  if (standing == nullptr) {
    return ZkCode::no_node;
  }
  if (version != -1 && version != standing->stat.version) {
    return ZkCode::bad_version;
  }
  Znode znode{std::move(data), standing->stat};
  znode.stat.mzxid = take_zxid();
  ++znode.stat.version;
  if (stat != nullptr) {
    *stat = znode.stat;
  }
  const Zxid zxid = znode.stat.mzxid;
  apply(zxid, path, by, false, std::move(znode));
  return ZkCode::ok;
}

ZkCode FakeZnodes::remove(const std::string& path, std::int32_t version, SessionId by) {
  const Znode* standing = find(path);
  if (standing == nullptr) {
    return ZkCode::no_node;
  }
  if (version != -1 && version != standing->stat.version) {
    return ZkCode::bad_version;
  }
  if (has_children(path)) {
    return ZkCode::not_empty;
  }
  apply(take_zxid(), path, by, false, std::nullopt);
  return ZkCode::ok;
}

void FakeZnodes::begin() {
  take_zxid();
  in_transaction_ = true;
}

void FakeZnodes::commit() {
  in_transaction_ = false;
  for (const Txn& txn : std::exchange(done_, {})) {
    if (listener_) {
      listener_(txn);
    }
  }
}

void FakeZnodes::undo() {
  in_transaction_ = false;
  for (auto txn = done_.rbegin(); txn != done_.rend(); ++txn) {
    versions_[txn->path].pop_back();
    if (txn->before) {
      znodes_.insert_or_assign(txn->path, *txn->before);
    } else {
      znodes_.erase(txn->path);
    }
  }
  done_.clear();
}

void FakeZnodes::end_session(SessionId owner, const std::string& spared) {
  std::vector<std::string> owned;
  for (const auto& [path, znode] : znodes_) {
    if (znode.stat.ephemeral_owner == owner && path != spared) {
      owned.push_back(path);
    }
  }
  const Zxid zxid = take_zxid();
  for (const std::string& path : owned) {
    apply(zxid, path, SessionId{0}, true, std::nullopt);
  }
}

void FakeZnodes::wipe() {
  std::vector<std::string> paths;
  for (const auto& [path, znode] : znodes_) {
    paths.push_back(path);
  }
  const Zxid zxid = take_zxid();
  for (const std::string& path : paths) {
    apply(zxid, path, SessionId{0}, true, std::nullopt);
  }
  versions_.clear();
  zxid_ = 0;
}

void FakeZnodes::roll_back(Zxid to) {
  const Zxid now = take_zxid();
  for (auto& [path, versions] : versions_) {
    if (versions.empty() || versions.back().zxid <= to) {
      continue;
    }
    const Znode* then = find_at(path, to);
    Txn txn{now, path, SessionId{0}, false, std::nullopt, then == nullptr ? std::nullopt : std::optional<Znode>(*then)};
    std::erase_if(versions, [to](const Version& version) { return version.zxid > to; });
    if (const auto it = znodes_.find(path); it != znodes_.end()) {
      txn.before = std::move(it->second);
      znodes_.erase(it);
    }
    if (txn.after) {
      znodes_.insert_or_assign(path, *txn.after);
    }
    if (listener_ && (txn.before || txn.after)) {
      listener_(txn);
    }
  }
  zxid_ = to.value;
}

const Znode* FakeZnodes::find(std::string_view path) const {
  const auto it = znodes_.find(path);
  return it == znodes_.end() ? nullptr : &it->second;
}

const Znode* FakeZnodes::find_at(std::string_view path, Zxid zxid) const {
  const auto it = versions_.find(path);
  if (it == versions_.end()) {
    return nullptr;
  }
  for (auto version = it->second.rbegin(); version != it->second.rend(); ++version) {
    if (version->zxid <= zxid) {
      return version->znode ? &*version->znode : nullptr;
    }
  }
  return nullptr;
}

bool FakeZnodes::has_children(const std::string& path) const {
  const auto it = znodes_.lower_bound(path + "/");
  return it != znodes_.end() && it->first.starts_with(path + "/");
}

std::int32_t FakeZnodes::count_children(const std::string& path) const {
  std::int32_t count = 0;
  for (auto it = znodes_.lower_bound(path + "/"); it != znodes_.end() && it->first.starts_with(path + "/"); ++it) {
    count += it->first.find('/', path.size() + 1) == std::string::npos ? 1 : 0;
  }
  return count;
}

void FakeZnodes::apply(Zxid zxid, const std::string& path, SessionId by, bool session_end, std::optional<Znode> after) {
  Txn txn{zxid, path, by, session_end, std::nullopt, std::move(after)};
  const auto it = znodes_.find(path);
  if (it != znodes_.end()) {
    txn.before = std::move(it->second);
  }
  if (txn.after) {
    znodes_.insert_or_assign(path, *txn.after);
  } else if (it != znodes_.end()) {
    znodes_.erase(it);
  }
  versions_[path].push_back(Version{zxid, txn.after});
  if (in_transaction_) {
    done_.push_back(std::move(txn));
  } else if (listener_) {
    listener_(txn);
  }
}

}  // namespace limpet::test
