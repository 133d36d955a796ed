#include "cli/live_block.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>

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
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0) return size;
  if (w.ws_col > 0) size.columns = w.ws_col;
  if (w.ws_row > 0) size.rows = w.ws_row;
  return size;
}

std::vector<std::string> last_rows(std::string_view text, int columns, int most) {
  columns = std::max(columns, 2);  // a wide character fits
  // Far more than is ever shown, and little enough to break anew each time: rows break where they broke before.
  constexpr size_t kEnough = size_t{256} << 10;
  if (text.size() > kEnough) {
    size_t from = text.size() - kEnough;
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
  int width = 0, last = 0;  // last: columns of the last character
  for (size_t i = 0; i < safe.size();) {
    const Utf8Step step = utf8_step(safe, i);
    const int w = columns_of(step.code);
    if (width + w > columns) {
      while (!out.empty() && width + 1 > columns) {  // room for the ellipsis
        while ((static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) out.pop_back();
        out.pop_back();
        width -= std::max(last, 1);
      }
      return out + "…";
    }
    append_utf8(out, step.code);
    width += w;
    last = w;
    i += step.length;
  }
  return out;
}

void LiveBlock::show(const std::vector<std::string>& rows) {
  std::string out = shown_ > 0 ? fmt::format("\r\033[{}A\033[J", shown_) : "";
  for (const std::string& row : rows) out += row + "\n";
  put(out);
  shown_ = rows.size();
  last_ = std::chrono::steady_clock::now();
}

bool LiveBlock::due() const { return std::chrono::steady_clock::now() - last_ >= std::chrono::milliseconds(100); }

}  // namespace raison::cli
