// raison tokenize: text to ids and back.
#include <memory>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/session.h"
#include "cli/token_list.h"

namespace raison::cli {
namespace {

struct TokenizeOptions {
  std::string model, decode;
  TextInput input;
  bool ids_only = false, json = false, no_special = false, has_decode = false;
};

std::string as_json(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  nlohmann::ordered_json out;
  out["ids"] = ids;
  nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
  for (TokenId id : ids) pieces.push_back(lossy_utf8(tokenizer.piece(id)));
  out["pieces"] = pieces;
  out["count"] = ids.size();
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string as_table(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string out;
  for (TokenId id : ids)
    out += fmt::format("{:>7}  {}{}\n", id, quote_text(tokenizer.piece(id)), tokenizer.is_special(id) ? "  (special)" : "");
  return out + counted(static_cast<long long>(ids.size()), "token") + "\n";
}

Result<int> run_tokenize(const TokenizeOptions& options) {
  RAISON_ASSIGN(const std::string path, resolve_model(options.model));
  if (options.has_decode) {
    RAISON_ASSIGN(const std::vector<int32_t> ids, parse_token_list(options.decode, "--decode"));
    RAISON_ASSIGN(const TextSide text, load_text_side(path));
    RAISON_RETURN_IF_ERROR(check_tokens(ids, text.tokenizer->vocab_size()));
    const std::string decoded = text.tokenizer->decode(ids, options.no_special);
    put((stdout_is_terminal() ? terminal_safe(decoded) : decoded) + "\n");
    return 0;
  }
  RAISON_ASSIGN(const TextSide text, load_text_side(path));
  RAISON_ASSIGN(const std::string input, read_text(options.input));
  EncodeOptions encode;
  encode.add_special = !options.no_special;
  RAISON_ASSIGN(const std::vector<TokenId> ids, text.tokenizer->encode(input, encode));
  if (options.json) {
    put(as_json(*text.tokenizer, ids));
  } else if (options.ids_only) {
    put(fmt::format("{}\n", fmt::join(ids, ",")));
  } else {
    put(as_table(*text.tokenizer, ids));
  }
  return 0;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Turn text into tokens, or tokens into text");
  command->add_option("MODEL", options->model, "Model folder, tokenizer folder or GGUF file")->required();
  CLI::Option* text = command->add_option("TEXT", options->input.text, "The text (else -f, else standard input)");
  CLI::Option* file = command->add_option("-f,--file", options->input.file, "Read the text from a file")->type_name("FILE");
  CLI::Option* ids = command->add_flag("--ids", options->ids_only, "Print only the ids, with commas");
  CLI::Option* json = command->add_flag("--json", options->json, "Print ids and pieces as JSON");
  command->add_flag("--no-special", options->no_special,
                    "Add no special tokens around the text (with --decode: leave special tokens out)");
  CLI::Option* decode = command->add_option("--decode", options->decode, "Print the text of these ids")->type_name("IDS");
  file->excludes(text);
  ids->excludes(json);
  decode->excludes(text)->excludes(file)->excludes(ids)->excludes(json);
  command->footer(
      "Examples:\n  raison tokenize model/ \"Hello there\"\n  raison tokenize model.gguf --ids < text.txt\n"
      "  raison tokenize model/ --decode 1,403,407");
  command->callback([options, text, decode, &action] {
    options->input.has_text = text->count() > 0;
    options->has_decode = decode->count() > 0;
    action = [options] { return run_tokenize(*options); };
  });
}

}  // namespace raison::cli
