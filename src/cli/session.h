// What the subcommands load: a model's text side (tokenizer, chat template), and the model itself with its threads.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "engine/engine.h"
#include "io/model_files.h"
#include "models/model.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace raison::cli {

constexpr const char* kBundledModel = "countdown-zero";
// One of the bundled models, by its bare name.
inline bool is_bundled(const std::string& argument) { return argument == kBundledModel || argument == "countdown-base"; }

// The path of a MODEL argument: "" is the bundled model; what exists as a path is that path; a name that is no path but lies among
// the bundled models is found there ($RAISON_MODELS, else models/ beside the source or the installed program); ORG/NAME
// [@REVISION][:QUANT] is found in the hub cache. An ID that is not whole there is an error that names `raison pull`.
Result<std::string> resolve_model(const std::string& argument);

// Tokenizer and chat template of a model (HF folder, GGUF file, or a folder with only a tokenizer).
struct TextSide {
  std::string path;
  std::shared_ptr<Tokenizer> tokenizer;         // never null
  std::shared_ptr<ChatTemplate> chat_template;  // null if the model has none
  std::vector<int32_t> stop_ids;                // end-of-text and end-of-turn ids
  std::string bos_text, eos_text;               // what templates call bos_token and eos_token

  // The prompt that the chat template makes of messages [{role, content}, ...].
  Result<std::string> render(const nlohmann::ordered_json& messages, bool generation_prompt = true) const;
};
Result<TextSide> load_text_side(const std::string& path);
Result<TextSide> load_text_side(const ModelFiles& files);

struct LoadedModel {
  ModelFiles files;
  TextSide text;
  const KernelTable* kernels = nullptr;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Model> model;
  int32_t adapter = -1;  // for requests: the id of the one that was asked for
};
// threads 0: all that this process may use. The order of checks: ISA, files, tokenizer, weights, so that a mistake costs
// no loading time. need_text false: a missing tokenizer is no error (text.tokenizer is then null). `adapter`: a folder of PEFT's; empty: none.
Result<std::unique_ptr<LoadedModel>> load_for_use(const std::string& argument, int threads, bool need_text = true,
                                                  LoadOptions options = {}, const std::string& adapter = "");

// "f32", "f16", "bf16" (checked when parsing the command line).
DType float_type_from(const std::string& name);
// These and "i16", "i8"; "" is the model's default. Error: the model can't use the type.
Result<DType> cache_type_for(const Model& model, const std::string& name);
std::string cache_type_name(DType type);  // "f16"

// <think> and </think> by id; absent in models that do not think.
struct ThinkIds {
  std::optional<TokenId> open, close;
  bool known() const { return open && close; }
};
ThinkIds think_ids(const Tokenizer& tokenizer);

}  // namespace raison::cli
