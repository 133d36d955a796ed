// The verifier "http": a judge behind an address, asked by POST.
#include <curl/curl.h>

#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "verify/exchange.h"
#include "verify/factories.h"
#include "verify/option_reader.h"
#include "verify/plain_text.h"
#include "verify/subprocess.h"

namespace raison {
namespace {

struct HttpOptions {
  std::string url;
  std::vector<std::string> headers;
  double timeout = 60, backoff = 0.5;
  int64_t batch = 1, retries = 3;
};

struct CurlRelease {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

struct BoundedBody {
  std::string text;
  size_t most = 0;
  bool too_long = false;
};

size_t keep_body(char* data, size_t size, size_t count, void* to) {
  auto& body = *static_cast<BoundedBody*>(to);
  if (body.text.size() + size * count > body.most) {
    body.too_long = true;
    return 0;
  }
  body.text.append(data, size * count);
  return size * count;
}

// What became of one POST.
struct PostOutcome {
  enum Kind {
    Answered,
    Refused,  // this request, for good
    Later,    // worth another try
    Broken    // so it will be for every request
  };
  Kind kind = Refused;
  std::string body, fault;
  bool unreachable = false;  // Later: and if no try is left, so it will be for every request
};

PostOutcome outcome_of_status(long status, BoundedBody body) {
  if (status >= 200 && status < 300) return {PostOutcome::Answered, std::move(body.text), "", false};
  const std::string said = one_line(body.text, 80);
  const std::string fault = fmt::format("status {}{}{}", status, said.empty() ? "" : ": ", said);
  if (status >= 500 || status == 429 || status == 408) return {PostOutcome::Later, "", fault, false};
  if (status >= 300 && status < 400) return {PostOutcome::Broken, "", fault + " (redirects are not followed)", false};
  const bool ours = status == 400 || status == 413 || status == 422;  // about what was sent, not about who sent it where
  return {ours ? PostOutcome::Refused : PostOutcome::Broken, "", fault};
}

PostOutcome outcome_of_fault(CURLcode code, const char* detail) {
  const std::string fault = one_line(*detail ? detail : curl_easy_strerror(code), 160);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE: return {PostOutcome::Later, "", fault, false};
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST: return {PostOutcome::Later, "", fault, true};
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: return {PostOutcome::Refused, "", fault, false};
    default: return {PostOutcome::Broken, "", fault, false};
  }
}

class HttpVerifier final : public Verifier {
 public:
  explicit HttpVerifier(HttpOptions options) : options_(std::move(options)) {}
  const std::string& name() const override { return name_; }
  Status check(const Question&) const override { return {}; }
  Status prepare();
  Result<std::vector<Verdict>> judge(std::span<const Submission> submissions) override;

 private:
  PostOutcome post_once(const std::string& body);
  PostOutcome post(const std::string& body);
  Status judge_some(std::span<const Submission> some, Verdict* verdicts);
  std::string read_answers(const std::string& body, int64_t first_id, std::span<Verdict> verdicts) const;

  std::string name_ = "http";
  HttpOptions options_;
  std::mutex mutex_;  // of the handle: it keeps one connection open
  std::unique_ptr<CURL, CurlRelease> handle_;
  std::unique_ptr<curl_slist, CurlRelease> headers_;
  int64_t last_id_ = 0;
};

Status HttpVerifier::prepare() {
  static std::once_flag once;
  static CURLcode started = CURLE_FAILED_INIT;
  std::call_once(once, [] { started = curl_global_init(CURL_GLOBAL_DEFAULT); });
  handle_.reset(started == CURLE_OK ? curl_easy_init() : nullptr);
  if (!handle_) return error("http: libcurl does not start: {}", curl_easy_strerror(started));
  std::vector<std::string> lines = {"Content-Type: application/json", "Expect:"};
  lines.insert(lines.end(), options_.headers.begin(), options_.headers.end());
  for (const std::string& line : lines) {
    curl_slist* longer = curl_slist_append(headers_.get(), line.c_str());
    if (longer == nullptr) return error("http: out of memory");
    static_cast<void>(headers_.release());
    headers_.reset(longer);
  }
  return {};
}

PostOutcome HttpVerifier::post_once(const std::string& body) {
  CURL* curl = handle_.get();
  BoundedBody answer;
  answer.most = kMostExchange * static_cast<size_t>(options_.batch);
  char detail[CURL_ERROR_SIZE] = {};
  curl_easy_reset(curl);  // connections stay
  curl_easy_setopt(curl, CURLOPT_URL, options_.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "raison/0.1");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers_.get());
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout * 1000));
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  const QuietPipes quiet;  // TLS writes without MSG_NOSIGNAL
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
  if (answer.too_long) return {PostOutcome::Refused, "", fmt::format("an answer of more than {} bytes", answer.most), false};
  if (code != CURLE_OK) return outcome_of_fault(code, detail);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return outcome_of_status(status, std::move(answer));
}

PostOutcome HttpVerifier::post(const std::string& body) {
  double wait = options_.backoff;
  for (int64_t attempt = 0;; ++attempt, wait *= 2) {
    PostOutcome outcome = post_once(body);
    if (attempt == options_.retries && outcome.unreachable) outcome.kind = PostOutcome::Broken;
    if (outcome.kind != PostOutcome::Later || attempt == options_.retries) return outcome;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(wait, 30.0)));
  }
}

// "" if every verdict was read.
std::string HttpVerifier::read_answers(const std::string& body, int64_t first_id, std::span<Verdict> verdicts) const {
  const auto json = parse_exchange(body);
  if (!json.ok()) return json.message();
  const bool list = options_.batch > 1;
  if (list && (!json->is_array() || json->size() != verdicts.size()))
    return fmt::format("the answer must be a list of {}, as the question was", verdicts.size());
  std::map<int64_t, const nlohmann::json*> answers;
  if (list) {
    for (const auto& item : *json) answers[exchange_id(item)] = &item;
  } else {
    answers[first_id] = &*json;
    if (json->is_object() && json->contains("id") && exchange_id(*json) != first_id) return "answered an id that was not asked";
  }
  for (size_t i = 0; i < verdicts.size(); ++i) {
    const auto it = answers.find(first_id + static_cast<int64_t>(i));
    if (it == answers.end()) {
      verdicts[i] = failed_verdict("http: no answer has its id");
      continue;
    }
    const auto verdict = exchange_verdict(*it->second);
    verdicts[i] = verdict.ok() ? *verdict : failed_verdict("http: " + verdict.message());
  }
  return "";
}

Status HttpVerifier::judge_some(std::span<const Submission> some, Verdict* verdicts) {
  const int64_t first_id = last_id_ + 1;
  auto questions = nlohmann::json::array();
  for (const Submission& s : some) questions.push_back(exchange_request(++last_id_, s));
  const PostOutcome outcome = post(exchange_text(options_.batch > 1 ? questions : questions[0]));
  if (outcome.kind == PostOutcome::Broken) return error("http: {}: {}", one_line(options_.url, 200), outcome.fault);
  const std::string fault =
      outcome.kind == PostOutcome::Answered ? read_answers(outcome.body, first_id, {verdicts, some.size()}) : outcome.fault;
  for (size_t i = 0; i < some.size() && !fault.empty(); ++i) verdicts[i] = failed_verdict("http: " + fault);
  return {};
}

Result<std::vector<Verdict>> HttpVerifier::judge(std::span<const Submission> submissions) {
  const std::lock_guard lock(mutex_);
  std::vector<Verdict> out(submissions.size());
  const auto batch = static_cast<size_t>(options_.batch);
  for (size_t at = 0; at < out.size(); at += batch)
    RAISON_RETURN_IF_ERROR(judge_some(submissions.subspan(at, std::min(batch, out.size() - at)), out.data() + at));
  return out;
}

Status check_http_options(const HttpOptions& o) {
  const std::unique_ptr<CURLU, CurlRelease> url(curl_url());
  const bool web = o.url.rfind("http://", 0) == 0 || o.url.rfind("https://", 0) == 0;
  if (!web || !url || curl_url_set(url.get(), CURLUPART_URL, o.url.c_str(), 0) != CURLUE_OK)
    return error("http: url must be an address like http://127.0.0.1:8000/judge, not \"{}\"", one_line(o.url, 100));
  for (const std::string& header : o.headers) {
    const size_t colon = header.find(':');
    if (colon == 0 || colon == std::string::npos || header.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      return error("http: a header must be a line like \"Authorization: Bearer KEY\"");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Verifier>> make_http_verifier(const nlohmann::json& options) {
  HttpOptions o;
  OptionReader reader("http", options);
  reader.read("url", &o.url);
  reader.read("headers", &o.headers);
  reader.read("timeout", &o.timeout, 0.1, 3600);
  reader.read("retries", &o.retries, 0, 20);
  reader.read("backoff", &o.backoff, 0, 60);
  reader.read("batch", &o.batch, 1, 1024);
  RAISON_RETURN_IF_ERROR(reader.finish());
  RAISON_RETURN_IF_ERROR(check_http_options(o));
  auto verifier = std::make_unique<HttpVerifier>(std::move(o));
  RAISON_RETURN_IF_ERROR(verifier->prepare());
  return std::unique_ptr<Verifier>(std::move(verifier));
}

}  // namespace raison
