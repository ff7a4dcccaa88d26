// The durable store as the rest of limpet sees it. RocksStore (rocks_store.h) is the real one; the simulator has a
// fake that forgets what was not synced.
#pragma once

#include "storage/error.h"
#include "storage/record.h"

namespace limpet {

// Which part of the history is asked for.
struct HistoryQuery {
  bool newest_first = true;
  std::uint64_t before_event = 0;  // newest first: only entries before this one; 0: from the end
  std::uint64_t after_event = 0;   // oldest first: only entries after this one
  Seq before_seq;                  // only what was about changes before this one (about none: happened before); 0: all
  std::optional<std::string> service;
  std::optional<std::string> instance;
  std::size_t limit = 1'000;
  std::size_t scan_limit = 2'000;  // entries looked at before it stops, whether they match or not
};
struct HistoryPage {
  std::vector<HistoryEntry> entries;
  std::uint64_t oldest_event = 0;  // that is still kept; 0: there is none
  // Where to go on: as before_event, or as after_event; 0: that was all there is (newest first: all that is kept;
  // oldest first: all so far).
  std::uint64_t next = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  // Everything that is stored. Blocks. Called before the first append, or after reopen().
  virtual Result<StoredState> load() = 0;

  // An append is got ready by prepare(), closed by seal(), and written by write(). The first two do not touch the disk:
  // the next append may be got ready on another thread while this one is written. The caller sees to it that they
  // exclude each other, load() and reopen(), which drops what was prepared and not written.
  //
  // Puts `batch` behind what was prepared before. False: there is no room behind it; it was not taken. Never false
  // where nothing was prepared before.
  virtual bool prepare(const Batch& batch) = 0;
  // What was prepared and not sealed before is what the next write() writes. With `sync`, that returns only when it is
  // on stable storage; without, it may be lost by a power cut (never by a crash of the process), and is made durable by
  // the next append with sync.
  virtual void seal(bool sync) = 0;
  // Writes what was sealed, atomically, after everything written before. Blocks for the disk; one thread at a time.
  // On an error the outcome is unknown: it is there wholly or not at all, and the store refuses further appends until
  // reopen() succeeds and load() has told which. Errc::full: no space; Errc::io: anything else.
  virtual Status write() = 0;

  // All three, where nothing is prepared.
  Status append(const Batch& batch, bool sync) {
    (void)prepare(batch);
    seal(sync);
    return write();
  }

  // Closes and opens again after a failed append. Blocks. May be called again after it failed.
  virtual Status reopen() = 0;

  // The disk is (nearly) full, and the room that the store keeps back for such times is in use or was never there:
  // only what makes the store smaller should be appended. Turns true at the start or by reopen(), and false again by
  // regain_space(). Any thread.
  virtual bool low_on_space() const { return false; }

  // While low_on_space(): tries to keep room back again. Blocks for the disk; by the thread that appends.
  virtual void regain_space() {}

  // Reads from the history: at least what was written before the call. Blocks for the disk; by one thread at a time,
  // which need not be the one that appends, and which nobody waits for but reopen(). A look takes in one entry at
  // least, so that whoever goes on by `next` comes to the end. Errc::io, Errc::damaged: this part of it cannot be read;
  // the store is none the worse for it.
  virtual Result<HistoryPage> history(const HistoryQuery& query) = 0;

  // Bytes on disk, roughly, without the room kept back. Any thread.
  virtual std::uint64_t bytes_on_disk() const = 0;
};

}  // namespace limpet
