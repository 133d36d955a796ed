// The hash of a file that has come, computed on a thread of its own while other files still come.
#pragma once
#include <atomic>
#include <string>
#include <thread>

#include "hub/repo_listing.h"

namespace raison {

class HashCheck {
 public:
  HashCheck(std::string path, const RepoFile& file);
  ~HashCheck();  // gives up if it is under way
  HashCheck(const HashCheck&) = delete;
  HashCheck& operator=(const HashCheck&) = delete;
  bool ended() const { return ended_.load(std::memory_order_acquire); }
  // After ended().
  const Status& read_status() const { return status_; }
  const std::string& hash() const { return hash_; }

 private:
  void run(const std::string& path, bool sha256, int64_t size);
  std::atomic<bool> ended_{false}, cancelled_{false};
  Status status_;
  std::string hash_;
  std::thread thread_;
};

}  // namespace raison
