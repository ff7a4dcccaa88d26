#include "tests/support/txn_log.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace limpet::test {
namespace {

// ZooKeeper's jute: numbers big-endian, a buffer or string as its length (-1: none) and its bytes.
class Jute {
 public:
  explicit Jute(const std::string& bytes) : bytes_(bytes) {}

  std::int64_t number(int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) {
      value = value << 8 | (at_ < bytes_.size() ? static_cast<unsigned char>(bytes_[at_]) : 0U);
      bad_ = bad_ || at_ >= bytes_.size();
      ++at_;
    }
    return bytes == 4 ? static_cast<std::int32_t>(value) : static_cast<std::int64_t>(value);
  }
  std::string text() {
    const std::int64_t length = number(4);
    if (length <= 0) {
      return "";
    }
    if (bad_ || static_cast<std::uint64_t>(length) > bytes_.size() - at_) {
      bad_ = true;
      return "";
    }
    at_ += static_cast<std::size_t>(length);
    return bytes_.substr(at_ - static_cast<std::size_t>(length), static_cast<std::size_t>(length));
  }
  bool bad() const { return bad_; }
  std::size_t left() const { return bad_ ? 0 : bytes_.size() - at_; }

 private:
  const std::string& bytes_;
  std::size_t at_ = 0;
  bool bad_ = false;
};

// ZooDefs.OpCode.
std::string word(std::int64_t type) {
  switch (type) {
    case 1:
    case 15:
    case 21:
      return "create";
    case 19:
      return "create_container";
    case 2:
    case 20:
      return "delete";
    case 5:
      return "set";
    case 14:
      return "multi";
    case -1:
      return "error";
    case -10:
      return "create_session";
    case -11:
      return "close_session";
    default:
      return std::to_string(type);
  }
}

void add(std::vector<Txn>& found, Txn txn, std::int64_t type, Jute& body) {
  txn.what = word(type);
  if (txn.what == "create" || txn.what == "create_container" || txn.what == "delete" || txn.what == "set") {
    txn.path = body.text();
    txn.data = txn.what == "delete" ? "" : body.text();
  }
  found.push_back(txn);
  if (txn.what == "multi") {
    std::vector<Txn> parts;
    for (std::int64_t left = body.number(4); left > 0 && !body.bad(); --left) {
      const std::int64_t part = body.number(4);
      const std::string bytes = body.text();
      Jute inner(bytes);
      add(parts, txn, part, inner);
    }
    // Those before the one that was refused stand there as if they had been done. (DataTree.processTxn: `failed`)
    const bool failed = std::any_of(parts.begin(), parts.end(), [](const Txn& part) { return part.what == "error"; });
    if (!failed) {
      found.insert(found.end(), std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
    }
  }
}

}  // namespace

std::vector<Txn> read_txn_log(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  content << stream.rdbuf();
  const std::string bytes = content.str();
  std::vector<Txn> found;
  // FileHeader: magic, version, id of the database. Then of each transaction: checksum, length, header and body, 'B'.
  // Files are filled up with zeros.
  for (std::size_t at = 16; at + 12 <= bytes.size();) {
    const std::string head = bytes.substr(at + 8, 4);
    const std::int64_t length = Jute(head).number(4);
    if (length <= 0 || at + 12 + static_cast<std::size_t>(length) >= bytes.size() ||
        bytes[at + 12 + static_cast<std::size_t>(length)] != 'B') {
      break;
    }
    const std::string record = bytes.substr(at + 12, static_cast<std::size_t>(length));
    at += 13 + static_cast<std::size_t>(length);
    Jute reader(record);
    Txn txn;
    txn.session = reader.number(8);
    reader.number(4);  // the session's count of requests
    txn.zxid = reader.number(8);
    txn.milliseconds = reader.number(8);
    const std::int64_t type = reader.number(4);
    add(found, txn, type, reader);
  }
  return found;
}

std::vector<std::string> txn_log_files(const std::string& data_directory) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data_directory, error)) {
    if (entry.path().filename().string().starts_with("log.")) {
      files.push_back(entry.path().string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<Txn> read_txn_logs(const std::vector<std::string>& data_directories) {
  std::map<std::int64_t, std::vector<Txn>> by_zxid;
  for (const auto& directory : data_directories) {
    for (const auto& file : txn_log_files(directory)) {
      std::map<std::int64_t, std::vector<Txn>> here;
      // A server that was given once more what it had writes it twice, also into one file. The parts of a multi follow
      // it.
      bool again = false;
      for (auto& txn : read_txn_log(file)) {
        auto& known = here[txn.zxid];
        if (known.empty()) {
          again = false;
        } else if (txn.what == "multi" || known.front().what != "multi") {
          again = true;
        }
        if (!again) {
          known.push_back(std::move(txn));
        }
      }
      by_zxid.merge(here);
    }
  }
  std::vector<Txn> all;
  for (const auto& [zxid, txns] : by_zxid) {
    all.insert(all.end(), txns.begin(), txns.end());
  }
  return all;
}

}  // namespace limpet::test
