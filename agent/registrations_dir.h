// Registrations by file: registrations.d/*.json, for services that cannot call an API.
//
// What the files say is submitted like any caller's change, as the agent's own user. Which registrations came from
// which file is remembered in the state directory: what has gone from the files is deregistered, also where it went
// while the agent was down. It is remembered before it is submitted and forgotten after it is deregistered, so that a
// crash in between costs a repetition and no more.
//
// A missing source is not an empty one. Of a directory that cannot be read, a file or an entry that cannot be used,
// what came from it before stays as it is, and the problem is told. Where a file has gone, the directory is read again
// after a moment, because editors remove and write anew and a mount may be on its way. Where more than half of what
// came from files would go at once, it stays until somebody says that it is meant (Removals::forced). Owned by the
// agent; core thread, but for read_registrations().
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/service.h"

namespace limpet {

// Where registrations come from.
struct FilesSource {
  std::string directory;  // empty: none
  bool named = false;     // by the configuration, and not by default: then it is a problem where it is not there
};

// What a directory holds.
struct FileRegistrations {
  enum class Directory { readable, absent, unreadable };
  struct Entry {
    std::string file;  // its name, without the directory
    core::RegisterRequest request;
  };
  Directory directory = Directory::readable;
  std::set<std::string> files;  // that are there
  std::vector<Entry> entries;   // by file name, and in each as they stand there; each id once
  std::vector<api::FileProblem> problems;
  std::set<std::string> unusable;  // files with something that cannot be used and says not which registration it is
  std::set<RegistrationId> unusable_ids;  // registrations whose entry cannot be used
};

// Reads all *.json of the directory; an empty name holds nothing. Directory and files must belong to root or
// `agent_uid` and be closed to the writing of others, by their mode, by a file system that is mounted read-only, or,
// the directory, by the sticky bit: then its links must be theirs, too. Blocks for the file system; any thread.
FileRegistrations read_registrations(const std::string& directory, std::uint32_t agent_uid);

// What is wrong with them, for people who ask before there is an agent. Blocks likewise.
std::vector<api::FileProblem> examine_registrations(const FilesSource& source, std::uint32_t agent_uid);

// The registrations of one file's text: an object or a list of objects with service, instance and the fields of a
// PUT; with comments, as in limpet.json. Each entry stands for itself. Fails where it is not JSON. Pure.
struct FileEntries {
  struct Fault {
    std::optional<RegistrationId> id;  // where the entry says so much
    std::string error;
  };
  std::vector<core::RegisterRequest> requests;
  std::vector<Fault> faults;
};
Result<FileEntries> parse_registration_file(std::string_view text);

class RegistrationsDir {
 public:
  // Runs `work` where it may block, then `then` on the core thread from the event loop.
  using Background = std::function<void(std::function<void()> work, std::function<void()> then)>;
  using Done = std::function<void(api::FilesReport)>;
  // `again`: nobody asked, the directory was looked at again by itself.
  using Observer = std::function<void(const api::FilesReport& report, bool again)>;

  // `memory_file`: where it is remembered. `settle`: after which a directory is read again where a file has gone. `io`
  // and `service` must outlive this, and this what `background` runs.
  RegistrationsDir(boost::asio::io_context& io, api::Service& service, Background background, std::string memory_file,
                   std::chrono::milliseconds settle = std::chrono::milliseconds(1500));

  // Is told what each run came to, before the run's own `done`.
  void when_done(Observer observer) { observer_ = std::move(observer); }

  // Brings the registrations in line with `source`. `done` is called once, when all of it is durable or refused; what
  // may go well later without anybody's help (a full disk, a directory that is not there) is tried again from time to
  // time. Calls that come meanwhile are carried out one after another.
  void apply(FilesSource source, api::Removals removals, Done done);

  // Registrations that came from files.
  std::size_t remembered() const { return memory_.size(); }

 private:
  using Memory = std::map<RegistrationId, std::string>;  // id -> file name
  struct Call {
    FilesSource source;
    api::Removals removals = api::Removals::guarded;
    bool again = false;
    Done done;
  };
  struct Run;

  void enqueue(Call call);
  void begin();
  void look(const std::shared_ptr<Run>& run, std::function<void()> then);
  void look_again(const std::shared_ptr<Run>& run);
  std::vector<RegistrationId> gone_from(const FileRegistrations& found) const;
  bool file_has_gone(const Run& run) const;
  void compare(const std::shared_ptr<Run>& run);
  void hold_mass_removal(Run& run) const;
  void remember(const std::shared_ptr<Run>& run, std::function<void()> then);
  void submit(const std::shared_ptr<Run>& run);
  void deregistered(Run& run, const RegistrationId& id, const api::Service::ChangeResult& result);
  void registered(Run& run, const FileRegistrations::Entry& entry, const api::Service::ChangeResult& result);
  void finish(const std::shared_ptr<Run>& run);
  void retry_later(const FilesSource& source);

  // Constant after construction.
  api::Service& service_;
  const Background background_;
  const std::string memory_file_;
  const std::chrono::milliseconds settle_;
  Observer observer_;

  // Core thread only.
  std::deque<Call> waiting_;  // the first is under way where busy_
  bool busy_ = false;
  Memory memory_;   // what came from files
  Memory written_;  // of that, what the file remembers
  bool loaded_ = false;
  boost::asio::steady_timer settle_timer_;
  boost::asio::steady_timer retry_timer_;
};

}  // namespace limpet
