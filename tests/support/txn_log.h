// The transaction logs of ZooKeeper servers, read from their files: what was agreed upon, in its total order, and by
// which session. Watches coalesce and trees show only the end; this shows everything between.
//
// ZooKeeper's own TxnLogToolkit prints the same, one JVM a file, which is too slow to be run often; a test in
// tests/faults holds this reader against it. Plain functions; any thread. The servers may run meanwhile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace limpet::test {

struct Txn {
  std::int64_t zxid = 0;
  std::int64_t session = 0;
  // "create", "create_container", "delete", "set", "create_session", "close_session", "multi" (its parts follow, with
  // the same zxid, where it was done), "error", or a number.
  std::string what;
  std::string path;               // of create, delete and set
  std::string data;               // of create and set
  std::int64_t milliseconds = 0;  // since 1970
  friend bool operator==(const Txn&, const Txn&) = default;
};

// All transactions of one log file; a torn end is left out.
std::vector<Txn> read_txn_log(const std::string& file);

// Those of all log files below these data directories, each once, in the order of their zxid. What a lost leader
// proposed and nobody agreed to may be among them until that server has joined the others again.
std::vector<Txn> read_txn_logs(const std::vector<std::string>& data_directories);

// The log files below a data directory.
std::vector<std::string> txn_log_files(const std::string& data_directory);

}  // namespace limpet::test
