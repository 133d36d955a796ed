#include "hub/partial_blob.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/file.h"

namespace raison {
namespace {

Error cannot(const char* verb, const std::string& path) {
  const int why = errno;
  Error e = error("{}: cannot {}: {}", path, verb, strerror(why));
  errno = why;
  return e;
}

bool write_all(int fd, const char* data, size_t bytes, int64_t offset) {
  while (bytes > 0) {
    const ssize_t n = offset < 0 ? ::write(fd, data, bytes) : ::pwrite(fd, data, bytes, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    data += n;
    bytes -= static_cast<size_t>(n);
    if (offset >= 0) offset += n;
  }
  return true;
}

std::string log_head(int64_t size) { return fmt::format("raison-ranges 1 {}\n", size); }

// "BEGIN END" of a range within [0, size).
bool parse_range(std::string_view line, int64_t size, RangeSet::Range* range) {
  const char* end = line.data() + line.size();
  const auto first = std::from_chars(line.data(), end, range->begin);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ' ') return false;
  const auto second = std::from_chars(first.ptr + 1, end, range->end);
  return second.ec == std::errc() && second.ptr == end && range->begin >= 0 && range->begin < range->end && range->end <= size;
}

}  // namespace

bool is_disk_full(int error_number) { return error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG; }

void RangeSet::add(int64_t begin, int64_t end) {
  if (begin >= end) return;
  // The first range that touches the new one, and the first after it that does not.
  auto first = std::lower_bound(ranges_.begin(), ranges_.end(), begin, [](const Range& r, int64_t at) { return r.end < at; });
  auto last = first;
  while (last != ranges_.end() && last->begin <= end) {
    begin = std::min(begin, last->begin);
    end = std::max(end, last->end);
    ++last;
  }
  first = ranges_.erase(first, last);
  ranges_.insert(first, {begin, end});
}

int64_t RangeSet::total() const {
  int64_t sum = 0;
  for (const Range& r : ranges_) sum += r.end - r.begin;
  return sum;
}

std::vector<RangeSet::Range> RangeSet::gaps(int64_t size) const {
  std::vector<Range> out;
  int64_t at = 0;
  for (const Range& r : ranges_) {
    if (r.begin > at) out.push_back({at, r.begin});
    at = r.end;
  }
  if (at < size) out.push_back({at, size});
  return out;
}

Result<std::unique_ptr<PartialBlob>> PartialBlob::open(const std::string& blob_path, int64_t size) {
  std::unique_ptr<PartialBlob> blob(new PartialBlob(blob_path, size));
  blob->fd_ = ::open(blob->data_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (blob->fd_ < 0) return cannot("write", blob->data_path_);
  blob->log_ = ::open(blob->log_path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (blob->log_ < 0) return cannot("write", blob->log_path_);
  if (!blob->read_log()) RAISON_RETURN_IF_ERROR(blob->begin_anew());
  return blob;
}

PartialBlob::~PartialBlob() {
  if (fd_ >= 0) ::close(fd_);
  if (log_ >= 0) ::close(log_);
}

// False if there is no log, or one that does not fit: nothing can be said about the bytes then.
bool PartialBlob::read_log() {
  have_.clear();
  const auto text = read_file(log_path_, size_t{64} << 20);
  struct stat st = {};
  const std::string head = log_head(size_);
  if (!text.ok() || text->rfind(head, 0) != 0 || ::fstat(fd_, &st) != 0) return false;
  for (size_t begin = head.size();;) {
    const size_t end = text->find('\n', begin);
    if (end == std::string::npos) {
      // The next line must not join what a break cut off.
      return begin == text->size() || ::ftruncate(log_, static_cast<off_t>(begin)) == 0;
    }
    RangeSet::Range range = {};
    if (!parse_range(std::string_view(*text).substr(begin, end - begin), size_, &range) || range.end > st.st_size) return false;
    have_.add(range.begin, range.end);
    begin = end + 1;
  }
}

Status PartialBlob::begin_anew() {
  have_.clear();
  unsaved_.clear();
  // The log first: it must never speak of bytes that have gone.
  if (::ftruncate(log_, 0) != 0) return cannot("write", log_path_);
  if (::ftruncate(fd_, 0) != 0) return cannot("write", data_path_);
  const std::string head = log_head(size_);
  if (!write_all(log_, head.data(), head.size(), -1)) return cannot("write", log_path_);
  return {};
}

Status PartialBlob::write(int64_t offset, const void* data, size_t bytes) {
  if (!write_all(fd_, static_cast<const char*>(data), bytes, offset)) return cannot("write", data_path_);
  have_.add(offset, offset + static_cast<int64_t>(bytes));
  unsaved_.add(offset, offset + static_cast<int64_t>(bytes));
  return {};
}

Status PartialBlob::save() {
  if (unsaved_.ranges().empty()) return {};
  if (::fdatasync(fd_) != 0) return cannot("write", data_path_);
  std::string lines;
  for (const auto& r : unsaved_.ranges()) lines += fmt::format("{} {}\n", r.begin, r.end);
  const off_t before = ::lseek(log_, 0, SEEK_END);
  if (!write_all(log_, lines.data(), lines.size(), -1)) {
    const Error e = cannot("write", log_path_);
    const int why = errno;
    if (before >= 0 && ::ftruncate(log_, before) != 0) return e;  // a half line is also skipped by the reader
    errno = why;
    return e;
  }
  unsaved_.clear();
  return {};
}

Status PartialBlob::finish() {
  if (::fsync(fd_) != 0) return cannot("write", data_path_);
  if (::rename(data_path_.c_str(), blob_path_.c_str()) != 0) return cannot("rename into place", blob_path_);
  ::unlink(log_path_.c_str());
  return sync_directory(blob_path_.substr(0, blob_path_.find_last_of('/')));
}

void PartialBlob::discard() {
  ::unlink(log_path_.c_str());
  ::unlink(data_path_.c_str());
}

}  // namespace raison
