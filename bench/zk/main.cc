// bench_zk: ZooKeeper's own C client, doing what limpet's replay does, and looking on. Each subcommand prints JSON, one
// line at a time. Times are of CLOCK_MONOTONIC, in seconds, so that they compare with those of other processes.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/load/samples.h"
#include "bench/zk/session.h"

namespace limpet::bench {
namespace {

struct Options {
  std::string hosts;
  std::string parent = "/bench";
  std::string last;
  std::size_t count = 2'000;
  std::size_t bytes = 200;
  std::size_t in_flight = 1;
  std::size_t per_multi = 0;
  std::size_t sessions = 200;
  double seconds = 60;
  double rate = 50;
  int timeout_ms = 10'000;
};

constexpr std::chrono::milliseconds kGlance{1};

double now_s() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

void make_parents(Session& session, const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    session.make_parent(path.substr(0, end));
  }
  session.make_parent(path);
}

// Creates on one session, as fast as told.
void run_rate(const Options& options) {
  Session session(options.hosts, options.timeout_ms);
  session.wait_connected();
  make_parents(session, options.parent);
  session.create(options.parent, "warm-", 64, options.bytes, 8, 0);
  const double began = now_s();
  session.create(options.parent, "n-", options.count, options.bytes, options.in_flight, options.per_multi);
  const double took = now_s() - began;
  std::printf("{\"count\":%zu,\"seconds\":%.4f,\"rate\":%.1f}\n", options.count, took,
              static_cast<double>(options.count) / took);
}

// From the servers' being away: when does this client's first create succeed?
void run_first(const Options& options) {
  Session session(options.hosts, options.timeout_ms);
  const double until = now_s() + options.seconds;
  while (now_s() < until) {
    session.wait_connected();
    const std::string path = options.parent + "-first-" + std::to_string(::getpid());
    if (zoo_create(session.handle(), path.c_str(), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, nullptr, 0) == ZOK) {
      std::printf("{\"at\":%.6f}\n", now_s());
      return;
    }
    std::this_thread::sleep_for(kGlance);
  }
  die("no create succeeded in time");
}

// Waits for a znode by a watch, which costs the servers nothing meanwhile, unless it stands already.
void await_made(Session& session, const std::string& path, double until) {
  std::atomic<bool> made = false;
  const auto note = [](zhandle_t*, int type, int, const char*, void* context) {
    if (type == ZOO_CREATED_EVENT) {
      auto& told = *static_cast<std::atomic<bool>*>(context);
      told = true;
      told.notify_one();
    }
  };
  Stat stat{};
  while (zoo_wexists(session.handle(), path.c_str(), note, &made, &stat) == ZNONODE && now_s() < until) {
    made.wait(false);
  }
}

// When do so many children stand under `parent`, of which `last` comes at the end? And when did the session that looks
// on begin?
void run_children(const Options& options) {
  Session session(options.hosts, options.timeout_ms);
  session.wait_connected();
  const double connected = now_s();
  const double until = connected + options.seconds;
  double first = 0;
  Stat stat{};
  while (now_s() < until) {
    if (zoo_exists(session.handle(), options.parent.c_str(), 0, &stat) == ZOK && stat.numChildren > 0) {
      if (first == 0) {
        first = now_s();
        await_made(session, options.parent + "/" + options.last, until);
        continue;
      }
      if (static_cast<std::size_t>(stat.numChildren) >= options.count) {
        std::printf("{\"connected\":%.6f,\"first\":%.6f,\"at\":%.6f}\n", connected, first, now_s());
        return;
      }
    }
    std::this_thread::sleep_for(kGlance);
  }
  die("only " + std::to_string(stat.numChildren) + " of " + std::to_string(options.count) + " came under " +
      options.parent + " in time");
}

volatile std::sig_atomic_t stopped = 0;

// Another client's writes meanwhile, at a steady rate, until SIGTERM: how long does each take?
void run_bystander(const Options& options) {
  std::signal(SIGTERM, [](int) { stopped = 1; });
  Session session(options.hosts, options.timeout_ms);
  session.wait_connected();
  const std::string path = options.parent + "-bystander";
  session.make_parent(path);
  std::printf("{\"ready\":true}\n");
  std::fflush(stdout);
  Samples samples;
  const auto gap = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / options.rate));
  const double until = now_s() + options.seconds;
  for (auto due = Clock::now(); stopped == 0 && now_s() < until; due += gap) {
    std::this_thread::sleep_until(due);
    const auto before = std::min(due, Clock::now());
    if (zoo_set(session.handle(), path.c_str(), "x", 1, -1) == ZOK) {
      samples.add(Clock::now() - before);
    }
  }
  std::printf("{\"requests\":%zu,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n", samples.size(),
              samples.percentile(0.5), samples.percentile(0.9), samples.percentile(0.99), samples.percentile(1));
}

// So many hosts at once, each with a session of its own and so many znodes to create.
void run_herd(const Options& options) {
  std::vector<std::unique_ptr<Session>> hosts;
  for (std::size_t i = 0; i < options.sessions; ++i) {
    hosts.push_back(std::make_unique<Session>(options.hosts, options.timeout_ms));
  }
  for (const auto& host : hosts) {
    host->wait_connected();
  }
  make_parents(*hosts.front(), options.parent);
  const double began = now_s();
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    threads.emplace_back([&, i] {
      hosts[i]->create(options.parent, std::to_string(i) + "-", options.count, options.bytes, options.in_flight,
                       options.per_multi);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const double took = now_s() - began;
  std::printf("{\"hosts\":%zu,\"each\":%zu,\"seconds\":%.4f}\n", options.sessions, options.count, took);
  std::fflush(stdout);
  std::_Exit(0);  // closing so many sessions one after the other takes longer than all the rest
}

void run(const CLI::App& app, const Options& options) {
  const std::string name = app.get_subcommands().front()->get_name();
  if (name == "rate") {
    run_rate(options);
  } else if (name == "first") {
    run_first(options);
  } else if (name == "children") {
    run_children(options);
  } else if (name == "bystander") {
    run_bystander(options);
  } else {
    run_herd(options);
  }
}

}  // namespace
}  // namespace limpet::bench

int main(int argc, char** argv) {
  limpet::bench::Options options;
  CLI::App app("ZooKeeper's own C client, measured; prints JSON.");
  app.require_subcommand(1);
  app.add_option("--hosts", options.hosts)->required();
  app.add_option("--parent", options.parent);
  app.add_option("--count", options.count, "znodes; of children: to wait for; of herd: each host's");
  app.add_option("--last", options.last, "of children: the name of the one that comes at the end");
  app.add_option("--bytes", options.bytes, "of each znode");
  app.add_option("--in-flight", options.in_flight, "requests");
  app.add_option("--per-multi", options.per_multi, "creates in one multi; 0: single creates");
  app.add_option("--sessions", options.sessions, "of herd");
  app.add_option("--seconds", options.seconds, "until it gives up, or ends");
  app.add_option("--rate", options.rate, "of bystander, requests per second");
  app.add_option("--session-timeout-ms", options.timeout_ms);
  app.add_subcommand("rate", "creates on one session");
  app.add_subcommand("first", "waits for the servers, and says when the first create succeeded");
  app.add_subcommand("children", "says when so many children stand under --parent");
  app.add_subcommand("bystander", "writes at a steady rate until SIGTERM, and says how long that took");
  app.add_subcommand("herd", "many sessions create at once");
  CLI11_PARSE(app, argc, argv);
  limpet::bench::run(app, options);
  return 0;
}
