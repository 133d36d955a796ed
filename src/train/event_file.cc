#include "train/event_file.h"

#include <array>
#include <cstring>

namespace raison {
namespace {

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? (c >> 1) ^ 0x82F63B78u : c >> 1;
    t[i] = c;
  }
  return t;
}

// TFRecord stores CRCs of what may itself hold CRCs: rotated, and a constant added.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t c = crc32c(bytes);
  return ((c >> 15) | (c << 17)) + 0xA282EAD8u;
}

template <class T>
void put_fixed(std::string* out, T v) {  // little-endian, as all that this program runs on
  char bytes[sizeof(T)];
  std::memcpy(bytes, &v, sizeof(T));
  out->append(bytes, sizeof(T));
}

void put_varint(std::string* out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) *out += static_cast<char>((v & 0x7F) | 0x80);
  *out += static_cast<char>(v);
}

enum class Wire : uint64_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };
void put_key(std::string* out, uint64_t field, Wire wire) { put_varint(out, field << 3 | static_cast<uint64_t>(wire)); }

void put_bytes(std::string* out, uint64_t field, std::string_view bytes) {
  put_key(out, field, Wire::Bytes);
  put_varint(out, bytes.size());
  out->append(bytes);
}

std::string record_of(const std::string& event) {
  std::string out, length;
  put_fixed(&length, static_cast<uint64_t>(event.size()));
  out = length;
  put_fixed(&out, masked_crc(length));
  out += event;
  put_fixed(&out, masked_crc(event));
  return out;
}

std::string event_at(double wall_seconds) {
  std::string event;
  put_key(&event, 1, Wire::Fixed64);
  put_fixed(&event, wall_seconds);
  return event;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc_table();
  uint32_t c = 0xFFFFFFFFu;
  for (const char b : bytes) c = kTable[(c ^ static_cast<uint8_t>(b)) & 0xFF] ^ (c >> 8);
  return ~c;
}

std::string event_file_head(double wall_seconds) {
  std::string event = event_at(wall_seconds);
  put_bytes(&event, 3, "brain.Event:2");
  return record_of(event);
}

std::string event_record(int64_t step, double wall_seconds, const std::vector<std::pair<std::string, double>>& scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    std::string value;
    put_bytes(&value, 1, tag);
    put_key(&value, 2, Wire::Fixed32);
    put_fixed(&value, static_cast<float>(number));
    put_bytes(&summary, 1, value);
  }
  std::string event = event_at(wall_seconds);
  put_key(&event, 2, Wire::Varint);
  put_varint(&event, static_cast<uint64_t>(step));
  put_bytes(&event, 5, summary);
  return record_of(event);
}

}  // namespace raison
