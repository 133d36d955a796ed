#include "train/policy_recipe.h"

#include "train/toml_section.h"

namespace raison {
namespace {

const char* scale_name(AdvantageScale s) {
  return s == AdvantageScale::Group ? "group" : s == AdvantageScale::Batch ? "batch" : "none";
}
const char* mean_name(LossMean m) { return m == LossMean::Samples ? "samples" : m == LossMean::Tokens ? "tokens" : "constant"; }

// Above these bounds the distribution that is sampled is not the one that the loss is computed of.
struct Bend {
  const char* key;
  bool on;
};

void read_loss(TomlSection& s, PolicyLossOptions* o) {
  std::string ratio = o->ratio == RatioLevel::Token ? "token" : "sequence", mean = mean_name(o->mean);
  s.one_of("ratio", &ratio, {"token", "sequence"});
  s.one_of("mean", &mean, {"samples", "tokens", "constant"});
  o->ratio = ratio == "token" ? RatioLevel::Token : RatioLevel::Sequence;
  o->mean = mean == "samples" ? LossMean::Samples : mean == "tokens" ? LossMean::Tokens : LossMean::Constant;
  s.number("clip_low", &o->clip_low, 0, 1e9);
  s.number("clip_high", &o->clip_high, 0, 1e9);
  double delta = 0, weight = o->weight_most.value_or(0);
  s.number("delta", &delta, 0, 1e9);
  if (s.has("delta")) o->delta = delta;
  s.number("weight_most", &weight, 0, 1e9);
  if (s.has("weight_most")) o->weight_most = weight;
  s.number("beta", &o->beta, 0, 1e6);
  s.boolean("kl_by_ratio", &o->kl_by_ratio);
  s.boolean("skip_truncated", &o->skip_truncated);
  s.number("length", &o->length, 1, 1e12);
}

void read_advantage(TomlSection& s, AdvantageOptions* o) {
  std::string scale = scale_name(o->scale);
  s.one_of("scale", &scale, {"group", "batch", "none"});
  o->scale = scale == "group" ? AdvantageScale::Group : scale == "batch" ? AdvantageScale::Batch : AdvantageScale::None;
  s.number("epsilon", &o->epsilon, 0, 1);
  s.boolean("unbiased_std", &o->unbiased_std);
  s.boolean("normalise_each", &o->normalise_each);
}

}  // namespace

void read_rollout(TomlSection& s, RolloutRecipe* r) {
  s.integer("prompts", &r->prompts, 1, 1 << 20);
  s.integer("group", &r->group, 2, 1 << 16);
  s.integer("max_length", &r->max_length, 0, int64_t{1} << 24);
  s.integer("together", &r->together, 1, 4096);
  s.number("temperature", &r->temperature, 1e-3, 100);
  s.string("system", &r->system);
  bool think = true;
  s.boolean("think", &think);
  if (s.has("think")) r->think = think;
  s.integer("budget", &r->budget, -1, int64_t{1} << 24);
  s.integer("minimum", &r->minimum, 0, int64_t{1} << 24);
  s.integer("top_k", &r->top_k, 0, 1 << 24);
  s.number("top_p", &r->top_p, 1e-6, 1);
  s.number("min_p", &r->min_p, 0, 1);
  s.number("repetition_penalty", &r->repetition_penalty, 1e-4, 1e4);
  s.number("presence_penalty", &r->presence_penalty, -100, 100);
  s.number("frequency_penalty", &r->frequency_penalty, -100, 100);
  s.boolean("off_policy", &r->off_policy);
  if (r->budget >= 0 && r->minimum > r->budget) s.fail("minimum", "is more than budget");
  if (r->prompts * r->group > 1 << 20) s.fail("group", "times prompts is more than 1,048,576 rollouts of a step");
  for (const Bend& b :
       {Bend{"minimum", r->minimum > 0}, Bend{"top_k", r->top_k > 0}, Bend{"top_p", r->top_p < 1}, Bend{"min_p", r->min_p > 0},
        Bend{"repetition_penalty", r->repetition_penalty != 1}, Bend{"presence_penalty", r->presence_penalty != 0},
        Bend{"frequency_penalty", r->frequency_penalty != 0}})
    if (b.on && !r->off_policy)
      s.fail(b.key,
             "changes what is sampled but not what the loss is computed of, which biases the gradient; leave it out, or say "
             "off_policy = true");
}

void read_reward(TomlSection& s, RewardRecipe* r) {
  if (!s.has("verifier")) s.fail("verifier", "is missing; which one judges?");
  s.string("verifier", &r->verifier);
  s.string("name", &r->name);
  s.number("weight", &r->weight, -1e6, 1e6);
  s.json("options", &r->options);
  if (r->name.empty()) r->name = r->verifier;
}

void read_policy(TomlSection& s, const RolloutRecipe& rollout, PolicyRecipe* p) {
  s.one_of("loss", &p->name, {"grpo", "dr_grpo", "dapo", "gspo", "cispo"});
  const auto named = policy_loss_named(p->name);
  if (named.ok()) p->loss = *named;
  p->advantage.group = rollout.group;
  if (p->name == "dr_grpo") p->advantage.scale = AdvantageScale::None;
  const int64_t length = rollout.max_length;
  if (p->name == "dr_grpo" && length > 0) p->loss.length = static_cast<double>(length);
  if (p->name == "dapo") p->dynamic_sampling = true;
  read_loss(s, &p->loss);
  read_advantage(s, &p->advantage);
  s.integer("epochs", &p->epochs, 1, 1 << 16);
  s.integer("updates", &p->updates, 1, rollout.prompts);
  s.integer("reference_every", &p->reference_every, -1, int64_t{1} << 40);
  s.boolean("skip_silent", &p->skip_silent);
  s.boolean("dynamic_sampling", &p->dynamic_sampling);
  s.integer("most_draws", &p->most_draws, 1, 1 << 16);
  s.integer("overlong_cache", &p->overlong_cache, -1, int64_t{1} << 24);
  if (p->reference_every == 0) p->loss.beta = 0;
  if (s.has("most_draws") && !p->dynamic_sampling) s.fail("most_draws", "is for dynamic_sampling");
  if (s.has("length") && p->loss.mean != LossMean::Constant) s.fail("length", "is for mean = \"constant\"");
  if (s.has("delta") && p->loss.weight_most) s.fail("delta", "clips a ratio, and this loss has weights instead (weight_most)");
  if (p->loss.beta == 0)
    for (const char* key : {"kl_by_ratio", "reference_every"})
      if (s.has(key) && !(std::string_view(key) == "reference_every" && p->reference_every == 0))
        s.fail(key, "is for a KL, and beta is 0");
  if (s.has("epsilon") && p->advantage.scale == AdvantageScale::None) s.fail("epsilon", "is for a scale, and it is none");
  if (p->loss.mean == LossMean::Constant && length == 0 && !s.has("length"))
    s.fail("length", "is missing: the constant mean divides by it (or give rollout.max_length)");
  if (const Status ok = p->loss.validate(); !ok.ok()) s.fail("loss", ok.message());
}

void read_preference(TomlSection& s, PreferenceRecipe* p) {
  s.number("beta", &p->beta, 1e-6, 1e6);
  s.integer("pairs", &p->pairs, 1, 1 << 20);
}

void policy_json(const RolloutRecipe& r, const std::vector<RewardRecipe>& rewards, const PolicyRecipe& p,
                 nlohmann::ordered_json* out) {
  nlohmann::ordered_json& j = *out;
  j["rollout.prompts"] = r.prompts;
  j["rollout.group"] = r.group;
  j["rollout.max_length"] = r.max_length;
  j["rollout.together"] = r.together;
  j["rollout.temperature"] = r.temperature;
  j["rollout.system"] = r.system;
  j["rollout.think"] = r.think ? nlohmann::ordered_json(*r.think) : nlohmann::ordered_json();
  j["rollout.budget"] = r.budget;
  j["rollout.minimum"] = r.minimum;
  j["rollout.top_k"] = r.top_k;
  j["rollout.top_p"] = r.top_p;
  j["rollout.min_p"] = r.min_p;
  j["rollout.repetition_penalty"] = r.repetition_penalty;
  j["rollout.presence_penalty"] = r.presence_penalty;
  j["rollout.frequency_penalty"] = r.frequency_penalty;
  j["rollout.off_policy"] = r.off_policy;
  j["reward"] = nlohmann::ordered_json::array();
  for (const RewardRecipe& w : rewards) {
    nlohmann::ordered_json options = nlohmann::ordered_json::parse(w.options.dump());
    // Where a judge is and how it is asked may change between two resumes, and headers hold secrets.
    for (const char* key : {"command", "url", "headers", "timeout", "retries", "backoff", "batch", "parallel", "readable"})
      if (options.is_object()) options.erase(key);
    j["reward"].push_back({{"verifier", w.verifier}, {"name", w.name}, {"weight", w.weight}, {"options", options}});
  }
  j["policy.loss"] = p.name;
  j["policy.ratio"] = p.loss.ratio == RatioLevel::Token ? "token" : "sequence";
  j["policy.mean"] = mean_name(p.loss.mean);
  j["policy.clip_low"] = p.loss.clip_low;
  j["policy.clip_high"] = p.loss.clip_high;
  j["policy.delta"] = p.loss.delta ? nlohmann::ordered_json(*p.loss.delta) : nlohmann::ordered_json();
  j["policy.weight_most"] = p.loss.weight_most ? nlohmann::ordered_json(*p.loss.weight_most) : nlohmann::ordered_json();
  j["policy.beta"] = p.loss.beta;
  j["policy.kl_by_ratio"] = p.loss.kl_by_ratio;
  j["policy.skip_truncated"] = p.loss.skip_truncated;
  j["policy.length"] = p.loss.length;
  j["policy.scale"] = scale_name(p.advantage.scale);
  j["policy.epsilon"] = p.advantage.epsilon;
  j["policy.unbiased_std"] = p.advantage.unbiased_std;
  j["policy.normalise_each"] = p.advantage.normalise_each;
  j["policy.epochs"] = p.epochs;
  j["policy.updates"] = p.updates;
  j["policy.reference_every"] = p.reference_every;
  j["policy.skip_silent"] = p.skip_silent;
  j["policy.dynamic_sampling"] = p.dynamic_sampling;
  j["policy.most_draws"] = p.most_draws;
  j["policy.overlong_cache"] = p.overlong_cache;
}

}  // namespace raison
