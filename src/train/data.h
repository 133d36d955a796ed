// Training data: token sequences with loss weights, cut into micro-batches, in an order that the seed alone decides.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "train/recipe.h"

namespace raison {

struct TrainSequence {
  std::vector<int32_t> tokens;
  std::vector<float> weights;  // [tokens]: weight of the loss of predicting this token; weights[0] is never used
};
using MicroBatch = std::vector<TrainSequence>;

// What makes text into tokens: a tokenizer and the chat template that belongs to it.
struct TextCodec {
  std::shared_ptr<Tokenizer> tokenizer;
  std::shared_ptr<ChatTemplate> chat_template;  // may be null: `messages` are then refused
  int64_t vocab = 0;                            // the model's: ids of `tokens` lie below it; 0 = not known
};

class DataSource {
 public:
  virtual ~DataSource() = default;
  virtual Result<MicroBatch> next() = 0;
  // Where next() will go on: a JSON object, the whole state. seek() accepts what cursor() gave.
  virtual nlohmann::ordered_json cursor() const = 0;
  virtual Status seek(const nlohmann::ordered_json& cursor) = 0;
  // A hash of everything next() will ever give under this recipe: a resumed run must find the same data.
  virtual uint64_t fingerprint() const = 0;
  // Fixed sequences for the validation loss, at most n; may be empty.
  virtual std::vector<TrainSequence> validation(int64_t n) const = 0;
};

struct JsonlData {
  std::vector<TrainSequence> sequences;
  int64_t truncated = 0;  // records cut at max_length
  int64_t dropped = 0;    // records without a token to learn from
};

// Each line of a file of JSON lines, and its number; empty lines are passed over. Errors, `take`'s too: "FILE:LINE: what".
Status read_json_lines(const std::string& path,
                       const std::function<Status(const nlohmann::ordered_json& record, int64_t line)>& take);

// One record of the formats below as one sequence (a text is not cut into pieces, nothing is truncated). Error: without a file's name.
Result<TrainSequence> read_record(const nlohmann::ordered_json& record, const TextCodec& codec, const DataRecipe& recipe);

// Reads and tokenises JSONL. Formats by their keys: `messages`, `prompt` + `completion`, `text`, `tokens`; `weight` scales a
// record's loss; `weights` (with data.token_weights) has one number per token with a loss. Errors: "FILE:LINE: what".
Result<JsonlData> read_jsonl(const std::string& path, const TextCodec& codec, const DataRecipe& recipe);

// Sequences in memory, packed greedily in shuffled order into micro-batches under the budget; epochs run into each other.
std::unique_ptr<DataSource> make_memory_source(std::vector<TrainSequence> train, std::vector<TrainSequence> valid,
                                               const BatchRecipe& batch, bool shuffle, uint64_t seed);

// The source a recipe names. Lines worth telling (records truncated or dropped) are appended to `notices`.
Result<std::unique_ptr<DataSource>> make_data_source(const Recipe& recipe, const TextCodec& codec,
                                                     std::vector<std::string>* notices);

}  // namespace raison
