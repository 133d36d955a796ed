// Any bytes as a model's config.json and, behind a zero byte, its generation_config.json; or as a GGUF file's metadata. Every
// architecture's reading of them, before any weight is touched.
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "memory_file.h"
#include "models/model.h"
#include "models/registry.h"
#include "parts.h"
#include "properties.h"

using namespace raison;

namespace {

// A folder in memory where there is one.
class Folder {
 public:
  Folder() {
    std::error_code none;
    std::string name = (std::filesystem::exists("/dev/shm", none) ? "/dev/shm" : "/tmp") + std::string("/raison-fuzz-XXXXXX");
    fuzz::require(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }
  void put(const std::string& file, const std::string& text) const {
    if (text.empty()) {
      std::error_code absent;
      std::filesystem::remove(path_ + "/" + file, absent);
    } else {
      std::ofstream(path_ + "/" + file, std::ios::binary) << text;
    }
  }

 private:
  std::string path_;
};

void describe(const Result<ModelFiles>& files) {
  if (!files.ok()) {
    fuzz::check_refusal(files.message());
    return;
  }
  const auto info = describe_model(*files);
  if (!info.ok()) {
    fuzz::check_refusal(info.message());
    return;
  }
  fuzz::require(info->layers > 0 && info->hidden > 0 && info->vocab > 0 && !info->architecture.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  if (size >= 4 && std::string_view(reinterpret_cast<const char*>(data), 4) == "GGUF") {
    const fuzz::MemoryFile input(data, size);
    describe(ModelFiles::open(input.path()));
    return 0;
  }
  fuzz::Parts parts(data, size);
  folder.put("config.json", parts.next());
  folder.put("generation_config.json", parts.next());
  describe(ModelFiles::open(folder.path(), false));
  return 0;
}
