// Fills the answer to a HistoryQuery, whatever keeps the entries. Pure; one thread at a time. Used by the stores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "storage/store.h"

namespace limpet {

class HistoryPageBuilder {
 public:
  // `query` must outlive the builder.
  explicit HistoryPageBuilder(const HistoryQuery& query) : query_(query) {}

  // Takes a look at the next entry, in the order that the query asks for. False: it is not part of the page, which is
  // complete; offer no more.
  bool offer(HistoryEntry entry);
  // As offer(), for an entry that cannot be shown: one of a later limpet.
  bool pass_over(std::uint64_t event);

  // The page, without its oldest_event. The builder is spent.
  HistoryPage finish() { return std::move(page_); }

 private:
  bool matches(const HistoryEntry& entry) const;

  const HistoryQuery& query_;
  HistoryPage page_;
  std::size_t scanned_ = 0;
  std::uint64_t last_scanned_ = 0;
};

}  // namespace limpet
