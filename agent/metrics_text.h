// Writes the text format of Prometheus, version 0.0.4: a family is a name, its help and its type, and then its samples.
//
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format. Appends to a string that outlives it;
// any thread. Names of families and labels are our own words and are not escaped; helps and values of labels are.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/histogram.h"

namespace limpet {

class MetricsText {
 public:
  struct Label {
    std::string_view name;
    std::string_view value;
  };

  explicit MetricsText(std::string& out) : out_(out) {}

  // Begins a family; what follows belongs to it.
  void counter(std::string_view name, std::string_view help) { family(name, help, "counter"); }
  void gauge(std::string_view name, std::string_view help) { family(name, help, "gauge"); }
  // A whole family, in seconds.
  void histogram(std::string_view name, std::string_view help, const Histogram::View& view);

  template <typename Number>
  void sample(Number value) {
    out_ += name_;
    end_sample(value);
  }
  template <typename Number>
  void sample(Label label, Number value) {
    begin_sample("", label);
    end_sample(value);
  }

 private:
  void family(std::string_view name, std::string_view help, std::string_view type);
  void begin_sample(std::string_view suffix, Label label);

  template <typename Number>
  void end_sample(Number value) {
    out_ += ' ';
    append(value);
    out_ += '\n';
  }
  template <std::integral Number>
  void append(Number value) {
    char text[kMaxDigits];
    out_.append(text, std::to_chars(text, text + sizeof text, value).ptr);
  }
  // As short as it can be read back.
  void append(double value) {
    char text[kMaxDigits];
    out_.append(text, std::to_chars(text, text + sizeof text, value, std::chars_format::fixed).ptr);
  }

  static constexpr std::size_t kMaxDigits = 512;  // a double may have more than 300 before its point

  std::string& out_;
  std::string name_;
};

}  // namespace limpet
