// Registrations by file: registrations.d/*.json, for services that cannot call an API.
//
// What the files say is submitted like any caller's change, as the agent's own user. Which registrations came from
// which file is remembered in the state directory: what has gone from the files is deregistered, also where it went
// while the agent was down. It is remembered before it is submitted and forgotten after it is deregistered, so that a
// crash in between costs a repetition and no more. A file that cannot be used is reported; what came from it before
// stays as it is. Owned by the agent; core thread, but for read_registrations().
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/service.h"

namespace limpet {

// What a directory holds.
struct FileRegistrations {
  struct Entry {
    std::string file;  // its name, without the directory
    core::RegisterRequest request;
  };
  std::vector<Entry> entries;  // by file name, and in each as they stand there; each id once
  std::vector<api::FileProblem> problems;
  std::set<std::string> unusable;  // files that are there, and of which nothing is used
  bool readable = true;            // false: nothing is known of what is there
};

// Reads all *.json of `directory`; a directory that is not there, or an empty name, holds nothing. Directory and files
// must belong to root or `agent_uid` and be closed to the writing of others. Blocks for the file system; any thread.
FileRegistrations read_registrations(const std::string& directory, std::uint32_t agent_uid);

// The registrations of one file's text: an object or a list of objects with service, instance and the fields of a
// PUT. All or, with what is wrong, none. Pure.
Result<std::vector<core::RegisterRequest>> parse_registration_file(std::string_view text);

class RegistrationsDir {
 public:
  // Runs `work` where it may block, then `then` on the core thread from the event loop.
  using Background = std::function<void(std::function<void()> work, std::function<void()> then)>;
  using Done = std::function<void(api::FilesReport)>;

  // `memory_file`: where it is remembered. `io` and `service` must outlive this, and this what `background` runs.
  RegistrationsDir(boost::asio::io_context& io, api::Service& service, Background background, std::string memory_file);

  // Brings the registrations in line with `directory`. `done` is called once, when all of it is durable or refused;
  // what is refused for reasons that pass (a full disk, a full queue) is tried again from time to time. Calls that come
  // meanwhile are carried out one after another.
  void apply(std::string directory, Done done);

 private:
  using Memory = std::map<RegistrationId, std::string>;  // id -> file name
  struct Run;

  void begin();
  void compare(const std::shared_ptr<Run>& run);
  void remember(const std::shared_ptr<Run>& run, std::function<void()> then);
  void submit(const std::shared_ptr<Run>& run);
  void deregistered(Run& run, const RegistrationId& id, const api::Service::ChangeResult& result);
  void registered(Run& run, const FileRegistrations::Entry& entry, const api::Service::ChangeResult& result);
  void finish(const std::shared_ptr<Run>& run);
  void retry_later(const std::string& directory);

  // Constant after construction.
  api::Service& service_;
  const Background background_;
  const std::string memory_file_;

  // Core thread only.
  std::deque<std::pair<std::string, Done>> waiting_;  // the first is under way where busy_
  bool busy_ = false;
  Memory memory_;   // what came from files
  Memory written_;  // of that, what the file remembers
  bool loaded_ = false;
  boost::asio::steady_timer retry_timer_;
};

}  // namespace limpet
