#include "hub/hash_check.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "hub/digest.h"

namespace raison {

HashCheck::HashCheck(std::string path, const RepoFile& file)
    : thread_([this, where = std::move(path), sha256 = !file.sha256.empty(), size = file.size] { run(where, sha256, size); }) {}

HashCheck::~HashCheck() {
  cancelled_.store(true, std::memory_order_relaxed);
  thread_.join();
}

void HashCheck::run(const std::string& path, bool sha256, int64_t size) {
  Digest digest = sha256 ? Digest::sha256() : Digest::git_blob(size);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::vector<char> buffer(size_t{1} << 20);
  ssize_t n = fd < 0 ? -1 : 0;
  while (fd >= 0 && !cancelled_.load(std::memory_order_relaxed)) {
    n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    digest.update(buffer.data(), static_cast<size_t>(n));
  }
  if (n < 0) status_ = error("{}: cannot read: {}", path, strerror(errno));
  if (fd >= 0) ::close(fd);
  hash_ = digest.hex();
  if (status_.ok() && hash_.empty()) status_ = error("{}: the crypto library computes no such hash", path);
  ended_.store(true, std::memory_order_release);
}

}  // namespace raison
