// One connection of a local program: reads requests, hands them to the routes one at a time, writes the answers.
//
// Callbacks rather than coroutines: a request that is answered at once costs one read and one write and no allocation,
// and requests that came pipelined are answered in order by one write. Requests are handled and pages are made only in
// the connection's turns (turns.h); what comes in between only sends what is ready. The server's list owns a
// connection; operations in flight hold it too, so it outlives them. What waits for the service holds it weakly: when
// the caller hangs up, the connection goes, and the late answer finds nobody. All on the core thread.
#pragma once

#include <boost/asio/local/stream_protocol.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "agent/api/counters.h"
#include "agent/api/http_message.h"
#include "agent/api/request_reader.h"
#include "agent/api/routes.h"
#include "agent/api/shares.h"
#include "agent/api/turns.h"

namespace limpet::api {

struct ConnectionLimits {
  RequestLimits request;
  std::chrono::milliseconds request_timeout{30'000};  // from its first byte to its last
  std::chrono::milliseconds write_timeout{30'000};    // for the caller to take write_bytes of its answers, or all
  std::size_t write_bytes = 256 * 1024;
  std::chrono::milliseconds linger_timeout{2'000};  // after a refusal that ends the connection
};

class Connection final : public Exchange, public TurnTaker, public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;
  using Clock = std::chrono::steady_clock;

  // What connections share, and whom they tell. Outlives them, or close()s them first.
  class Host {
   public:
    virtual ~Host() = default;
    // The caller has gone, or is let go: nothing more comes from it. Once for each connection, before closed().
    virtual void caller_gone(Connection& connection) = 0;
    // The connection is closed and wants to be forgotten.
    virtual void closed(Connection& connection) = 0;
    virtual Turns& turns() = 0;
    // A deadline is set: call sweep() from time to time until told otherwise by its result.
    virtual void watch_deadlines() = 0;
    virtual WallMs wall_ms() = 0;
    // Whether it matters which groups a caller belongs to.
    virtual bool wants_groups() const = 0;
    // The caller is told that it has no right to what it asked for.
    virtual void forbidden(const Request& request, ProblemKind kind) = 0;

    void count_problem(const Request& request, ProblemKind kind) {
      ++counters.problems[static_cast<std::size_t>(kind)];
      if (problem_facts(kind).status == 403) {
        forbidden(request, kind);
      }
    }

    ResponseHead head;
    Counters counters;
    std::size_t unanswered = 0;  // connections with a request that is with the routes
    Shares bodies{{}};           // bytes of requests that are still arriving, or not answered yet
    Shares output{{}};           // bytes of answers that their callers have not taken, and of what these are made from
  };

  Connection(Socket socket, core::Caller caller, Routes& routes, const ConnectionLimits& limits, Host& host);

  // Begins to read.
  void start();
  // In place of start(): sends `problem` unasked and ends the connection. A heartbeat that comes by it counts.
  void refuse(const Problem& problem);
  // Acts on a deadline that has passed. Returns whether there is one still to come.
  bool sweep(Clock::time_point now);
  // Answers what has begun and closes then; at once where nothing has.
  void drain();
  // Closes at once. Idempotent.
  void close();

  const core::Caller& caller() const { return request_.caller; }

  // TurnTaker
  std::uint32_t turn_user() const override { return request_.caller.owner.uid; }
  bool take_turn(const Turn& turn) override;
  void look_for_hangup() override;

  // Exchange
  Response& response() override { return response_; }
  void finish() override;
  void finish_in_pieces(std::shared_ptr<Stream> stream) override;
  PeerPlace place_of_caller() override { return locate_peer(socket_.native_handle()); }
  void begin_stream(std::shared_ptr<Stream> stream) override;
  void resume_stream() override;
  bool has_room() const override;

 private:
  enum class Deadline { none, request, write, linger };
  // How the present answer is made. All but `whole` have a stream_, and are busy_.
  enum class Answering {
    whole,       // by the routes, in one go
    collecting,  // by a stream, into response_.body, as long as that stays short
    pieces,      // by a stream; the head is in out_, and pieces follow it
    endless,     // the same, and the connection ends with it
  };

  bool pump(const Turn* turn);
  void go_on();
  bool has_work() const;
  void work();
  void handle_one();
  void complete_caller();
  bool count_body();
  void free_body();
  void give_back_body();
  bool flush();
  void collect_piece();
  std::size_t collected_most() const;
  void begin_pieces();
  void send_piece();
  void append_chunk(std::string_view piece);
  void end_stream();
  void settle();
  void report_gone();
  void count_output();
  void count_answer();
  bool closes_after_answer() const;
  void append_answer(bool close);
  void answer_and_close(const Problem& problem);
  void begin_linger();
  void set_busy(bool busy);
  void take_turn_later();
  void look_for_hangup_in_turn();
  void arm_read();
  void arm_write();
  void watch_for_hangup();
  bool hung_up();
  bool receive();
  bool take(const boost::system::error_code& error, std::size_t bytes);
  void take_after_refusal();
  void set_deadline(Deadline kind, std::chrono::milliseconds after);
  void demand_rate();
  bool make_room();
  bool output_pending() const { return sent_ != out_.size(); }

  // Constant after construction
  const ConnectionLimits& limits_;
  Routes& routes_;
  Host& host_;

  // Core thread only
  Socket socket_;
  Request request_;
  RequestReader reader_;
  Response response_;
  Answering answering_ = Answering::whole;
  std::shared_ptr<Stream> stream_;
  std::vector<char> in_;
  std::size_t in_begin_ = 0;  // what is between these has been received and not yet read
  std::size_t in_end_ = 0;
  std::string out_;
  std::size_t sent_ = 0;          // of out_
  std::size_t counted_ = 0;       // in the host's output
  std::size_t body_counted_ = 0;  // in the host's bodies
  std::size_t taken_ = 0;         // by the caller, since the write deadline was set

  Deadline deadline_kind_ = Deadline::none;
  Clock::time_point deadline_;
  Clock::time_point arrived_;  // a change that is with the routes

  bool pumping_ = false;        // pump() is on the stack
  bool busy_ = false;           // a request is with the routes, unanswered
  bool reading_ = false;        // waiting until there is something to read
  bool readable_ = false;       // there is something to read
  bool turn_queued_ = false;    // with the host's turns()
  bool looks_soon_ = false;     // likewise, for a hang-up
  bool writing_ = false;        // waiting until the socket takes more
  bool watching_ = false;       // waiting for the caller to hang up
  bool starved_ = false;        // what is buffered holds no whole request
  bool stream_waits_ = false;   // stream_ has nothing until resume_stream()
  bool body_refused_ = false;   // there was no room for the body of the request that arrives
  bool end_of_input_ = false;   // the caller will send no more
  bool last_answer_ = false;    // no more requests: close when out_ is sent
  bool refused_ = false;        // last_answer_ is an error: what still arrives is thrown away for a while
  bool hears_renewal_ = false;  // but for the first request, which may be a heartbeat
  bool lingering_ = false;
  bool draining_ = false;
  bool gone_ = false;        // the host was told that the caller has gone
  bool identified_ = false;  // the caller's program is known
  bool closed_ = false;
};

}  // namespace limpet::api
