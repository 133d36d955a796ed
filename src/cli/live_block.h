// What a terminal shows only for a while: lines at the bottom that replace themselves. For terminals with ANSI codes alone.
#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace raison::cli {

struct TerminalSize {
  int columns = 80, rows = 24;
};
TerminalSize terminal_size();  // of stdout, else of stderr

// The last `most` rows that a text takes on a terminal of so many columns; broken at spaces where there are some. Tabs and control
// characters are taken out. `text` is UTF-8.
std::vector<std::string> last_rows(std::string_view text, int columns, int most);
// One row of at most so many columns; what is cut off is shown by an ellipsis.
std::string clipped(std::string_view text, int columns);

// What goes on, on one line of stderr that replaces itself; only on terminals with ANSI codes.
void show_progress(std::string_view line);
void clear_progress();

class LiveBlock {
 public:
  // Replaces the rows shown before by these: plain text, cut to the width, and to the last ones that the height takes; dimmed if asked for.
  // The cursor must be at the beginning of a line, where it is again afterwards.
  void show(const std::vector<std::string>& rows, bool dim = false);
  void clear() { show({}); }
  // A tenth of a second has passed since the last show(), or since the beginning: often enough for eyes, seldom enough for those who compute.
  bool due() const;

 private:
  size_t shown_ = 0;  // rows
  int continued_ = 0;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace raison::cli
