#include "agent/metrics_text.h"

namespace limpet {

namespace {

constexpr double kNsPerSecond = 1e9;
constexpr double kMicrosecondsPerSecond = 1e6;

void append_escaped_text(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '\\' || (quotes && c == '"')) {
        out += '\\';
      }
      out += c;
    }
  }
}

std::string bound_text(std::int64_t bound_us) {
  char text[32];
  const double seconds = static_cast<double>(bound_us) / kMicrosecondsPerSecond;
  return std::string(text, std::to_chars(text, text + sizeof text, seconds, std::chars_format::fixed).ptr);
}

}  // namespace

void MetricsText::family(std::string_view name, std::string_view help, std::string_view type) {
  name_ = name;
  out_ += "# HELP ";
  out_ += name;
  out_ += ' ';
  append_escaped_text(out_, help, false);
  out_ += "\n# TYPE ";
  out_ += name;
  out_ += ' ';
  out_ += type;
  out_ += '\n';
}

void MetricsText::begin_sample(std::string_view suffix, Label label) {
  out_ += name_;
  out_ += suffix;
  out_ += '{';
  out_ += label.name;
  out_ += "=\"";
  append_escaped_text(out_, label.value, true);
  out_ += "\"}";
}

void MetricsText::histogram(std::string_view name, std::string_view help, const Histogram::View& view) {
  family(name, help, "histogram");
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < view.counts.size(); ++i) {
    count += view.counts[i];
    begin_sample("_bucket", {"le", i < Histogram::kBoundsUs.size() ? bound_text(Histogram::kBoundsUs[i]) : "+Inf"});
    end_sample(count);
  }
  out_ += name_;
  out_ += "_sum";
  end_sample(static_cast<double>(view.sum_ns) / kNsPerSecond);
  out_ += name_;
  out_ += "_count";
  end_sample(count);
}

}  // namespace limpet
