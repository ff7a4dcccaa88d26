// Changes to a closed store behind the back of RocksStore: to make it as an older or a later limpet leaves it, and to
// find out which file is what. One thread.
#pragma once

#include <string>
#include <vector>

namespace limpet::test {

// The store in `dir` as it was before there was a history: one column family, and Meta without last_event.
void make_older(const std::string& dir);

// Adds a column family of that name.
void add_family(const std::string& dir, const std::string& name);

// The record Meta.
std::string meta_of(const std::string& dir);

// The files of the history's tables.
std::vector<std::string> history_tables(const std::string& dir);

}  // namespace limpet::test
