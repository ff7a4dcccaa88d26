// A directory of registrations by file, for tests.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "agent/registrations_dir.h"

namespace limpet {

class FilesTest : public ::testing::Test {
 protected:
  FilesTest() {
    char name[] = "/tmp/limpet-files-XXXXXX";
    top_ = ::mkdtemp(name);
    directory_ = top_ + "/registrations.d";
    ::mkdir(directory_.c_str(), 0755);
    ::chmod(directory_.c_str(), 0755);
  }
  ~FilesTest() override { std::filesystem::remove_all(top_); }

  const std::string& directory() const { return directory_; }
  std::string memory_file() const { return top_ + "/registrations.d.json"; }

  void write(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    std::ofstream(directory_ + "/" + name) << text;
    ASSERT_EQ(::chmod((directory_ + "/" + name).c_str(), mode), 0);
  }
  void erase(const std::string& name) const { std::filesystem::remove(directory_ + "/" + name); }
  static std::string entry(const std::string& instance, const std::string& data = "x") {
    return R"({"service":"web","instance":")" + instance + R"(","data":")" + data + R"("})";
  }
  FileRegistrations read() const { return read_registrations(directory_, ::geteuid()); }

 private:
  std::string top_;
  std::string directory_;
};

}  // namespace limpet
