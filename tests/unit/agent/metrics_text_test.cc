#include "agent/metrics_text.h"

#include <gtest/gtest.h>

namespace limpet {
namespace {

using std::chrono::microseconds;

TEST(MetricsText, AFamilyIsItsHelpItsTypeAndItsSamples) {
  std::string out;
  MetricsText text(out);
  text.counter("a_total", "What.");
  text.sample(std::uint64_t{18446744073709551615u});
  text.gauge("b", "Other.");
  text.sample({"state", "up"}, -1);
  text.sample({"state", "down"}, 0.25);
  EXPECT_EQ(out,
            "# HELP a_total What.\n# TYPE a_total counter\na_total 18446744073709551615\n"
            "# HELP b Other.\n# TYPE b gauge\nb{state=\"up\"} -1\nb{state=\"down\"} 0.25\n");
}

TEST(MetricsText, HelpsAndValuesOfLabelsAreEscaped) {
  std::string out;
  MetricsText text(out);
  text.gauge("a", "one\ntwo \\ \"three\"");
  text.sample({"l", "one\ntwo \\ \"three\""}, 1);
  EXPECT_EQ(out,
            "# HELP a one\\ntwo \\\\ \"three\"\n# TYPE a gauge\n"
            "a{l=\"one\\ntwo \\\\ \\\"three\\\"\"} 1\n");
}

TEST(MetricsText, NumbersHaveNoExponent) {
  std::string out;
  MetricsText text(out);
  text.gauge("a", "");
  text.sample(0.00005);
  text.sample(1795404666.12);
  text.sample(1e300);
  EXPECT_NE(out.find("a 0.00005\n"), std::string::npos) << out;
  EXPECT_NE(out.find("a 1795404666.12\n"), std::string::npos) << out;
  EXPECT_EQ(out.find('e', out.find("gauge") + 5), std::string::npos) << out;
}

TEST(Histogram, CountsIntoTheBucketWhoseBoundIsNotExceeded) {
  Histogram histogram;
  histogram.observe(microseconds(-5));
  histogram.observe(microseconds(50));
  histogram.observe(microseconds(51));
  histogram.observe(std::chrono::seconds(10));
  histogram.observe(std::chrono::seconds(11));
  const Histogram::View view = histogram.view();
  EXPECT_EQ(view.counts.front(), 2U);
  EXPECT_EQ(view.counts[1], 1U);
  EXPECT_EQ(view.counts[view.counts.size() - 2], 1U);
  EXPECT_EQ(view.counts.back(), 1U);
  EXPECT_EQ(view.sum_ns, 21'000'101'000);

  std::string out;
  MetricsText(out).histogram("h", "Times.", view);
  EXPECT_TRUE(
      out.starts_with("# HELP h Times.\n# TYPE h histogram\nh_bucket{le=\"0.00005\"} 2\n"
                      "h_bucket{le=\"0.0001\"} 3\n"))
      << out;
  EXPECT_TRUE(out.ends_with("h_bucket{le=\"10\"} 4\nh_bucket{le=\"+Inf\"} 5\nh_sum 21.000101\nh_count 5\n")) << out;
}

}  // namespace
}  // namespace limpet
