// SampleFile: samples as JSON lines, kept as they come in FILE.partial, so that a kill or a crash loses none that was drawn (the partial file
// is not synced: a power cut may); the finished file has them in order, and is there whole or not at all. One run at a time writes it.
#pragma once
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "base/result.h"

namespace raison::cli {

class SampleFile {
 public:
  using Key = std::pair<int64_t, int64_t>;  // prompt, sample
  // `settings`: all that the samples depend on. A partial file of the same settings is gone on with; one of others is an error that names
  // the first that differs. `replace`: whatever is there is begun anew.
  static Result<std::unique_ptr<SampleFile>> open(const std::string& path, const nlohmann::ordered_json& settings,
                                                  bool replace);
  ~SampleFile();
  SampleFile(const SampleFile&) = delete;
  SampleFile& operator=(const SampleFile&) = delete;
  bool has(Key key) const { return places_.count(key) > 0; }
  int64_t count() const { return static_cast<int64_t>(places_.size()); }
  Status add(Key key, const nlohmann::ordered_json& record);
  Status finish();  // writes the file in order, removes the partial one
  const std::string& partial() const { return partial_; }

 private:
  struct Place {
    uint64_t offset, bytes;
  };
  SampleFile(std::string path, std::FILE* file) : path_(std::move(path)), partial_(path_ + ".partial"), file_(file) {}
  Status load(const nlohmann::ordered_json& settings);

  std::string path_, partial_;
  std::FILE* file_;
  uint64_t size_ = 0;
  std::map<Key, Place> places_;  // of the lines in the partial file
};

}  // namespace raison::cli
