// AddedTokens: finds tokens written out in a text, leftmost first and of those the longest, as HF's added vocabulary does.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace raison {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false, normalized = false;
  bool lstrip = false, rstrip = false;  // swallow white space on that side
  bool single_word = false;             // only where no word character touches it
};

class AddedTokens {
 public:
  void add(const AddedToken& token, std::string_view content);  // content: as it is looked for (maybe normalised)
  bool empty() const { return tokens_.empty(); }
  // Calls text(begin, end) and token(id) in order, covering all of `input` but the white space that tokens swallow.
  void scan(std::string_view input, const std::function<void(size_t, size_t)>& text,
            const std::function<void(TokenId)>& token) const;

 private:
  struct Node {
    std::vector<std::pair<uint8_t, uint32_t>> next;  // few per node; the root has its own table
    int32_t token = -1;                              // index into tokens_
  };
  // The longest token at input[at]: (index, length), index -1 if none.
  std::pair<int32_t, size_t> longest(std::string_view input, size_t at) const;
  std::vector<Node> nodes_{Node{}};
  std::array<uint32_t, 256> root_{};  // first byte -> node, 0 = none
  std::vector<AddedToken> tokens_;
};

}  // namespace raison
