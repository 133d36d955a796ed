// Tables as comma-separated values (RFC 4180): a heading, then records.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace raison {

// Each row below the heading as an object of texts by the heading's names, and the number of the line it begins on; empty lines are passed
// over. A field in quotes may hold commas, line ends and doubled quotes. Errors, `take`'s too: "FILE:LINE: what".
Status read_csv(const std::string& path, const std::function<Status(const nlohmann::ordered_json& record, int64_t line)>& take);

}  // namespace raison
