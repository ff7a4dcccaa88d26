// A strict reader of Prometheus' text format, version 0.0.4, independent of the agent's writer. What the format
// forbids, or what we promise beyond it (help and type of every family, one block for each, no sample twice, consistent
// histograms), is an error that says so.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace limpet::test {

struct Family {
  std::string name;
  std::string help;
  std::string type;
  // By the sample's own name (with _bucket, _sum, _count) and its labels as they stand, "" where there are none.
  std::map<std::pair<std::string, std::string>, double> samples;
  std::map<std::string, std::set<std::string>> labels;  // name -> values
};

class Exposition {
 public:
  explicit Exposition(const std::string& text);

  const std::vector<std::string>& errors() const { return errors_; }
  const std::map<std::string, Family>& families() const { return families_; }

  // The sample written so: `limpet_checks{state="passing"}`. Missing: -1, and an error of the test.
  double operator[](const std::string& series) const;

  // What must not go down from one scrape to the next: counters, and all of histograms.
  std::map<std::string, double> monotone() const;

 private:
  void read_line(const std::string& line);
  void read_comment(const std::string& line);
  void read_sample(const std::string& line);
  void check_family(const Family& family);
  void check_histogram(const Family& family);
  void wrong(const std::string& what) { errors_.push_back(what); }

  std::map<std::string, Family> families_;
  std::string current_;  // the family that samples belong to now
  std::vector<std::string> errors_;
};

}  // namespace limpet::test
