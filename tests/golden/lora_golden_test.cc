// PEFT's adapters on the golden models (folders with lora/) against what PEFT computes with them: logits, loss, gradients of A and B.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "convert/convert.h"
#include "engine/engine.h"
#include "io/tensor_read.h"
#include "testing/adapters.h"
#include "testing/temp_dir.h"

namespace raison::testing {
namespace {
namespace stdfs = std::filesystem;

stdfs::path lora_goldens_root() {
  if (const char* dir = std::getenv("RAISON_GOLDENS")) return dir;
  if (const char* dir = std::getenv("RAISON_SHARED")) return stdfs::path(dir) / "goldens";
  return stdfs::path(RAISON_SOURCE_DIR) / ".." / "shared" / "goldens";
}

std::vector<std::string> folders_with_lora() {
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& e : stdfs::directory_iterator(lora_goldens_root(), ec))
    if (stdfs::exists(e.path() / "lora" / "adapter_config.json")) out.push_back(e.path().string());
  std::sort(out.begin(), out.end());
  return out;
}

struct LoraGolden {
  nlohmann::json json;
  std::shared_ptr<SafetensorsFile> base, lora, gradients;  // expected values
  std::unique_ptr<Model> model;
  LoraAdapter adapter;

  std::vector<int32_t> ids(const std::string& name) const { return *read_i32(*base->find(name)); }
};

class LoraGoldens : public ::testing::Test {
 protected:
  void SetUp() override {
    if (folders_with_lora().empty())
      GTEST_SKIP() << "NO GOLDENS with adapters under " << lora_goldens_root() << ": set RAISON_SHARED";
  }
  void open(const std::string& folder, LoraGolden* g, LoadOptions options = {}) {
    auto files = ModelFiles::open(folder);
    ASSERT_TRUE(files.ok()) << files.message();
    auto model = load_model(*files, options);
    ASSERT_TRUE(model.ok()) << model.message();
    g->model = std::move(model).value();
    auto adapter = read_lora(folder + "/lora", *g->model, true);
    ASSERT_TRUE(adapter.ok()) << adapter.message();
    g->adapter = std::move(adapter).value();
    ASSERT_EQ(g->model->add_adapter(g->adapter.adapter), 0);
    g->json = nlohmann::json::parse(std::ifstream(folder + "/golden.json"));
    for (auto [file, path] : {std::pair{&g->base, "/golden.safetensors"},
                              {&g->lora, "/lora/golden.safetensors"},
                              {&g->gradients, "/lora/sft_gradients.safetensors"}}) {
      auto opened = SafetensorsFile::open(folder + path);
      ASSERT_TRUE(opened.ok()) << opened.message();
      *file = *opened;
    }
  }
  // The loss of the four sequences, and gradients.
  double loss(LoraGolden& g, GradientStore* gradients, bool recompute) {
    std::vector<std::vector<int32_t>> sequences;
    for (size_t n = 0; g.base->find(fmt::format("sft.{}.tokens", n)); ++n)
      sequences.push_back(g.ids(fmt::format("sft.{}.tokens", n)));
    KvCache cache(*g.model->kv_layout(DType::F32, 64));
    TrainBatch batch = make_train_batch(cache, sequences, g.json.at("sft").at("prompt_tokens").get<std::vector<int64_t>>());
    batch.batch.adapters.assign(sequences.size(), 0);
    return loss_and_gradients(*g.model, pool_, kernels_, batch, gradients, recompute);
  }
  // A tensor of PEFT's, put together of gradients. Parameters that no token met have none.
  static std::vector<float> gradient_of(const PeftTensor& t, GradientStore& gradients) {
    std::vector<float> out(static_cast<size_t>(t.shape[0] * t.shape[1]));
    for (const PeftTensor::Part& part : t.parts) {
      const Parameter& p = *part.parameter;
      if (!gradients.has_total(p)) continue;
      const auto values = p.to_row_major(gradients.total(p));
      for (int64_t i = 0; i < p.shape[0]; ++i)
        for (int64_t j = 0; j < p.shape[1]; ++j)
          out[static_cast<size_t>((part.row + i) * t.shape[1] + part.col + j * part.step)] =
              values[static_cast<size_t>(i * p.shape[1] + j)];
    }
    return out;
  }
  static double length(const std::vector<float>& v) {
    double s = 0;
    for (const float x : v) s += double{x} * double{x};
    return std::sqrt(s);
  }
  // The largest relative difference of a tensor's gradient.
  static double worst_gradient(LoraGolden& g, GradientStore& gradients, double floor) {
    double largest = 0, worst = 0;
    for (const TensorInfo& t : g.gradients->tensors()) largest = std::max(largest, length(*read_f32(t)));
    EXPECT_EQ(g.gradients->tensors().size(), g.adapter.tensors.size());
    for (const PeftTensor& t : g.adapter.tensors) {
      const TensorInfo* info = g.gradients->find(t.name);
      EXPECT_TRUE(info) << t.name;
      if (!info) return 1;
      const auto want = *read_f32(*info);
      auto got = gradient_of(t, gradients);
      EXPECT_EQ(got.size(), want.size());
      for (size_t i = 0; i < got.size(); ++i) got[i] -= want[i];
      const double relative = length(got) / std::max(length(want), floor * largest);
      worst = std::max(worst, relative);
    }
    return worst;
  }
  ThreadPool pool_{2};
  const KernelTable& kernels_ = **select_kernels_from_environment();
};

TEST_F(LoraGoldens, Logits) {
  for (const std::string& folder : folders_with_lora()) {
    SCOPED_TRACE(folder);
    LoraGolden g;
    open(folder, &g);
    if (HasFatalFailure()) return;
    int compared = 0;
    double most = 0, apart = 0;
    for (const TensorInfo& t : g.lora->tensors()) {
      const std::string prompt = t.name.substr(0, t.name.rfind('.'));
      const auto want = *read_f32(t);
      const auto tokens = g.ids(prompt + ".tokens");
      auto got = compute_logits(*g.model, pool_, kernels_, DType::F32, tokens, 0, 0, 0);
      auto base = compute_logits(*g.model, pool_, kernels_, DType::F32, tokens);
      ASSERT_TRUE(got.ok() && base.ok());
      ASSERT_EQ(got->size(), want.size());
      for (size_t i = 0; i < want.size(); ++i) {
        most = std::max(most, std::fabs(double{(*got)[i]} - double{want[i]}));
        apart = std::max(apart, std::fabs(double{(*base)[i]} - double{want[i]}));
      }
      ++compared;
    }
    EXPECT_GE(compared, 2);
    EXPECT_LE(most, std::max(2e-4, 3 * g.json.value("fp32_against_fp64_max_logit_difference", 0.0)));
    EXPECT_GT(apart, 0.1) << "the adapter does nothing here";
    std::printf("%s: logits within %.2e of PEFT's\n", stdfs::path(folder).filename().c_str(), most);
  }
}

TEST_F(LoraGoldens, LossAndGradients) {
  for (const std::string& folder : folders_with_lora()) {
    SCOPED_TRACE(folder);
    LoraGolden g;
    open(folder, &g);
    if (HasFatalFailure()) return;
    for (const bool recompute : {false, true}) {
      GradientStore gradients(g.adapter.adapter->parameters());
      const double want = g.json.at("lora").at("loss").get<double>();
      EXPECT_NEAR(loss(g, &gradients, recompute), want, 1e-5 * want);
      const double worst = worst_gradient(g, gradients, 1e-6);
      EXPECT_LE(worst, 1e-3);
      std::printf("%s: gradients within %.2e of PEFT's\n", stdfs::path(folder).filename().c_str(), worst);
    }
  }
}

// All gradients, one after the other.
std::vector<float> all_gradients(const LoraAdapter& adapter, GradientStore& gradients) {
  std::vector<float> out;
  for (const auto& p : adapter.adapter->parameters().all()) {
    std::vector<float> values(static_cast<size_t>(p->element_count()));
    if (gradients.has_total(*p)) values = p->to_row_major(gradients.total(*p));
    out.insert(out.end(), values.begin(), values.end());
  }
  return out;
}

// A base of BF16, as the goldens lie on disk, is the golden's own. Through one of Q8_0 they are those of its dequantised values but for
// what the products round of activations.
TEST_F(LoraGoldens, GradientsThroughOtherTypesOfBases) {
  for (const std::string& folder : folders_with_lora()) {
    SCOPED_TRACE(folder);
    LoraGolden exact, small, dequantised;
    LoadOptions q8;
    q8.repack = DType::Q8_0;  // widths that are no multiple of its block stay F32
    open(folder, &exact);
    open(folder, &small, q8);
    open(folder, &dequantised, q8);
    if (HasFatalFailure()) return;
    int64_t of_q8 = 0;
    for (const auto& p : dequantised.model->parameters().all()) {
      if (!p->is_matrix()) continue;
      of_q8 += p->matrix_type() == DType::Q8_0;
      std::vector<float> values(static_cast<size_t>(p->element_count()));
      p->packed().unpack_f32(values.data());
      p->matrix = *PackedWeight::pack_f32(DType::F32, p->shape[0], p->shape[1], values.data());
      p->source = nullptr;
    }
    GradientStore a(exact.adapter.adapter->parameters()), b(small.adapter.adapter->parameters()),
        c(dequantised.adapter.adapter->parameters());
    (void)loss(exact, &a, false);
    (void)loss(small, &b, false);
    (void)loss(dequantised, &c, false);
    EXPECT_LE(worst_gradient(exact, a, 1e-6), 1e-3);
    const auto got = all_gradients(small.adapter, b), want = all_gradients(dequantised.adapter, c);
    std::vector<float> difference(got.size());
    for (size_t i = 0; i < got.size(); ++i) difference[i] = got[i] - want[i];
    const double relative = length(difference) / length(want);
    std::printf("%s: %lld matrices of Q8_0, gradients within %.3f of those on their values\n",
                stdfs::path(folder).filename().c_str(), static_cast<long long>(of_q8), relative);
    if (of_q8 == 0) continue;
    EXPECT_GT(relative, 0);
    EXPECT_LE(relative, small.model->info().experts > 0 ? 0.45 : 0.2);  // a router that chooses other experts moves much
  }
}

// Quantised checkpoints as they lie on disk (FP8): a matrix's products are those of its values in fp32 to the bit, and so are the gradients.
TEST_F(LoraGoldens, AnFp8BaseIsItsValuesToTheBit) {
  int64_t of_fp8 = 0;
  for (const auto& e : stdfs::directory_iterator(lora_goldens_root())) {
    auto files =
        stdfs::exists(e.path() / "config.json") ? ModelFiles::open(e.path().string()) : Result<ModelFiles>(error("none"));
    if (!files.ok() || !files->config.contains("quantization_config")) continue;
    SCOPED_TRACE(e.path());
    std::vector<float> gradients[2];
    double losses[2] = {0, 1};
    for (const bool wide : {false, true}) {
      LoadOptions options;
      if (wide) options.repack = DType::F32;
      auto model = load_model(*files, options);
      ASSERT_TRUE(model.ok()) << model.message();
      for (const auto& p : (*model)->parameters().all())
        of_fp8 += p->is_matrix() && p->matrix_type() == DType::F8_E4M3 && !p->name.ends_with("kv_b_proj.weight");
      auto adapter = random_adapter(**model, 3, 0.5f, 8);
      (*model)->add_adapter(adapter);
      KvCache cache(*(*model)->kv_layout(DType::F32, 64));
      TrainBatch batch = make_train_batch(cache, {random_tokens(20, (*model)->info().vocab, 1)}, {1});
      batch.batch.adapters = {0};
      GradientStore store(adapter->parameters());
      losses[wide] = loss_and_gradients(**model, pool_, kernels_, batch, &store);
      for (const auto& p : adapter->parameters().all())
        if (store.has_total(*p))
          gradients[wide].insert(gradients[wide].end(), store.total(*p), store.total(*p) + p->value_count());
    }
    EXPECT_EQ(losses[0], losses[1]);
    EXPECT_GT(gradients[0].size(), 1000u);
    EXPECT_TRUE(same_bits(gradients[0], gradients[1], 1));
  }
  EXPECT_GT(of_fp8, 10) << "no folder in FP8 among the goldens";
}

// The base and the adapter as one model, in either format from either, answers as the two do apart.
TEST_F(LoraGoldens, Merged) {
  for (const std::string& folder : folders_with_lora()) {
    SCOPED_TRACE(folder);
    LoraGolden g;
    open(folder, &g);
    if (HasFatalFailure()) return;
    const auto tokens = g.ids("prompt.4.tokens");
    auto want = compute_logits(*g.model, pool_, kernels_, DType::F32, tokens, 0, 0, 0);
    ASSERT_TRUE(want.ok()) << want.message();
    const TempDir dir;
    const std::string lora = folder + "/lora";
    const FileType &f32 = **find_file_type("F32"), &q8 = **find_file_type("Q8_0");
    const auto difference = [&](const std::string& path) {
      auto files = ModelFiles::open(path);
      EXPECT_TRUE(files.ok()) << files.message();
      if (!files.ok()) return 1e9;
      auto model = load_model(*files);
      EXPECT_TRUE(model.ok()) << (model.ok() ? "" : model.message());
      if (!model.ok()) return 1e9;
      auto got = compute_logits(**model, pool_, kernels_, DType::F32, tokens);
      EXPECT_TRUE(got.ok() && got->size() == want->size());
      double most = 0, squares = 0;
      for (size_t i = 0; i < want->size(); ++i) {
        const double d = std::fabs(double{(*got)[i]} - double{(*want)[i]});
        most = std::max(most, std::isfinite(d) ? d : 1e9);
        squares += double{(*want)[i]} * double{(*want)[i]};
      }
      EXPECT_GT(squares, 0);
      return most;
    };
    const auto done = [](const Result<Converted>& r) {
      return r.ok() ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << r.message();
    };
    ASSERT_TRUE(done(convert_to_hf(folder, dir / "hf", DType::F32, pool_, {}, lora)));
    ASSERT_TRUE(done(quantize_model(folder, dir / "hf.gguf", f32, false, pool_, {}, lora)));
    ASSERT_TRUE(done(quantize_model(folder, dir / "base.gguf", f32, false, pool_, {})));
    ASSERT_TRUE(done(quantize_model(dir / "base.gguf", dir / "gguf.gguf", f32, false, pool_, {}, lora)));
    ASSERT_TRUE(done(convert_to_hf(dir / "base.gguf", dir / "gguf", DType::F32, pool_, {}, lora)));
    double worst = 0;
    for (const char* name : {"hf", "hf.gguf", "gguf.gguf", "gguf"}) {
      SCOPED_TRACE(name);
      const double d = difference(dir / name);
      EXPECT_LE(d, 1e-4);
      worst = std::max(worst, d);
    }
    EXPECT_GT(difference(dir / "base.gguf"), 0.1);
    // The same tensors, made in two ways: to the bit.
    auto a = GgufFile::open(dir / "hf.gguf"), b = GgufFile::open(dir / "gguf.gguf");
    ASSERT_TRUE(a.ok() && b.ok());
    ASSERT_EQ((*a)->tensors().size(), (*b)->tensors().size());
    for (const TensorInfo& t : (*a)->tensors()) {
      const TensorInfo* other = (*b)->find(t.name);
      ASSERT_TRUE(other && other->bytes == t.bytes) << t.name;
      EXPECT_EQ(std::memcmp(other->data, t.data, t.bytes), 0) << t.name;
    }
    ASSERT_TRUE(done(quantize_model(dir / "base.gguf", dir / "q8.gguf", q8, false, pool_, {}, lora)));
    const double small = difference(dir / "q8.gguf");
    EXPECT_LT(small, 1e6) << "it loads, and its numbers are numbers";
    std::printf("%s: merged within %.2e of unmerged (Q8_0: %.2e)\n", stdfs::path(folder).filename().c_str(), worst, small);
    EXPECT_FALSE(convert_to_hf(folder, dir / "other", DType::F32, pool_, {}, dir / "hf").ok()) << "no adapter there";
    EXPECT_FALSE(stdfs::exists(dir / "other"));
  }
}

}  // namespace
}  // namespace raison::testing
