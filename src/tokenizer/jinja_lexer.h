// Lexer of the template language: text, tags and the tokens within them, with Jinja's white-space control
// (trim_blocks and lstrip_blocks on, keep_trailing_newline off).
#pragma once
#include <string>
#include <vector>

#include "tokenizer/jinja_value.h"

namespace raison::jinja {

enum class TokenType : uint8_t {
  Data,
  BlockBegin,
  BlockEnd,
  VariableBegin,
  VariableEnd,
  Name,
  String,
  Integer,
  Float,
  Operator,
  End
};

struct Token {
  TokenType type = TokenType::End;
  int line = 1;
  std::string text;  // data, name, operator; string literals unescaped
  int64_t integer = 0;
  double real = 0;
};

std::vector<Token> tokenize(const std::string& source);  // throws Failure

}  // namespace raison::jinja
