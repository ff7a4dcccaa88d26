// Answers that may be large, made piece by piece as their reader takes them: pages of a listing, the results of a bulk
// request, a registration with much data. What such an answer takes in memory is a piece of it, however long it is.
// Each piece shows the state of its own moment; the position at which a page goes on is right all the same. Core
// thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/api/http_message.h"
#include "agent/api/json.h"
#include "agent/api/service.h"

namespace limpet::api {

// A page ends early, with its `next`, when it grows past this.
inline constexpr std::size_t kPageBytes = 32 * 1024 * 1024;

// Answers the exchange by one registration.
void answer_registration(Exchange& exchange, core::RegistrationView view);

// One registration as JSON.
class RegistrationText {
 public:
  explicit RegistrationText(core::RegistrationView view);
  // Appends more of it, a piece at most. False: that was the last of it.
  bool next(std::string& out);
  // Bytes of data that it keeps in memory.
  std::size_t held_bytes() const { return view_.registration->data.size(); }

 private:
  void append_data(std::string& out);

  const core::RegistrationView view_;
  RegistrationFrame frame_;
  std::size_t data_at_ = 0;  // data up to here is written
  bool begun_ = false;
};

// {"registrations":[…],"next":id or null}
class ListingPage final : public Stream {
 public:
  struct Filter {
    std::optional<std::string> service;
    std::optional<core::State> state;
    std::optional<RegistrationId> after;
    std::size_t limit = 0;
  };

  // `core` must outlive this.
  ListingPage(const core::Core& core, Filter filter);
  Next take(std::string& out) override;
  std::size_t held_bytes() const override { return large_ ? large_->held_bytes() : 0; }

 private:
  bool add_some(std::string& out);
  void add(std::string& out, core::RegistrationView view);

  const core::Core& core_;
  Filter filter_;
  std::optional<RegistrationText> large_;  // a part of which is written
  std::size_t bytes_ = 0;                  // of earlier pieces
  bool begun_ = false;
  bool more_ = true;  // there is more behind filter_.after, as far as is known
};

// {"operations":[…],"next":seq or null}. `next` is a seq, so what has the same seq is on the same page.
class QueuePage final : public Stream {
 public:
  // `core` must outlive this.
  QueuePage(const core::Core& core, Seq after, std::size_t limit);
  Next take(std::string& out) override;

 private:
  bool add_some(std::string& out);

  const core::Core& core_;
  Seq after_;
  std::size_t left_;
  std::size_t bytes_ = 0;  // of earlier pieces
  bool begun_ = false;
  bool more_ = true;
};

// {"results":[…]}
class Results final : public Stream {
 public:
  // `core` must outlive this.
  Results(const core::Core& core, std::vector<core::AcceptedChange> changes);
  Next take(std::string& out) override;
  std::size_t held_bytes() const override { return changes_.size() * sizeof(core::AcceptedChange); }

 private:
  const core::Core& core_;
  const std::vector<core::AcceptedChange> changes_;
  std::size_t at_ = 0;
};

}  // namespace limpet::api
