#include "tests/support/zk_observer.h"

#ifndef THREADED
#define THREADED  // the blocking calls
#endif
#include <zookeeper/zookeeper.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>

#include "tests/support/real_ensemble.h"

namespace limpet::test {
namespace {

void drop_line(const char*) {}

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "ZkObserver: %s\n", what.c_str());
  std::abort();
}

Znode to_znode(const Stat& stat) {
  Znode znode;
  znode.czxid = stat.czxid;
  znode.mzxid = stat.mzxid;
  znode.version = stat.version;
  znode.ephemeral_owner = stat.ephemeralOwner;
  znode.children = stat.numChildren;
  return znode;
}

bool passes(int rc) {
  return rc == ZCONNECTIONLOSS || rc == ZOPERATIONTIMEOUT || rc == ZINVALIDSTATE;
}

// The library's list wants an odd length (ZOOKEEPER-2466).
std::string padded(const std::string& hosts) {
  return std::count(hosts.begin(), hosts.end(), ',') % 2 == 0 ? hosts : hosts + "," + hosts.substr(0, hosts.find(','));
}

}  // namespace

struct ZkObserver::Shared {
  std::atomic<bool> expired{false};
  mutable std::mutex mutex;
  std::vector<WatchEvent> events;

  static void on_session(zhandle_t*, int type, int state, const char*, void* context) {
    if (type == ZOO_SESSION_EVENT && state == ZOO_EXPIRED_SESSION_STATE) {
      static_cast<Shared*>(context)->expired = true;
    }
  }

  void add(int type, const char* path) {
    const char* what = type == ZOO_CREATED_EVENT   ? "created"
                       : type == ZOO_DELETED_EVENT ? "deleted"
                       : type == ZOO_CHANGED_EVENT ? "changed"
                       : type == ZOO_CHILD_EVENT   ? "child"
                                                   : "other";
    const std::lock_guard lock(mutex);
    events.push_back({what, path});
  }

  static void on_znode(zhandle_t* zh, int type, int, const char* path, void* context) {
    if (type != ZOO_SESSION_EVENT) {
      static_cast<Shared*>(context)->add(type, path);
      arm_znode(zh, path, context);
      if (type == ZOO_CREATED_EVENT) {
        arm_children(zh, path, context);
      }
    }
  }
  static void on_children(zhandle_t* zh, int type, int, const char* path, void* context) {
    if (type == ZOO_CHILD_EVENT) {
      static_cast<Shared*>(context)->add(type, path);
      arm_children(zh, path, context);
    }
  }
  static void arm_znode(zhandle_t* zh, const char* path, void* context) {
    zoo_awexists(
        zh, path, &on_znode, context, [](int, const Stat*, const void*) {}, nullptr);
  }
  static void arm_children(zhandle_t* zh, const char* path, void* context) {
    zoo_awget_children(
        zh, path, &on_children, context, [](int, const String_vector*, const void*) {}, nullptr);
  }
};

ZkObserver::ZkObserver(const std::string& hosts, int timeout_ms, const std::optional<Session>& session)
    : shared_(std::make_shared<Shared>()) {
  clientid_t id{};
  if (session) {
    id.client_id = session->id.value;
    std::memcpy(id.passwd, session->password.data(), sizeof(id.passwd));
  }
  zh_ = zookeeper_init2(padded(hosts).c_str(), &Shared::on_session, timeout_ms, session ? &id : nullptr, shared_.get(),
                        ZOO_NO_LOG_CLIENTENV, &drop_line);
  if (zh_ == nullptr) {
    give_up("no handle for " + hosts);
  }
  zoo_set_servers_resolution_delay(zh_, -1);
  if (!poll_until([&] { return zoo_state(zh_) == ZOO_CONNECTED_STATE || shared_->expired; })) {
    give_up("cannot connect to " + hosts);
  }
}

ZkObserver::~ZkObserver() {
  zookeeper_close(zh_);
}

std::int64_t ZkObserver::session() const {
  return zoo_client_id(zh_)->client_id;
}

bool ZkObserver::sync() {
  // There is no blocking form of it in this library.
  struct Done {
    std::atomic<int> rc{1};
  };
  auto* done = new std::shared_ptr<Done>(std::make_shared<Done>());
  const std::shared_ptr<Done> mine = *done;
  const int rc = zoo_async(
      zh_, "/",
      [](int result, const char*, const void* data) {
        auto* shared = static_cast<std::shared_ptr<Done>*>(const_cast<void*>(data));
        (*shared)->rc = result;
        delete shared;
      },
      done);
  if (rc != ZOK) {
    delete done;
    return false;
  }
  return poll_until([&] { return mine->rc != 1; }) && mine->rc == ZOK;
}

std::optional<Znode> ZkObserver::get(const std::string& path) {
  std::string buffer(1 << 20, '\0');
  int length = 0;
  Stat stat{};
  int rc = ZOK;
  const bool done = poll_until([&] {
    length = static_cast<int>(buffer.size());
    rc = zoo_get(zh_, path.c_str(), 0, buffer.data(), &length, &stat);
    return !passes(rc);
  });
  if (rc == ZNONODE) {
    return std::nullopt;
  }
  if (!done || rc != ZOK) {
    give_up("cannot read " + path + ": " + zerror(rc));
  }
  Znode znode = to_znode(stat);
  znode.data.assign(buffer.data(), static_cast<std::size_t>(std::max(length, 0)));
  return znode;
}

std::vector<std::string> ZkObserver::children(const std::string& path) {
  std::vector<std::string> names;
  int rc = ZOK;
  const bool done = poll_until([&] {
    String_vector found{};
    rc = zoo_get_children(zh_, path.c_str(), 0, &found);
    if (rc == ZOK) {
      names.assign(found.data, found.data + found.count);
      deallocate_String_vector(&found);
    }
    return !passes(rc);
  });
  if (!done || (rc != ZOK && rc != ZNONODE)) {
    give_up("cannot list " + path + ": " + zerror(rc));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::map<std::string, Znode> ZkObserver::tree(const std::string& root) {
  std::map<std::string, Znode> found;
  std::deque<std::string> open{root == "/" ? "" : root};
  while (!open.empty()) {
    const std::string parent = open.front();
    open.pop_front();
    for (const auto& name : children(parent.empty() ? "/" : parent)) {
      const std::string path = parent + "/" + name;
      auto znode = path == "/zookeeper" ? std::nullopt : get(path);
      if (znode) {
        if (znode->children != 0) {
          open.push_back(path);
        }
        found.emplace(path, std::move(*znode));
      }
    }
  }
  return found;
}

int ZkObserver::create(const std::string& path, const std::string& data, bool ephemeral) {
  return zoo_create(zh_, path.c_str(), data.data(), static_cast<int>(data.size()), &ZOO_OPEN_ACL_UNSAFE,
                    ephemeral ? ZOO_EPHEMERAL : ZOO_PERSISTENT, nullptr, 0);
}

int ZkObserver::create_with_parents(const std::string& path, const std::string& data, bool ephemeral) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const int rc = create(path.substr(0, slash), "");
    if (rc != ZOK && rc != ZNODEEXISTS) {
      return rc;
    }
  }
  return create(path, data, ephemeral);
}

int ZkObserver::set(const std::string& path, const std::string& data, int version) {
  return zoo_set(zh_, path.c_str(), data.data(), static_cast<int>(data.size()), version);
}

int ZkObserver::remove(const std::string& path, int version) {
  return zoo_delete(zh_, path.c_str(), version);
}

bool ZkObserver::authenticate(const std::string& credentials) {
  auto* done = new std::atomic<int>(1);  // small, and left behind where no answer comes
  const int rc = zoo_add_auth(
      zh_, "digest", credentials.data(), static_cast<int>(credentials.size()),
      [](int result, const void* data) { *static_cast<std::atomic<int>*>(const_cast<void*>(data)) = result; }, done);
  if (rc != ZOK || !poll_until([&] { return *done != 1; }) || *done != ZOK) {
    return false;
  }
  delete done;
  return true;
}

std::vector<std::string> ZkObserver::acl(const std::string& path) {
  ACL_vector entries{};
  Stat stat{};
  std::vector<std::string> found;
  if (zoo_get_acl(zh_, path.c_str(), &entries, &stat) == ZOK) {
    for (int i = 0; i < entries.count; ++i) {
      const ACL& entry = entries.data[i];
      found.push_back(std::string(entry.id.scheme) + ":" + entry.id.id + ":" + std::to_string(entry.perms));
    }
    deallocate_ACL_vector(&entries);
  }
  std::sort(found.begin(), found.end());
  return found;
}

int ZkObserver::lock(const std::string& path) {
  return authenticate("operator:secret") ? zoo_set_acl(zh_, path.c_str(), -1, &ZOO_CREATOR_ALL_ACL) : ZAUTHFAILED;
}

int ZkObserver::unlock(const std::string& path) {
  return zoo_set_acl(zh_, path.c_str(), -1, &ZOO_OPEN_ACL_UNSAFE);
}

void ZkObserver::remove_tree(const std::string& root) {
  const auto found = tree(root);
  for (auto entry = found.rbegin(); entry != found.rend(); ++entry) {
    remove(entry->first);  // children sort after their parents
  }
  if (root != "/") {
    remove(root);
  }
}

void ZkObserver::record(const std::vector<std::string>& paths) {
  for (const auto& path : paths) {
    Shared::arm_znode(zh_, path.c_str(), shared_.get());
    Shared::arm_children(zh_, path.c_str(), shared_.get());
  }
  if (!sync()) {
    give_up("cannot set watches");
  }
}

std::vector<WatchEvent> ZkObserver::recorded() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->events;
}

bool ZkObserver::end_session(const std::string& hosts, const Session& session) {
  const ZkObserver other(hosts, session.timeout_ms, session);
  return !other.shared_->expired;
}

}  // namespace limpet::test
