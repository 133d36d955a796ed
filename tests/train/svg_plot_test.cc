// Plots: well-formed, nothing of a label can break out, what is not finite is left out. And the interval beside each share.
#include "train/svg_plot.h"

#include <gtest/gtest.h>

#include <limits>

#include "train/eval_stats.h"

namespace raison::testing {
namespace {

size_t occurrences(const std::string& text, const std::string& what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

TEST(SvgPlot, DrawsWhatIsFinite) {
  PlotPanel p;
  p.title = "a <b> & \"c\"";
  p.log_x = true;
  p.series = {
      {"one",
       {{1, 0.1, 0.05, 0.2}, {2, 0.5, 0.5, 0.5}, {4, std::numeric_limits<double>::quiet_NaN(), 0, 0}, {0, 0.5, 0.5, 0.5}}},
      {"none", {}}};
  const std::string svg = svg_plot({p, p});
  EXPECT_EQ(occurrences(svg, "<circle"), 4u) << "two points a panel";
  EXPECT_EQ(occurrences(svg, "stroke-opacity"), 2u) << "one interval a panel";
  EXPECT_EQ(occurrences(svg, "<g "), occurrences(svg, "</g>"));
  EXPECT_EQ(occurrences(svg, "<text"), occurrences(svg, "</text>"));
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  EXPECT_NE(svg.find("a &lt;b&gt; &amp; &quot;c&quot;"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  EXPECT_EQ(svg_plot({}).rfind("<svg", 0), 0u);
}

TEST(SvgPlot, HigherIsHigher) {
  PlotPanel p;
  p.series = {{"s", {{0, 0, 0, 0}, {1, 1, 1, 1}}}};
  const std::string svg = svg_plot({p});
  const auto y_of = [&](size_t at) { return std::stod(svg.substr(svg.find("cy=\"", at) + 4)); };
  const size_t first = svg.find("<circle"), second = svg.find("<circle", first + 1);
  EXPECT_GT(y_of(first), y_of(second)) << "down is up in SVG";
}

TEST(Wilson, KnownIntervals) {
  double low = 0, high = 0;
  wilson_interval(0.5, 100, &low, &high);  // Wilson 1927: 0.4038, 0.5962
  EXPECT_NEAR(low, 0.4038, 1e-4);
  EXPECT_NEAR(high, 0.5962, 1e-4);
  wilson_interval(0, 10, &low, &high);  // 0, 0.2775
  EXPECT_EQ(low, 0);
  EXPECT_NEAR(high, 0.2775, 1e-4);
  wilson_interval(0.3, 0, &low, &high);
  EXPECT_EQ(low, 0);
  EXPECT_EQ(high, 1);
}

}  // namespace
}  // namespace raison::testing
