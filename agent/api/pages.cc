#include "agent/api/pages.h"

#include <algorithm>

#include "agent/api/base64.h"
#include "agent/api/json_writer.h"

namespace limpet::api {
namespace {

constexpr std::size_t kLargeData = 32 * 1024;  // written in pieces
// Of data at a time: a number of whole groups of base64, and at most six times as much as JSON.
constexpr std::size_t kDataStep = 9 * 1024;
static_assert(kDataStep % 3 == 0 && kDataStep * 6 < kPieceBytes);

bool is_large(const core::RegistrationView& view) {
  return view.state != core::State::removing && view.registration->data.size() > kLargeData;
}

class OneRegistration final : public Stream {
 public:
  explicit OneRegistration(core::RegistrationView view) : text_(std::move(view)) {}
  Next take(std::string& out) override { return text_.next(out) ? Next::more : Next::end; }
  std::size_t held_bytes() const override { return text_.held_bytes(); }

 private:
  RegistrationText text_;
};

// At most kDataStep bytes of `text` from `begin` on, without parting a character. Precondition: it is UTF-8.
std::string_view whole_characters(std::string_view text, std::size_t begin) {
  std::size_t end = std::min(text.size(), begin + kDataStep);
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) {
    --end;
  }
  return text.substr(begin, end - begin);
}

void append_next(std::string& out, const std::optional<std::string>& next) {
  out += R"(],"next":)";
  JsonWriter json(out);
  if (next) {
    json.string(*next);
  } else {
    json.null();
  }
  out += '}';
}

// Those after `after`, at most `limit`, without parting those of one seq: one more where even the first two are that.
std::vector<core::QueuedOperation> whole_changes(const core::Core& core, Seq after, std::size_t limit, bool& more) {
  auto operations = core.queue(after, limit + 1, more);
  if (operations.size() <= limit) {
    return operations;
  }
  std::size_t count = limit;
  if (operations[limit].seq == operations[limit - 1].seq) {
    count = limit == 1 ? 2 : limit - 1;
  }
  more = more || count < operations.size();
  operations.resize(count);
  return operations;
}

}  // namespace

void answer_registration(Exchange& exchange, core::RegistrationView view) {
  if (is_large(view)) {
    return exchange.finish_in_pieces(std::make_shared<OneRegistration>(std::move(view)));
  }
  render_registration(exchange.response().body, view);
  exchange.finish();
}

// ---- RegistrationText

RegistrationText::RegistrationText(core::RegistrationView view)
    : view_(std::move(view)), frame_(frame_registration(view_)) {}

bool RegistrationText::next(std::string& out) {
  const std::size_t size = view_.registration->data.size();
  if (!std::exchange(begun_, true)) {
    out += frame_.before;
    out += '"';
  }
  for (const std::size_t begin = out.size(); data_at_ != size && out.size() - begin < kPieceBytes;) {
    append_data(out);
  }
  if (data_at_ != size) {
    return true;
  }
  out += '"';
  out += frame_.behind;
  return false;
}

void RegistrationText::append_data(std::string& out) {
  const std::string_view data = view_.registration->data;
  if (frame_.base64) {
    const std::string_view step = data.substr(data_at_, kDataStep);
    append_base64(out, step);
    data_at_ += step.size();
    return;
  }
  const std::string_view step = whole_characters(data, data_at_);
  std::string quoted;
  JsonWriter(quoted).string(step);
  out.append(quoted, 1, quoted.size() - 2);
  data_at_ += step.size();
}

// ---- ListingPage

ListingPage::ListingPage(const core::Core& core, Filter filter) : core_(core), filter_(std::move(filter)) {}

Stream::Next ListingPage::take(std::string& out) {
  const std::size_t begin = out.size();
  if (bytes_ == 0) {
    out += R"({"registrations":[)";
  }
  bool goes_on = true;
  while (goes_on && out.size() - begin < kPieceBytes) {
    if (!large_) {
      goes_on = bytes_ + (out.size() - begin) < kPageBytes && add_some(out);
    } else if (!large_->next(out)) {
      large_.reset();
    }
  }
  bytes_ += out.size() - begin;
  if (goes_on) {
    return Next::more;
  }
  append_next(out, more_ && begun_ ? std::optional(filter_.after->str()) : std::nullopt);
  return Next::end;
}

// Few at a time: the views hold on to contents. False: there are no more, or no more are wanted.
bool ListingPage::add_some(std::string& out) {
  constexpr std::size_t kStep = 8;
  if (!more_ || filter_.limit == 0) {
    return false;
  }
  auto views = core_.list(filter_.service, filter_.state, filter_.after, std::min(filter_.limit, kStep), more_);
  for (std::size_t i = 0; i < views.size(); ++i) {
    const bool large = is_large(views[i]);
    add(out, std::move(views[i]));
    if (large) {
      more_ = more_ || i + 1 < views.size();
      return true;
    }
  }
  return more_;
}

void ListingPage::add(std::string& out, core::RegistrationView view) {
  if (std::exchange(begun_, true)) {
    out += ',';
  }
  filter_.after = view.registration->id;
  --filter_.limit;
  if (is_large(view)) {
    large_.emplace(std::move(view));
  } else {
    render_registration(out, view);
  }
}

// ---- QueuePage

QueuePage::QueuePage(const core::Core& core, Seq after, std::size_t limit) : core_(core), after_(after), left_(limit) {}

Stream::Next QueuePage::take(std::string& out) {
  const std::size_t begin = out.size();
  if (bytes_ == 0) {
    out += R"({"operations":[)";
  }
  bool goes_on = true;
  while (goes_on && out.size() - begin < kPieceBytes) {
    goes_on = bytes_ + (out.size() - begin) < kPageBytes && add_some(out);
  }
  bytes_ += out.size() - begin;
  if (goes_on) {
    return Next::more;
  }
  out += R"(],"next":)" + (more_ && begun_ ? std::to_string(after_.value) : "null") + "}";
  return Next::end;
}

bool QueuePage::add_some(std::string& out) {
  constexpr std::size_t kStep = 64;
  if (!more_ || left_ == 0) {
    return false;
  }
  const auto operations = whole_changes(core_, after_, std::min(left_, kStep), more_);
  if (operations.size() > left_ && begun_) {
    more_ = true;  // the two of one seq are for the next page
    return false;
  }
  for (const core::QueuedOperation& operation : operations) {
    out += std::exchange(begun_, true) ? "," : "";
    render_operation(out, operation);
    after_ = operation.seq;
  }
  left_ -= std::min(left_, operations.size());
  return more_;
}

// ---- Results

Results::Results(const core::Core& core, std::vector<core::AcceptedChange> changes)
    : core_(core), changes_(std::move(changes)) {}

Stream::Next Results::take(std::string& out) {
  const std::size_t begin = out.size();
  if (at_ == 0) {
    out += R"({"results":[)";
  }
  for (; at_ != changes_.size() && out.size() - begin < kPieceBytes; ++at_) {
    out += at_ == 0 ? "" : ",";
    render_result(out, changes_[at_], core_.state(changes_[at_].id));
  }
  if (at_ != changes_.size()) {
    return Next::more;
  }
  out += "]}";
  return Next::end;
}

}  // namespace limpet::api
