// A folder that appears whole or not at all: it is made beside its place and renamed.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"

namespace raison {

class AtomicFolder {
 public:
  // Makes the temporary folder, and what is missing above `path`. Error: `path` names no folder that can be made.
  static Result<std::unique_ptr<AtomicFolder>> create(const std::string& path);
  ~AtomicFolder();  // without commit(): removes the temporary folder and all in it
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  const std::string& temp() const { return temp_; }  // where to write
  // Puts it in its place; a folder that is there is replaced. At no moment is there half a folder of that name.
  Status commit();

 private:
  AtomicFolder(std::string path, std::string temp) : path_(std::move(path)), temp_(std::move(temp)) {}
  std::string path_, temp_;
  bool committed_ = false;
};

}  // namespace raison
