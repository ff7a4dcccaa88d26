#include "agent/zk/mailbox.h"

#include <boost/asio/post.hpp>

namespace limpet::zk {

Mailbox::Mailbox(boost::asio::io_context& io, Open open) : io_(io), open_(std::move(open)) {}

void Mailbox::push(Mail mail) {
  const std::lock_guard lock(mutex_);
  if (shut_) {
    return;
  }
  arrived_.push_back(std::move(mail));
  if (arrived_.size() == 1) {
    boost::asio::post(io_, [self = shared_from_this()] { self->deliver(); });
  }
}

void Mailbox::shut() {
  open_ = nullptr;
  const std::lock_guard lock(mutex_);
  shut_ = true;
}

void Mailbox::deliver() {
  // The two vectors change places, so that neither is allocated anew under load.
  std::vector<Mail> mail = std::move(reading_);
  {
    const std::lock_guard lock(mutex_);
    std::swap(mail, arrived_);
  }
  if (open_) {
    open_(mail);
  }
  mail.clear();
  reading_ = std::move(mail);
}

}  // namespace limpet::zk
