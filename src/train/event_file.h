// TensorBoard's event files: a record (TFRecord: length, masked CRC-32C of it, bytes, masked CRC-32C of them) for each step, whose bytes are a
// protocol buffer `Event` with one `Summary.Value` (tag, simple_value) for each number (tensorflow/core/util/event.proto and
// framework/summary.proto: fields 1 wall_time, 2 step, 3 file_version, 5 summary; value: 1 tag, 2 simple_value).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace raison {

// What an event file begins with.
std::string event_file_head(double wall_seconds);
std::string event_record(int64_t step, double wall_seconds, const std::vector<std::pair<std::string, double>>& scalars);

// CRC-32C (Castagnoli, RFC 3720 B.4).
uint32_t crc32c(std::string_view bytes);

}  // namespace raison
