#include "agent/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>
#include <utility>

namespace limpet {

namespace {

int make_bell() {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) {
    throw boost::system::system_error(errno, boost::system::system_category(), "eventfd");
  }
  return fd;
}

}  // namespace

Mailbox::Mailbox(boost::asio::io_context& io) : bell_(io, make_bell()) {
  wait();
}

void Mailbox::leave(Letter letter) {
  bool ring = false;
  {
    const std::lock_guard lock(mutex_);
    ring = letters_.empty();
    letters_.push_back(std::move(letter));
  }
  if (ring) {
    const std::uint64_t once = 1;
    // It fails only at 2^64 - 1 rings that nobody heard.
    [[maybe_unused]] const ssize_t written = ::write(bell_.native_handle(), &once, sizeof once);
  }
}

void Mailbox::wait() {
  bell_.async_read_some(boost::asio::buffer(&rung_, sizeof rung_),
                        [this](const boost::system::error_code& error, std::size_t) {
                          if (!error) {
                            empty();
                            wait();
                          }
                        });
}

void Mailbox::empty() {
  {
    const std::lock_guard lock(mutex_);
    reading_.swap(letters_);
  }
  for (Letter& letter : reading_) {
    letter();
  }
  reading_.clear();
}

}  // namespace limpet
