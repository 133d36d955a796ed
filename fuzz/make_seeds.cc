// Writes seed corpora: FOLDER/fuzz_gguf and FOLDER/fuzz_safetensors, small sound files of every kind the writers know.
#include <cstdio>
#include <filesystem>

#include "io/gguf_writer.h"

using namespace raison;

namespace {
const uint8_t kZeros[4096] = {};

Metadata vocabulary() {
  Metadata m;
  m.set("general.architecture", std::string("llama"));
  m.set("general.alignment", uint64_t{64});
  m.set("tokenizer.ggml.tokens", std::vector<std::string>{"<s>", "a", std::string("\xFF\0", 2)});
  m.set("tokenizer.ggml.scores", std::vector<double>{0, -1.5, 0.1});
  m.set("tokenizer.ggml.token_type", std::vector<int64_t>{3, 1, 6});
  m.set("flags", std::vector<bool>{true, false});
  m.set("wide", std::vector<int64_t>{int64_t{1} << 40});
  m.set("rope.scale", 0.1);
  m.set("flag", true);
  m.set("negative", int64_t{-5});
  m.set("large", uint64_t{18446744073709551615u});
  return m;
}

Status write_all(const std::string& folder) {
  const std::vector<TensorToWrite> plain = {{"token_embd.weight", DType::F32, {4, 8}, kZeros},
                                            {"norm", DType::F16, {8}, kZeros},
                                            {"b", DType::BF16, {2, 1, 3}, kZeros}};
  std::vector<TensorToWrite> blocks = plain;
  blocks.push_back({"q", DType::Q8_0, {2, 64}, kZeros});
  std::vector<TensorToWrite> odd = plain;
  odd.push_back({"i", DType::I64, {}, kZeros});
  odd.push_back({"none", DType::BOOL, {0, 3}, kZeros});
  RAISON_RETURN_IF_ERROR(write_gguf(folder + "/fuzz_gguf/empty", {}, {}));
  RAISON_RETURN_IF_ERROR(write_gguf(folder + "/fuzz_gguf/vocabulary", vocabulary(), {}));
  RAISON_RETURN_IF_ERROR(write_gguf(folder + "/fuzz_gguf/tensors", {}, blocks));
  RAISON_RETURN_IF_ERROR(write_gguf(folder + "/fuzz_gguf/both", vocabulary(), blocks));
  RAISON_RETURN_IF_ERROR(write_safetensors(folder + "/fuzz_safetensors/empty", {}));
  RAISON_RETURN_IF_ERROR(write_safetensors(folder + "/fuzz_safetensors/plain", plain));
  return write_safetensors(folder + "/fuzz_safetensors/odd", odd, {{"format", "pt"}, {"text", "a\nb"}});
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  std::error_code failed;
  std::filesystem::create_directories(folder + "/fuzz_gguf", failed);
  std::filesystem::create_directories(folder + "/fuzz_safetensors", failed);
  const Status s = write_all(folder);
  if (!s.ok()) std::fprintf(stderr, "%s\n", s.message().c_str());
  return s.ok() ? 0 : 1;
}
