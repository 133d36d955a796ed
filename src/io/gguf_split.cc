// A model in several GGUF files. Each says in its metadata which part it is; its name says it too, and only names tell where the
// others lie.
#include <sys/stat.h>

#include "io/gguf.h"
#include "io/printable.h"

namespace raison {

// NAME-00002-of-00005.gguf: {NAME, 2, 5}.
struct GgufPartName {
  std::string stem;
  int64_t number, count;
};

namespace {

constexpr const char *kNo = "split.no", *kCount = "split.count", *kTensors = "split.tensors.count";
constexpr int64_t kMaxParts = 65535;

std::optional<GgufPartName> parse_part_name(const std::string& path) {
  constexpr std::string_view shape = "-00000-of-00000.gguf";
  if (path.size() <= shape.size()) return std::nullopt;
  const std::string_view tail = std::string_view(path).substr(path.size() - shape.size());
  int64_t numbers[2] = {0, 0};
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool digit = tail[i] >= '0' && tail[i] <= '9';
    if (shape[i] == '0' ? !digit : tail[i] != shape[i]) return std::nullopt;
    if (digit) {
      int64_t& n = numbers[i < 7 ? 0 : 1];
      n = 10 * n + (tail[i] - '0');
    }
  }
  return GgufPartName{path.substr(0, path.size() - shape.size()), numbers[0], numbers[1]};
}

std::string base_name(const std::string& path) { return printable(path.substr(path.find_last_of('/') + 1), 200); }
}  // namespace

std::string gguf_part_path(const std::string& stem, size_t number, size_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", stem, number, count);
}

class GgufSplit {
 public:
  // Whether `file` says that it is one part of several.
  static Result<bool> is_part(const GgufFile& file) {
    const Metadata& m = file.metadata();
    if (!m.has(kCount)) {
      for (const char* key : {kNo, kTensors})
        if (m.has(key)) return error("{}: damaged: it has the key {} but no {}", file.path(), key, kCount);
      return false;
    }
    RAISON_ASSIGN(const int64_t count, integer(file, kCount, 1, kMaxParts));
    if (count > 1) return true;
    if (m.has(kNo)) RAISON_RETURN_IF_ERROR(integer(file, kNo, 0, 0));
    const auto held = static_cast<int64_t>(file.tensors().size());
    if (m.has(kTensors) && m.integer(kTensors) != held)
      return error("{}: {} does not say {}, the number of tensors that the file holds", file.path(), kTensors, held);
    return false;
  }

  static Result<std::shared_ptr<GgufFile>> open_all(std::shared_ptr<GgufFile> named) {
    GgufSplit split;
    RAISON_ASSIGN(split.name_, split.checked_name(*named));
    RAISON_RETURN_IF_ERROR(split.check_presence());
    for (int64_t i = 1; i <= split.name_.count; ++i) {
      std::shared_ptr<GgufFile> part = named;
      if (i != split.name_.number) {
        RAISON_ASSIGN(part, GgufFile::open_one(split.path_of(i)));
        RAISON_RETURN_IF_ERROR(split.check_part(*part, i));
      }
      RAISON_RETURN_IF_ERROR(split.take(std::move(part)));
    }
    RAISON_RETURN_IF_ERROR(split.check_total());
    return split.whole_;
  }

 private:
  static Result<int64_t> integer(const GgufFile& file, const char* key, int64_t lo, int64_t hi) {
    const auto v = file.metadata().integer(key);
    if (!v || *v < lo || *v > hi) return error("{}: {} is missing or no number between {} and {}", file.path(), key, lo, hi);
    return *v;
  }

  std::string path_of(int64_t number) const {
    return gguf_part_path(name_.stem, static_cast<size_t>(number), static_cast<size_t>(name_.count));
  }

  static Result<GgufPartName> checked_name(const GgufFile& file) {
    RAISON_ASSIGN(const int64_t count, integer(file, kCount, 1, kMaxParts));
    RAISON_ASSIGN(const int64_t no, integer(file, kNo, 0, count - 1));
    const auto name = parse_part_name(file.path());
    if (!name)
      return error("{}: is part {} of {}, but its name is not NAME-{:05}-of-{:05}.gguf, so the others cannot be found",
                   file.path(), no + 1, count, no + 1, count);
    if (name->count != count || name->number != no + 1)
      return error("{}: its name says part {} of {}, the file says part {} of {}; was it renamed?", file.path(), name->number,
                   name->count, no + 1, count);
    return *name;
  }

  Status check_presence() const {
    std::string first;
    int64_t absent = 0;
    for (int64_t i = 1; i <= name_.count; ++i) {
      const std::string path = path_of(i);
      struct stat st {};
      if (::stat(path.c_str(), &st) == 0) continue;
      if (absent++ == 0) first = path;
    }
    if (absent == 0) return {};
    if (absent == 1) return error("{}: is missing; the model is in {} parts, all needed", first, name_.count);
    return error("{}: is missing, and {} more of the model's {} parts, all needed", first, absent - 1, name_.count);
  }

  Status check_part(const GgufFile& file, int64_t number) const {
    const Metadata& m = file.metadata();
    if (!m.has(kCount)) return error("{}: is not a part of a split model (it has no {})", file.path(), kCount);
    RAISON_ASSIGN(const int64_t count, integer(file, kCount, 1, kMaxParts));
    if (count != name_.count)
      return error("{}: is of another model: it says {} parts, its name {}", file.path(), count, name_.count);
    RAISON_ASSIGN(const int64_t no, integer(file, kNo, 0, count - 1));
    if (no + 1 != number)
      return error("{}: the file says it is part {}, its name {}; was it renamed?", file.path(), no + 1, number);
    return {};
  }

  Status take(std::shared_ptr<GgufFile> part) {
    if (!whole_) {
      whole_ = std::move(part);
      RAISON_ASSIGN(total_, integer(*whole_, kTensors, 0, INT64_MAX));
      return {};
    }
    RAISON_RETURN_IF_ERROR(check_kin(*part));
    for (TensorInfo& t : part->tensors_) {
      const auto [at, fresh] = whole_->index_.emplace(t.name, whole_->tensors_.size());
      if (!fresh)
        return error("{}: tensor {} is also in {}: parts of two models, or copies", part->path(), printable(t.name),
                     base_name(whole_->tensors_[at->second].file->path()));
      whole_->tensors_.push_back(std::move(t));
    }
    whole_->paths_.push_back(part->path());
    return {};
  }

  // What later parts repeat of the first's metadata must be the same.
  Status check_kin(const GgufFile& part) const {
    if (part.metadata().has(kTensors)) {
      RAISON_ASSIGN(const int64_t total, integer(part, kTensors, 0, INT64_MAX));
      if (total != total_)
        return error("{}: is of another model: it says {} tensors in all, {} says {}", part.path(), total,
                     base_name(whole_->path()), total_);
    }
    const auto a = whole_->metadata().string("general.architecture"), b = part.metadata().string("general.architecture");
    if (b && a != b)
      return error("{}: is of another model: its architecture is \"{}\", that of {} is \"{}\"", part.path(), printable(*b),
                   base_name(whole_->path()), printable(a.value_or("")));
    return {};
  }

  Status check_total() const {
    const auto found = static_cast<int64_t>(whole_->tensors_.size());
    if (found == total_) return {};
    return error("{}: {} says {} tensors, its {} parts hold {}", whole_->path(), kTensors, total_, name_.count, found);
  }

  GgufPartName name_{};
  int64_t total_ = 0;
  std::shared_ptr<GgufFile> whole_;
};

Result<std::shared_ptr<GgufFile>> GgufFile::open(const std::string& path) {
  RAISON_ASSIGN(auto file, open_one(path));
  RAISON_ASSIGN(const bool part, GgufSplit::is_part(*file));
  if (!part) return file;
  return GgufSplit::open_all(std::move(file));
}

}  // namespace raison
