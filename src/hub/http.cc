#include "hub/http.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <ctime>
#include <mutex>
#include <thread>

#include "hub/model_id.h"

namespace raison {
namespace {

constexpr size_t kMostText = size_t{64} << 20;
constexpr int kMaxRedirects = 8;

struct UrlFree {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

// "host:port" of an address, "" if it is none.
std::string authority_of(const std::string& address) {
  const std::unique_ptr<CURLU, UrlFree> url(curl_url());
  if (!url || curl_url_set(url.get(), CURLUPART_URL, address.c_str(), 0) != CURLUE_OK) return "";
  char *host = nullptr, *port = nullptr;
  curl_url_get(url.get(), CURLUPART_HOST, &host, 0);
  curl_url_get(url.get(), CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
  std::string out = fmt::format("{}:{}", host ? host : "", port ? port : "");
  curl_free(host);
  curl_free(port);
  return out;
}

std::string host_part(const std::string& authority) {
  return authority.ends_with(":443") || authority.ends_with(":80") ? authority.substr(0, authority.rfind(':')) : authority;
}

// The value of header `name` (lower case) if the line is one.
std::optional<std::string_view> header_value(std::string_view line, std::string_view name) {
  if (line.size() <= name.size() || line[name.size()] != ':') return std::nullopt;
  for (size_t i = 0; i < name.size(); ++i)
    if (tolower(static_cast<unsigned char>(line[i])) != name[i]) return std::nullopt;
  line.remove_prefix(name.size() + 1);
  const size_t begin = line.find_first_not_of(" \t"), end = line.find_last_not_of(" \t\r\n");
  return begin == std::string_view::npos ? std::string_view() : line.substr(begin, end - begin + 1);
}

bool read_number(std::string_view* text, int64_t* value) {
  const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), *value);
  if (problem != std::errc() || *value < 0) return false;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return true;
}

void read_content_range(std::string_view value, AnswerHead* head) {
  int64_t first = 0, last = 0, total = -1;
  if (value.rfind("bytes ", 0) != 0) return;
  value.remove_prefix(6);
  if (!read_number(&value, &first) || value.empty() || value[0] != '-') return;
  value.remove_prefix(1);
  if (!read_number(&value, &last) || last < first || last == INT64_MAX || value.empty() || value[0] != '/') return;
  value.remove_prefix(1);
  if (value != "*" && (!read_number(&value, &total) || !value.empty())) return;
  head->range_begin = first;
  head->range_end = last + 1;
  head->range_total = total;
}

int read_retry_after(std::string_view value) {
  int64_t seconds = 0;
  std::string_view rest = value;
  if (read_number(&rest, &seconds) && rest.empty()) return static_cast<int>(std::min<int64_t>(seconds, 1 << 30));
  const time_t when = curl_getdate(std::string(value).c_str(), nullptr);
  if (when < 0) return -1;
  return static_cast<int>(std::clamp<int64_t>(when - time(nullptr), 0, 1 << 30));
}

std::string no_access_text(const HubOutcome& o, const RequestSubject& subject, const HubSettings& settings) {
  const std::string page = settings.endpoint + "/" + subject.repo;
  if (o.head.error_code == "GatedRepo" || (o.status == 403 && o.own_host)) {
    if (settings.token.empty())
      return fmt::format(
          "{}: gated: accept its licence at {}, then set HF_TOKEN to a token of your account ({}/settings/tokens)",
          subject.repo, page, settings.endpoint);
    return fmt::format("{}: gated, and the account of HF_TOKEN has no access: accept its licence at {}", subject.repo, page);
  }
  if (settings.token.empty())
    return fmt::format("{}: no such model at {}, or a private one: check the spelling, or set HF_TOKEN", subject.repo,
                       settings.endpoint);
  return fmt::format(
      "{}: {} does not accept the token of HF_TOKEN (or of the token file): make a new one at {}/settings/tokens", subject.repo,
      o.host, settings.endpoint);
}

std::string status_text(const HubOutcome& o, const RequestSubject& subject, const HubSettings& settings) {
  const std::string& repo = subject.repo;
  if (o.status == 401 || (o.status == 403 && o.own_host)) return no_access_text(o, subject, settings);
  if (o.status == 404 && o.head.error_code == "RevisionNotFound") return fmt::format("{}: has no {}", repo, subject.what);
  if (o.status == 404 && o.head.error_code == "EntryNotFound")
    return fmt::format("{}: has no {} at this commit", repo, subject.what);
  if (o.status == 404)
    return fmt::format("{}: {} not found at {} (404): check the spelling", repo, subject.what, settings.endpoint);
  if (o.status == 429)
    return fmt::format("{}: {} has had too many requests of us (429): try again {}{}", repo, o.host,
                       o.head.retry_after_s > 0 ? fmt::format("in {} s", o.head.retry_after_s) : "later",
                       settings.token.empty() ? ", or set HF_TOKEN, which is allowed more" : "");
  if (o.status >= 500) return fmt::format("{}: {} has a problem of its own ({}): try again later", repo, o.host, o.status);
  return fmt::format("{}: {}: {} answers {}", repo, subject.what, o.host, o.status);
}

std::string curl_text(const HubOutcome& o, const RequestSubject& subject, const TransferLimits& limits) {
  const std::string& repo = subject.repo;
  switch (o.code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return fmt::format("{}: cannot find the host {}: no network, or a wrong HF_ENDPOINT", repo, o.host);
    case CURLE_COULDNT_CONNECT: return fmt::format("{}: cannot connect to {}: {}", repo, o.host, o.detail);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
      return fmt::format("{}: no TLS connection to {} that can be trusted: {} (the clock, or the package ca-certificates?)",
                         repo, o.host, o.detail);
    case CURLE_OPERATION_TIMEDOUT:
      return fmt::format("{}: {} is too slow: no connection in {} s, or less than 1 KiB/s for {} s", repo, o.host,
                         limits.connect_s, limits.stall_s);
    case CURLE_TOO_MANY_REDIRECTS: return fmt::format("{}: {}: more than {} redirects", repo, subject.what, kMaxRedirects);
    case CURLE_UNSUPPORTED_PROTOCOL:
      return fmt::format("{}: {}: a redirect to an address that is not followed: {}", repo, subject.what, o.detail);
    default: return fmt::format("{}: {}: the connection to {} broke: {}", repo, subject.what, o.host, o.detail);
  }
}

struct TextSink {
  std::string text;
  bool too_long = false;
};

size_t append_text(char* data, size_t size, size_t count, void* sink) {
  auto* out = static_cast<TextSink*>(sink);
  const size_t bytes = size * count;
  if (bytes > kMostText - out->text.size()) {
    out->too_long = true;
    return 0;
  }
  out->text.append(data, bytes);
  return bytes;
}

int ask_stop(void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& asked = *static_cast<const std::function<bool()>*>(stop);
  return asked && asked() ? 1 : 0;
}

// False if stopped.
bool wait_unless_stopped(int milliseconds, const std::function<bool()>& stop) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  while (std::chrono::steady_clock::now() < until) {
    if (stop && stop()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(milliseconds, 50)));
  }
  return !(stop && stop());
}

}  // namespace

void AnswerHead::read_line(std::string_view line) {
  if (line.rfind("HTTP/", 0) == 0) *this = {};
  if (const auto range = header_value(line, "content-range")) read_content_range(*range, this);
  if (const auto wait = header_value(line, "retry-after")) retry_after_s = read_retry_after(*wait);
  if (const auto code = header_value(line, "x-error-code")) error_code = plain_text(*code, 60);
}

std::string failure_text(const HubOutcome& outcome, const RequestSubject& subject, const HubSettings& settings,
                         const TransferLimits& limits) {
  const bool answered = outcome.code == CURLE_OK || (outcome.code == CURLE_WRITE_ERROR && outcome.status >= 300);
  return answered ? status_text(outcome, subject, settings) : curl_text(outcome, subject, limits);
}

bool is_transient(const HubOutcome& o) {
  if (o.code == CURLE_OK) return o.status == 408 || o.status == 429 || o.status >= 500 || (o.status == 403 && !o.own_host);
  switch (o.code) {
    case CURLE_COULDNT_RESOLVE_HOST:  // a network that has just gone comes back
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
  }
}

std::optional<int> wait_before_retry(const HubOutcome& outcome, int attempt, const TransferLimits& limits) {
  if (outcome.code == CURLE_OK && outcome.head.retry_after_s >= 0) {
    if (outcome.head.retry_after_s > limits.max_wait_s) return std::nullopt;
    return outcome.head.retry_after_s * 1000;
  }
  return static_cast<int>(std::min<int64_t>(int64_t{limits.backoff_ms} << std::min(attempt, 20), limits.max_backoff_ms));
}

Status start_curl() {
  static std::once_flag once;
  static CURLcode code = CURLE_FAILED_INIT;
  std::call_once(once, [] { code = curl_global_init(CURL_GLOBAL_DEFAULT); });
  if (code != CURLE_OK) return error("libcurl does not start: {}", curl_easy_strerror(code));
  return {};
}

std::unique_ptr<HubRequest> HubRequest::create(const std::string& url, const HubSettings& settings,
                                               const TransferLimits& limits) {
  std::unique_ptr<HubRequest> request(new HubRequest);
  request->url_ = url;
  request->handle_.reset(curl_easy_init());
  CURL* curl = request->handle_.get();
  if (!curl) return nullptr;
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "raison/0.1");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, long{kMaxRedirects});
  const bool tls = settings.endpoint.rfind("https://", 0) == 0;
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
  // HTTP/2 would put all parts of a file on one connection.
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, long{limits.connect_s});
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1024L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, long{limits.stall_s});
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, request->detail_);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &HubRequest::on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, request.get());
  if (!settings.token.empty() && authority_of(url) == authority_of(settings.endpoint)) {
    // libcurl leaves such a header out when a redirect leads to another host, port or protocol.
    const std::string line = "Authorization: Bearer " + settings.token;
    request->headers_.reset(curl_slist_append(nullptr, line.c_str()));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, request->headers_.get());
  }
  return request;
}

size_t HubRequest::on_header(char* data, size_t size, size_t count, void* self) {
  static_cast<HubRequest*>(self)->head_.read_line({data, size * count});
  return size * count;
}

HubOutcome HubRequest::outcome(CURLcode code) const {
  HubOutcome out;
  out.code = code;
  out.detail = plain_text(*detail_ ? detail_ : curl_easy_strerror(code), 200);
  out.head = head_;
  curl_easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &out.status);
  char* effective = nullptr;
  curl_easy_getinfo(handle_.get(), CURLINFO_EFFECTIVE_URL, &effective);
  const std::string asked = authority_of(url_), answered = effective ? authority_of(effective) : asked;
  out.own_host = asked == answered;
  out.host = host_part(answered);
  return out;
}

Result<std::optional<std::string>> get_text(const std::string& url, const RequestSubject& subject, const HubSettings& settings,
                                            const TransferLimits& limits, const std::function<bool()>& stop) {
  RAISON_RETURN_IF_ERROR(start_curl());
  for (int attempt = 0;; ++attempt) {
    const auto request = HubRequest::create(url, settings, limits);
    if (!request) return error("libcurl gives no handle: out of memory?");
    TextSink sink;
    CURL* curl = request->handle();
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append_text);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, ask_stop);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, const_cast<void*>(static_cast<const void*>(&stop)));
    const HubOutcome outcome = request->outcome(curl_easy_perform(curl));
    if (outcome.ok()) return std::optional(std::move(sink.text));
    if (outcome.code == CURLE_ABORTED_BY_CALLBACK) return std::optional<std::string>();
    if (sink.too_long) return error("{}: {}: the answer is longer than 64 MiB", subject.repo, subject.what);
    // The first thing asked of a hub: without a network the answer should not take half a minute.
    const bool unreachable = outcome.code == CURLE_COULDNT_RESOLVE_HOST || outcome.code == CURLE_COULDNT_CONNECT ||
                             outcome.code == CURLE_SSL_CONNECT_ERROR || outcome.code == CURLE_OPERATION_TIMEDOUT;
    const auto wait = is_transient(outcome) ? wait_before_retry(outcome, attempt, limits) : std::nullopt;
    if (!wait || attempt >= (unreachable ? 1 : limits.retries)) return Error(failure_text(outcome, subject, settings, limits));
    if (!wait_unless_stopped(*wait, stop)) return std::optional<std::string>();
  }
}

std::string percent_encoded(std::string_view path, bool keep_slashes) {
  std::string out;
  for (char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                       c == '_' || c == '~' || (c == '/' && keep_slashes);
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
  return out;
}

}  // namespace raison
