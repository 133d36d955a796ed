// Built-in synthetic tasks as training data: what a recipe's data.task names.
#pragma once
#include <memory>
#include <string>

#include "train/data.h"
#include "train/export.h"
#include "train/synthetic_task.h"

namespace raison {

// Endless: the stream is a function of the recipe's seed. Validation: sequences about problems held out from training, the
// same for every seed.
Result<std::unique_ptr<DataSource>> make_task_source(const Recipe& recipe);

// Tokenizer, chat template and generation_config.json of a new model of the task.
Result<ModelText> task_text(const std::string& task);

// Ok if the tokenizer gives the task's words the task's ids.
Status check_task_tokenizer(const SyntheticTask& task, const Tokenizer& tokenizer, const std::string& where);

}  // namespace raison
