// A model hub on loopback, for tests: the API, files with redirects to a second host (another port) and ranges, and every fault
// that a test asks for. A thread per connection, plain POSIX sockets.
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "hub/digest.h"

namespace raison::testing {

inline constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
inline constexpr const char* kRepo = "someone/tiny";

struct HubFile {
  std::string bytes;
  bool lfs = false;
  std::string etag() const { return lfs ? sha256_hex(bytes) : git_blob_id(bytes); }
};

struct HubRequestSeen {
  bool cdn = false;  // on the second host
  std::string path, range, authorization;
  int64_t sent = 0;  // bytes of content
};

// What the hub does wrong, or asks for. Changed only through LoopbackHub::set().
struct HubManners {
  std::string token;        // wanted in Authorization; else 401
  std::string refuse_code;  // X-Error-Code of refusals
  int api_status = 0;       // not 0: the API answers so, `api_times` times
  int api_times = 1 << 30;
  int file_status = 0;  // not 0: the CDN (or the hub, for small files) answers so
  int file_times = 1 << 30;
  std::string retry_after;
  bool redirect = true;           // LFS files: 302 to the second host
  bool ranges = true;             // else every answer is the whole file
  bool lies_about_range = false;  // answers bytes 0-N whatever was asked
  int cuts = 0;                   // so many answers of LFS files end after `cut_after` bytes
  int64_t cut_after = 0;
  bool drop_all = false;         // closes every connection without a word
  std::string corrupt;           // the content of this path has one byte changed, its hash has not
  int64_t announced_extra = 0;   // sizes in the API are larger by this
  int64_t bytes_per_second = 0;  // of a connection; 0: as fast as can be
  std::string listing;           // given: the API's answer as it stands
};

class LoopbackHub {
 public:
  LoopbackHub() {
    for (int i = 0; i < 2; ++i) listen_[i] = open_port(&port_[i]);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~LoopbackHub() {
    ending_ = true;
    acceptor_.join();
    for (std::thread& t : threads_) t.join();
    for (int fd : listen_) close(fd);
  }
  LoopbackHub(const LoopbackHub&) = delete;
  LoopbackHub& operator=(const LoopbackHub&) = delete;

  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_[0]); }
  void add(const std::string& path, std::string bytes, bool lfs = false) {
    const std::lock_guard guard(mutex_);
    files_[path] = {std::move(bytes), lfs};
  }
  const HubFile& file(const std::string& path) const { return files_.at(path); }
  void set(const std::function<void(HubManners&)>& change) {
    const std::lock_guard guard(mutex_);
    change(manners_);
  }
  std::vector<HubRequestSeen> requests() const {
    const std::lock_guard guard(mutex_);
    return requests_;
  }
  void forget_requests() {
    const std::lock_guard guard(mutex_);
    requests_.clear();
  }
  // Bytes of files.
  int64_t content_sent() const {
    int64_t sum = 0;
    for (const HubRequestSeen& r : requests()) sum += r.path.rfind("/api/", 0) == 0 ? 0 : r.sent;
    return sum;
  }

 private:
  struct Answer {
    int status = 200;
    std::string headers, body;
    int64_t cut = -1;  // of the body, after so many bytes
    int64_t bytes_per_second = 0;
    bool hang_up = false;
  };

  static int open_port(int* port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd, 64) != 0) abort();
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    *port = ntohs(address.sin_port);
    return fd;
  }

  void accept_all() {
    while (!ending_) {
      pollfd fds[2] = {{listen_[0], POLLIN, 0}, {listen_[1], POLLIN, 0}};
      poll(fds, 2, 20);
      for (int i = 0; i < 2; ++i) {
        if ((fds[i].revents & POLLIN) == 0) continue;
        const int fd = accept4(listen_[i], nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) threads_.emplace_back([this, fd, i] { serve(fd, i == 1); });
      }
    }
  }

  void serve(int fd, bool cdn) {
    std::string input;
    while (!ending_) {
      const size_t end = input.find("\r\n\r\n");
      if (end != std::string::npos) {
        const std::string head = input.substr(0, end + 2);
        input.erase(0, end + 4);
        if (!answer(fd, cdn, head)) break;
        continue;
      }
      pollfd p = {fd, POLLIN, 0};
      if (poll(&p, 1, 20) <= 0) continue;
      char buffer[8192];
      const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      input.append(buffer, static_cast<size_t>(n));
      if (input[0] != 'G') break;  // TLS, or nothing that we know
    }
    close(fd);
  }

  static std::string header(const std::string& head, const std::string& name) {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }

  // False: the connection is to be closed.
  bool answer(int fd, bool cdn, const std::string& head) {
    HubRequestSeen seen;
    seen.cdn = cdn;
    seen.path = head.substr(4, head.find(' ', 4) - 4);  // "GET PATH HTTP/1.1"
    seen.range = header(head, "Range");
    seen.authorization = header(head, "Authorization");
    Answer a;
    size_t number = 0;
    {
      const std::lock_guard guard(mutex_);
      a = decide(seen);
      number = requests_.size();
      requests_.push_back(seen);
    }
    if (a.hang_up) return false;
    const std::string text = "HTTP/1.1 " + std::to_string(a.status) +
                             " Whatever\r\nContent-Length: " + std::to_string(a.body.size()) + "\r\n" + a.headers + "\r\n";
    if (!send_all(fd, text.data(), text.size())) return false;
    const size_t size = a.cut >= 0 ? std::min(a.body.size(), static_cast<size_t>(a.cut)) : a.body.size();
    size_t sent = 0;
    while (sent < size && !ending_) {
      size_t n = std::min<size_t>(size - sent, 65536);
      if (a.bytes_per_second > 0) {
        n = std::min<size_t>(n, static_cast<size_t>(a.bytes_per_second) / 50 + 1);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      if (!send_all(fd, a.body.data() + sent, n)) break;
      sent += n;
    }
    const std::lock_guard guard(mutex_);
    if (number < requests_.size()) requests_[number].sent = static_cast<int64_t>(sent);
    return sent == a.body.size();
  }

  static bool send_all(int fd, const char* data, size_t size) {
    while (size > 0) {
      const ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
      if (n <= 0) return false;
      data += n;
      size -= static_cast<size_t>(n);
    }
    return true;
  }

  Answer refusal(int status) const {
    Answer a;
    a.status = status;
    if (!manners_.refuse_code.empty()) a.headers += "X-Error-Code: " + manners_.refuse_code + "\r\n";
    if (!manners_.retry_after.empty()) a.headers += "Retry-After: " + manners_.retry_after + "\r\n";
    a.body = "no";
    return a;
  }

  // Under the mutex.
  Answer decide(const HubRequestSeen& seen) {
    Answer a;
    a.hang_up = manners_.drop_all;
    const bool known = seen.authorization == "Bearer " + manners_.token;
    if (!seen.cdn && !manners_.token.empty() && !known) return refusal(401);
    const std::string api = "/api/models/" + std::string(kRepo) + "/revision/";
    if (seen.path.rfind(api, 0) == 0) {
      if (manners_.api_status != 0 && manners_.api_times-- > 0) return refusal(manners_.api_status);
      a.body = manners_.listing.empty() ? listing() : manners_.listing;
      return a;
    }
    const std::string resolve = "/" + std::string(kRepo) + "/resolve/" + kCommit + "/";
    const std::string prefix = seen.cdn ? "/signed/" : resolve;
    const auto it = seen.path.rfind(prefix, 0) == 0 ? files_.find(seen.path.substr(prefix.size())) : files_.end();
    if (it == files_.end()) return refusal(404);
    if (it->second.lfs && manners_.redirect && !seen.cdn) {
      a.status = 302;
      a.headers = "Location: http://127.0.0.1:" + std::to_string(port_[1]) + "/signed/" + it->first + "\r\nX-Linked-Etag: \"" +
                  it->second.etag() + "\"\r\n";
      return a;
    }
    if (manners_.file_status != 0 && it->second.lfs && manners_.file_times-- > 0) return refusal(manners_.file_status);
    give_file(it->first, it->second, seen.range, &a);
    return a;
  }

  void give_file(const std::string& path, const HubFile& file, const std::string& range, Answer* a) {
    std::string bytes = file.bytes;
    if (path == manners_.corrupt) bytes[bytes.size() / 2] ^= 1;
    long long begin = 0, last = 0;
    if (manners_.ranges && sscanf(range.c_str(), "bytes=%lld-%lld", &begin, &last) == 2) {
      if (manners_.lies_about_range) begin = 0;
      a->status = 206;
      a->headers = "Content-Range: bytes " + std::to_string(begin) + "-" + std::to_string(last) + "/" +
                   std::to_string(bytes.size()) + "\r\n";
      bytes = bytes.substr(static_cast<size_t>(begin), static_cast<size_t>(last - begin + 1));
    }
    a->body = std::move(bytes);
    if (!file.lfs) return;
    a->bytes_per_second = manners_.bytes_per_second;
    if (manners_.cuts > 0 && static_cast<int64_t>(a->body.size()) > manners_.cut_after) {
      --manners_.cuts;
      a->cut = manners_.cut_after;
    }
  }

  std::string listing() const {
    nlohmann::json siblings = nlohmann::json::array();
    for (const auto& [path, file] : files_) {
      const auto size = static_cast<int64_t>(file.bytes.size()) + manners_.announced_extra;
      nlohmann::json entry = {{"rfilename", path}, {"size", size}, {"blobId", git_blob_id(file.bytes)}};
      if (file.lfs) entry["lfs"] = {{"sha256", file.etag()}, {"size", size}, {"pointerSize", 134}};
      siblings.push_back(entry);
    }
    return nlohmann::json{{"id", kRepo}, {"sha", kCommit}, {"siblings", siblings}}.dump();
  }

  int listen_[2], port_[2] = {0, 0};
  std::atomic<bool> ending_{false};
  mutable std::mutex mutex_;
  std::map<std::string, HubFile> files_;
  HubManners manners_;
  std::vector<HubRequestSeen> requests_;
  std::thread acceptor_;
  std::vector<std::thread> threads_;  // touched by the acceptor alone, until it has ended
};

// Bytes that differ everywhere.
inline std::string noise(size_t size, uint64_t seed) {
  std::string out(size, '\0');
  uint64_t x = seed * 0x9E3779B97F4A7C15u + 1;
  for (size_t i = 0; i < size; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    out[i] = static_cast<char>(x >> 32);
  }
  return out;
}

}  // namespace raison::testing
