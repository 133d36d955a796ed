// Arena: bump allocation for activations; everything is freed at once, or back to a mark.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace raison {

class Arena {
 public:
  struct Mark {
    size_t chunk = 0, used = 0;
  };
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  // 64-byte aligned, contents undefined. Throws std::bad_alloc (caught where models are called).
  void* allocate(size_t bytes);
  float* floats(int64_t n) { return static_cast<float*>(allocate(static_cast<size_t>(n) * sizeof(float))); }
  Mark mark() const { return {chunk_, used_}; }
  void rewind(Mark mark);  // what was allocated since is invalid
  void reset() { rewind({}); }
  size_t reserved() const;  // bytes held

 private:
  struct Chunk {
    void* data;
    size_t bytes;
  };
  std::vector<Chunk> chunks_;
  size_t chunk_ = 0, used_ = 0;  // next allocation goes to chunks_[chunk_] at used_
};

}  // namespace raison
