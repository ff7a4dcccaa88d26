// bench_load: keeps N connections to a unix socket busy, each with so many requests in flight, and says how many were
// answered and how fast. One thread and one epoll set, because the agent that is measured shares two cores with it.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "bench/load/protocol.h"
#include "bench/load/samples.h"

namespace limpet::bench {
namespace {

struct Options {
  std::string protocol = "http";
  std::string socket;
  std::size_t clients = 1;
  std::size_t pipeline = 1;
  double seconds = 1;
  double warmup_seconds = 0.2;
  std::uint64_t requests = 0;  // instead of seconds and warm-up
  double rate = 0;             // requests per second over all clients, at even distances; 0: as fast as answers come
  std::uint64_t first = 0;     // number of the first request: what was written before is not repeated
  Workload workload;
};

struct Client {
  int fd = -1;
  std::string out;
  std::size_t sent = 0;
  std::string in;
  std::size_t in_size = 0;
  std::deque<Clock::time_point> asked;  // of what is in flight, oldest first
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench_load: %s\n", what.c_str());
  std::exit(1);
}

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options), protocol_(Protocol::make(options.protocol, options.workload)), next_(options.first) {}

  void run();
  void print();

 private:
  static constexpr std::size_t kReadBytes = 256 * 1024;

  void connect();
  void ask(Client& client, std::size_t requests);
  void flush(Client& client);
  void receive(Client& client);
  void take_answers(Client& client);
  void wait(std::vector<epoll_event>& events);
  void run_paced();

  const Options options_;
  const std::unique_ptr<Protocol> protocol_;
  std::vector<Client> clients_;
  int epoll_ = -1;
  std::uint64_t next_;
  std::uint64_t answered_ = 0;
  bool measuring_ = false;
  bool closing_ = false;  // what is in flight is awaited, no more is asked
  Clock::time_point began_;
  Clock::time_point ended_;
  Samples samples_;
};

void Load::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options_.socket.size() >= sizeof address.sun_path) {
    die("the path of the socket is too long: " + options_.socket);
  }
  std::memcpy(address.sun_path, options_.socket.data(), options_.socket.size());
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  clients_.resize(options_.clients);
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    Client& client = clients_[i];
    client.in.resize(kReadBytes);
    client.fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(client.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      die("cannot connect to " + options_.socket + ": " + std::strerror(errno));
    }
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event);
  }
}

void Load::ask(Client& client, std::size_t requests) {
  const auto now = Clock::now();
  for (std::size_t i = 0; i < requests; ++i) {
    protocol_->append_request(client.out, next_++);
    client.asked.push_back(now);
  }
  flush(client);
}

void Load::flush(Client& client) {
  while (client.sent != client.out.size()) {
    const ssize_t bytes = ::send(client.fd, client.out.data() + client.sent, client.out.size() - client.sent,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
    if (bytes < 0) {
      if (errno == EAGAIN) {
        return;  // the rest goes with the next answer: there is one outstanding
      }
      die(std::string("cannot send: ") + std::strerror(errno));
    }
    client.sent += static_cast<std::size_t>(bytes);
  }
  client.out.clear();
  client.sent = 0;
}

void Load::receive(Client& client) {
  if (client.in_size == client.in.size()) {
    client.in.resize(client.in.size() * 2);
  }
  const ssize_t bytes =
      ::recv(client.fd, client.in.data() + client.in_size, client.in.size() - client.in_size, MSG_DONTWAIT);
  if (bytes == 0 || (bytes < 0 && errno != EAGAIN)) {
    die("the connection was closed");
  }
  if (bytes > 0) {
    client.in_size += static_cast<std::size_t>(bytes);
    take_answers(client);
  }
}

void Load::take_answers(Client& client) {
  std::size_t begin = 0;
  std::size_t taken = 0;
  const auto now = Clock::now();
  while (begin != client.in_size) {
    std::size_t used = 0;
    const std::string_view rest(client.in.data() + begin, client.in_size - begin);
    const auto answer = protocol_->read_answer(rest, used);
    if (answer == Protocol::Answer::none) {
      break;
    }
    if (answer == Protocol::Answer::bad) {
      die("refused: " + std::string(rest.substr(0, used)));
    }
    begin += used;
    ++taken;
    if (measuring_) {
      samples_.add(now - client.asked.front());
    }
    client.asked.pop_front();
  }
  if (begin != 0) {
    std::memmove(client.in.data(), client.in.data() + begin, client.in_size - begin);
    client.in_size -= begin;
  }
  answered_ += taken;
  if (!closing_ && options_.rate == 0 && taken != 0) {
    ask(client, taken);
  } else if (client.sent != client.out.size()) {
    flush(client);
  }
}

void Load::wait(std::vector<epoll_event>& events) {
  const int ready = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 1'000);
  for (int i = 0; i < ready; ++i) {
    receive(clients_[events[static_cast<std::size_t>(i)].data.u64]);
  }
}

// One request at a time each so many microseconds, by turns; a late one does not make those after it late.
void Load::run_paced() {
  const auto gap = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / options_.rate));
  const auto end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.seconds));
  measuring_ = true;
  began_ = Clock::now();
  std::size_t turn = 0;
  for (auto due = began_; due < end; due += gap) {
    std::this_thread::sleep_until(due);
    Client& client = clients_[turn++ % clients_.size()];
    ask(client, 1);
    while (!client.asked.empty()) {
      pollfd readable{client.fd, POLLIN, 0};
      ::poll(&readable, 1, 1'000);
      receive(client);
    }
  }
  ended_ = Clock::now();
}

void Load::run() {
  connect();
  if (options_.rate > 0) {
    return run_paced();
  }
  std::vector<epoll_event> events(256);
  measuring_ = options_.requests != 0;
  began_ = Clock::now();
  for (Client& client : clients_) {
    ask(client, options_.pipeline);
  }
  const auto span = [](double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  };
  if (options_.requests != 0) {
    while (answered_ < options_.requests) {
      wait(events);
    }
    ended_ = Clock::now();
  } else {
    for (const auto until = began_ + span(options_.warmup_seconds); Clock::now() < until;) {
      wait(events);
    }
    measuring_ = true;
    answered_ = 0;
    began_ = Clock::now();
    const auto until = began_ + span(options_.seconds);
    do {
      wait(events);
      ended_ = Clock::now();
    } while (ended_ < until);
  }
  measuring_ = false;
  closing_ = true;
  const std::uint64_t counted = answered_;
  for (Client& client : clients_) {
    while (!client.asked.empty()) {
      pollfd readable{client.fd, POLLIN, 0};
      ::poll(&readable, 1, 1'000);
      receive(client);
    }
  }
  answered_ = counted;
}

void Load::print() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto cpu = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  const double seconds = std::chrono::duration<double>(ended_ - began_).count();
  const std::uint64_t requests = options_.rate > 0 ? samples_.size() : answered_;
  const double entries = static_cast<double>(requests) *
                         (options_.workload.kind == "batch" ? static_cast<double>(options_.workload.batch_size) : 1.0);
  std::printf(
      "{\"requests\":%llu,\"seconds\":%.4f,\"rate\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,"
      "\"max_us\":%.1f,\"load_cpu_s\":%.3f,\"next\":%llu}\n",
      static_cast<unsigned long long>(requests), seconds, entries / seconds, samples_.percentile(0.5),
      samples_.percentile(0.9), samples_.percentile(0.99), samples_.percentile(1),
      cpu(usage.ru_utime) + cpu(usage.ru_stime), static_cast<unsigned long long>(next_));
}

}  // namespace
}  // namespace limpet::bench

int main(int argc, char** argv) {
  limpet::bench::Options options;
  CLI::App app("Load on a unix socket: HTTP for limpetd, RESP for Redis; prints one line of JSON.");
  app.add_option("--protocol", options.protocol)->check(CLI::IsMember({"http", "resp"}));
  app.add_option("--socket", options.socket)->required();
  app.add_option("--clients", options.clients);
  app.add_option("--pipeline", options.pipeline, "requests in flight per connection");
  app.add_option("--seconds", options.seconds);
  app.add_option("--warmup", options.warmup_seconds, "seconds that are not measured");
  app.add_option("--requests", options.requests, "so many in all, instead of seconds");
  app.add_option("--rate", options.rate, "requests per second over all, instead of as fast as possible");
  app.add_option("--first", options.first, "number of the first request");
  app.add_option("--kind", options.workload.kind)->check(CLI::IsMember({"put", "batch", "get"}));
  app.add_option("--target", options.workload.target, "of get");
  app.add_option("--bytes", options.workload.body_bytes, "of one registration's JSON");
  app.add_option("--names", options.workload.names, "registrations that are written over and over");
  app.add_option("--batch-size", options.workload.batch_size);
  CLI11_PARSE(app, argc, argv);
  limpet::bench::Load load(options);
  load.run();
  load.print();
  return 0;
}
