#include "cli/token_list.h"

#include <filesystem>

#include "base/file.h"
#include "io/safetensors.h"
#include "io/tensor_read.h"

namespace raison::cli {
namespace {

bool is_separator(char c) { return c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '[' || c == ']'; }

Result<std::vector<int32_t>> tokens_of_safetensors(const std::string& path) {
  RAISON_ASSIGN(const auto file, SafetensorsFile::open(path));
  const TensorInfo* info = file->find("tokens");
  if (!info) return error("{}: has no tensor \"tokens\"", path);
  RAISON_ASSIGN(const std::vector<int32_t> tokens, read_i32(*info));
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0) return error("{}: token {} is {}, not an id", path, i, tokens[i]);
  if (tokens.empty()) return error("{}: the list of tokens is empty", path);
  return tokens;
}

}  // namespace

Result<std::vector<int32_t>> parse_token_list(const std::string& text, const std::string& where) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < text.size();) {
    if (is_separator(text[i])) {
      ++i;
      continue;
    }
    const size_t begin = i;
    int64_t value = 0;
    bool digits = true;
    for (; i < text.size() && !is_separator(text[i]); ++i) {
      digits = digits && text[i] >= '0' && text[i] <= '9' && value <= INT32_MAX;
      if (digits) value = value * 10 + (text[i] - '0');
    }
    if (!digits || value > INT32_MAX) {
      std::string word;  // shown short, and only what is printable
      for (char c : text.substr(begin, std::min<size_t>(i - begin, 24))) word += (c >= 0x20 && c < 0x7f) ? c : '?';
      return error("{}: \"{}\" is not a token id (ids are whole numbers from 0, separated by commas)", where, word);
    }
    tokens.push_back(static_cast<int32_t>(value));
  }
  if (tokens.empty()) return error("{}: the list of tokens is empty", where);
  return tokens;
}

Result<std::vector<int32_t>> read_token_list(const std::string& argument) {
  std::error_code ec;
  if (!argument.empty() && std::filesystem::is_regular_file(argument, ec)) {
    const std::string suffix = ".safetensors";
    if (argument.size() > suffix.size() && argument.compare(argument.size() - suffix.size(), suffix.size(), suffix) == 0)
      return tokens_of_safetensors(argument);
    RAISON_ASSIGN(const std::string text, read_file(argument, size_t{256} << 20));
    return parse_token_list(text, argument);
  }
  if (argument.find('/') != std::string::npos) return error("{}: cannot open: no such file", argument);
  return parse_token_list(argument, "--tokens");
}

Status check_tokens(const std::vector<int32_t>& tokens, int64_t vocab) {
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] >= vocab)
      return error("token {} of the list is {}; the model's vocabulary has {} (ids 0 to {})", i + 1, tokens[i], vocab,
                   vocab - 1);
  return {};
}

}  // namespace raison::cli
