// config.json of a Hugging Face folder <-> the metadata of a GGUF, for the architectures of tensor_names.h.
#pragma once
#include <nlohmann/json.hpp>

#include "io/model_files.h"

namespace raison {

// GGUF's name of the architecture that a config.json describes. Error: not one that is converted.
Result<std::string> gguf_architecture(const ConfigReader& config);

// general.architecture and "<architecture>.*" of a config.json. Errors: missing or senseless values, and settings that GGUF has
// no word for.
Result<Metadata> metadata_of_config(const ConfigReader& config);

// The divisors of rotary frequencies that Llama 3's scaling comes to, head_dim / 2 of them (GGUF: rope_freqs.weight); empty if the
// config has another scaling or none.
Result<std::vector<float>> rope_divisors(const ConfigReader& config);

// The way back. `file` gives what metadata leave to tensors (vocabulary, tied embeddings, biases, rope_freqs). `dtype`: what the
// weights will be said to be. Errors: what no config.json can say.
Result<nlohmann::ordered_json> config_of_gguf(const GgufFile& file, DType dtype);

}  // namespace raison
