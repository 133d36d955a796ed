#include "convert/convert.h"

#include <filesystem>

#include "base/atomic_folder.h"
#include "convert/model_text.h"
#include "io/gguf_writer.h"
#include "io/safetensors_writer.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

constexpr uint64_t kShardBytes = 5'000'000'000;

Converted summary(const std::vector<OutputTensor>& tensors, const WritePlan& plan) {
  Converted c;
  for (const FilePlan& f : plan.files) c.files.push_back(f.path);
  c.bytes = plan.bytes();
  c.tensors = tensors.size();
  for (const OutputTensor& t : tensors) {
    const auto n = static_cast<uint64_t>(t.rows->rows() * t.rows->cols());
    c.values += n;
    c.type_bytes[t.type] += row_bytes(t.type, n).value_or(0);
  }
  return c;
}

// The folder's or file's own name, for general.name.
std::string name_of(const std::string& path) {
  std::error_code ec;
  const fs::path whole = fs::canonical(path, ec);
  return ec ? path : whole.filename().string();
}

struct GgufPlan {
  Metadata metadata;
  std::vector<OutputTensor> tensors;
  std::vector<std::string> left_out;
};

Result<GgufPlan> plan_of_hf(const ModelFiles& files, const std::string& adapter) {
  std::vector<ParameterSpec> specs;
  RAISON_ASSIGN(const auto model, outline_model(files, &specs));
  auto said = model->gguf_config();
  if (!said.ok()) return error("{}: {}", files.path, said.message());
  RAISON_ASSIGN(const RowMap map, merging(adapter, *model));
  GgufPlan plan;
  plan.metadata = std::move(said->metadata);
  plan.metadata.set("general.type", std::string("model"));
  plan.metadata.set("general.name", name_of(files.path));
  RAISON_ASSIGN(const Metadata text, gguf_text(files, model->info().vocab));
  for (const auto& [key, value] : text.values()) plan.metadata.set(key, value);
  RAISON_ASSIGN(plan.tensors, gguf_tensors_of_hf(files, specs, std::move(said->rope_freqs), DType::F32, &plan.left_out, map));
  return plan;
}

Result<GgufPlan> plan_of_gguf(const ModelFiles& files, const std::string& adapter) {
  GgufPlan plan;
  plan.metadata = files.gguf->metadata();
  if (adapter.empty()) {  // of any architecture, known or not
    RAISON_ASSIGN(plan.tensors, gguf_tensors_of_gguf(*files.gguf, {}, {}));
    return plan;
  }
  std::vector<ParameterSpec> specs;
  RAISON_ASSIGN(const auto model, outline_model(files, &specs));
  RAISON_ASSIGN(const RowMap map, merging(adapter, *model));
  RAISON_ASSIGN(plan.tensors, gguf_tensors_of_gguf(*files.gguf, specs, map));
  return plan;
}

// GGUF's readers ask for unsigned integers where a count or an id stands.
void make_counts_unsigned(Metadata* m) {
  const Metadata before = *m;
  for (const auto& [key, value] : before.values())
    if (const auto* i = std::get_if<int64_t>(&value); i != nullptr && *i >= 0 && key.rfind("general.sampling.", 0) != 0)
      m->set(key, static_cast<uint64_t>(*i));
}

Status check_output_file(const ModelFiles& in, const std::string& out, bool replace) {
  std::error_code ec;
  if (fs::is_directory(out, ec)) return error("{}: is a folder; name the GGUF file to be written", out);
  if (!fs::exists(out, ec)) return {};
  std::vector<std::string> sources = {in.path};
  if (in.gguf) sources = in.gguf->paths();
  for (const std::string& source : sources)
    if (fs::equivalent(out, source, ec)) return error("{}: is what is being read; choose another name", out);
  if (!replace) return error("{}: is there already; choose another name, or give --force", out);
  return {};
}

}  // namespace

Result<Converted> quantize_model(const std::string& in, const std::string& out, const FileType& type, bool replace, Exec& exec,
                                 const Progress& progress, const std::string& adapter) {
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(in));
  RAISON_RETURN_IF_ERROR(check_output_file(files, out, replace));
  RAISON_ASSIGN(GgufPlan plan, files.gguf ? plan_of_gguf(files, adapter) : plan_of_hf(files, adapter));
  make_counts_unsigned(&plan.metadata);
  plan.metadata.set("general.file_type", uint64_t{type.id});
  plan.metadata.set("general.quantization_version", uint64_t{2});
  const std::vector<DType> types = mixed_types(type, plan.metadata, specs_of(plan.tensors));
  for (size_t i = 0; i < types.size(); ++i) plan.tensors[i].type = types[i];
  RAISON_ASSIGN(const auto writer, GgufWriter::create(out, plan.metadata, specs_of(plan.tensors)));
  Converted done = summary(plan.tensors, writer->plan());
  done.left_out = std::move(plan.left_out);
  if (Status s = write_tensors(*writer, plan.tensors, exec, progress); !s.ok()) return error("{}: {}", in, s.message());
  return done;
}

Result<Converted> convert_to_hf(const std::string& in, const std::string& out, DType dtype, Exec& exec,
                                const Progress& progress, const std::string& adapter) {
  RAISON_ASSIGN(const ModelFiles files, ModelFiles::open(in));
  if (!files.gguf && adapter.empty())
    return error("{}: is a Hugging Face folder already; raison quantize makes a GGUF of it", in);
  std::error_code ec;
  if (fs::exists(out, ec) && !(fs::is_directory(out, ec) && fs::is_empty(out, ec)))
    return error("{}: is there already; choose another name, or remove it", out);
  std::vector<ParameterSpec> specs;
  RAISON_ASSIGN(const auto model, outline_model(files, &specs));
  if (const Status sayable = model->expressible_in_hf(); !sayable.ok()) return error("{}: {}", in, sayable.message());
  std::vector<std::string> left_out;
  RAISON_ASSIGN(const RowMap map, merging(adapter, *model));
  RAISON_ASSIGN(const std::vector<OutputTensor> tensors, files.gguf
                                                             ? hf_tensors_of_gguf(*files.gguf, specs, dtype, &left_out, map)
                                                             : hf_tensors_of_hf(files, specs, dtype, &left_out, map));
  RAISON_ASSIGN(const ModelText text, read_model_text(files));
  RAISON_ASSIGN(const auto folder, AtomicFolder::create(out));
  RAISON_ASSIGN(const auto writer,
                SafetensorsWriter::create_sharded(folder->temp(), specs_of(tensors), kShardBytes, {{"format", "pt"}}));
  Converted done = summary(tensors, writer->plan());
  done.left_out = std::move(left_out);
  if (Status s = write_tensors(*writer, tensors, exec, progress); !s.ok()) return error("{}: {}", in, s.message());
  RAISON_RETURN_IF_ERROR(write_file_atomic(folder->temp() + "/config.json", model->hf_config(dtype).dump(2) + "\n"));
  RAISON_RETURN_IF_ERROR(write_model_text(text, folder->temp()));
  RAISON_RETURN_IF_ERROR(folder->commit());
  return done;
}

}  // namespace raison
