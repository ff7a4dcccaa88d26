// A client with a known history, and the judge of what is there afterwards: what was acknowledged stands, what was
// refused does not, and what is unknown stands wholly or not at all, and consistently from then on.
//
// A client changes names of its own only, one change at a time, each with data never used before; so what a name shows
// tells which change it comes from. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/rng.h"
#include "tests/support/unix_http.h"

namespace limpet::test {

// instance -> (data, seq) of one service.
struct Shown {
  std::string data;
  std::uint64_t seq = 0;
  friend bool operator==(const Shown&, const Shown&) = default;
};
using Listing = std::map<std::string, Shown>;

// GET /v1/registrations; nullopt where there is no 200. Keys are ids ("service/instance").
std::optional<Listing> list_all(UnixHttp& http);

// A change that was asked for and not refused.
struct Accepted {
  std::string id;                    // "service/instance"
  std::optional<std::string> data;   // nullopt: a deregistration
  std::optional<std::uint64_t> seq;  // nullopt: not known; it may not have happened
};

class History {
 public:
  enum class Outcome { acknowledged, refused, unknown };

  History(const std::string& socket, std::string service, std::uint64_t seed, int names = 8);

  // One random change: a registration, an update, a deregistration or a batch.
  Outcome change();
  // `filling`: so many bytes more of data.
  Outcome put(const std::string& instance, std::size_t filling = 0);
  Outcome remove(const std::string& instance);
  // Two registrations and the deregistration of a name that stands, if there is one.
  Outcome batch();

  // Compares. Whatever was unknown is now known: it is what is shown.
  void check(const Listing& all);

  std::uint64_t acknowledged() const { return acknowledged_; }
  std::uint64_t unknown() const { return unknown_; }
  std::uint64_t highest_seq() const { return highest_seq_; }
  int last_status() const { return last_status_; }
  // Promises that were broken, in words.
  const std::vector<std::string>& violations() const { return violations_; }
  // What must be there: by id. Precondition: nothing is unknown.
  Listing expected() const;
  // All that may have reached ZooKeeper, in the order in which it was asked for. What was unknown and was seen since
  // stands there once more, with its seq.
  const std::vector<Accepted>& accepted() const { return accepted_; }

 private:
  struct Name {
    std::optional<Shown> known;                                               // nullopt: not there
    std::vector<std::pair<std::uint64_t, std::optional<std::string>>> maybe;  // unknown changes since: number, data
  };
  struct Effect {
    std::string instance;
    std::optional<std::string> data;
  };

  Outcome settle(const HttpAnswer& answer, const std::vector<Effect>& effects);
  void acknowledge(const Effect& effect, std::uint64_t seq);
  void check_name(const std::string& instance, const Listing& all);
  void check_whole(const Listing& all);
  bool shows(const Effect& effect, const Listing& all) const;
  std::string id(const std::string& instance) const { return service_ + "/" + instance; }
  std::string target(const std::string& instance) const { return "/v1/registrations/" + id(instance); }
  std::string fresh_data();
  void violated(const std::string& what) { violations_.push_back(service_ + ": " + what); }

  UnixHttp http_;
  const std::string service_;
  const int names_count_;
  Rng rng_;
  std::map<std::string, Name> names_;
  std::map<std::uint64_t, std::vector<Effect>> unknown_batches_;
  std::vector<Accepted> accepted_;
  std::uint64_t next_ = 1;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t unknown_ = 0;
  std::uint64_t highest_seq_ = 0;
  int last_status_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace limpet::test
