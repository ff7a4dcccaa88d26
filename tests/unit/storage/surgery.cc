#include "surgery.h"

#include <rocksdb/db.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "storage/frame.h"

namespace limpet::test {

namespace {

void check(const rocksdb::Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "surgery: %s\n", status.ToString().c_str());
    std::abort();
  }
}

// The database of the store in `dir` with its two families.
class Patient {
 public:
  Patient(const std::string& dir, bool writable) {
    rocksdb::ColumnFamilyOptions history;
    history.compaction_style = rocksdb::kCompactionStyleFIFO;
    history.num_levels = 1;
    history.disable_auto_compactions = true;
    const std::vector<rocksdb::ColumnFamilyDescriptor> families = {{rocksdb::kDefaultColumnFamilyName, {}},
                                                                   {"history", history}};
    rocksdb::DB* raw = nullptr;
    check(writable ? rocksdb::DB::Open({}, dir + "/db", families, &handles_, &raw)
                   : rocksdb::DB::OpenForReadOnly({}, dir + "/db", families, &handles_, &raw));
    db_.reset(raw);
  }
  ~Patient() {
    for (rocksdb::ColumnFamilyHandle* handle : handles_) {
      check(db_->DestroyColumnFamilyHandle(handle));
    }
    check(db_->Close());
  }
  Patient(const Patient&) = delete;
  Patient& operator=(const Patient&) = delete;

  rocksdb::DB& db() { return *db_; }
  rocksdb::ColumnFamilyHandle* history() { return handles_.at(1); }

 private:
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
};

}  // namespace

void make_older(const std::string& dir) {
  Patient patient(dir, true);
  std::string meta;
  check(patient.db().Get({}, "M", &meta));
  frame::Reader reader(meta, frame::Kind::meta, 4);
  frame::Writer writer(frame::Kind::meta);
  for (std::uint8_t tag = 1; tag <= 3; ++tag) {
    std::uint64_t value = 0;
    reader.u64(tag, value);
    writer.u64(tag, value);
  }
  check(patient.db().Put({}, "M", writer.finish()));
  check(patient.db().DropColumnFamily(patient.history()));
}

void add_family(const std::string& dir, const std::string& name) {
  Patient patient(dir, true);
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  check(patient.db().CreateColumnFamily({}, name, &handle));
  check(patient.db().DestroyColumnFamilyHandle(handle));
}

std::string meta_of(const std::string& dir) {
  Patient patient(dir, false);
  std::string meta;
  check(patient.db().Get({}, "M", &meta));
  return meta;
}

std::vector<std::string> history_tables(const std::string& dir) {
  Patient patient(dir, false);
  rocksdb::ColumnFamilyMetaData family;
  patient.db().GetColumnFamilyMetaData(patient.history(), &family);
  std::vector<std::string> files;
  for (const rocksdb::SstFileMetaData& table : family.levels.at(0).files) {
    files.push_back(dir + "/db" + table.name);
  }
  return files;
}

}  // namespace limpet::test
