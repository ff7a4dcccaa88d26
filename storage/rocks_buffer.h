// RocksDB's write buffer of the state: a list that is put in order when it is written to a table, with comparisons of
// our own. RocksDB's count what they do for statistics that nobody reads, three instructions of four; and a list of
// twenty thousand takes three hundred thousand of them, beside the threads that somebody waits for. Only rocks_*.cc
// include it.
#pragma once

#include <rocksdb/memtablerep.h>

#include <memory>

namespace limpet {

// For a column family whose keys are in the order of their bytes (RocksDB's default comparator), and of which nothing
// is looked up before it is in a table. Any thread.
std::shared_ptr<rocksdb::MemTableRepFactory> unordered_buffer();

// The order in which it is written: RocksDB's own. For tests. `a` and `b` as they lie in a buffer: the length of what
// follows in sevens of bits, the lowest first; the key; sequence number and type, eight bytes, lowest first.
int compare_in_buffer(const char* a, const char* b);

}  // namespace limpet
