// SampleDb: rollouts of a run for people to read, in SQLite: what was asked, thought, answered, and what it was worth.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

struct sqlite3;

namespace raison {

struct SampleRow {
  int64_t step = 0, prompt = 0, sample = 0;  // 1 ..; the prompt's number in the run; of the prompt's group
  std::string question, thought, reply, answer, verdict, reason, parts;  // parts: the rewards as a JSON object
  double reward = 0, advantage = 0;
  int64_t tokens = 0;
  bool ended = true;
};

class SampleDb {
 public:
  // The table `rollouts` of the database at `path`; rows of steps after `last_step` are removed: they will be drawn again. Error: no database, or
  // one of another program.
  static Result<std::unique_ptr<SampleDb>> open(const std::string& path, int64_t last_step);
  ~SampleDb();
  SampleDb(const SampleDb&) = delete;
  SampleDb& operator=(const SampleDb&) = delete;
  Status add(const std::vector<SampleRow>& rows);  // all or none

 private:
  SampleDb(std::string path, sqlite3* db) : path_(std::move(path)), db_(db) {}
  Status run(const char* sql);
  Error fault() const;
  std::string path_;
  sqlite3* db_;
};

}  // namespace raison
