#include "cli/model_names.h"

#include <array>
#include <cmath>
#include <map>

namespace raison::cli {
namespace {

struct PublishedShape {
  const char* architecture;
  int64_t layers, hidden, experts;
  const char* name;
};

// Shapes of the families' published sizes; anything else is named by its number of parameters.
constexpr std::array kPublished = {
    PublishedShape{"qwen2", 24, 896, 0, "Qwen2 0.5B"},
    PublishedShape{"qwen2", 28, 1536, 0, "Qwen2 1.5B"},
    PublishedShape{"qwen2", 36, 2048, 0, "Qwen2 3B"},
    PublishedShape{"qwen2", 28, 3584, 0, "Qwen2 7B"},
    PublishedShape{"qwen2", 48, 5120, 0, "Qwen2 14B"},
    PublishedShape{"qwen2", 64, 5120, 0, "Qwen2 32B"},
    PublishedShape{"qwen2", 80, 8192, 0, "Qwen2 72B"},
    PublishedShape{"llama", 16, 2048, 0, "Llama 1B"},
    PublishedShape{"llama", 28, 3072, 0, "Llama 3B"},
    PublishedShape{"llama", 32, 4096, 0, "Llama 7B/8B"},
    PublishedShape{"llama", 80, 8192, 0, "Llama 70B"},
    PublishedShape{"qwen3", 28, 1024, 0, "Qwen3 0.6B"},
    PublishedShape{"qwen3", 28, 2048, 0, "Qwen3 1.7B"},
    PublishedShape{"qwen3", 36, 2560, 0, "Qwen3 4B"},
    PublishedShape{"qwen3", 36, 4096, 0, "Qwen3 8B"},
    PublishedShape{"qwen3", 40, 5120, 0, "Qwen3 14B"},
    PublishedShape{"qwen3", 64, 5120, 0, "Qwen3 32B"},
    PublishedShape{"qwen3_moe", 48, 2048, 128, "Qwen3 30B"},
    PublishedShape{"qwen3_moe", 94, 4096, 128, "Qwen3 235B"},
    PublishedShape{"deepseek_v2", 27, 2048, 64, "DeepSeek-V2-Lite 16B"},
    PublishedShape{"deepseek_v2", 60, 5120, 160, "DeepSeek-V2 236B"},
    PublishedShape{"deepseek_v3", 61, 7168, 256, "DeepSeek-V3 671B"},
    PublishedShape{"deepseek_v3", 61, 7168, 384, "Kimi-K2 1T"},
    PublishedShape{"kimi_k2", 61, 7168, 384, "Kimi-K2 1T"},
};

std::string family_name(const std::string& architecture) {
  static const std::map<std::string, std::string> names = {{"llama", "Llama"},
                                                           {"qwen2", "Qwen2"},
                                                           {"qwen3", "Qwen3"},
                                                           {"qwen3moe", "Qwen3-MoE"},
                                                           {"qwen3_moe", "Qwen3-MoE"},
                                                           {"deepseek2", "DeepSeek"},
                                                           {"deepseek_v2", "DeepSeek-V2"},
                                                           {"deepseek_v3", "DeepSeek-V3"},
                                                           {"kimi_k2", "Kimi-K2"}};
  const auto it = names.find(architecture);
  return it != names.end() ? it->second : architecture.empty() ? "unknown architecture" : architecture;
}

std::string short_count(int64_t n) {
  const auto d = static_cast<double>(n);
  if (n >= 10'000'000'000) return fmt::format("{:.0f}B", d / 1e9);
  if (n >= 1'000'000'000) return fmt::format("{:.3g}B", d / 1e9);
  if (n >= 1'000'000) return fmt::format("{:.3g}M", d / 1e6);
  if (n >= 1'000) return fmt::format("{:.3g}K", d / 1e3);
  return fmt::format("{}", n);
}

const PublishedShape* published(const std::string& architecture, const ModelInfo* info) {
  if (!info) return nullptr;
  for (const PublishedShape& p : kPublished)
    if (p.architecture == architecture && p.layers == info->layers && p.hidden == info->hidden && p.experts == info->experts)
      return &p;
  return nullptr;
}
}  // namespace

std::string weight_type_name(const std::string& type) { return type == "F8_E4M3" ? "FP8" : type; }

std::pair<std::string, std::string> honest_name(const std::string& architecture, const ModelInfo* info, int64_t parameters,
                                                const NameMarkers& markers, const std::string& weights) {
  const PublishedShape* shape = published(architecture, info);
  std::string name = shape ? shape->name : fmt::format("{} {}", family_name(architecture), short_count(parameters));
  std::string remark;
  const bool dense = architecture == "llama" || architecture == "qwen2" || architecture == "qwen3";
  if (markers.r1_turns && shape && dense) {
    name = "R1 distill of " + name;
    remark = fmt::format("a distill is a {} taught on R1's answers; R1 itself is a mixture of experts of 671B",
                         family_name(architecture));
  } else if (markers.r1_turns && shape && std::string(shape->name).starts_with("DeepSeek-V3 ")) {
    name = markers.chooses_thought ? "DeepSeek-V3.1 671B" : "DeepSeek-R1 671B";
  } else if (markers.r1_turns && !shape) {  // markers alone make no distill: any tokenizer may carry them
    name += " with DeepSeek-R1's turn markers";
  }
  if (info && info->experts > 0) name += fmt::format(", {} active", short_count(info->active_parameters));
  if (!weights.empty()) name += ", " + weights;
  return {name, remark};
}

}  // namespace raison::cli
