#include "base/arena.h"

#include <algorithm>
#include <new>

namespace raison {

Arena::~Arena() {
  for (Chunk& c : chunks_) ::operator delete(c.data, std::align_val_t(64));
}

void* Arena::allocate(size_t bytes) {
  bytes = (std::max<size_t>(bytes, 1) + 63) / 64 * 64;
  while (chunk_ < chunks_.size()) {
    if (used_ + bytes <= chunks_[chunk_].bytes) {
      void* p = static_cast<char*>(chunks_[chunk_].data) + used_;
      used_ += bytes;
      return p;
    }
    ++chunk_;
    used_ = 0;
  }
  const size_t last = chunks_.empty() ? size_t{1} << 19 : chunks_.back().bytes;
  const size_t size = std::max(bytes, std::min<size_t>(2 * last, size_t{1} << 28));
  chunks_.push_back({nullptr, 0});
  chunks_.back().data = ::operator new(size, std::align_val_t(64));
  chunks_.back().bytes = size;
  used_ = bytes;
  return chunks_.back().data;
}

void Arena::rewind(Mark mark) {
  chunk_ = mark.chunk;
  used_ = mark.used;
}

size_t Arena::reserved() const {
  size_t n = 0;
  for (const Chunk& c : chunks_) n += c.bytes;
  return n;
}

}  // namespace raison
