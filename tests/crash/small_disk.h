// A small disk of the test's own: a tmpfs in a mount namespace of this process. One thread; made on the main one.
#pragma once

#include <cstdint>
#include <string>

namespace limpet::test {

class SmallDisk {
 public:
  explicit SmallDisk(std::uint64_t bytes);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // Empty, or why there is none (no right to mount).
  const std::string& why_not() const { return why_not_; }
  const std::string& path() const { return path_; }

  // Takes all room but `but` bytes, or gives it back.
  void fill(std::uint64_t but = 0);
  void empty();
  // Remounts; false where that fails.
  bool read_only(bool on);

 private:
  std::string filler() const { return path_ + "/filler"; }

  std::string path_;
  std::string why_not_;
};

}  // namespace limpet::test
