#include "cli/live_block.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdio>

#include "base/result.h"
#include "cli/console.h"
#include "tokenizer/utf8.h"

namespace raison::cli {
namespace {

int columns_of(char32_t code) { return std::max(0, utf8proc_charwidth(static_cast<utf8proc_int32_t>(code))); }

// Breaks one line (without newlines) into rows.
void break_line(std::string_view line, int columns, std::vector<std::string>* rows) {
  std::string row;
  int width = 0;
  size_t space = std::string::npos;  // behind the last one in row
  for (size_t i = 0; i < line.size();) {
    const Utf8Step step = utf8_step(line, i);
    i += step.length;
    const int w = columns_of(step.code);
    if (width + w > columns) {
      std::string rest = space == std::string::npos ? "" : row.substr(space);
      row.resize(space == std::string::npos ? row.size() : space);
      rows->push_back(std::move(row));
      row = std::move(rest);
      width = 0;
      for (size_t k = 0; k < row.size();) {
        const Utf8Step s = utf8_step(row, k);
        width += columns_of(s.code);
        k += s.length;
      }
      space = std::string::npos;
    }
    append_utf8(row, step.code);
    width += w;
    if (step.code == U' ') space = row.size();
  }
  rows->push_back(std::move(row));
}

}  // namespace

TerminalSize terminal_size() {
  TerminalSize size;
  winsize w = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 && ioctl(STDERR_FILENO, TIOCGWINSZ, &w) != 0) return size;
  if (w.ws_col > 0) size.columns = w.ws_col;
  if (w.ws_row > 0) size.rows = w.ws_row;
  return size;
}

std::vector<std::string> last_rows(std::string_view text, int columns, int most) {
  columns = std::max(columns, 2);  // a wide character fits
  // More than is shown, and little enough to break anew ten times a second; begun at steps, so that rows stay where they were.
  constexpr size_t kEnough = size_t{16} << 10;
  if (text.size() > 2 * kEnough) {
    size_t from = text.size() / kEnough * kEnough - kEnough;
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xc0) == 0x80) ++from;
    text.remove_prefix(from);
  }
  std::string safe = terminal_safe(text);
  std::replace(safe.begin(), safe.end(), '\t', ' ');
  std::vector<std::string> rows;
  for (size_t at = 0; at <= safe.size();) {
    const size_t end = std::min(safe.find('\n', at), safe.size());
    break_line(std::string_view(safe).substr(at, end - at), columns, &rows);
    at = end + 1;
  }
  if (rows.size() > 1 && rows.back().empty()) rows.pop_back();  // the text ends with a newline
  if (rows.size() > static_cast<size_t>(most)) rows.erase(rows.begin(), rows.end() - most);
  return rows;
}

std::string clipped(std::string_view text, int columns) {
  std::string safe = terminal_safe(text), out;
  std::replace_if(
      safe.begin(), safe.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  int width = 0;
  size_t fits = 0;  // bytes of out that leave a column for the ellipsis
  for (size_t i = 0; i < safe.size();) {
    const Utf8Step step = utf8_step(safe, i);
    width += columns_of(step.code);
    if (width > columns) return out.substr(0, fits) + (columns > 0 ? "…" : "");
    append_utf8(out, step.code);
    if (width < columns) fits = out.size();
    i += step.length;
  }
  return out;
}

void show_progress(std::string_view line) {
  if (stderr_has_style()) fprintf(stderr, "\r\033[K%s", clipped(line, terminal_size().columns - 1).c_str());
}

void clear_progress() {
  if (stderr_has_style()) fprintf(stderr, "\r\033[K");
}

void LiveBlock::show(const std::vector<std::string>& rows, bool dim) {
  if (continued_ != times_continued()) shown_ = 0;  // others have written below them
  continued_ = times_continued();
  const TerminalSize size = terminal_size();
  const size_t most = static_cast<size_t>(std::max(size.rows - 1, 1));
  std::string out = shown_ > 0 ? fmt::format("\r\033[{}A\033[J", shown_) : "";
  shown_ = std::min(rows.size(), most);
  for (size_t i = rows.size() - shown_; i < rows.size(); ++i) {
    const std::string row = clipped(rows[i], size.columns - 1);  // in the last column some terminals would begin a new row
    out += dim ? fmt::format("\033[2m{}\033[0m\n", row) : row + "\n";
  }
  put(out);
  last_ = std::chrono::steady_clock::now();
}

bool LiveBlock::due() const { return std::chrono::steady_clock::now() - last_ >= std::chrono::milliseconds(100); }

}  // namespace raison::cli
