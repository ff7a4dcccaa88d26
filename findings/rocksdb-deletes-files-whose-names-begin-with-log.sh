#!/usr/bin/env bash
# Library: RocksDB 7.8.3 (Debian 12: librocksdb7.8 7.8.3-2).
# Question: may an application keep a small file of its own in a database's directory?
# Guess: yes; RocksDB deletes only files with names of its own: LOG, LOG.old.<time>, NNNNNN.log, NNNNNN.sst, MANIFEST-…
# Seen: each open for writing deletes LOGKEY and LOGBOOK: every name that begins with "LOG" counts as an old info log, and
# DB::Open returns OK. With an info_log of the caller's own "LOG.notes" goes, too. MYLOG and KEY stay. Whoever puts a key or a
# note beside the database gives it another beginning. Needs g++ and librocksdb-dev; writes to a temporary folder only.
set -euo pipefail
dir="$(mktemp -d)"; trap 'rm -rf "$dir"' EXIT; cd "$dir"
cat >open.cc <<'CC'
#include <rocksdb/db.h>
#include <rocksdb/version.h>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
struct Silent : rocksdb::Logger {
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};
static bool open_once(const rocksdb::Options& options) {
  rocksdb::DB* db = nullptr;
  const bool opened = rocksdb::DB::Open(options, "db", &db).ok();
  delete db;
  return opened;
}
int main() {
  std::puts(rocksdb::GetRocksVersionAsString(true).c_str());
  for (const bool own_log : {false, true}) {
    std::filesystem::remove_all("db");
    rocksdb::Options options;
    options.create_if_missing = true;
    open_once(options);
    for (const char* name : {"LOGKEY", "LOGBOOK", "LOG.notes", "MYLOG", "KEY"}) std::ofstream(std::string("db/") + name) << "mine";
    if (own_log) options.info_log = std::make_shared<Silent>();
    std::printf("%s: opened %d\n", own_log ? "info_log of one's own" : "default info_log", open_once(options));
    for (const char* name : {"LOGKEY", "LOGBOOK", "LOG.notes", "MYLOG", "KEY"})
      std::printf("  %-9s %s\n", name, std::filesystem::exists(std::string("db/") + name) ? "is there" : "is gone");
  }
}
CC
g++ -std=c++17 open.cc -o open -lrocksdb && ./open
