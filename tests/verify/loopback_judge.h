// A server on loopback that answers each POST as a test says. One connection after the other, plain POSIX sockets.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace raison::testing {

class LoopbackJudge {
 public:
  // Of the body of a request, the bytes of the whole answer; "" closes the connection without a word.
  using Manner = std::function<std::string(const std::string& body)>;

  explicit LoopbackJudge(Manner manner) : manner_(std::move(manner)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener_, 16) != 0) abort();
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~LoopbackJudge() {
    shutdown(listener_, SHUT_RDWR);
    shutdown(connection_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  LoopbackJudge(const LoopbackJudge&) = delete;
  LoopbackJudge& operator=(const LoopbackJudge&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/judge"; }
  int requests() const { return requests_; }
  std::string last_head() {
    const std::lock_guard lock(mutex_);
    return head_;
  }
  static std::string answer(const std::string& body, const std::string& status = "200 OK") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

 private:
  void serve() {
    while (true) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      connection_ = fd;
      while (answer_one(fd)) {}
      connection_ = -1;
      close(fd);
    }
  }
  bool answer_one(int fd) {
    std::string text;
    size_t head = std::string::npos, length = 0;
    char part[65536];
    while (head == std::string::npos || text.size() < head + 4 + length) {
      const ssize_t n = recv(fd, part, sizeof part, 0);
      if (n <= 0) return false;
      text.append(part, static_cast<size_t>(n));
      if (head != std::string::npos || (head = text.find("\r\n\r\n")) == std::string::npos) continue;
      const size_t at = text.find("Content-Length: ");
      length = at < head ? std::stoul(text.substr(at + 16)) : 0;
    }
    {
      const std::lock_guard lock(mutex_);
      head_ = text.substr(0, head);
    }
    ++requests_;
    const std::string out = manner_(text.substr(head + 4));
    for (size_t sent = 0; sent < out.size();) {
      const ssize_t n = ::send(fd, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return !out.empty();
  }
  Manner manner_;
  int listener_ = -1, port_ = 0;
  std::atomic<int> connection_{-1}, requests_{0};
  std::mutex mutex_;  // of head_
  std::string head_;
  std::thread thread_;
};

}  // namespace raison::testing
