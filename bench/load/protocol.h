// What a load generator says on a connection, and how it knows an answer: HTTP to limpet's socket, RESP to Redis's.
//
// Both carry the same bytes: a registration of `body_bytes` bytes of JSON, new at each request. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace limpet::bench {

struct Workload {
  std::string kind = "put";      // put | batch (limpet only: batch_size of them in one request) | get
  std::string target;            // of get: what is asked for
  std::size_t body_bytes = 256;  // of one registration
  std::size_t names = 5'000;     // registrations that are written over and over, each time with new content
  std::size_t batch_size = 16;
};

class Protocol {
 public:
  enum class Answer { none, good, bad };

  virtual ~Protocol() = default;
  // Puts the request number `count` behind `out`.
  virtual void append_request(std::string& out, std::uint64_t count) = 0;
  // Looks for a whole answer at the beginning of `bytes`; `used` is its length where there is one.
  virtual Answer read_answer(std::string_view bytes, std::size_t& used) const = 0;

  // `name`: http or resp.
  static std::unique_ptr<Protocol> make(const std::string& name, const Workload& workload);
};

}  // namespace limpet::bench
