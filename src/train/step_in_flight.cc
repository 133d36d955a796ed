#include "train/step_in_flight.h"

#include <algorithm>
#include <cstring>

#include "base/file.h"

namespace raison {
namespace {
using Json = nlohmann::ordered_json;

Json rollout_json(const Rollout& r, size_t index) {
  std::vector<uint32_t> bits(r.reply.logprobs.size());  // a float's bits, not its digits
  if (!bits.empty()) std::memcpy(bits.data(), r.reply.logprobs.data(), bits.size() * sizeof(float));
  Json kinds = Json::array();
  for (const TokenKind k : r.reply.kinds) kinds.push_back(static_cast<int>(k));
  return {{"index", index},
          {"prompt", r.prompt},
          {"tokens", r.reply.tokens},
          {"logprobs", bits},
          {"kinds", kinds},
          {"forced", r.reply.forced},
          {"finish", static_cast<int>(r.reply.finish)},
          {"think_end", static_cast<int>(r.reply.think_end)}};
}

Json scores_json(const RewardScores& s) {
  Json parts = Json::array(), verdicts = Json::array();
  for (const auto& part : s.parts) {
    parts.push_back(Json::array());
    for (const auto& v : part) parts.back().push_back(v ? Json(*v) : Json());
  }
  for (const Verdict& v : s.verdicts)
    verdicts.push_back({{"kind", static_cast<int>(v.kind)}, {"score", v.score}, {"answer", v.answer}, {"reason", v.reason}});
  return {{"parts", parts}, {"verdicts", verdicts}};
}

// The readers below throw what nlohmann throws; read_step_in_flight turns it into an error.
template <class E>
E enum_of(const Json& j, E last) {
  const int v = j.get<int>();
  if (v < 0 || v > static_cast<int>(last)) throw std::runtime_error("a value out of range");
  return static_cast<E>(v);
}

Rollout rollout_of(const Json& j) {
  Rollout r;
  r.prompt = j.at("prompt").get<std::vector<int32_t>>();
  r.reply.tokens = j.at("tokens").get<std::vector<int32_t>>();
  const auto bits = j.at("logprobs").get<std::vector<uint32_t>>();
  r.reply.logprobs.resize(bits.size());
  if (!bits.empty()) std::memcpy(r.reply.logprobs.data(), bits.data(), bits.size() * sizeof(float));
  for (const Json& k : j.at("kinds")) r.reply.kinds.push_back(enum_of(k, TokenKind::Mark));
  r.reply.forced = j.at("forced").get<std::vector<uint8_t>>();
  r.reply.finish = enum_of(j.at("finish"), FinishReason::Error);
  r.reply.think_end = enum_of(j.at("think_end"), ThinkEnd::Caller);
  const size_t n = r.reply.tokens.size();
  if (r.reply.logprobs.size() != n || r.reply.kinds.size() != n || r.reply.forced.size() != n)
    throw std::runtime_error("lists of different lengths");
  return r;
}

RewardScores scores_of(const Json& j) {
  RewardScores s;
  for (const Json& part : j.at("parts")) {
    s.parts.emplace_back();
    for (const Json& v : part) s.parts.back().push_back(v.is_null() ? std::nullopt : std::optional<double>(v.get<double>()));
  }
  for (const Json& v : j.at("verdicts"))
    s.verdicts.push_back({enum_of(v.at("kind"), Verdict::Failed), v.at("score").get<double>(),
                          v.at("answer").get<std::string>(), v.at("reason").get<std::string>()});
  for (const auto& part : s.parts)
    if (part.size() != s.verdicts.size()) throw std::runtime_error("rewards and verdicts of different numbers");
  return s;
}

}  // namespace

int64_t StepInFlight::finished() const {
  int64_t n = 0;
  for (const RolloutDraw& d : draws)
    for (const Rollout& r : d.rollouts) n += r.finished() ? 1 : 0;
  return n;
}

Status write_step_in_flight(const std::string& path, const StepInFlight& step) {
  Json j = Json::array();
  for (const RolloutDraw& d : step.draws) {
    Json rollouts = Json::array();
    for (size_t i = 0; i < d.rollouts.size(); ++i)
      if (d.rollouts[i].finished()) rollouts.push_back(rollout_json(d.rollouts[i], i));
    j.push_back({{"count", d.rollouts.size()},
                 {"rollouts", rollouts},
                 {"scores", d.scores.size() > 0 ? scores_json(d.scores) : Json()}});
  }
  const std::vector<uint8_t> bytes = Json::to_cbor(j);
  return write_file_atomic(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

Result<StepInFlight> read_step_in_flight(const std::string& path) {
  RAISON_ASSIGN(const std::string bytes, read_file(path, size_t{1} << 34));
  try {
    const Json j = Json::from_cbor(bytes.begin(), bytes.end());
    StepInFlight out;
    for (const Json& d : j) {
      RolloutDraw draw;
      draw.rollouts.resize(d.at("count").get<size_t>());
      for (const Json& r : d.at("rollouts")) draw.rollouts.at(r.at("index").get<size_t>()) = rollout_of(r);
      const auto finished =
          std::count_if(draw.rollouts.begin(), draw.rollouts.end(), [](const Rollout& r) { return r.finished(); });
      if (!d.at("scores").is_null()) draw.scores = scores_of(d.at("scores"));
      if (draw.scores.size() > 0 && static_cast<size_t>(finished) != draw.rollouts.size())
        throw std::runtime_error("rewards of rollouts that are not finished");
      if (draw.scores.size() > draw.rollouts.size()) throw std::runtime_error("rewards of more rollouts than there are");
      out.draws.push_back(std::move(draw));
    }
    return out;
  } catch (const std::exception& e) { return error("{}: not the rollouts of a step: {}", path, e.what()); }
}

}  // namespace raison
