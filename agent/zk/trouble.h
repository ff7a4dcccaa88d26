// Tells of trouble without chatter: a text once for as long as it holds, and no more than one text a second.
//
// Core thread only. The io_context outlives it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace limpet::zk {

class Trouble {
 public:
  using Tell = std::function<void(bool no_quorum, std::string text)>;

  // `tell` is called from the event loop: by tell() itself, or later.
  Trouble(boost::asio::io_context& io, Tell tell);

  // Passes the text on if it is not the last that was passed on; later, if that was within a second. Of several that
  // wait, the newest counts.
  void tell(bool no_quorum, std::string text);

  // The trouble is over: what waits is dropped, and the next text is new.
  void reset();

 private:
  using Text = std::pair<bool, std::string>;

  void pass_on();

  const Tell tell_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  std::optional<Text> last_;
  std::optional<Text> waiting_;
  bool pausing_ = false;
};

}  // namespace limpet::zk
