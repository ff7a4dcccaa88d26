// For as long as it lives, this process can open so many more file descriptors and no others; then it is as before,
// also where a test leaves by an exception.
//
// It counts the numbers that are free, lowest first, and not from the highest that is in use: a process may be born
// with descriptors of others anywhere, with holes between them. What the test needs a descriptor for by itself, above
// all the reactor of an io_context, must be there before. For tests with one thread that opens files.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>

#include <stdexcept>

namespace limpet::test {

class FewDescriptors {
 public:
  explicit FewDescriptors(int room) {
    if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) {
      throw std::runtime_error("cannot read RLIMIT_NOFILE");
    }
    int limit = 0;  // the number of the first that must not be had
    for (int free = 0; free <= room; ++limit) {
      free += ::fcntl(limit, F_GETFD) < 0 ? 1 : 0;
    }
    const rlimit few{static_cast<rlim_t>(limit - 1), before_.rlim_max};
    if (few.rlim_cur > before_.rlim_cur || ::setrlimit(RLIMIT_NOFILE, &few) != 0) {
      throw std::runtime_error("cannot set RLIMIT_NOFILE");
    }
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

}  // namespace limpet::test
