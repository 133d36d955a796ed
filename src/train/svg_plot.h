// A line plot as SVG: a file that any browser shows, in a light or a dark page.
#pragma once
#include <string>
#include <vector>

namespace raison {

struct PlotPoint {
  double x, y;
  double low, high;  // of an interval around y, drawn as a bar; equal to y: none
};
struct PlotSeries {
  std::string label;
  std::vector<PlotPoint> points;  // ascending in x
};
struct PlotPanel {
  std::string title, x_label, y_label;
  bool log_x = false;  // powers of two are marked; all x must be above 0
  double y_low = 0, y_high = 1;
  bool y_percent = true;
  std::vector<PlotSeries> series;
};

// Panels side by side. What is not finite is left out.
std::string svg_plot(const std::vector<PlotPanel>& panels);

}  // namespace raison
