#include "agent/history_reads.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace limpet {

namespace {

Status no_answer() {
  return Status(Errc::io, "the disk does not answer");
}

}  // namespace

HistoryReads::HistoryReads(boost::asio::io_context& io, Store& store, Mailbox& mailbox,
                           std::chrono::milliseconds patience)
    : io_(io), store_(store), mailbox_(mailbox), patience_(patience), timer_(io) {}

void HistoryReads::read(HistoryQuery query, Done done) {
  if (hangs_) {
    boost::asio::post(io_, [done = std::move(done)] { done(no_answer()); });
    return;
  }
  const std::uint64_t read = ++last_;
  waiting_.emplace(read, std::move(done));
  if (waiting_.size() == 1) {
    be_patient();
  }
  worker_.run([this, read, query = std::move(query)] {
    mailbox_.leave([this, read, page = store_.history(query)]() mutable { finish(read, std::move(page)); });
  });
}

void HistoryReads::finish(std::uint64_t read, Result<HistoryPage> page) {
  hangs_ = false;
  auto waiting = waiting_.extract(read);
  if (waiting_.empty()) {
    timer_.cancel();
  } else {
    be_patient();
  }
  if (waiting) {
    waiting.mapped()(std::move(page));
  }
}

void HistoryReads::be_patient() {
  timer_.expires_after(patience_);
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) {
      give_up();
    }
  });
}

void HistoryReads::give_up() {
  hangs_ = true;
  for (auto& [read, done] : std::exchange(waiting_, {})) {
    done(no_answer());
  }
}

}  // namespace limpet
