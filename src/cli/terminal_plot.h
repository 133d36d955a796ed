// A line plot for a terminal, in braille dots: each character holds 2 x 4 of them.
#pragma once
#include <string>

#include "train/svg_plot.h"

namespace raison::cli {

// `width` characters wide, `height` rows of dots and three more for title, axis and labels. With several series the first is drawn in dots that are
// joined, the others in single dots. `unicode` false: by letters.
std::string terminal_plot(const PlotPanel& panel, int width, int height, bool unicode);

}  // namespace raison::cli
