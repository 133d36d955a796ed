// LoRA adapters as PEFT keeps them: a folder of adapter_config.json and adapter_model.safetensors, whose tensors are called
// "base_model.model.<module>.lora_A.weight" [r, in] and ".lora_B.weight" [out, r].
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "convert/peft_config.h"
#include "models/model.h"

namespace raison {

// A tensor of the file, and the parameters that it consists of: one, or those of all of a layer's routed experts. These PEFT keeps as one
// A [experts * r, in], an expert's rows together, and one B [out, r * experts], whose column k * experts + e is the expert e's k-th; rows of
// gate_up_proj's B are those of gate, then those of up. They share A.
struct PeftTensor {
  struct Part {
    Parameter* parameter;                // [rows, cols]
    int64_t row = 0, col = 0, step = 1;  // its [i][j] stands at [row + i][col + j * step]
  };
  std::string name;
  std::vector<int64_t> shape;
  std::vector<Part> parts;
};

struct LoraAdapter {
  PeftConfig config;
  std::shared_ptr<Adapter> adapter;
  std::vector<PeftTensor> tensors;
};

// A new adapter for `model` (one that is outlined will do): A uniform within 1/sqrt(in), as PEFT draws it, by our own numbers, keyed by
// (seed, parameter index, element); B zero; to be trained. Error: targets that name nothing, or what cannot have an adapter (embeddings, the
// head, routers, norms).
Result<LoraAdapter> create_lora(const Model& model, const PeftConfig& config, uint64_t seed);

// Errors are one line: files that are missing or damaged, what parse_peft_config refuses, tensors that are missing, of another shape than
// base and config make them, or of no module of this model.
Result<LoraAdapter> read_lora(const std::string& folder, const Model& model, bool trainable);

// The folder appears whole; one that holds an adapter is replaced. type: F32, F16 or BF16.
Status write_lora(const LoraAdapter& lora, DType type, const std::string& folder);
// Ok if write_lora may write there: it is absent, empty, or holds an adapter.
Status check_lora_folder(const std::string& folder);

}  // namespace raison
