// Any bytes as a safetensors file.
#include "io/safetensors.h"
#include "memory_file.h"
#include "properties.h"

using namespace raison;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::MemoryFile input(data, size);
  const auto file = SafetensorsFile::open(input.path());
  if (!file.ok()) {
    fuzz::check_refusal(file.message());
    return 0;
  }
  fuzz::check_tensors(**file);
  uint64_t bytes = 0;
  for (const TensorInfo& t : (*file)->tensors()) bytes += t.bytes;
  fuzz::require(bytes <= size);
  return 0;
}
