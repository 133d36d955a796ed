// The commands of LaTeX and the signs of Unicode that answers are written with.
#pragma once
#include <string_view>

namespace raison {

struct MathWord {
  enum Kind {
    Skip,        // spacing and style: nothing is said by it
    SkipGroup,   // with the group behind it
    Delimiter,   // \left and the like
    Letter,      // a symbol of this name
    Constant,    // as MathToken::Constant
    Function,    // as MathToken::Function
    Command,     // as MathToken::Command
    Mark,        // as MathToken::Mark
    Relation,    // as MathToken::Relation
    Words,       // its group holds words
    Blackboard,  // \mathbb
    Not          // \not
  };
  std::string_view name;
  Kind kind;
  std::string_view text;
};

struct MathSign {
  std::string_view utf8, latex;
};

// Null: no such command.
const MathWord* find_math_command(std::string_view name);
inline bool is_math_command(std::string_view name) { return find_math_command(name) != nullptr; }

// "sin", "log": known by their plain name too.
bool is_math_function(std::string_view name);

// The sign that `text` begins with, or null.
const MathSign* find_math_sign(std::string_view text);

}  // namespace raison
