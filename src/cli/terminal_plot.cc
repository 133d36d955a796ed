#include "cli/terminal_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace raison::cli {
namespace {

// Bits of a braille pattern by row and column of its dots (Unicode 15, block 2800).
constexpr int kDots[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

class Canvas {
 public:
  Canvas(int columns, int rows) : columns_(columns), rows_(rows), cells_(static_cast<size_t>(columns * rows), 0) {}
  int dots_across() const { return columns_ * 2; }
  int dots_down() const { return rows_ * 4; }
  void set(int x, int y) {
    if (x < 0 || y < 0 || x >= dots_across() || y >= dots_down()) return;
    cells_[static_cast<size_t>(y / 4 * columns_ + x / 2)] |= kDots[y % 4][x % 2];
  }
  void line(int x0, int y0, int x1, int y1) {
    const int n = std::max({std::abs(x1 - x0), std::abs(y1 - y0), 1});
    for (int i = 0; i <= n; ++i) set(x0 + (x1 - x0) * i / n, y0 + (y1 - y0) * i / n);
  }
  std::string row(int r, bool unicode) const {
    std::string out;
    for (int c = 0; c < columns_; ++c) {
      const int bits = cells_[static_cast<size_t>(r * columns_ + c)];
      if (bits == 0) {
        out += ' ';
      } else if (!unicode) {
        out += '*';
      } else {
        const unsigned code = 0x2800u + static_cast<unsigned>(bits);
        out += static_cast<char>(0xE0 | (code >> 12));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
        out += static_cast<char>(0x80 | (code & 0x3F));
      }
    }
    return out;
  }

 private:
  int columns_, rows_;
  std::vector<int> cells_;
};

std::string tick(const PlotPanel& p, double y) {
  if (p.y_percent) return fmt::format("{:.0f} %", 100 * y);
  return std::abs(y) >= 1e5 || (y != 0 && std::abs(y) < 1e-3) ? fmt::format("{:.1e}", y) : fmt::format("{:.4g}", y);
}

}  // namespace

std::string terminal_plot(const PlotPanel& p, int width, int height, bool unicode) {
  constexpr int kMargin = 9;
  const int columns = std::max(width - kMargin - 1, 10), rows = std::max(height, 3);
  Canvas canvas(columns, rows);
  double x_low = 0, x_high = 0;
  bool any = false;
  for (const PlotSeries& s : p.series)
    for (const PlotPoint& q : s.points) {
      if (!std::isfinite(q.x)) continue;
      x_low = any ? std::min(x_low, q.x) : q.x;
      x_high = any ? std::max(x_high, q.x) : q.x;
      any = true;
    }
  if (!(x_high > x_low)) x_high = x_low + 1;
  const auto px = [&](double x) {
    return static_cast<int>(std::lround((x - x_low) / (x_high - x_low) * (canvas.dots_across() - 1)));
  };
  const auto py = [&](double y) {
    const double t = (std::clamp(y, p.y_low, p.y_high) - p.y_low) / (p.y_high - p.y_low);
    return static_cast<int>(std::lround((1 - t) * (canvas.dots_down() - 1)));
  };
  for (size_t i = 0; i < p.series.size(); ++i) {
    const PlotPoint* before = nullptr;
    for (const PlotPoint& q : p.series[i].points) {
      if (!std::isfinite(q.x) || !std::isfinite(q.y)) continue;
      canvas.set(px(q.x), py(q.y));
      if (i == 0 && before) canvas.line(px(before->x), py(before->y), px(q.x), py(q.y));
      before = &q;
    }
  }
  std::string title = p.title;
  for (size_t i = 0; i < p.series.size() && p.series.size() > 1; ++i)
    title += (i == 0 ? ": line " : ", dots ") + p.series[i].label;
  std::string out = title + (p.y_label.empty() ? "" : " (" + p.y_label + ")") + "\n";
  for (int r = 0; r < rows; ++r) {
    std::string label;
    if (r == 0) label = tick(p, p.y_high);
    if (r == rows - 1) label = tick(p, p.y_low);
    if (rows >= 5 && r == rows / 2) label = tick(p, (p.y_high + p.y_low) / 2);
    out += fmt::format("{:>{}} {}{}\n", label, kMargin - 2, unicode ? "│" : "|", canvas.row(r, unicode));
  }
  const std::string first = fmt::format("{:g}", x_low), last = fmt::format("{} {:g}", p.x_label, x_high);
  const int gap = std::max(columns - static_cast<int>(first.size() + last.size()), 1);
  return out + std::string(kMargin, ' ') + first + std::string(static_cast<size_t>(gap), ' ') + last + "\n";
}

}  // namespace raison::cli
