#include "cli/sample_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/json_depth.h"

namespace raison::cli {
namespace fs = std::filesystem;
namespace {

std::string line_of(const nlohmann::ordered_json& j) {
  return j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// Reads up to and with the next newline. False: the file ends before one.
bool read_line(std::FILE* file, std::string* line) {
  line->clear();
  char buffer[65536];
  while (fgets(buffer, sizeof buffer, file)) {
    line->append(buffer);
    if (!line->empty() && line->back() == '\n') return true;
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<SampleFile>> SampleFile::open(const std::string& path, const nlohmann::ordered_json& settings,
                                                     bool replace) {
  std::error_code ec;
  if (fs::is_directory(path, ec)) return error("{}: is a folder; name the file to be written", path);
  if (!replace && fs::exists(path, ec)) return error("{}: is there already; choose another name, or give --force", path);
  const std::string partial = path + ".partial";
  const int fd = ::open(partial.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  std::FILE* file = fd < 0 ? nullptr : fdopen(fd, "r+b");
  if (!file) {
    const int why = errno;
    if (fd >= 0) ::close(fd);
    return error("{}: cannot be written: {}", partial, strerror(why));
  }
  std::unique_ptr<SampleFile> out(new SampleFile(path, file));
  // A file system that knows no locks is no reason not to write there.
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return error("{}: another run writes it; wait for its end, or give another -o", partial);
  if (replace && ftruncate(fd, 0) != 0) return error("{}: cannot be written: {}", partial, strerror(errno));
  RAISON_RETURN_IF_ERROR(out->load(settings));
  if (out->size_ > 0) return out;
  const std::string line = line_of({{"settings", settings}});
  if (fwrite(line.data(), 1, line.size(), file) != line.size() || fflush(file) != 0)
    return error("{}: cannot be written: {}", partial, strerror(errno));
  out->size_ = line.size();
  return out;
}

SampleFile::~SampleFile() {
  if (file_) fclose(file_);
}

// What an earlier run has kept. A last line that was cut off is cut away.
Status SampleFile::load(const nlohmann::ordered_json& settings) {
  std::string line;
  for (bool first = true; read_line(file_, &line); first = false) {
    const auto j =
        json_too_deep_at(line) == kShallow ? nlohmann::ordered_json::parse(line, nullptr, false) : nlohmann::ordered_json();
    if (first) {
      if (!j.is_object() || !j.contains("settings") || !j["settings"].is_object())
        return error("{}: is no file of samples; remove it, or give --force", partial_);
      for (const auto& [key, value] : settings.items())
        if (!j["settings"].contains(key) || j["settings"][key] != value)
          return error("{}: was begun with another {}; give --force to begin anew, or another -o", partial_, key);
    } else {
      if (!j.is_object() || !j.value("index", nlohmann::ordered_json()).is_number_integer() ||
          !j.value("sample", nlohmann::ordered_json()).is_number_integer())
        break;  // broken off or damaged: from here on it is drawn again
      places_[{j["index"].get<int64_t>(), j["sample"].get<int64_t>()}] = {size_, line.size()};
    }
    size_ += line.size();
  }
  if (ftruncate(fileno(file_), static_cast<off_t>(size_)) != 0 || fseek(file_, 0, SEEK_END) != 0)
    return error("{}: cannot be written: {}", partial_, strerror(errno));
  return {};
}

Status SampleFile::add(Key key, const nlohmann::ordered_json& record) {
  const std::string line = line_of(record);
  if (fwrite(line.data(), 1, line.size(), file_) != line.size() || fflush(file_) != 0)
    return error("{}: cannot be written: {}; what came before is kept", partial_, strerror(errno));
  places_[key] = {size_, line.size()};
  size_ += line.size();
  return {};
}

Status SampleFile::finish() {
  RAISON_ASSIGN(const auto out, AtomicFile::create(path_, size_));
  std::string line;
  for (const auto& [key, place] : places_) {
    line.resize(place.bytes);
    if (fseeko(file_, static_cast<off_t>(place.offset), SEEK_SET) != 0 ||
        fread(line.data(), 1, line.size(), file_) != line.size())
      return error("{}: cannot be read: {}", partial_, strerror(errno));
    RAISON_RETURN_IF_ERROR(out->append(line.data(), line.size()));
  }
  RAISON_RETURN_IF_ERROR(out->commit());
  fclose(file_);
  file_ = nullptr;
  std::error_code ec;
  fs::remove(partial_, ec);
  return {};
}

}  // namespace raison::cli
