// A blob on its way into the cache: bytes arrive in any order, and what has arrived outlives the process.
//
// blobs/ETAG.raison.incomplete holds the bytes at their places, blobs/ETAG.raison.ranges a log of the ranges that are there: a
// head line, then "BEGIN END" lines, each appended after its bytes were written out. Only finish() gives the file its name.
// (Not ETAG.incomplete: older clients take that file's size for the number of bytes that have come.)
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace raison {

// Disjoint ranges [begin, end), sorted.
class RangeSet {
 public:
  struct Range {
    int64_t begin, end;
    bool operator==(const Range&) const = default;
  };
  void add(int64_t begin, int64_t end);
  void clear() { ranges_.clear(); }
  int64_t total() const;
  const std::vector<Range>& ranges() const { return ranges_; }
  std::vector<Range> gaps(int64_t size) const;  // of [0, size)

 private:
  std::vector<Range> ranges_;
};

class PartialBlob {
 public:
  // Opens what an earlier run left, if its log fits the size, else begins anew. The caller holds the blob's lock.
  static Result<std::unique_ptr<PartialBlob>> open(const std::string& blob_path, int64_t size);
  ~PartialBlob();
  PartialBlob(const PartialBlob&) = delete;
  PartialBlob& operator=(const PartialBlob&) = delete;

  // Bytes at `offset`, within the size. On failure errno is left for is_disk_full().
  Status write(int64_t offset, const void* data, size_t bytes);
  // Writes the bytes out, then their ranges. To be called now and then; a break costs what came after the last one.
  Status save();
  const RangeSet& have() const { return have_; }
  bool whole() const { return have_.total() == size_; }
  int64_t size() const { return size_; }
  const std::string& data_path() const { return data_path_; }
  // fsync, and the name of a whole blob. Only if whole() and the hash was compared.
  Status finish();
  // Removes both files.
  void discard();

  static std::string data_path_of(const std::string& blob_path) { return blob_path + ".raison.incomplete"; }
  static std::string log_path_of(const std::string& blob_path) { return blob_path + ".raison.ranges"; }

 private:
  PartialBlob(const std::string& blob_path, int64_t size)
      : blob_path_(blob_path), data_path_(data_path_of(blob_path)), log_path_(log_path_of(blob_path)), size_(size) {}
  Status begin_anew();
  bool read_log();
  std::string blob_path_, data_path_, log_path_;
  int64_t size_;
  int fd_ = -1, log_ = -1;
  RangeSet have_, unsaved_;
};

// ENOSPC, EDQUOT and EFBIG: there is no room for more.
bool is_disk_full(int error_number);

}  // namespace raison
