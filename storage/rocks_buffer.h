// RocksDB's write buffer of the state: a list that is put in order when it is written to a table. Nobody looks anything
// up in it before, and a list that is kept in order took a third of every append.
//
// RocksDB has such a list itself (VectorRep), but sorts it by comparisons that count what they do for statistics nobody
// reads, and that follow two pointers each: of twenty thousand entries half of what their flush took, beside the
// threads that somebody waits for. This one has eight bytes of the key beside each pointer, those which tell it from
// its neighbours (burstsort and multikey quicksort are the idea; Sinha and Zobel, JEA 2004; Bentley and Sedgewick, SODA
// 1997). Only rocks_*.cc include it.
#pragma once

#include <rocksdb/memtablerep.h>

#include <memory>
#include <span>

namespace limpet {

// For a column family whose keys are in the order of their bytes (RocksDB's default comparator), and of which nothing
// is looked up before it is in a table. Any thread.
std::shared_ptr<rocksdb::MemTableRepFactory> unordered_buffer();

// Entries as they lie in a buffer: the length of what follows in sevens of bits, the lowest first; the key; sequence
// number and type, eight bytes, lowest first. Puts them in RocksDB's own order: by the bytes of the key; of one key,
// what was written last comes first. For tests. Any thread.
void sort_entries(std::span<const char*> entries);

}  // namespace limpet
