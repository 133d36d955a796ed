// Built-in synthetic tasks as training data: what a recipe's data.task names.
#pragma once
#include <memory>
#include <string>

#include "train/data.h"
#include "train/export.h"

namespace raison {

// Endless: the stream is a function of the recipe's seed. Validation: sequences about problems held out from training.
Result<std::unique_ptr<DataSource>> make_task_source(const Recipe& recipe);

// Tokenizer, chat template and generation_config.json of a model of the task.
Result<ModelText> task_text(const std::string& task);

}  // namespace raison
