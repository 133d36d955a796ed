// The tokens of an answer in LaTeX or plain text: numbers with their separators put right, commands by one name each, spacing and style gone.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace raison {

struct MathToken {
  enum Kind {
    Number,    // text: as MathKind::Number
    Letter,    // text: a symbol's name: one letter or "alpha"
    Constant,  // text: "pi", "oo", "empty", "R", "Z", "Q", "N", "C"
    Function,  // text: "sin", "log"
    Command,  // text: what takes groups behind it: "frac", "sqrt", "binom", "begin", "end", "over", "choose", "pmod", "angle", "circ"
    Text,       // text: words
    Unit,       // text: as canonical_unit() gives it
    Relation,   // text: one character, as MathKind::Relation
    Separator,  // "and", "or"
    Currency,   // text: its unit
    RowBreak,   // two backslashes
    Mark,       // text: one character of +-*/^_!'()[]{}&,;:%|  or one of "pm" "mp" "{|" "|}" (bars known to open or close)
                // "\{" "\}" "<" ">" (of a vector) "U" "I" "-set" "lf" "rf" "lc" "rc" (floor and ceiling)
    End
  };
  Kind kind = End;
  std::string text;
  bool spaced = false;  // white space stood before it
  bool plain = false;   // Number: written as digits alone
  bool is(std::string_view mark) const { return kind == Mark && text == mark; }
};

// Error: more than MathLimits::kAnswerBytes, or a byte that no rule knows. The last token is an End.
Result<std::vector<MathToken>> math_tokens(std::string_view text);

// Bytes of UTF-8 signs as LaTeX, doubled backslashes made single where all are doubled.
std::string plain_latex(std::string_view text);

}  // namespace raison
