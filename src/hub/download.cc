#include "hub/download.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <memory>

#include "hub/file_lock.h"
#include "hub/hash_check.h"
#include "hub/partial_blob.h"

namespace raison {
namespace {
using Clock = std::chrono::steady_clock;
using Range = RangeSet::Range;

// One file on its way: Waiting (its lock not yet taken), Active, Checking (its hash), Done.
struct FileState {
  enum class Stage { Waiting, Active, Checking, Done };
  const DownloadJob* job = nullptr;
  Stage stage = Stage::Waiting;
  std::unique_ptr<FileLock> lock;
  std::unique_ptr<PartialBlob> blob;
  std::unique_ptr<HashCheck> check;
  std::deque<Range> pending;
  int transfers = 0;
  bool ranges_proven = false;  // a range was answered as one; until then one part is asked for at a time
  bool no_ranges = false;      // the server gives whole files only
  int failures = 0;            // in a row without a new byte
  int64_t bytes_at_failure = 0;
  Clock::time_point next_try = Clock::now();
  bool told_waiting = false;

  int64_t size() const { return job->file.size; }
  int64_t bytes() const { return stage == Stage::Done ? size() : blob ? blob->have().total() : 0; }
};

class Downloader;

// One request for [at, end) of a file.
struct Transfer {
  Downloader* owner = nullptr;
  FileState* file = nullptr;
  std::unique_ptr<HubRequest> request;
  int64_t begin = 0, at = 0, end = 0;
  bool ranged = false;
  bool accepted = false;       // its head was looked at and is good
  bool restart_whole = false;  // a range was answered with the whole file
  std::optional<Error> fault;  // found while receiving
};

class Downloader {
 public:
  Downloader(const std::string& repo, const std::vector<DownloadJob>& jobs, const HubSettings& settings,
             const TransferLimits& limits, const DownloadEvents& events)
      : repo_(repo), settings_(settings), limits_(limits), events_(events), files_(jobs.size()) {
    for (size_t i = 0; i < jobs.size(); ++i) files_[i].job = &jobs[i];
  }
  ~Downloader() {
    for (auto& t : transfers_) curl_multi_remove_handle(multi_, t->request->handle());
    transfers_.clear();
    if (multi_) curl_multi_cleanup(multi_);
  }
  Downloader(const Downloader&) = delete;
  Downloader& operator=(const Downloader&) = delete;

  Result<bool> run();

 private:
  Result<bool> loop();
  Status begin_file(FileState& file);
  void queue_gaps(FileState& file);
  Status start_transfers();
  Status start_transfer(FileState& file);
  bool accept(Transfer& t);
  static size_t on_body(char* data, size_t size, size_t count, void* transfer);
  size_t receive(Transfer& t, const char* data, size_t bytes);
  Status collect_ended();
  Status end_transfer(Transfer& t, CURLcode code);
  Status retry_later(FileState& file, const HubOutcome& outcome);
  void fetch_whole(FileState& file);
  Status finish_checked(FileState& file);
  Status save_all();
  void report(bool now);
  Error disk_error(const FileState& file, const Status& status, int error_number) const;
  std::string name_of(const FileState& file) const { return repo_ + ": " + file.job->file.path; }

  const std::string& repo_;
  const HubSettings& settings_;
  const TransferLimits& limits_;
  const DownloadEvents& events_;
  std::deque<FileState> files_;
  std::vector<std::unique_ptr<Transfer>> transfers_;
  CURLM* multi_ = nullptr;
  Clock::time_point last_save_ = Clock::now(), last_report_ = {};
};

Error Downloader::disk_error(const FileState& file, const Status& status, int error_number) const {
  if (!is_disk_full(error_number)) return status.error();
  const int64_t left = file.size() - (file.blob ? file.blob->have().total() : 0);
  return error("{}: the disk is full: {} needs {} more; free some, and the same command goes on from here",
               file.job->blob_path.substr(0, file.job->blob_path.rfind("/blobs/")), file.job->file.path, short_bytes(left));
}

// Takes the lock and looks at what is there.
Status Downloader::begin_file(FileState& file) {
  const DownloadJob& job = *file.job;
  RAISON_ASSIGN(file.lock, FileLock::try_take(job.lock_path));
  if (!file.lock) {
    file.next_try = Clock::now() + std::chrono::milliseconds(200);
    if (!file.told_waiting && events_.notice) events_.notice("waiting: another program is downloading " + job.file.path);
    file.told_waiting = true;
    return {};
  }
  struct stat st = {};
  if (::stat(job.blob_path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && st.st_size == job.file.size) {
    file.lock.reset();  // whoever held it has brought it
    file.stage = FileState::Stage::Done;
    return {};
  }
  errno = 0;
  auto blob = PartialBlob::open(job.blob_path, job.file.size);
  if (!blob.ok()) return disk_error(file, blob.error(), errno);
  file.blob = std::move(blob).value();
  file.stage = FileState::Stage::Active;
  queue_gaps(file);
  return {};
}

// What is missing, cut into parts.
void Downloader::queue_gaps(FileState& file) {
  file.pending.clear();
  if (file.no_ranges) {
    if (!file.blob->whole()) file.pending.push_back({0, file.size()});
    return;
  }
  const bool parts = file.size() >= limits_.parallel_from;
  const int64_t most = parts ? std::clamp(file.size() / 16, limits_.min_part, limits_.max_part) : file.size();
  for (const Range& gap : file.blob->have().gaps(file.size()))
    for (int64_t at = gap.begin; at < gap.end; at += most) file.pending.push_back({at, std::min(at + most, gap.end)});
}

Status Downloader::start_transfers() {
  int active_files = 0;
  for (FileState& file : files_) {
    if (static_cast<int>(transfers_.size()) >= limits_.connections) return {};
    if (file.stage == FileState::Stage::Waiting && active_files < limits_.connections && Clock::now() >= file.next_try)
      RAISON_RETURN_IF_ERROR(begin_file(file));
    if (file.stage != FileState::Stage::Active) continue;
    ++active_files;
    if (file.pending.empty() && file.transfers == 0) {
      RAISON_RETURN_IF_ERROR(file.blob->save());
      file.check = std::make_unique<HashCheck>(file.blob->data_path(), file.job->file);
      file.stage = FileState::Stage::Checking;
      continue;
    }
    while (!file.pending.empty() && static_cast<int>(transfers_.size()) < limits_.connections &&
           Clock::now() >= file.next_try && (file.ranges_proven || file.transfers == 0))
      RAISON_RETURN_IF_ERROR(start_transfer(file));
  }
  return {};
}

Status Downloader::start_transfer(FileState& file) {
  auto t = std::make_unique<Transfer>();
  t->owner = this;
  t->file = &file;
  t->request = HubRequest::create(file.job->url, settings_, limits_);
  if (!t->request) return error("libcurl gives no handle: out of memory?");
  t->begin = t->at = file.pending.front().begin;
  t->end = file.pending.front().end;
  t->ranged = t->begin > 0 || t->end < file.size();
  CURL* curl = t->request->handle();
  if (t->ranged) curl_easy_setopt(curl, CURLOPT_RANGE, fmt::format("{}-{}", t->begin, t->end - 1).c_str());
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 262144L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Downloader::on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, t.get());
  curl_easy_setopt(curl, CURLOPT_PRIVATE, t.get());
  if (curl_multi_add_handle(multi_, curl) != CURLM_OK) return error("libcurl takes no more transfers: out of memory?");
  file.pending.pop_front();
  ++file.transfers;
  transfers_.push_back(std::move(t));
  return {};
}

// Looks at the head of an answer with content. False: not to be received.
bool Downloader::accept(Transfer& t) {
  long status = 0;
  curl_off_t length = -1;
  curl_easy_getinfo(t.request->handle(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(t.request->handle(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  FileState& file = *t.file;
  const AnswerHead& head = t.request->head();
  const int64_t given = status == 206 ? head.range_total : length;
  if (given >= 0 && given != file.size()) {
    t.fault = error("{} comes with {} bytes, but the hub announced {}; try again later", name_of(file), given, file.size());
    return false;
  }
  if (status == 206) {
    if (!t.ranged || head.range_begin != t.begin || head.range_end > t.end) {
      t.fault = error("{}: the server answers another range than it was asked for; try again later", name_of(file));
      return false;
    }
    t.end = head.range_end;  // a server may give less; the rest is asked for anew
    file.ranges_proven = true;
  } else if (t.ranged) {
    // The whole file. If this is its first part, and no other is under way, let it bring all.
    if (t.begin > 0 || file.transfers > 1) {
      t.restart_whole = true;
      return false;
    }
    file.no_ranges = true;
    file.pending.clear();
    t.end = file.size();
  }
  return true;
}

size_t Downloader::on_body(char* data, size_t size, size_t count, void* transfer) {
  auto& t = *static_cast<Transfer*>(transfer);
  return t.owner->receive(t, data, size * count);
}

// Returns `bytes`; anything else ends the transfer.
size_t Downloader::receive(Transfer& t, const char* data, size_t bytes) {
  if (!t.accepted) {
    long status = 0;
    curl_easy_getinfo(t.request->handle(), CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206) return bytes;  // a page for people
    if (!accept(t)) return 0;
    t.accepted = true;
  }
  if (static_cast<int64_t>(bytes) > t.end - t.at) {
    t.fault = error("{}: more bytes come than the hub announced ({}); try again later", name_of(*t.file), t.file->size());
    return 0;
  }
  errno = 0;
  if (const Status written = t.file->blob->write(t.at, data, bytes); !written.ok()) {
    t.fault = disk_error(*t.file, written, errno);
    return 0;
  }
  t.at += static_cast<int64_t>(bytes);
  return bytes;
}

Status Downloader::collect_ended() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    CURL* handle = message->easy_handle;
    const auto it = std::find_if(transfers_.begin(), transfers_.end(),
                                 [&](const std::unique_ptr<Transfer>& t) { return t->request->handle() == handle; });
    if (it == transfers_.end()) continue;
    const std::unique_ptr<Transfer> ended = std::move(*it);
    transfers_.erase(it);
    curl_multi_remove_handle(multi_, handle);
    --ended->file->transfers;
    RAISON_RETURN_IF_ERROR(end_transfer(*ended, code));
  }
  return {};
}

Status Downloader::end_transfer(Transfer& t, CURLcode code) {
  FileState& file = *t.file;
  if (t.fault) return *t.fault;
  if (t.restart_whole) {
    fetch_whole(file);
    return {};
  }
  if (t.at == t.end) return {};
  if (file.no_ranges)
    file.pending = {{0, file.size()}};
  else
    file.pending.push_front({t.at, t.end});
  HubOutcome outcome = t.request->outcome(code);
  if (outcome.ok()) outcome.code = CURLE_PARTIAL_FILE;  // it ended early, in good form
  if (is_transient(outcome)) return retry_later(file, outcome);
  return Error(failure_text(outcome, {repo_, file.job->file.path}, settings_, limits_));
}

Status Downloader::retry_later(FileState& file, const HubOutcome& outcome) {
  const int64_t bytes = file.blob->have().total();
  if (bytes > file.bytes_at_failure) file.failures = 0;
  file.bytes_at_failure = bytes;
  const std::string why = failure_text(outcome, {repo_, file.job->file.path}, settings_, limits_);
  const auto wait = wait_before_retry(outcome, file.failures, limits_);
  if (!wait || ++file.failures > limits_.retries)
    return error("{}; {} of {} are here and kept, the same command goes on from there", why, short_bytes(bytes),
                 short_bytes(file.size()));
  file.next_try = Clock::now() + std::chrono::milliseconds(*wait);
  if (*wait >= 2000 && events_.notice) events_.notice(fmt::format("{}; trying again in {} s", why, *wait / 1000));
  return {};
}

// The server gives whole files only: one request for all of it, in place of all others.
void Downloader::fetch_whole(FileState& file) {
  std::erase_if(transfers_, [&](const std::unique_ptr<Transfer>& t) {
    if (t->file != &file) return false;
    curl_multi_remove_handle(multi_, t->request->handle());
    return true;
  });
  file.transfers = 0;
  file.no_ranges = true;
  file.pending = {{0, file.size()}};
}

Status Downloader::finish_checked(FileState& file) {
  const RepoFile& wanted = file.job->file;
  RAISON_RETURN_IF_ERROR(file.check->read_status());
  if (file.check->hash() != wanted.etag() || !file.blob->whole()) {
    file.blob->discard();
    return error("{}: what came has not the {} that the hub announced ({}), so it was deleted; try again", name_of(file),
                 wanted.sha256.empty() ? "git blob id" : "SHA-256", wanted.etag());
  }
  errno = 0;
  if (const Status finished = file.blob->finish(); !finished.ok()) return disk_error(file, finished, errno);
  file.check.reset();
  file.blob.reset();
  file.lock.reset();
  file.stage = FileState::Stage::Done;
  if (events_.file_done) events_.file_done(wanted);
  return {};
}

Status Downloader::save_all() {
  last_save_ = Clock::now();
  for (FileState& file : files_) {
    if (file.stage != FileState::Stage::Active) continue;
    errno = 0;
    if (const Status saved = file.blob->save(); !saved.ok()) return disk_error(file, saved, errno);
  }
  return {};
}

void Downloader::report(bool now) {
  if (!events_.progress || (!now && Clock::now() - last_report_ < std::chrono::milliseconds(100))) return;
  last_report_ = Clock::now();
  DownloadProgress p;
  p.total_files = static_cast<int>(files_.size());
  for (const FileState& file : files_) {
    p.bytes += file.bytes();
    p.total_bytes += file.size();
    p.files += file.stage == FileState::Stage::Done;
    if (p.current.empty() && file.stage == FileState::Stage::Active) p.current = file.job->file.path;
  }
  for (const FileState& file : files_)
    if (p.current.empty() && file.stage == FileState::Stage::Checking) {
      p.current = file.job->file.path;
      p.checking = true;
    }
  events_.progress(p);
}

Result<bool> Downloader::loop() {
  while (true) {
    if (events_.stop && events_.stop()) return false;
    RAISON_RETURN_IF_ERROR(start_transfers());
    int running = 0;
    if (curl_multi_perform(multi_, &running) != CURLM_OK) return error("libcurl: the transfers cannot go on");
    RAISON_RETURN_IF_ERROR(collect_ended());
    bool checking = false, done = true;
    for (FileState& file : files_) {
      if (file.stage == FileState::Stage::Checking && file.check->ended()) RAISON_RETURN_IF_ERROR(finish_checked(file));
      checking = checking || file.stage == FileState::Stage::Checking;
      done = done && file.stage == FileState::Stage::Done;
    }
    report(done);
    if (done) return true;
    if (Clock::now() - last_save_ > std::chrono::seconds(1)) RAISON_RETURN_IF_ERROR(save_all());
    curl_multi_poll(multi_, nullptr, 0, checking ? 5 : 50, nullptr);
  }
}

Result<bool> Downloader::run() {
  RAISON_RETURN_IF_ERROR(start_curl());
  multi_ = curl_multi_init();
  if (!multi_) return error("libcurl gives no handle: out of memory?");
  const Result<bool> result = loop();
  // Whatever ended it: what has come should be there for the next run.
  const Status saved = save_all();
  if (result.ok() && !saved.ok()) return saved.error();
  return result;
}

}  // namespace

Result<bool> download_blobs(const std::string& repo, const std::vector<DownloadJob>& jobs, const HubSettings& settings,
                            const TransferLimits& limits, const DownloadEvents& events) {
  Downloader downloader(repo, jobs, settings, limits, events);
  return downloader.run();
}

}  // namespace raison
