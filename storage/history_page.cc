#include "storage/history_page.h"

#include <utility>

namespace limpet {

bool HistoryPageBuilder::offer(HistoryEntry entry) {
  if (!pass_over(entry.event)) {
    return false;
  }
  if (matches(entry)) {
    page_.entries.push_back(std::move(entry));
  }
  return true;
}

bool HistoryPageBuilder::pass_over(std::uint64_t event) {
  if (scanned_ > 0 && (page_.entries.size() >= query_.limit || scanned_ >= query_.scan_limit)) {
    page_.next = last_scanned_;
    return false;
  }
  ++scanned_;
  last_scanned_ = event;
  return true;
}

bool HistoryPageBuilder::matches(const HistoryEntry& entry) const {
  const Seq about = entry.seq == Seq{} ? entry.last_seq : entry.seq;
  return (query_.before_seq == Seq{} || about < query_.before_seq) &&
         (!query_.service || (entry.id && entry.id->service == *query_.service)) &&
         (!query_.instance || (entry.id && entry.id->instance == *query_.instance));
}

}  // namespace limpet
