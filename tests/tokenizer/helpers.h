// Shared by the tokenizer tests and bench: files, gzip, a small reader of GGUF metadata (so that these need no other room),
// and the tokenizers that the goldens were made with.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
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

// The names of all goldens/tokenizers/NAME.meta.json, sorted.
inline std::vector<std::string> golden_names() {
  const std::string suffix = ".meta.json";
  std::vector<std::string> names;
  std::error_code missing;
  for (const auto& entry :
       std::filesystem::directory_iterator(raison::testing::shared_dir() + "/goldens/tokenizers", missing)) {
    const std::string file = entry.path().filename().string();
    if (file.size() <= suffix.size() || file.compare(file.size() - suffix.size(), suffix.size(), suffix) != 0) continue;
    names.push_back(file.substr(0, file.size() - suffix.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Puts the vocabulary and merges that lie in `folder` into `model`: of a tokenizer.json.gz, or as the two files of GPT-2's
// kind. False if there are none.
inline bool read_vocabulary(const std::string& folder, nlohmann::json& model) {
  using nlohmann::json;
  if (exists(folder + "/tokenizer.json.gz")) {
    json full = json::parse(gunzip(folder + "/tokenizer.json.gz"));
    model["vocab"] = std::move(full["model"]["vocab"]);
    model["merges"] = std::move(full["model"]["merges"]);
    return true;
  }
  for (const auto& [vocab, merges] : {std::pair{"/encoder.json", "/vocab.bpe"}, std::pair{"/vocab.json", "/merges.txt"}}) {
    if (!exists(folder + vocab) || !exists(folder + merges)) continue;
    model["vocab"] = json::parse(slurp(folder + vocab));
    json list = json::array();
    for (const std::string& line : lines_of(folder + merges)) {
      if (line.rfind("#version", 0) != 0) list.push_back(line);
    }
    model["merges"] = std::move(list);
    return true;
  }
  return false;
}

// The tokenizer.json that goldens/tokenizers/NAME.* were made with: the golden's skeleton with the vocabulary of refdata's
// folder of that name or, where that holds none, of the one whose sizes are those the golden states.
inline std::string golden_tokenizer_json(const std::string& name) {
  using nlohmann::json;
  const std::string shared = raison::testing::shared_dir(), refdata = shared + "/refdata/tokenizers/";
  json meta = json::parse(slurp(shared + "/goldens/tokenizers/" + name + ".meta.json"));
  json root = std::move(meta["tokenizer_json_without_vocab_and_merges"]);
  json& model = root["model"];
  if (read_vocabulary(refdata + name, model)) return root.dump();
  for (const auto& folder : std::filesystem::directory_iterator(refdata)) {
    if (read_vocabulary(folder.path().string(), model) && model["vocab"].size() == meta["vocab"].get<size_t>() &&
        model["merges"].size() == meta["merges"].get<size_t>()) {
      return root.dump();
    }
  }
  return "";
}

inline Result<std::shared_ptr<Tokenizer>> golden_tokenizer(const std::string& name) {
  return Tokenizer::from_hf_json(golden_tokenizer_json(name), "", name);
}

}  // namespace raison::tokenizer_test
