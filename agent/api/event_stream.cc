#include "agent/api/event_stream.h"

#include <algorithm>

#include "agent/api/json.h"
#include "agent/api/json_writer.h"

namespace limpet::api {
namespace {

constexpr std::size_t kBufferBytes = 128 * 1024;  // full from here on; the entry that fills it still goes in
constexpr std::size_t kMeanwhile = 64;
constexpr std::size_t kEntriesOfARead = 500;

}  // namespace

EventStream::EventStream(Service& service, std::weak_ptr<Exchange> exchange, Wanted wanted,
                         std::shared_ptr<OpenStreams> open, std::uint32_t uid)
    : service_(service), exchange_(std::move(exchange)), wanted_(std::move(wanted)), open_(std::move(open)), uid_(uid) {
  ++open_->all;
  ++open_->of[uid_];
  listener_ = service_.listen([this](const HistoryEntry& entry) { heard(entry); });
}

EventStream::~EventStream() {
  service_.stop_listening(listener_);
  --open_->all;
  if (const auto mine = open_->of.find(uid_); --mine->second == 0) {
    open_->of.erase(mine);
  }
}

void EventStream::open() {
  if (!wanted_.since || *wanted_.since == 0) {
    return begin();
  }
  // Holds itself until the exchange does.
  HistoryQuery newest;
  newest.limit = 1;
  newest.scan_limit = 1;
  service_.history(std::move(newest),
                   [self = shared_from_this()](const Result<HistoryPage>& page) { self->check_since(page); });
}

void EventStream::check_since(const Result<HistoryPage>& newest) {
  const auto exchange = exchange_.lock();
  if (!exchange) {
    return;
  }
  Problem problem;
  if (!newest) {
    problem.kind = ProblemKind::storage_failed;
    problem.detail = "The history cannot be read: " + newest.status().message() + ".";
  } else {
    const std::uint64_t since = *wanted_.since;
    newest_ = std::max(newest_, newest->entries.empty() ? 0 : newest->entries.front().event);
    if (since <= newest_ && since + 1 >= newest->oldest_event) {
      return begin();
    }
    problem.kind = ProblemKind::too_old;
    problem.detail = "The history that is kept has the events " + std::to_string(newest->oldest_event) + " to " +
                     std::to_string(newest_) + ", so what came after event " + std::to_string(since) +
                     " cannot be told; read all there is with since=0.";
  }
  exchange->response().set_problem(problem);
  exchange->finish();
}

void EventStream::begin() {
  const auto exchange = exchange_.lock();
  if (!exchange) {
    return;
  }
  exchange->response().content_type = "application/x-ndjson";
  live_ = !wanted_.since;
  at_ = wanted_.since.value_or(newest_);
  from_oldest_ = wanted_.since && at_ == 0;
  if (!live_) {
    read();
  }
  exchange->begin_stream(shared_from_this());
}

Stream::Next EventStream::take(std::string& out) {
  out += buffer_;
  buffer_.clear();
  if (!live_ && !reading_ && !ended_) {
    read();
  }
  return ended_ ? Next::end : Next::more;
}

void EventStream::heard(const HistoryEntry& entry) {
  newest_ = std::max(newest_, entry.event);
  if (live_ && buffer_.size() < kBufferBytes) {
    add(entry);
    return resume();
  }
  live_ = false;
  if (reading_ && !overheard_ && meanwhile_.size() < kMeanwhile) {
    meanwhile_.push_back(entry);
  } else {
    overheard_ = true;
  }
}

void EventStream::read() {
  reading_ = true;
  overheard_ = false;
  newest_at_read_ = newest_;
  HistoryQuery query;
  query.newest_first = false;
  query.after_event = at_;
  query.service = wanted_.service;
  query.instance = wanted_.instance;
  query.limit = kEntriesOfARead;
  service_.history(std::move(query), [weak = weak_from_this()](const Result<HistoryPage>& page) {
    if (const auto self = weak.lock()) {
      self->read_done(page);
    }
  });
}

void EventStream::read_done(const Result<HistoryPage>& page) {
  reading_ = false;
  const auto meanwhile = std::exchange(meanwhile_, {});
  if (!page) {
    return end("storage_failed", "The history cannot be read: " + page.status().message() + ".");
  }
  if (!std::exchange(from_oldest_, false) && page->oldest_event > at_ + 1) {
    return end("too_old", "What came after event " + std::to_string(at_) +
                              " is no longer kept; the oldest that is has " + "the number " +
                              std::to_string(page->oldest_event) + ".");
  }
  for (const HistoryEntry& entry : page->entries) {
    add(entry);
  }
  if (page->next != 0) {
    at_ = std::max(at_, page->next);
  } else {
    at_ = std::max(at_, newest_at_read_);
    for (const HistoryEntry& entry : meanwhile) {
      add(entry);
    }
    live_ = !overheard_;
  }
  if (!live_ && buffer_.size() < kBufferBytes) {
    read();
  }
  resume();
}

void EventStream::add(const HistoryEntry& entry) {
  if (entry.event <= at_) {
    return;
  }
  at_ = entry.event;
  if (matches(entry)) {
    render_history_entry(buffer_, entry);
    buffer_ += '\n';
  }
}

bool EventStream::matches(const HistoryEntry& entry) const {
  return (!wanted_.service || (entry.id && entry.id->service == *wanted_.service)) &&
         (!wanted_.instance || (entry.id && entry.id->instance == *wanted_.instance));
}

void EventStream::end(std::string_view error, const std::string& detail) {
  ended_ = true;
  JsonWriter json(buffer_);
  json.begin_object();
  json.key("error").string(error);
  json.key("detail").string(detail);
  json.end_object();
  buffer_ += '\n';
  resume();
}

void EventStream::resume() {
  if (const auto exchange = exchange_.lock(); exchange && (!buffer_.empty() || ended_)) {
    exchange->resume_stream();
  }
}

}  // namespace limpet::api
