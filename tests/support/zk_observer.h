// A ZooKeeper client of its own for tests: sees what is in the ensemble with other eyes than the agent's, and plays the
// foreign owner.
//
// On the C library's blocking calls, with a session of its own that ends with the object. Any one thread; the recorded
// events come from the library's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/record.h"

struct _zhandle;  // zhandle_t of <zookeeper/zookeeper.h>

namespace limpet::test {

struct Znode {
  std::string data;
  std::int64_t czxid = 0;
  std::int64_t mzxid = 0;
  std::int32_t version = 0;
  std::int64_t ephemeral_owner = 0;  // 0: persistent
  std::int32_t children = 0;
  friend bool operator==(const Znode&, const Znode&) = default;
};

// What a recorded watch said: "created", "deleted", "changed" or "child".
struct WatchEvent {
  std::string what;
  std::string path;
  friend bool operator==(const WatchEvent&, const WatchEvent&) = default;
};

class ZkObserver {
 public:
  // Connects, or ends the test program after a minute. With `session`: attaches to that one, and ends it when
  // destroyed.
  explicit ZkObserver(const std::string& hosts, int timeout_ms = 10'000,
                      const std::optional<Session>& session = std::nullopt);
  ~ZkObserver();
  ZkObserver(const ZkObserver&) = delete;
  ZkObserver& operator=(const ZkObserver&) = delete;

  std::int64_t session() const;

  // What this server has from now on is not older than what any other had before.
  bool sync();

  // nullopt: there is none. Any other failure is tried again for a minute, then ends the test program.
  std::optional<Znode> get(const std::string& path);
  std::vector<std::string> children(const std::string& path);  // names, sorted; none where there is no znode
  // Everything under `root`, without it, by full path. /zookeeper is left out.
  std::map<std::string, Znode> tree(const std::string& root);

  // 0, or the library's code.
  int create(const std::string& path, const std::string& data, bool ephemeral = false);
  int create_with_parents(const std::string& path, const std::string& data, bool ephemeral = false);
  int set(const std::string& path, const std::string& data, int version = -1);
  int remove(const std::string& path, int version = -1);
  // From now on only this observer's kind (digest "operator:secret") may do anything with the znode; or, again,
  // everybody.
  int lock(const std::string& path);
  // From now on this observer also is whom these digest credentials ("user:password") name.
  bool authenticate(const std::string& credentials);
  // "scheme:id:permissions" of each entry, sorted, the permissions as a number; none where there is no znode, or no
  // right to see it.
  std::vector<std::string> acl(const std::string& path);
  int unlock(const std::string& path);
  void remove_tree(const std::string& root);  // with `root` itself unless that is "/"

  // Records from now on every change of these znodes, of their being there, and of their children.
  void record(const std::vector<std::string>& paths);
  std::vector<WatchEvent> recorded() const;

  // Ends somebody else's session: attaches with its id and password, and closes. False: the ensemble does not know it.
  static bool end_session(const std::string& hosts, const Session& session);

 private:
  struct Shared;

  std::shared_ptr<Shared> shared_;
  _zhandle* zh_ = nullptr;
};

}  // namespace limpet::test
