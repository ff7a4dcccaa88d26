#include "agent/cli/zk_wire.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace limpet::cli {

namespace {

constexpr std::int32_t kExists = 3;
constexpr std::int32_t kGetChildren = 8;
constexpr std::int32_t kAuth = 100;
constexpr std::int32_t kAuthXid = -4;
constexpr std::int32_t kCloseSession = -11;
constexpr std::int32_t kSessionTimeoutMs = 10'000;
constexpr std::size_t kLargestPacket = 8u << 20;
constexpr std::size_t kPipeline = 200;

// Big-endian, as all of the protocol.
template <typename T>
void put(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T) - 1) * 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> shift));
  }
}
void put_text(std::string& out, const std::string& text) {
  put(out, static_cast<std::int32_t>(text.size()));
  out += text;
}
std::string framed(const std::string& packet) {
  std::string out;
  put_text(out, packet);
  return out;
}

// Reads from the front of `bytes`; false where it is too short.
template <typename T>
bool take(std::string_view& bytes, T& value) {
  if (bytes.size() < sizeof(T)) {
    return false;
  }
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    number = (number << 8) | static_cast<unsigned char>(bytes[i]);
  }
  value = static_cast<T>(number);
  bytes.remove_prefix(sizeof(T));
  return true;
}

std::optional<std::vector<std::string>> parse_children(std::string_view bytes) {
  std::int32_t count = 0;
  if (!take(bytes, count)) {
    return std::nullopt;
  }
  std::vector<std::string> names;
  for (std::int32_t i = 0; i < count; ++i) {
    std::int32_t length = 0;
    if (!take(bytes, length) || length < 0 || bytes.size() < static_cast<std::size_t>(length)) {
      return std::nullopt;
    }
    names.emplace_back(bytes.substr(0, static_cast<std::size_t>(length)));
    bytes.remove_prefix(static_cast<std::size_t>(length));
  }
  return names;
}

std::optional<ZnodeFacts> parse_facts(std::string_view bytes) {
  constexpr std::size_t kBeforeOwner = 4 * 8 + 3 * 4;  // four times and zxids, three versions
  if (bytes.size() < kBeforeOwner) {
    return std::nullopt;
  }
  bytes.remove_prefix(kBeforeOwner);
  ZnodeFacts facts;
  std::int32_t data_length = 0;
  if (!take(bytes, facts.owner) || !take(bytes, data_length) || !take(bytes, facts.children)) {
    return std::nullopt;
  }
  return facts;
}

}  // namespace

ZkWire::~ZkWire() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

std::string ZkWire::connect() {
  fd_ = ::socket(server_.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    return std::strerror(errno);
  }
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(timeout_.count() / 1000);
  limit.tv_usec = static_cast<suseconds_t>(timeout_.count() % 1000 * 1000);
  // The kernel heeds the second in connect(), too.
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (::connect(fd_, server_.data(), static_cast<socklen_t>(server_.size())) != 0) {
    return errno == EINPROGRESS || errno == EAGAIN ? "no answer" : std::strerror(errno);
  }
  return {};
}

bool ZkWire::write(const std::string& bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t count = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) {
      return false;
    }
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

bool ZkWire::read_exactly(std::size_t count, std::string& bytes) {
  bytes.resize(count);
  for (std::size_t have = 0; have < count;) {
    const ssize_t got = ::recv(fd_, bytes.data() + have, count - have, 0);
    if (got <= 0) {
      return false;
    }
    have += static_cast<std::size_t>(got);
  }
  return true;
}

std::optional<std::string> ZkWire::read_packet() {
  std::string bytes;
  std::int32_t length = 0;
  if (!read_exactly(sizeof(length), bytes)) {
    return std::nullopt;
  }
  std::string_view view = bytes;
  if (!take(view, length) || length < 0 || static_cast<std::size_t>(length) > kLargestPacket) {
    return std::nullopt;
  }
  std::string packet;
  return read_exactly(static_cast<std::size_t>(length), packet) ? std::optional(packet) : std::nullopt;
}

std::string ZkWire::ask(const std::string& word) {
  constexpr std::size_t kEnough = 64 * 1024;
  std::string answer;
  if (!write(word)) {
    return answer;
  }
  std::array<char, 4096> chunk{};
  for (ssize_t count = 0; answer.size() < kEnough && (count = ::recv(fd_, chunk.data(), chunk.size(), 0)) > 0;) {
    answer.append(chunk.data(), static_cast<std::size_t>(count));
  }
  return answer;
}

bool ZkWire::open_session(const std::string& credentials) {
  std::string request;
  put(request, std::int32_t{0});  // the protocol's version
  put(request, std::int64_t{0});  // the last zxid seen
  put(request, kSessionTimeoutMs);
  put(request, std::int64_t{0});  // a new session
  put_text(request, std::string(16, '\0'));
  request.push_back('\0');  // not read-only
  if (!write(framed(request))) {
    return false;
  }
  const std::optional<std::string> answer = read_packet();
  std::int32_t version = 0;
  std::int32_t granted_ms = 0;
  std::string_view view = answer ? std::string_view(*answer) : std::string_view();
  if (!take(view, version) || !take(view, granted_ms) || granted_ms <= 0) {
    return false;
  }
  if (credentials.empty()) {
    return true;
  }
  std::string auth;
  put(auth, kAuthXid);
  put(auth, kAuth);
  put(auth, std::int32_t{0});
  put_text(auth, "digest");
  put_text(auth, credentials);
  return write(framed(auth)) && read_packet().has_value();
}

void ZkWire::close_session() {
  std::string request;
  put(request, std::int32_t{1});
  put(request, kCloseSession);
  if (write(framed(request))) {
    (void)read_packet();
  }
}

std::optional<std::vector<std::optional<std::string>>> ZkWire::request_all(std::int32_t type,
                                                                           const std::vector<std::string>& paths) {
  std::vector<std::optional<std::string>> answers;
  for (std::size_t from = 0; from < paths.size(); from += kPipeline) {
    const std::size_t to = std::min(paths.size(), from + kPipeline);
    std::string requests;
    for (std::size_t i = from; i < to; ++i) {
      std::string request;
      put(request, static_cast<std::int32_t>(i + 1));
      put(request, type);
      put_text(request, paths[i]);
      request.push_back('\0');  // no watch
      requests += framed(request);
    }
    if (!write(requests)) {
      return std::nullopt;
    }
    for (std::size_t i = from; i < to; ++i) {
      const std::optional<std::string> packet = read_packet();
      std::string_view view = packet ? std::string_view(*packet) : std::string_view();
      std::int32_t xid = 0;
      std::int64_t zxid = 0;
      std::int32_t error = 0;
      if (!take(view, xid) || !take(view, zxid) || !take(view, error)) {
        return std::nullopt;
      }
      answers.push_back(error == 0 ? std::optional<std::string>(view) : std::nullopt);
    }
  }
  return answers;
}

std::optional<std::vector<ZkWire::Children>> ZkWire::children(const std::vector<std::string>& paths) {
  const auto answers = request_all(kGetChildren, paths);
  if (!answers) {
    return std::nullopt;
  }
  std::vector<Children> result;
  for (const auto& answer : *answers) {
    result.push_back(answer ? parse_children(*answer) : std::nullopt);
  }
  return result;
}

std::optional<std::vector<std::optional<ZnodeFacts>>> ZkWire::facts(const std::vector<std::string>& paths) {
  const auto answers = request_all(kExists, paths);
  if (!answers) {
    return std::nullopt;
  }
  std::vector<std::optional<ZnodeFacts>> result;
  for (const auto& answer : *answers) {
    result.push_back(answer ? parse_facts(*answer) : std::nullopt);
  }
  return result;
}

}  // namespace limpet::cli
