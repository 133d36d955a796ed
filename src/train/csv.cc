#include "train/csv.h"

#include <vector>

#include "base/file.h"
#include "tokenizer/utf8.h"

namespace raison {
namespace {

class CsvReader {
 public:
  CsvReader(const std::string& path, std::string_view text) : path_(path), text_(text) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
  }
  int64_t line() const { return began_; }
  // Error: quotes that do not close, or that stand within a field. False: the end.
  Result<bool> next(std::vector<std::string>* row) {
    while (at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r')) line_ += text_[at_++] == '\n' ? 1 : 0;
    if (at_ >= text_.size()) return false;
    began_ = line_;
    row->assign(1, "");
    while (at_ < text_.size() && text_[at_] != '\n') {
      if (text_[at_] == ',') {
        row->emplace_back();
        ++at_;
      } else if (text_[at_] == '"' && row->back().empty()) {
        RAISON_RETURN_IF_ERROR(quoted(&row->back()));
      } else {
        row->back() += text_[at_++];
      }
    }
    if (!row->back().empty() && row->back().back() == '\r') row->back().pop_back();
    return true;
  }

 private:
  Status quoted(std::string* field) {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        *field += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        *field += text_[at_++];
      } else {
        ++at_;
        const bool over = at_ >= text_.size() || text_[at_] == ',' || text_[at_] == '\n' || text_[at_] == '\r';
        if (!over) return error("{}:{}: text behind a field in quotes", path_, line_);
        return {};
      }
    }
    return error("{}:{}: quotes that do not close", path_, began_);
  }

  const std::string& path_;
  std::string_view text_;
  size_t at_ = 0;
  int64_t line_ = 1, began_ = 1;
};

}  // namespace

Status read_csv(const std::string& path, const std::function<Status(const nlohmann::ordered_json&, int64_t)>& take) {
  RAISON_ASSIGN(const auto file, MappedFile::open(path));
  const std::string_view text(reinterpret_cast<const char*>(file->data()), file->size());
  if (!is_valid_utf8(text)) return error("{}: not valid UTF-8", path);
  CsvReader reader(path, text);
  std::vector<std::string> names, row;
  RAISON_ASSIGN(const bool any, reader.next(&names));
  for (bool more = any; more;) {
    RAISON_ASSIGN(more, reader.next(&row));
    if (!more) break;
    if (row.size() != names.size())
      return error("{}:{}: has {} fields, the heading has {}", path, reader.line(), row.size(), names.size());
    nlohmann::ordered_json record = nlohmann::ordered_json::object();
    for (size_t i = 0; i < row.size(); ++i) record[names[i]] = row[i];
    const Status taken = take(record, reader.line());
    if (!taken.ok()) return error("{}:{}: {}", path, reader.line(), taken.message());
  }
  return {};
}

}  // namespace raison
