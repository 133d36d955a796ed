// HTTP by libcurl: what every request to a hub has in common, one whole answer, and what failures mean in words.
#pragma once
#include <curl/curl.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "hub/settings.h"

namespace raison {

// How patient the client is. Tests make it hurry.
struct TransferLimits {
  int connections = 4;                        // at once
  int64_t parallel_from = int64_t{64} << 20;  // files of this size are fetched in parts
  int64_t min_part = int64_t{16} << 20, max_part = int64_t{256} << 20;
  int retries = 5;                                // after failures in a row without a new byte
  int backoff_ms = 1000, max_backoff_ms = 30000;  // doubled each time
  int max_wait_s = 120;                           // the longest Retry-After that is waited for
  int connect_s = 15, stall_s = 30;               // no connection; less than 1 KiB/s for so long
};

// What the head of an answer says that we need.
struct AnswerHead {
  int64_t range_begin = -1, range_end = -1, range_total = -1;  // Content-Range, end exclusive; total -1 if '*'
  int retry_after_s = -1;                                      // Retry-After (seconds, or a date), -1 if not given
  std::string error_code;                                      // X-Error-Code, e.g. GatedRepo
  void read_line(std::string_view line);                       // a status line begins anew: only the last answer counts
};

// One request that ended: by an answer, or before one came.
struct HubOutcome {
  CURLcode code = CURLE_OK;
  std::string detail;    // curl's words
  long status = 0;       // of the last answer
  std::string host;      // that gave it, or did not
  bool own_host = true;  // the endpoint's; false after a redirect elsewhere
  AnswerHead head;
  bool ok() const { return code == CURLE_OK && (status == 200 || status == 206); }
};

struct RequestSubject {
  std::string repo;  // ORG/NAME
  std::string what;  // what was asked for: "revision main", or a file
};

// One line: what, where, what to do.
std::string failure_text(const HubOutcome& outcome, const RequestSubject& subject, const HubSettings& settings,
                         const TransferLimits& limits);
// Worth another try: cut connections, timeouts, 408, 429, 5xx, and 403 by a host that a redirect led to (its signed address has
// expired, the next try gets a new one).
bool is_transient(const HubOutcome& outcome);
// Milliseconds to wait before retry number `attempt` (from 0); nothing if the hub asks for more patience than we have.
std::optional<int> wait_before_retry(const HubOutcome& outcome, int attempt, const TransferLimits& limits);

// libcurl's own state; made once, thread-safe.
Status start_curl();

struct CurlFree {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

// A request of ours: redirects followed (never from https to http), the token for the endpoint's host alone.
class HubRequest {
 public:
  // Null if libcurl gives no handle.
  static std::unique_ptr<HubRequest> create(const std::string& url, const HubSettings& settings, const TransferLimits& limits);
  CURL* handle() const { return handle_.get(); }
  AnswerHead& head() { return head_; }
  // After the transfer.
  HubOutcome outcome(CURLcode code) const;

 private:
  HubRequest() = default;
  static size_t on_header(char* data, size_t size, size_t count, void* self);
  std::unique_ptr<CURL, CurlFree> handle_;
  std::unique_ptr<curl_slist, CurlFree> headers_;
  AnswerHead head_;
  std::string url_;
  char detail_[CURL_ERROR_SIZE] = {};
};

// GET into memory (at most 64 MiB), with retries. `stop` is asked several times a second; an empty result is its doing.
Result<std::optional<std::string>> get_text(const std::string& url, const RequestSubject& subject, const HubSettings& settings,
                                            const TransferLimits& limits, const std::function<bool()>& stop);

// PATH with everything but letters, digits and "-._~" (and '/', if kept) as %XX.
std::string percent_encoded(std::string_view path, bool keep_slashes);

}  // namespace raison
