// bench_floor: what the disk itself takes. Appends so many bytes and calls fdatasync, again and again, in one thread:
// no registration can be durable any sooner.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "bench/load/samples.h"

int main(int argc, char** argv) {
  using limpet::bench::Clock;
  std::string file;
  std::size_t bytes = 256;
  double seconds = 1;
  CLI::App app("Appends and fdatasyncs; prints one line of JSON.");
  app.add_option("--file", file, "made anew, and removed afterwards")->required();
  app.add_option("--bytes", bytes);
  app.add_option("--seconds", seconds);
  CLI11_PARSE(app, argc, argv);

  const int fd = ::open(file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) {
    std::fprintf(stderr, "bench_floor: cannot make %s: %s\n", file.c_str(), std::strerror(errno));
    return 1;
  }
  const std::string block(bytes, 'x');
  limpet::bench::Samples samples;
  const auto began = Clock::now();
  const auto until = began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  auto now = began;
  while (now < until) {
    const auto before = now;
    if (::write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size()) || ::fdatasync(fd) != 0) {
      std::fprintf(stderr, "bench_floor: cannot write %s: %s\n", file.c_str(), std::strerror(errno));
      return 1;
    }
    now = Clock::now();
    samples.add(now - before);
  }
  ::close(fd);
  ::unlink(file.c_str());
  const double took = std::chrono::duration<double>(now - began).count();
  std::printf(
      "{\"requests\":%zu,\"seconds\":%.4f,\"rate\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,"
      "\"max_us\":%.1f}\n",
      samples.size(), took, static_cast<double>(samples.size()) / took, samples.percentile(0.5),
      samples.percentile(0.9), samples.percentile(0.99), samples.percentile(1));
  return 0;
}
