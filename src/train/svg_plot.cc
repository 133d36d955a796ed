#include "train/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace raison {
namespace {

constexpr double kWidth = 460, kHeight = 340, kLeft = 62, kRight = 16, kTop = 40, kBottom = 52;
constexpr double kLegendRow = 18;
constexpr int kMostTicks = 20;  // whatever the numbers are
// Okabe and Ito's colours, told apart by people who see few.
constexpr const char* kColours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888"};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// 1, 2 or 5 times a power of ten, so that about `count` steps cover the span.
double round_step(double span, int count) {
  const double raw = span / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double m : {1.0, 2.0, 5.0})
    if (raw <= m * power) return m * power;
  return 10 * power;
}

class PanelDrawing {
 public:
  PanelDrawing(const PlotPanel& panel, double x0) : p_(panel), x0_(x0) {
    bool any = false;
    for (const PlotSeries& s : p_.series)
      for (const PlotPoint& q : s.points) {
        if (!usable(q)) continue;
        low_ = any ? std::min(low_, place(q.x)) : place(q.x);
        high_ = any ? std::max(high_, place(q.x)) : place(q.x);
        any = true;
      }
    if (!(high_ > low_)) low_ -= 0.5, high_ += 0.5;
  }

  std::string draw() {
    axes();
    for (size_t i = 0; i < p_.series.size(); ++i) series(p_.series[i], kColours[i % std::size(kColours)], i);
    return std::move(out_);
  }

 private:
  double place(double x) const { return p_.log_x ? std::log2(x) : x; }
  bool usable(const PlotPoint& q) const { return std::isfinite(q.x) && std::isfinite(q.y) && (!p_.log_x || q.x > 0); }
  double px(double x) const { return x0_ + kLeft + (place(x) - low_) / (high_ - low_) * (kWidth - kLeft - kRight); }
  double py(double y) const {
    const double t = (std::clamp(y, p_.y_low, p_.y_high) - p_.y_low) / (p_.y_high - p_.y_low);
    return kTop + (1 - t) * (kHeight - kTop - kBottom);
  }
  void text(double x, double y, const char* anchor, const std::string& what, const char* extra = "") {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, extra, escaped(what));
  }
  void line(double x1, double y1, double x2, double y2, const char* kind) {
    out_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2, y2, kind);
  }

  void axes() {
    const double right = x0_ + kWidth - kRight, bottom = kHeight - kBottom;
    text(x0_ + kLeft, 22, "start", p_.title, " class=\"title\"");
    const double step = round_step(p_.y_high - p_.y_low, 5);
    for (int i = 0; i <= kMostTicks && p_.y_low + i * step <= p_.y_high + step / 1e6; ++i) {
      const double y = p_.y_low + i * step;
      line(x0_ + kLeft, py(y), right, py(y), "grid");
      text(x0_ + kLeft - 6, py(y) + 4, "end", p_.y_percent ? fmt::format("{:.0f} %", 100 * y) : fmt::format("{:g}", y));
    }
    x_marks(bottom);
    line(x0_ + kLeft, bottom, right, bottom, "axis");
    text((x0_ + kLeft + right) / 2, kHeight - 14, "middle", p_.x_label);
    out_ += fmt::format("<text transform=\"translate({:.1f},{:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n", x0_ + 14,
                        (kTop + bottom) / 2, escaped(p_.y_label));
  }

  void x_mark(double x, double bottom) {
    line(px(x), bottom, px(x), bottom + 4, "axis");
    text(px(x), bottom + 17, "middle", fmt::format("{:g}", x));
  }
  void x_marks(double bottom) {
    if (p_.log_x) {
      const int first = static_cast<int>(std::ceil(low_ - 1e-9)), last = static_cast<int>(std::floor(high_ + 1e-9));
      const int step = std::max(1, (last - first) / 8);
      for (int e = first; e <= last; e += step) x_mark(std::ldexp(1.0, e), bottom);
      return;
    }
    const double step = round_step(high_ - low_, 6);
    const double begin = std::ceil(low_ / step - 1e-9) * step;
    for (int i = 0; i <= kMostTicks && begin + i * step <= high_ + step / 1e6; ++i) x_mark(begin + i * step, bottom);
  }

  void series(const PlotSeries& s, const char* colour, size_t index) {
    std::string path;
    out_ += fmt::format("<g stroke=\"{0}\" fill=\"{0}\">\n", colour);
    for (const PlotPoint& q : s.points) {
      if (!usable(q)) continue;
      if (q.low < q.high)
        out_ += fmt::format("<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke-opacity=\"0.45\"/>\n",
                            px(q.x), py(q.low), py(q.high));
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "M" : " L", px(q.x), py(q.y));
      out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{}: {:g}, {:.4g}</title></circle>\n", px(q.x),
                          py(q.y), escaped(s.label), q.x, q.y);
    }
    if (!path.empty()) out_ += fmt::format("<path d=\"{}\" fill=\"none\" stroke-width=\"2\"/>\n", path);
    const double y = kHeight + 4 + kLegendRow * static_cast<double>(index);
    out_ += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"14\" height=\"4\" stroke=\"none\"/>\n</g>\n", x0_ + kLeft, y);
    text(x0_ + kLeft + 20, y + 6, "start", s.label);
  }

  const PlotPanel& p_;
  double x0_, low_ = 0, high_ = 0;  // in places
  std::string out_;
};

}  // namespace

std::string svg_plot(const std::vector<PlotPanel>& panels) {
  size_t most = 0;
  for (const PlotPanel& p : panels) most = std::max(most, p.series.size());
  const double width = kWidth * static_cast<double>(panels.size()),
               height = kHeight + 10 + kLegendRow * static_cast<double>(most);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<style>svg{{background:#fff}} text{{fill:#222}} .title{{font-size:14px;font-weight:bold}} .grid{{stroke:#ddd}} "
      ".axis{{stroke:#444}}\n@media (prefers-color-scheme: dark){{svg{{background:#181818}} text{{fill:#ddd}} "
      ".grid{{stroke:#383838}} "
      ".axis{{stroke:#aaa}}}}</style>\n",
      width, height);
  for (size_t i = 0; i < panels.size(); ++i) out += PanelDrawing(panels[i], kWidth * static_cast<double>(i)).draw();
  return out + "</svg>\n";
}

}  // namespace raison
