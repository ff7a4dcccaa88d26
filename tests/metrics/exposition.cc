#include "tests/metrics/exposition.h"

#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <regex>
#include <sstream>

namespace limpet::test {

namespace {

const std::regex kName("[a-z_][a-z0-9_]*");

bool is_number(const std::string& text, double& value) {
  if (text == "+Inf") {
    value = std::numeric_limits<double>::infinity();
    return true;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string family_of(const std::string& sample, const std::map<std::string, Family>& families) {
  for (const char* suffix : {"_bucket", "_sum", "_count"}) {
    if (sample.ends_with(suffix)) {
      const std::string stem = sample.substr(0, sample.size() - std::string(suffix).size());
      if (const auto found = families.find(stem); found != families.end() && found->second.type == "histogram") {
        return stem;
      }
    }
  }
  return sample;
}

}  // namespace

Exposition::Exposition(const std::string& text) {
  if (text.empty() || text.back() != '\n') {
    wrong("the last line does not end");
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    read_line(line);
  }
  for (const auto& [name, family] : families_) {
    check_family(family);
  }
}

void Exposition::read_line(const std::string& line) {
  if (line.starts_with("#")) {
    read_comment(line);
  } else {
    read_sample(line);
  }
}

void Exposition::read_comment(const std::string& line) {
  static const std::regex shape("# (HELP|TYPE) ([^ ]+) (.*)");
  std::smatch parts;
  if (!std::regex_match(line, parts, shape)) {
    return wrong("neither HELP nor TYPE: " + line);
  }
  const std::string name = parts[2];
  if (!std::regex_match(name, kName)) {
    return wrong("not a name: " + name);
  }
  if (parts[1] == "HELP") {
    if (!families_.emplace(name, Family{name, parts[3], "", {}, {}}).second) {
      wrong("a second HELP: " + name);
    }
    current_ = name;
    return;
  }
  Family& family = families_[name];
  if (name != current_ || !family.type.empty() || !family.samples.empty()) {
    wrong("TYPE not right behind its HELP: " + name);
  }
  family.type = parts[3];
}

void Exposition::read_sample(const std::string& line) {
  // The name, one label at most, as we write them, and a value without a time.
  static const std::regex shape(R"re(([a-z0-9_]+)(\{([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"\})? ([^ ]+))re");
  std::smatch parts;
  double value = 0;
  if (!std::regex_match(line, parts, shape) || !is_number(parts[5], value)) {
    return wrong("not a sample: " + line);
  }
  const std::string sample = parts[1];
  if (family_of(sample, families_) != current_) {
    return wrong("outside of its family: " + line);
  }
  Family& family = families_[current_];
  if (!family.samples.emplace(std::make_pair(sample, parts[2]), value).second) {
    wrong("twice: " + line);
  }
  if (parts[2].matched) {
    family.labels[parts[3]].insert(parts[4]);
  }
}

void Exposition::check_family(const Family& family) {
  if (family.help.empty() || family.samples.empty()) {
    wrong("without help or samples: " + family.name);
  }
  if (family.labels.size() > 1) {
    wrong("not the same labels everywhere: " + family.name);
  }
  const bool total = family.name.ends_with("_total");
  if (family.type == "counter" ? !total : total) {
    wrong("a counter's name ends in _total, and no other's: " + family.name);
  }
  if (family.type == "histogram") {
    check_histogram(family);
  } else if (family.type != "counter" && family.type != "gauge") {
    wrong("type " + family.type + " of " + family.name);
  }
  for (const auto& [key, value] : family.samples) {
    if (family.type != "gauge" && !(value >= 0)) {
      wrong("less than nothing: " + key.first);
    }
  }
}

void Exposition::check_histogram(const Family& family) {
  std::map<double, double> buckets;
  for (const auto& [key, value] : family.samples) {
    if (key.first == family.name + "_bucket") {
      double bound = 0;
      if (!is_number(key.second.substr(5, key.second.size() - 7), bound)) {
        wrong("a bound that is no number: " + family.name + key.second);
      }
      buckets[bound] = value;
    }
  }
  double before = 0;
  for (const auto& [bound, count] : buckets) {
    if (count < before) {
      wrong("buckets that do not add up: " + family.name);
    }
    before = count;
  }
  const auto sum = family.samples.find({family.name + "_sum", ""});
  const auto count = family.samples.find({family.name + "_count", ""});
  if (buckets.empty() || !std::isinf(buckets.rbegin()->first) || sum == family.samples.end() ||
      count == family.samples.end() || count->second != before) {
    wrong("the last bucket is not the count: " + family.name);
  }
}

double Exposition::operator[](const std::string& series) const {
  const std::size_t brace = std::min(series.find('{'), series.size());
  const std::string sample = series.substr(0, brace);
  const auto family = families_.find(family_of(sample, families_));
  if (family != families_.end()) {
    if (const auto found = family->second.samples.find({sample, series.substr(brace)});
        found != family->second.samples.end()) {
      return found->second;
    }
  }
  ADD_FAILURE() << "there is no " << series;
  return -1;
}

std::map<std::string, double> Exposition::monotone() const {
  std::map<std::string, double> all;
  for (const auto& [name, family] : families_) {
    if (family.type != "gauge") {
      for (const auto& [key, value] : family.samples) {
        all[key.first + key.second] = value;
      }
    }
  }
  return all;
}

}  // namespace limpet::test
