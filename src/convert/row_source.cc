#include "convert/row_source.h"

#include <algorithm>
#include <cstring>

#include "io/printable.h"
#include "tensor/packed.h"

namespace raison {

RowSource::RowSource(std::vector<int64_t> shape) : shape_(std::move(shape)) {
  for (size_t i = 0; i + 1 < shape_.size(); ++i) rows_ *= shape_[i];
}

namespace {

void release_rows(const TensorInfo& t, uint64_t row_bytes, int64_t first, int64_t count) {
  if (t.file) t.file->release(t.offset + static_cast<uint64_t>(first) * row_bytes, static_cast<uint64_t>(count) * row_bytes);
}

// A scalar is one row of one value.
std::vector<int64_t> at_least_1d(std::vector<int64_t> shape) {
  if (shape.empty()) shape.push_back(1);
  return shape;
}

class PlainRows final : public RowSource {
 public:
  PlainRows(const TensorInfo& t, uint64_t row_bytes) : RowSource(at_least_1d(t.shape)), tensor_(t), row_bytes_(row_bytes) {}
  void read(int64_t first, int64_t count, float* out) const override {
    dequantize_row(tensor_.type, tensor_.data + static_cast<uint64_t>(first) * row_bytes_, out, count * cols());
  }
  void release(int64_t first, int64_t count) const override { release_rows(tensor_, row_bytes_, first, count); }
  const TensorInfo* plain() const override { return &tensor_; }

 private:
  const TensorInfo& tensor_;
  uint64_t row_bytes_;
};

class Fp8Rows final : public RowSource {
 public:
  Fp8Rows(const TensorInfo& t, const TensorInfo& scales) : RowSource(t.shape), tensor_(t), scales_(scales) {}
  void read(int64_t first, int64_t count, float* out) const override {
    const int64_t across = scales_.shape[1], block = first / kFp8Block;
    std::vector<float> scales(static_cast<size_t>(((first + count - 1) / kFp8Block - block + 1) * across));
    const uint64_t before = *row_bytes(scales_.type, static_cast<uint64_t>(block * across));
    dequantize_row(scales_.type, scales_.data + before, scales.data(), static_cast<int64_t>(scales.size()));
    for (int64_t r = first; r < first + count; ++r, out += cols())
      dequantize_fp8_row(tensor_.data + r * cols(), r - block * kFp8Block, cols(), scales.data(), out);
  }
  void release(int64_t first, int64_t count) const override {
    release_rows(tensor_, static_cast<uint64_t>(cols()), first, count);
  }

 private:
  const TensorInfo &tensor_, &scales_;
};

class MemoryRows final : public RowSource {
 public:
  MemoryRows(std::vector<int64_t> shape, std::vector<float> values) : RowSource(std::move(shape)), values_(std::move(values)) {}
  void read(int64_t first, int64_t count, float* out) const override {
    std::copy_n(values_.begin() + first * cols(), count * cols(), out);
  }
  void release(int64_t, int64_t) const override {}

 private:
  std::vector<float> values_;
};

// Within a head of `dim` rows: row of the pairs' order -> row of HF's order, and back.
int64_t hf_of_pairs(int64_t r, int64_t dim) { return r % 2 * (dim / 2) + r / 2; }
int64_t pairs_of_hf(int64_t r, int64_t dim) { return 2 * (r % (dim / 2)) + r / (dim / 2); }

class PermutedRows final : public RowSource {
 public:
  PermutedRows(RowSourcePtr in, int64_t heads, bool to_pairs)
      : RowSource(in->shape()), in_(std::move(in)), to_pairs_(to_pairs) {
    dim_ = shape()[0] / heads;
  }
  void read(int64_t first, int64_t count, float* out) const override {
    if (shape().size() == 1) {
      std::vector<float> all(static_cast<size_t>(cols()));
      in_->read(0, 1, all.data());
      for (int64_t i = 0; i < cols(); ++i) out[i] = all[static_cast<size_t>(source(i))];
      return;
    }
    for (int64_t r = first; r < first + count; ++r, out += cols()) in_->read(source(r), 1, out);
  }
  void release(int64_t first, int64_t count) const override { in_->release(first, count); }

 private:
  int64_t source(int64_t r) const {
    return r / dim_ * dim_ + (to_pairs_ ? hf_of_pairs(r % dim_, dim_) : pairs_of_hf(r % dim_, dim_));
  }
  RowSourcePtr in_;
  bool to_pairs_;
  int64_t dim_;
};

std::vector<int64_t> with_front(int64_t n, std::vector<int64_t> shape) {
  shape.insert(shape.begin(), n);
  return shape;
}

class StackedRows final : public RowSource {
 public:
  explicit StackedRows(std::vector<RowSourcePtr> parts)
      : RowSource(with_front(static_cast<int64_t>(parts.size()), parts[0]->shape())), parts_(std::move(parts)) {}
  void read(int64_t first, int64_t count, float* out) const override {
    each(first, count, [&](const RowSource& part, int64_t at, int64_t n) {
      part.read(at, n, out);
      out += n * cols();
    });
  }
  void release(int64_t first, int64_t count) const override {
    each(first, count, [](const RowSource& part, int64_t at, int64_t n) { part.release(at, n); });
  }

 private:
  template <class F>
  void each(int64_t first, int64_t count, const F& f) const {
    const int64_t per = parts_[0]->rows();
    while (count > 0) {
      const int64_t at = first % per, n = std::min(count, per - at);
      f(*parts_[static_cast<size_t>(first / per)], at, n);
      first += n;
      count -= n;
    }
  }
  std::vector<RowSourcePtr> parts_;
};

class UnstackedRows final : public RowSource {
 public:
  UnstackedRows(RowSourcePtr in, int64_t index)
      : RowSource({in->shape().begin() + 1, in->shape().end()}), in_(std::move(in)), first_(index * rows()) {}
  void read(int64_t first, int64_t count, float* out) const override { in_->read(first_ + first, count, out); }
  void release(int64_t first, int64_t count) const override { in_->release(first_ + first, count); }

 private:
  RowSourcePtr in_;
  int64_t first_;
};

// [n, m] -> [m, n]
void transpose(const float* in, int64_t n, int64_t m, float* out) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) out[j * n + i] = in[i * m + j];
}

class KeysOfKvB final : public RowSource {
 public:
  KeysOfKvB(RowSourcePtr kv_b, int64_t heads, int64_t nope, int64_t v)
      : RowSource({heads, kv_b->cols(), nope}), kv_b_(std::move(kv_b)), per_head_(nope + v) {}
  int64_t unit() const override { return shape()[1]; }
  void read(int64_t first, int64_t count, float* out) const override {
    const int64_t rank = shape()[1], nope = shape()[2];
    std::vector<float> head(static_cast<size_t>(nope * rank));
    for (int64_t h = first / rank; h < (first + count) / rank; ++h, out += rank * nope) {
      kv_b_->read(h * per_head_, nope, head.data());
      transpose(head.data(), nope, rank, out);
    }
  }
  void release(int64_t, int64_t) const override {}  // the values' part is still to come

 private:
  RowSourcePtr kv_b_;
  int64_t per_head_;
};

class ValuesOfKvB final : public RowSource {
 public:
  ValuesOfKvB(RowSourcePtr kv_b, int64_t heads, int64_t nope, int64_t v)
      : RowSource({heads, v, kv_b->cols()}), kv_b_(std::move(kv_b)), nope_(nope) {}
  void read(int64_t first, int64_t count, float* out) const override {
    const int64_t v = shape()[1];
    for (int64_t r = first; r < first + count; ++r, out += cols()) kv_b_->read(r / v * (nope_ + v) + nope_ + r % v, 1, out);
  }
  void release(int64_t first, int64_t count) const override {
    const int64_t v = shape()[1], from = first / v, to = (first + count) / v;
    if (to > from) kv_b_->release(from * (nope_ + v), (to - from) * (nope_ + v));
  }

 private:
  RowSourcePtr kv_b_;
  int64_t nope_;
};

class JoinedKvB final : public RowSource {
 public:
  JoinedKvB(RowSourcePtr keys, RowSourcePtr values)
      : RowSource({keys->shape()[0] * (keys->shape()[2] + values->shape()[1]), keys->shape()[1]}),
        keys_(std::move(keys)),
        values_(std::move(values)) {}
  int64_t unit() const override { return keys_->shape()[2] + values_->shape()[1]; }
  void read(int64_t first, int64_t count, float* out) const override {
    const int64_t rank = cols(), nope = keys_->shape()[2], v = values_->shape()[1];
    std::vector<float> head(static_cast<size_t>(rank * nope));
    for (int64_t h = first / unit(); h < (first + count) / unit(); ++h, out += unit() * rank) {
      keys_->read(h * rank, rank, head.data());
      transpose(head.data(), rank, nope, out);
      values_->read(h * v, v, out + nope * rank);
    }
  }
  void release(int64_t first, int64_t count) const override {
    const int64_t from = first / unit(), heads = count / unit();
    keys_->release(from * cols(), heads * cols());
    values_->release(from * values_->shape()[1], heads * values_->shape()[1]);
  }

 private:
  RowSourcePtr keys_, values_;
};

class AnyRows final : public RowSource {
 public:
  explicit AnyRows(RowSourcePtr in) : RowSource(in->shape()), in_(std::move(in)) {}
  void read(int64_t first, int64_t count, float* out) const override {
    const int64_t unit = in_->unit(), from = first / unit * unit, to = (first + count + unit - 1) / unit * unit;
    std::vector<float> whole(static_cast<size_t>((to - from) * cols()));
    in_->read(from, to - from, whole.data());
    std::copy_n(whole.begin() + (first - from) * cols(), count * cols(), out);
  }
  void release(int64_t, int64_t) const override {}  // the rest of a unit may still be asked for

 private:
  RowSourcePtr in_;
};

bool is_float(const TensorInfo& t) {
  return t.known_type && (t.type == DType::F32 || t.type == DType::F16 || t.type == DType::BF16 || t.type == DType::F64);
}

Status check_scales(const TensorInfo& t, const TensorInfo& scales, const std::string& where) {
  const auto blocks = [](int64_t n) { return (n + kFp8Block - 1) / kFp8Block; };
  if (t.shape.size() != 2 || scales.shape != std::vector<int64_t>{blocks(t.shape[0]), blocks(t.shape[1])})
    return error("{}: {} must hold one multiplier per 128 x 128 values", where, printable(scales.name));
  if (!is_float(scales) && !(scales.known_type && scales.type == DType::F8_E8M0))
    return error("{}: {} is of type {}, a float type was expected", where, printable(scales.name), scales.type_name);
  return {};
}

}  // namespace

Result<RowSourcePtr> rows_of(const TensorInfo& t, const TensorInfo* scales) {
  const std::string where = fmt::format("{}: tensor {}", t.file ? t.file->path() : "?", printable(t.name));
  if (t.known_type && t.type == DType::F8_E4M3) {
    if (scales == nullptr) return error("{} is of type {} and has no weight_scale_inv beside it", where, t.type_name);
    RAISON_RETURN_IF_ERROR(check_scales(t, *scales, where));
    return RowSourcePtr(std::make_shared<Fp8Rows>(t, *scales));
  }
  if (scales != nullptr)
    return error("{} is of type {}, for which {} makes no sense", where, t.type_name, printable(scales->name));
  if (!is_float(t) && !(t.known_type && is_block_type(t.type)))
    return error("{} is of type {}, a float type was expected", where, t.type_name);
  const auto bytes = row_bytes(t.type, t.shape.empty() ? 1 : static_cast<uint64_t>(t.shape.back()));
  if (!bytes || t.elements() == 0) return error("{} has an impossible shape", where);
  return RowSourcePtr(std::make_shared<PlainRows>(t, *bytes));
}

RowSourcePtr rows_in_memory(std::vector<int64_t> shape, std::vector<float> values) {
  return std::make_shared<MemoryRows>(std::move(shape), std::move(values));
}
RowSourcePtr interleave(RowSourcePtr in, int64_t heads) { return std::make_shared<PermutedRows>(std::move(in), heads, true); }
RowSourcePtr deinterleave(RowSourcePtr in, int64_t heads) {
  return std::make_shared<PermutedRows>(std::move(in), heads, false);
}
RowSourcePtr stack(std::vector<RowSourcePtr> parts) { return std::make_shared<StackedRows>(std::move(parts)); }
RowSourcePtr unstack(RowSourcePtr in, int64_t index) { return std::make_shared<UnstackedRows>(std::move(in), index); }
RowSourcePtr keys_of_kv_b(RowSourcePtr kv_b, int64_t heads, int64_t nope, int64_t v) {
  return std::make_shared<KeysOfKvB>(std::move(kv_b), heads, nope, v);
}
RowSourcePtr values_of_kv_b(RowSourcePtr kv_b, int64_t heads, int64_t nope, int64_t v) {
  return std::make_shared<ValuesOfKvB>(std::move(kv_b), heads, nope, v);
}
RowSourcePtr join_kv_b(RowSourcePtr keys, RowSourcePtr values) {
  return std::make_shared<JoinedKvB>(std::move(keys), std::move(values));
}
RowSourcePtr any_rows(RowSourcePtr in) { return in->unit() == 1 ? in : std::make_shared<AnyRows>(std::move(in)); }

}  // namespace raison
