// Any bytes as a GGUF file.
#include "io/gguf.h"
#include "memory_file.h"
#include "properties.h"

using namespace raison;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fuzz::MemoryFile input(data, size);
  const auto file = GgufFile::open(input.path());
  if (!file.ok()) {
    fuzz::check_refusal(file.message());
    return 0;
  }
  fuzz::check_tensors(**file);
  return 0;
}
