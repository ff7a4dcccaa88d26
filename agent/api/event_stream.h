// The history as it goes on: GET /v1/events, one line of JSON for each entry.
//
// A stream has a place of its own in the history. What happens while its reader keeps up is put into a small buffer and
// sent; once the buffer is full it lets everything pass, and reads on from the store when the reader has taken what
// there was. So a slow reader costs a buffer and holds nobody up, and misses nothing unless what it has still to read
// is dropped from the history: then the stream ends, and its last line says so. Core thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/http_message.h"
#include "agent/api/service.h"

namespace limpet::api {

// How many streams there are.
struct OpenStreams {
  std::size_t all = 0;
  std::map<std::uint32_t, std::size_t> of;  // by uid
};

class EventStream final : public Stream, public std::enable_shared_from_this<EventStream> {
 public:
  struct Wanted {
    std::optional<std::uint64_t> since;  // the event that the reader knows; absent: only what is new
    std::optional<std::string> service;
    std::optional<std::string> instance;
  };

  // `service` must outlive this. `open` counts the streams there are, this one as one of `uid`.
  EventStream(Service& service, std::weak_ptr<Exchange> exchange, Wanted wanted, std::shared_ptr<OpenStreams> open,
              std::uint32_t uid);
  ~EventStream() override;
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  // Answers the exchange: begins the stream, or says why not. Once.
  void open();

  Next take(std::string& out) override;

 private:
  void begin();
  void check_since(const Result<HistoryPage>& newest);
  void heard(const HistoryEntry& entry);
  void read();
  void read_done(const Result<HistoryPage>& page);
  void add(const HistoryEntry& entry);
  bool matches(const HistoryEntry& entry) const;
  void end(std::string_view error, const std::string& detail);
  void resume();

  Service& service_;
  const std::weak_ptr<Exchange> exchange_;
  const Wanted wanted_;
  const std::shared_ptr<OpenStreams> open_;
  const std::uint32_t uid_;
  std::uint64_t listener_ = 0;

  std::string buffer_;                   // lines for the reader
  std::uint64_t at_ = 0;                 // up to this event everything is in buffer_, was taken, or is not wanted
  std::uint64_t newest_ = 0;             // event that was heard
  std::uint64_t newest_at_read_ = 0;     // the same when the store was last asked: the answer has all up to it
  std::vector<HistoryEntry> meanwhile_;  // heard since the store was asked, the first of them
  bool overheard_ = false;               // meanwhile_ does not hold all of them
  bool live_ = false;                    // what is heard goes into buffer_
  bool reading_ = false;                 // the store was asked
  bool from_oldest_ = false;             // wanted is what is kept, whatever came before it
  bool ended_ = false;
};

}  // namespace limpet::api
