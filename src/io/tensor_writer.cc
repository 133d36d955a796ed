#include "io/tensor_writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "io/printable.h"

namespace raison {
namespace {
uint64_t saturating_add(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}
uint64_t padding_after(uint64_t bytes, uint64_t alignment) { return (alignment - bytes % alignment) % alignment; }
}  // namespace

uint64_t FilePlan::bytes() const {
  uint64_t sum = header.size();
  for (const Piece& t : tensors) sum = saturating_add(sum, saturating_add(t.bytes, padding_after(t.bytes, alignment)));
  return sum;
}

uint64_t WritePlan::bytes() const {
  uint64_t sum = index.size();
  for (const FilePlan& f : files) sum = saturating_add(sum, f.bytes());
  return sum;
}

std::vector<std::pair<size_t, size_t>> ranges_within(const std::vector<FilePlan::Piece>& tensors, uint64_t max_bytes) {
  std::vector<std::pair<size_t, size_t>> out;
  size_t begin = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (max_bytes > 0 && i > begin && saturating_add(bytes, tensors[i].bytes) > max_bytes) {
      out.emplace_back(begin, i);
      begin = i;
      bytes = 0;
    }
    bytes = saturating_add(bytes, tensors[i].bytes);
  }
  out.emplace_back(begin, tensors.size());
  return out;
}

Result<uint64_t> tensor_bytes(const std::string& path, const TensorSpec& t) {
  uint64_t elements = 1;
  for (const int64_t d : t.shape)
    if (d < 0 || __builtin_mul_overflow(elements, static_cast<uint64_t>(d), &elements) || elements > INT64_MAX)
      return error("{}: tensor {} has an impossible shape", path, printable(t.name));
  const auto row = t.shape.empty() ? uint64_t{1} : static_cast<uint64_t>(t.shape.back());
  if (row % static_cast<uint64_t>(dtype_info(t.type).block_elements) != 0)
    return error("{}: tensor {} has rows of {} values, {} needs a multiple of {}", path, printable(t.name), row,
                 dtype_name(t.type), dtype_info(t.type).block_elements);
  const auto bytes = row_bytes(t.type, elements);
  if (!bytes || *bytes > INT64_MAX) return error("{}: tensor {} is too large", path, printable(t.name));
  return *bytes;
}

TensorWriter::~TensorWriter() {
  out_.reset();
  if (finished_) return;
  for (const std::string& path : written_) ::unlink(path.c_str());
}

Status TensorWriter::fail(Status s) {
  if (failed_.ok()) failed_ = s;
  return s;
}

Status TensorWriter::begin() {
  if (plan_.files.size() > 1 || !plan_.index_path.empty()) {
    std::vector<std::string> names = {plan_.index_path};
    for (const FilePlan& f : plan_.files) names.push_back(f.path);
    struct stat st {};
    for (const std::string& name : names)
      if (!name.empty() && ::lstat(name.c_str(), &st) == 0)
        return fail(error("{}: is there already; a model in several files is not written over another", name));
    if (Status s = check_free_space(plan_.files[0].path, plan_.bytes()); !s.ok()) return fail(s);
  }
  if (Status s = open_file(); !s.ok()) return fail(s);
  return {};
}

Status TensorWriter::open_file() {
  const FilePlan& plan = plan_.files[file_];
  RAISON_ASSIGN(out_, AtomicFile::create(plan.path, plan.bytes()));
  RAISON_RETURN_IF_ERROR(out_->append(plan.header.data(), plan.header.size()));
  tensor_ = 0;
  done_ = 0;
  return {};
}

Status TensorWriter::end_tensor() {
  const FilePlan& plan = plan_.files[file_];
  const std::string padding(padding_after(done_, plan.alignment), '\0');
  RAISON_RETURN_IF_ERROR(out_->append(padding.data(), padding.size()));
  ++tensor_;
  done_ = 0;
  return {};
}

Status TensorWriter::end_file() {
  RAISON_RETURN_IF_ERROR(out_->commit());
  out_.reset();
  if (plan_.files.size() > 1) written_.push_back(plan_.files[file_].path);
  return {};
}

// Goes on to the next tensor that wants bytes, in this file or a later one; the last file stays open for finish().
Status TensorWriter::end_full_tensors() {
  for (;;) {
    const FilePlan& plan = plan_.files[file_];
    while (tensor_ < plan.tensors.size() && done_ == plan.tensors[tensor_].bytes) RAISON_RETURN_IF_ERROR(end_tensor());
    if (tensor_ < plan.tensors.size() || file_ + 1 == plan_.files.size()) return {};
    RAISON_RETURN_IF_ERROR(end_file());
    ++file_;
    RAISON_RETURN_IF_ERROR(open_file());
  }
}

Status TensorWriter::write(const void* data, size_t bytes) {
  const auto* p = static_cast<const uint8_t*>(data);
  while (bytes > 0) {
    RAISON_RETURN_IF_ERROR(end_full_tensors());
    const FilePlan& plan = plan_.files[file_];
    if (tensor_ == plan.tensors.size()) return error("{}: {} more bytes are given than its tensors have", plan.path, bytes);
    const auto n = static_cast<size_t>(std::min<uint64_t>(bytes, plan.tensors[tensor_].bytes - done_));
    RAISON_RETURN_IF_ERROR(out_->append(p, n));
    p += n;
    bytes -= n;
    done_ += n;
  }
  return {};
}

Status TensorWriter::append(const void* data, size_t bytes) {
  if (!failed_.ok()) return failed_;
  if (finished_) return error("{}: is finished, nothing can be appended", plan_.files[0].path);
  if (Status s = write(data, bytes); !s.ok()) return fail(s);
  return {};
}

Status TensorWriter::finish() {
  if (!failed_.ok()) return failed_;
  if (finished_) return {};
  if (Status s = end_full_tensors(); !s.ok()) return fail(s);
  const FilePlan& plan = plan_.files[file_];
  if (tensor_ < plan.tensors.size())
    return fail(error("{}: tensor {} was given {} of its {} bytes", plan.path, printable(plan.tensors[tensor_].name), done_,
                      plan.tensors[tensor_].bytes));
  if (Status s = end_file(); !s.ok()) return fail(s);
  if (!plan_.index_path.empty())
    if (Status s = write_file_atomic(plan_.index_path, plan_.index); !s.ok()) return fail(s);
  finished_ = true;
  return {};
}

std::vector<TensorSpec> specs_of(const std::vector<TensorToWrite>& tensors) {
  std::vector<TensorSpec> specs;
  for (const TensorToWrite& t : tensors) specs.push_back({t.name, t.type, t.shape});
  return specs;
}

Status write_all(TensorWriter& writer, const std::vector<TensorToWrite>& tensors) {
  size_t i = 0;
  for (const FilePlan& f : writer.plan().files)
    for (const FilePlan::Piece& piece : f.tensors) RAISON_RETURN_IF_ERROR(writer.append(tensors[i++].data, piece.bytes));
  return writer.finish();
}

}  // namespace raison
