// What names a model on a hub: ORG/NAME[@REVISION][:QUANT].
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace raison {

struct ModelId {
  std::string repo;               // "ORG/NAME"
  std::string revision = "main";  // branch, tag, refs/pr/N or commit
  bool revision_given = false;
  std::string quant;  // of a GGUF repository: "Q4_K_M", or a file's name; "" leaves the choice to select_files()
  // As the user writes it: without "@main".
  std::string text() const;
};

// ORG and NAME are what the hub allows: letters, digits, '-', '_', '.', neither "--" nor "..", up to 96 bytes each, no '-' or
// '.' at an end. A name that ends in .gguf, .safetensors or .json is a file's and no ID.
Result<ModelId> parse_model_id(std::string_view text);

// A commit: 40 hexadecimal digits in lower case.
bool is_commit_hash(std::string_view text);
// `digits` hexadecimal digits in lower case.
bool is_lower_hex(std::string_view text, size_t digits);

// A file's path inside a repository that is safe to create below a folder: relative, no empty, "." or ".." part, no control
// characters, parts up to 255 bytes, up to 1024 in all.
bool is_safe_repo_path(std::string_view path);

// For messages: the first `most` bytes, control characters and what is not ASCII replaced by '?'.
std::string plain_text(std::string_view text, size_t most = 120);

}  // namespace raison
