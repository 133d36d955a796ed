#include "train/sample_db.h"

#include <sqlite3.h>

namespace raison {
namespace {

constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS rollouts (step INTEGER, prompt INTEGER, sample INTEGER, question TEXT, thought TEXT, reply "
    "TEXT, "
    "answer TEXT, verdict TEXT, reason TEXT, reward REAL, advantage REAL, parts TEXT, tokens INTEGER, ended INTEGER, "
    "PRIMARY KEY (step, prompt, sample))";
constexpr const char* kInsert = "INSERT OR REPLACE INTO rollouts VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

class Statement {
 public:
  Statement(sqlite3* db, const char* sql) {
    if (sqlite3_prepare_v2(db, sql, -1, &s_, nullptr) != SQLITE_OK) s_ = nullptr;
  }
  ~Statement() { sqlite3_finalize(s_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  bool ok() const { return s_ != nullptr; }
  void bind(int64_t v) { sqlite3_bind_int64(s_, ++at_, v); }
  void bind(double v) { sqlite3_bind_double(s_, ++at_, v); }
  void bind(const std::string& v) { sqlite3_bind_text(s_, ++at_, v.data(), static_cast<int>(v.size()), SQLITE_TRANSIENT); }
  bool step() {
    const int rc = sqlite3_step(s_);
    sqlite3_reset(s_);
    at_ = 0;
    return rc == SQLITE_DONE || rc == SQLITE_ROW;
  }

 private:
  sqlite3_stmt* s_ = nullptr;
  int at_ = 0;
};

}  // namespace

Error SampleDb::fault() const {
  return error("{}: {} (it is a record for people: move it away to begin another, or set log.samples = 0)", path_,
               sqlite3_errmsg(db_));
}

Status SampleDb::run(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return fault();
  return {};
}

Result<std::unique_ptr<SampleDb>> SampleDb::open(const std::string& path, int64_t last_step) {
  sqlite3* db = nullptr;
  const int rc = sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  std::unique_ptr<SampleDb> out(new SampleDb(path, db));
  if (!db) return error("{}: out of memory", path);
  if (rc != SQLITE_OK) return out->fault();
  sqlite3_busy_timeout(db, 5000);
  // Readers may look while a run writes. A power cut may cost the last steps' rows, which is no harm: the weights are elsewhere.
  for (const char* sql : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", kTable})
    RAISON_RETURN_IF_ERROR(out->run(sql));
  Statement cut(db, "DELETE FROM rollouts WHERE step > ?");
  if (!cut.ok()) return out->fault();
  cut.bind(last_step);
  if (!cut.step()) return out->fault();
  if (Statement probe(db, kInsert); !probe.ok()) return out->fault();  // a table of other columns
  return out;
}

SampleDb::~SampleDb() { sqlite3_close(db_); }

Status SampleDb::add(const std::vector<SampleRow>& rows) {
  RAISON_RETURN_IF_ERROR(run("BEGIN"));
  bool good = true;
  {
    Statement s(db_, kInsert);
    good = s.ok();
    for (const SampleRow& r : rows) {
      if (!good) break;
      for (const int64_t v : {r.step, r.prompt, r.sample}) s.bind(v);
      for (const std::string* v : {&r.question, &r.thought, &r.reply, &r.answer, &r.verdict, &r.reason}) s.bind(*v);
      s.bind(r.reward);
      s.bind(r.advantage);
      s.bind(r.parts);
      s.bind(r.tokens);
      s.bind(static_cast<int64_t>(r.ended ? 1 : 0));
      good = s.step();
    }
  }
  if (good && run("COMMIT").ok()) return {};
  const Error why = fault();
  sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  return why;
}

}  // namespace raison
