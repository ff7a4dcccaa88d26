// What a disk holds after a power cut: built from what powerloss_shim.c noted while the agent ran.
//
// What was synced is there. Of what was not, a part by seed: of the changes of names (made, renamed, removed) not yet
// synced with their directory, the first few, as a journal would have them; of a file's bytes beyond its length at
// the last sync, none, a part, or zeros in their place; of what was written over since, each sector of 512 bytes as it
// is or as it was. One thread.
#pragma once

#include <cstdint>
#include <string>

#include "tests/crash/daemon.h"
#include "tests/support/rng.h"

namespace limpet::test {

class PowerCut {
 public:
  // The shim's notes go to daemon.directory(). With `lying_disk`, syncs keep nothing.
  explicit PowerCut(const Daemon& daemon, bool lying_disk = false);

  // Before a start: what is in the state directory now is safe. Returns what start() needs.
  Injection prepare();
  // After a kill: makes the state directory what the disk held.
  void cut(Rng& rng);

  std::uint64_t syncs() const { return syncs_; }  // of files, noted so far
  std::uint64_t torn() const { return torn_; }    // files of which some sectors are as they were, and some are not

 private:
  const std::string state_;
  const std::string out_;
  const std::string before_;
  const bool lying_;
  std::uint64_t syncs_ = 0;
  std::uint64_t torn_ = 0;
};

}  // namespace limpet::test
