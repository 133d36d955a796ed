#include "hub/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

namespace raison {

void Digest::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Digest::Digest(bool sha256) : context_(EVP_MD_CTX_new()) {
  good_ = context_ && EVP_DigestInit_ex(context_.get(), sha256 ? EVP_sha256() : EVP_sha1(), nullptr) == 1;
}

Digest Digest::sha256() { return Digest(true); }

Digest Digest::git_blob(int64_t size) {
  Digest digest(false);
  const std::string head = fmt::format("blob {}", size);
  digest.update(head.c_str(), head.size() + 1);  // with its zero byte
  return digest;
}

void Digest::update(const void* data, size_t bytes) { good_ = good_ && EVP_DigestUpdate(context_.get(), data, bytes) == 1; }

std::string Digest::hex() {
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!good_ || EVP_DigestFinal_ex(context_.get(), value, &size) != 1) return "";
  good_ = false;
  std::string out;
  for (unsigned int i = 0; i < size; ++i) out += fmt::format("{:02x}", value[i]);
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  Digest digest = Digest::sha256();
  digest.update(bytes.data(), bytes.size());
  return digest.hex();
}

std::string git_blob_id(std::string_view bytes) {
  Digest digest = Digest::git_blob(static_cast<int64_t>(bytes.size()));
  digest.update(bytes.data(), bytes.size());
  return digest.hex();
}

}  // namespace raison
