// Shared by the tokenizer tests: files, gzip, and a small reader of GGUF metadata (so that these tests need no other room).
#pragma once
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/metadata.h"
#include "testing/shared_data.h"
#include "tokenizer/tokenizer.h"

namespace raison::tokenizer_test {

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

inline bool exists(const std::string& path) { return std::ifstream(path).good(); }

inline std::string gunzip(const std::string& path) {
  FILE* pipe = popen(("gzip -dc '" + path + "'").c_str(), "r");
  std::string out;
  char buffer[1 << 16];
  for (size_t n; pipe != nullptr && (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
  if (pipe != nullptr) pclose(pipe);
  return out;
}

inline std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::istringstream in(slurp(path));
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

// Metadata of a trusted GGUF file, arrays included.
inline Metadata gguf_metadata(const std::string& path) {
  const std::string bytes = slurp(path);
  size_t at = 0;
  const auto read = [&](auto zero) {
    std::memcpy(&zero, bytes.data() + at, sizeof zero);
    at += sizeof zero;
    return zero;
  };
  const auto text = [&] {
    const auto n = read(uint64_t{0});
    at += n;
    return bytes.substr(at - n, n);
  };
  const auto integer = [&](uint32_t type) -> int64_t {
    switch (type) {
      case 0: return read(uint8_t{0});
      case 1: return read(int8_t{0});
      case 2: return read(uint16_t{0});
      case 3: return read(int16_t{0});
      case 4: return read(uint32_t{0});
      case 5: return read(int32_t{0});
      case 7: return read(uint8_t{0});
      case 10: return static_cast<int64_t>(read(uint64_t{0}));
      default: return read(int64_t{0});
    }
  };
  const auto number = [&](uint32_t type) { return type == 6 ? static_cast<double>(read(0.0f)) : read(0.0); };
  Metadata out;
  at = 16;
  const auto pairs = read(uint64_t{0});
  for (uint64_t p = 0; p < pairs; ++p) {
    const std::string key = text();
    const auto type = read(uint32_t{0});
    if (type == 8) {
      out.set(key, text());
    } else if (type == 7) {
      out.set(key, integer(7) != 0);
    } else if (type == 6 || type == 12) {
      out.set(key, number(type));
    } else if (type != 9) {
      out.set(key, integer(type));
    } else {
      const auto item = read(uint32_t{0});
      const auto count = read(uint64_t{0});
      std::vector<std::string> texts;
      std::vector<double> numbers;
      std::vector<int64_t> integers;
      for (uint64_t i = 0; i < count; ++i) {
        if (item == 8) {
          texts.push_back(text());
        } else if (item == 6 || item == 12) {
          numbers.push_back(number(item));
        } else {
          integers.push_back(integer(item));
        }
      }
      if (item == 8) {
        out.set(key, texts);
      } else if (item == 6 || item == 12) {
        out.set(key, numbers);
      } else {
        out.set(key, integers);
      }
    }
  }
  return out;
}

// The tokenizer that goldens/tokenizers/NAME.* were made with, put together from the golden's skeleton and refdata.
inline std::string golden_tokenizer_json(const std::string& name) {
  using nlohmann::json;
  const std::string shared = raison::testing::shared_dir(), refdata = shared + "/refdata/tokenizers/";
  json root =
      json::parse(slurp(shared + "/goldens/tokenizers/" + name + ".meta.json"))["tokenizer_json_without_vocab_and_merges"];
  if (name == "llama3") {
    root["model"]["vocab"] = json::parse(slurp(refdata + "llama3/encoder.json"));
    json merges = json::array();
    for (const std::string& line : lines_of(refdata + "llama3/vocab.bpe")) {
      if (line.rfind("#version", 0) != 0) merges.push_back(line);
    }
    root["model"]["merges"] = merges;
    return root.dump();
  }
  const std::string source = name == "deepseek-r1" || name == "deepseek-v3" ? name : "qwen2";
  const json full = json::parse(gunzip(refdata + source + "/tokenizer.json.gz"));
  root["model"]["vocab"] = full["model"]["vocab"];
  root["model"]["merges"] = full["model"]["merges"];
  return root.dump();
}

inline Result<std::shared_ptr<Tokenizer>> golden_tokenizer(const std::string& name) {
  return Tokenizer::from_hf_json(golden_tokenizer_json(name), "", name);
}

}  // namespace raison::tokenizer_test
