// What happened: the history, a page at a time, or as it goes on.
#include <algorithm>
#include <limits>

#include "agent/api/event_stream.h"
#include "agent/api/handlers.h"
#include "agent/api/json_writer.h"
#include "agent/api/names.h"
#include "agent/api/pages.h"

namespace limpet::api {
namespace {

constexpr std::size_t kEntriesOfAPiece = 500;
constexpr std::size_t kMaxStreams = 64;
constexpr std::size_t kReservedStreams = 8;  // of these, for root and the agent's own user
constexpr std::size_t kMaxStreamsOfOne = kMaxStreams / 2;

// A number from 1; 0 where it is not given.
Parsed<std::uint64_t> read_position(const Query& query, std::string_view name) {
  const std::string* text = query.find(name);
  if (text == nullptr) {
    return std::uint64_t{0};
  }
  const auto number = parse_number(*text, 1, std::numeric_limits<std::uint64_t>::max());
  if (!number) {
    return make_problem(ProblemKind::bad_request,
                        "The query parameter " + std::string(name) + " must be a whole number from 1.");
  }
  return *number;
}

// A service or instance to look for.
std::optional<Problem> read_name(const Query& query, std::string_view name, std::optional<std::string>& wanted) {
  const std::string* text = query.find(name);
  if (text == nullptr) {
    return std::nullopt;
  }
  if (const auto error = name_error(*text)) {
    return make_problem(ProblemKind::bad_request, "The query parameter " + std::string(name) + " " + *error + ".");
  }
  wanted = *text;
  return std::nullopt;
}

Parsed<HistoryQuery> read_history_query(const Call& call) {
  auto parsed = Query::parse(call.target.query(), {"service", "instance", "limit", "before", "before_event"});
  if (auto* problem = std::get_if<Problem>(&parsed)) {
    return std::move(*problem);
  }
  const auto& query = std::get<Query>(parsed);
  HistoryQuery wanted;
  if (auto problem = read_name(query, "service", wanted.service)) {
    return std::move(*problem);
  }
  if (auto problem = read_name(query, "instance", wanted.instance)) {
    return std::move(*problem);
  }
  auto limit = read_limit(query);
  if (auto* problem = std::get_if<Problem>(&limit)) {
    return std::move(*problem);
  }
  auto before = read_position(query, "before");
  if (auto* problem = std::get_if<Problem>(&before)) {
    return std::move(*problem);
  }
  auto before_event = read_position(query, "before_event");
  if (auto* problem = std::get_if<Problem>(&before_event)) {
    return std::move(*problem);
  }
  wanted.limit = std::get<std::size_t>(limit);
  wanted.before_seq = Seq{std::get<std::uint64_t>(before)};
  wanted.before_event = std::get<std::uint64_t>(before_event);
  return wanted;
}

// A page of the history. It asks the store for the next entries when its reader has taken those before. The store looks
// at so many entries a turn, so that nobody waits for a long search: this asks on until there is enough, or no more.
class HistoryAnswer final : public Stream, public std::enable_shared_from_this<HistoryAnswer> {
 public:
  HistoryAnswer(const Call& call, HistoryQuery query)
      : service_(call.service), exchange_(call.exchange), query_(std::move(query)), left_(query_.limit) {}

  Next take(std::string& out) override {
    if (failed_) {
      return Next::broken;
    }
    out += entries_;
    bytes_ += entries_.size();
    entries_.clear();
    if (done_) {
      out += R"(],"next":)" + (query_.before_event != 0 ? std::to_string(query_.before_event) : "null") + "}";
      return Next::end;
    }
    if (!std::exchange(reading_, true)) {
      read();
    }
    return Next::more;
  }
  Problem problem() const override { return *failed_; }

 private:
  void read() {
    query_.limit = std::min(left_, kEntriesOfAPiece);
    service_.history(query_, [weak = weak_from_this()](const Result<HistoryPage>& page) {
      if (const auto self = weak.lock()) {
        self->read_done(page);
      }
    });
  }

  void read_done(const Result<HistoryPage>& page) {
    reading_ = false;
    if (!page) {
      failed_ =
          make_problem(ProblemKind::storage_failed, "The history cannot be read: " + page.status().message() + ".");
    } else {
      for (const HistoryEntry& entry : page->entries) {
        entries_ += std::exchange(begun_, true) ? "," : "";
        render_history_entry(entries_, entry);
      }
      left_ -= std::min(left_, page->entries.size());
      query_.before_event = page->next;
      done_ = page->next == 0 || left_ == 0 || bytes_ + entries_.size() >= kPageBytes;
    }
    if (const auto exchange = exchange_.lock()) {
      exchange->resume_stream();
    }
  }

  Service& service_;
  const std::weak_ptr<Exchange> exchange_;
  HistoryQuery query_;
  std::size_t left_;
  std::string entries_ = R"({"entries":[)";
  std::size_t bytes_ = 0;  // of earlier pieces
  std::optional<Problem> failed_;
  bool reading_ = false;
  bool begun_ = false;
  bool done_ = false;
};

}  // namespace

void get_history(const Call& call) {
  auto query = read_history_query(call);
  if (const auto* problem = std::get_if<Problem>(&query)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = large_answer_refusal(*call.exchange)) {
    return refuse(*call.exchange, *problem);
  }
  call.exchange->finish_in_pieces(std::make_shared<HistoryAnswer>(call, std::get<HistoryQuery>(std::move(query))));
}

void get_events(const Call& call) {
  const auto parsed = Query::parse(call.target.query(), {"since", "service", "instance"});
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    return refuse(*call.exchange, *problem);
  }
  const auto& query = std::get<Query>(parsed);
  EventStream::Wanted wanted;
  for (const auto& problem :
       {read_name(query, "service", wanted.service), read_name(query, "instance", wanted.instance)}) {
    if (problem) {
      return refuse(*call.exchange, *problem);
    }
  }
  if (const std::string* text = query.find("since")) {
    wanted.since = parse_number(*text, 0, std::numeric_limits<std::uint64_t>::max());
    if (!wanted.since) {
      return refuse(*call.exchange, make_problem(ProblemKind::bad_request,
                                                 "The query parameter since must be the number of an event, or 0."));
    }
  }
  const core::Caller& caller = call.request.caller;
  const auto own = call.streams->of.find(caller.owner.uid);
  if (!caller.privileged && own != call.streams->of.end() && own->second >= kMaxStreamsOfOne) {
    return refuse(*call.exchange,
                  make_problem(ProblemKind::quota,
                               "uid " + std::to_string(caller.owner.uid) + " reads " + std::to_string(own->second) +
                                   " streams of events already, as many as one user may; end one."));
  }
  if (call.streams->all >= kMaxStreams - (caller.privileged ? 0 : kReservedStreams)) {
    return refuse(*call.exchange,
                  make_problem(ProblemKind::too_many_connections,
                               "There are as many streams of events already as are allowed; try again later."));
  }
  std::make_shared<EventStream>(call.service, call.exchange, std::move(wanted), call.streams, caller.owner.uid)->open();
}

}  // namespace limpet::api
