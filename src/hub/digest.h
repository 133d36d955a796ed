// The two hashes by which a hub names files: SHA-256 of large ones (git LFS), git's blob id of the rest.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace raison {

class Digest {
 public:
  static Digest sha256();
  // SHA-1 of "blob SIZE\0" and the content: git's object id of a file.
  static Digest git_blob(int64_t size);
  void update(const void* data, size_t bytes);
  std::string hex();  // ends it; "" if the crypto library refuses this hash

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  explicit Digest(bool sha256);
  std::unique_ptr<evp_md_ctx_st, Free> context_;
  bool good_;
};

std::string sha256_hex(std::string_view bytes);
std::string git_blob_id(std::string_view bytes);

}  // namespace raison
