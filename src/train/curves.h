// The curves of a run, from its metrics.jsonl.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "train/svg_plot.h"

namespace raison {

// Panels of what its kind is judged by: loss, or reward, length, signal and entropy. Beside a curve that jumps stands its mean over the last tenth
// of the steps. Lines that can't be read (the last of a run that was killed) are passed over. Error: no file, or none with a step.
Result<std::vector<PlotPanel>> run_curves(const std::string& metrics_path);

}  // namespace raison
