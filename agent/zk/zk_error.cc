#include "agent/zk/zk_error.h"

#include <zookeeper/zookeeper.h>

namespace limpet::zk {
namespace {

using core::ZkCode;

// Servers send these; the header of 3.8.0 does not have them. (org.apache.zookeeper.KeeperException.Code)
constexpr int kRequestTimeout = -122;
constexpr int kQuotaExceeded = -125;

// A ZOO_ERRORS can hold no more than these bits.
constexpr int kLowest = -128;
constexpr int kHighest = 127;

// Numbers that no header of ours knows. From -100 down they are verdicts of a server on one request; above that they
// tell of a connection or of the library, after which anything may have happened.
ZkCode unlisted(int rc) {
  return rc <= ZAPIERROR ? ZkCode::refused : ZkCode::unknown_outcome;
}

}  // namespace

ZkCode completion_code(int rc) {
  if (rc == kQuotaExceeded) {
    return ZkCode::quota_exceeded;
  }
  // Somebody stopped waiting; whether the request was carried out was not said.
  if (rc == kRequestTimeout) {
    return ZkCode::unknown_outcome;
  }
  if (rc < kLowest || rc > kHighest) {
    return unlisted(rc);
  }
  switch (static_cast<ZOO_ERRORS>(rc)) {
    case ZOK:
      return ZkCode::ok;

    case ZNONODE:
      return ZkCode::no_node;
    case ZNODEEXISTS:
      return ZkCode::node_exists;
    case ZBADVERSION:
      return ZkCode::bad_version;
    case ZNOTEMPTY:
      return ZkCode::not_empty;
    case ZNOCHILDRENFOREPHEMERALS:
      return ZkCode::parent_ephemeral;
    case ZNOAUTH:
    case ZINVALIDACL:
      return ZkCode::no_auth;
    // What servers say of a path that they do not accept.
    case ZBADARGUMENTS:
      return ZkCode::invalid_path;

    case ZTHROTTLEDOP:
    // A server that lost its quorum and serves reads only. We never ask for such a one; another will take it.
    case ZNOTREADONLY:
    // The server demands authentication of every client and closes the connection of one without. It says nothing of
    // the request but that it was not carried out: see demands_authentication().
    case ZSESSIONCLOSEDREQUIRESASLAUTH:
      return ZkCode::throttled;

    // A server's word for "this request broke my processor": it stands for no transaction, and it will not pass by
    // sending the same bytes at once again.
    case ZMARSHALLINGERROR:
    case ZUNIMPLEMENTED:
    case ZNEWCONFIGNOQUORUM:
    case ZRECONFIGINPROGRESS:
    case ZAPIERROR:
    case ZINVALIDCALLBACK:
    case ZEPHEMERALONLOCALSESSION:
    case ZNOWATCHER:
    case ZRECONFIGDISABLED:
      return ZkCode::refused;

    // The handle was dead or being closed when the request was handed in.
    case ZINVALIDSTATE:
      return ZkCode::not_sent;

    // With these the library ends whatever is in flight when a connection or a session goes: each request may have
    // been carried out or not. ZSESSIONMOVED and ZSESSIONEXPIRED may also be a server's word on one request; the two
    // cannot be told apart here.
    case ZSYSTEMERROR:
    case ZRUNTIMEINCONSISTENCY:
    case ZDATAINCONSISTENCY:
    case ZCONNECTIONLOSS:
    case ZOPERATIONTIMEOUT:
    case ZSSLCONNECTIONERROR:
    case ZSESSIONEXPIRED:
    case ZAUTHFAILED:
    case ZCLOSING:
    case ZNOTHING:
    case ZSESSIONMOVED:
      return ZkCode::unknown_outcome;
  }
  return unlisted(rc);
}

bool demands_authentication(int rc) {
  return rc == ZSESSIONCLOSEDREQUIRESASLAUTH;
}

bool demands_global_session(int rc) {
  return rc == ZEPHEMERALONLOCALSESSION;
}

ZkCode submit_code(int rc) {
  // The library looks at the path first; every other failure to take a request comes from the state of the handle or
  // from the lack of memory.
  return rc == ZBADARGUMENTS ? ZkCode::invalid_path : ZkCode::not_sent;
}

std::string describe_code(int rc) {
  const char* words = zerror(rc);
  if (rc == kQuotaExceeded) {
    words = "quota exceeded";
  } else if (rc == kRequestTimeout) {
    words = "request timed out";
  }
  return std::string(words) + " (" + std::to_string(rc) + ")";
}

}  // namespace limpet::zk
