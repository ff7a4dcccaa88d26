#include "agent/idle_trim.h"

#include <malloc.h>

#include <chrono>
#include <utility>

#include "agent/spare_blocks.h"

namespace limpet {

namespace {

constexpr std::chrono::milliseconds kQuiet(200);

}  // namespace

void IdleTrim::worked(std::uint64_t count) {
  done_ += count;
  if (done_ >= kBurst && !std::exchange(waiting_, true)) {
    look_again();
  }
}

void IdleTrim::look_again() {
  seen_ = done_;
  timer_.expires_after(kQuiet);
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) {
      return;
    }
    if (done_ - seen_ >= kBurst) {
      return look_again();
    }
    waiting_ = false;
    done_ = 0;
    give_back_spare_blocks();
    ::malloc_trim(0);
  });
}

}  // namespace limpet
