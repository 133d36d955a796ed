// Rewards that need no gold: "format" and "language" (DeepSeek-R1, arXiv:2501.12948, sections 2.2.2 and 2.3.2), "length" (DAPO,
// arXiv:2503.14476, equation 13). A reply that was cut off is judged like any other.
#include "verify/extract.h"
#include "verify/factories.h"
#include "verify/option_reader.h"
#include "verify/plain_text.h"
#include "verify/scripts.h"

namespace raison {
namespace {

class RewardVerifier : public Verifier {
 public:
  explicit RewardVerifier(std::string name) : name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  Status check(const Question&) const override { return {}; }
  Result<std::vector<Verdict>> judge(std::span<const Submission> submissions) override {
    std::vector<Verdict> out;
    for (const Submission& s : submissions) out.push_back(reward(*s.reply));
    return out;
  }

 protected:
  virtual Verdict reward(const Reply& reply) const = 0;
  static Verdict verdict(double score, std::string reason) {
    Verdict out;
    out.kind = reason.empty() ? Verdict::Right : Verdict::Wrong;
    out.score = score;
    out.reason = std::move(reason);
    return out;
  }

 private:
  std::string name_;
};

size_t times(std::string_view text, std::string_view mark) {
  size_t count = 0;
  for (size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark, at + mark.size())) ++count;
  return count;
}

struct FormatOptions {
  std::string begin = "<think>", end = "</think>";
  bool answer_tag = false;
  enum { Either, Opened, NotOpened } prompt = Either;  // whether the prompt ends within the thought
};

class FormatVerifier final : public RewardVerifier {
 public:
  explicit FormatVerifier(FormatOptions options) : RewardVerifier("format"), options_(std::move(options)) {}

 protected:
  Verdict reward(const Reply& reply) const override {
    const std::string fault = fault_of(reply.text);
    return verdict(fault.empty() ? 1 : 0, fault);
  }

 private:
  // "" if the text has the form.
  std::string fault_of(std::string_view text) const {
    text = trim(text);
    const size_t begins = times(text, options_.begin), ends = times(text, options_.end);
    if (ends != 1) return fmt::format("{} stands in it {} times", options_.end, ends);
    const bool may_begin = options_.prompt != FormatOptions::Opened, must_begin = options_.prompt == FormatOptions::NotOpened;
    if (begins > (may_begin ? 1u : 0u) || (must_begin && begins == 0))
      return fmt::format("{} stands in it {} times", options_.begin, begins);
    if (begins == 1 && text.substr(0, options_.begin.size()) != options_.begin)
      return fmt::format("it does not begin with {}", options_.begin);
    std::string_view answer = trim(text.substr(text.find(options_.end) + options_.end.size()));
    if (options_.answer_tag) {
      if (times(text, "<answer>") != 1 || times(text, "</answer>") != 1 || answer.substr(0, 8) != "<answer>" ||
          !answer.ends_with("</answer>"))
        return "what follows the thought is not one <answer>...</answer>";
      answer = trim(answer.substr(8, answer.size() - 8 - 9));
    }
    return answer.empty() ? "no answer follows the thought" : "";
  }
  FormatOptions options_;
};

class LengthVerifier final : public RewardVerifier {
 public:
  LengthVerifier(int64_t max, int64_t cache) : RewardVerifier("length"), max_(max), cache_(cache) {}

 protected:
  Verdict reward(const Reply& reply) const override {
    const int64_t soft = max_ - cache_;
    if (reply.tokens <= soft) return verdict(0, "");
    const double score = reply.tokens <= max_ ? static_cast<double>(soft - reply.tokens) / static_cast<double>(cache_) : -1;
    return verdict(score, fmt::format("{} tokens, more than {}", reply.tokens, soft));
  }

 private:
  int64_t max_, cache_;
};

class LanguageVerifier final : public RewardVerifier {
 public:
  LanguageVerifier(std::string language, std::string part)
      : RewardVerifier("language"),
        language_(std::move(language)),
        part_(std::move(part)),
        scripts_(scripts_of_language(language_)) {}

 protected:
  Verdict reward(const Reply& reply) const override {
    const WordCount count = count_words(part_ == "text"     ? reply.text
                                        : part_ == "answer" ? reply.answer
                                                            : reply.thought,
                                        scripts_);
    if (count.words == 0) {
      Verdict none;
      none.reason = "no words";
      return none;
    }
    const double share = static_cast<double>(count.matching) / static_cast<double>(count.words);
    const int64_t others = count.words - count.matching;
    return verdict(
        share, others == 0 ? "" : fmt::format("{} of {} words are not in the script of {}", others, count.words, language_));
  }

 private:
  std::string language_, part_;
  std::vector<Script> scripts_;
};

}  // namespace

Result<std::unique_ptr<Verifier>> make_format_verifier(const nlohmann::json& options) {
  FormatOptions o;
  bool opened = false;
  OptionReader reader("format", options);
  reader.read("begin", &o.begin);
  reader.read("end", &o.end);
  reader.read("answer_tag", &o.answer_tag);
  reader.read("opened", &opened);
  RAISON_RETURN_IF_ERROR(reader.finish());
  if (o.begin.empty() || o.end.empty() || o.begin == o.end) return error("format: begin and end must be two different texts");
  if (options.is_object() && options.contains("opened")) o.prompt = opened ? FormatOptions::Opened : FormatOptions::NotOpened;
  return std::unique_ptr<Verifier>(std::make_unique<FormatVerifier>(std::move(o)));
}

Result<std::unique_ptr<Verifier>> make_length_verifier(const nlohmann::json& options) {
  constexpr int64_t kMost = int64_t{1} << 40;
  int64_t max = 0, cache = 0;
  OptionReader reader("length", options);
  reader.read("max", &max, 1, kMost);
  reader.read("cache", &cache, 1, kMost);
  RAISON_RETURN_IF_ERROR(reader.finish());
  if (max == 0) return error("length: max must be given, the most tokens of a reply, e.g. 20480");
  if (cache == 0) cache = std::max<int64_t>(1, max / 5);  // as in DAPO: 4096 of 20480
  if (cache > max) return error("length: cache must not be more than max");
  return std::unique_ptr<Verifier>(std::make_unique<LengthVerifier>(max, cache));
}

Result<std::unique_ptr<Verifier>> make_language_verifier(const nlohmann::json& options) {
  std::string language, part = "thought";
  OptionReader reader("language", options);
  reader.read("language", &language);
  reader.read("part", &part);
  RAISON_RETURN_IF_ERROR(reader.finish());
  if (scripts_of_language(language).empty())
    return error("language: language must be a code like en, zh, ru, ar, ja, ko; \"{}\" is not known", one_line(language, 40));
  if (part != "thought" && part != "answer" && part != "text") return error("language: part must be thought, answer or text");
  return std::unique_ptr<Verifier>(std::make_unique<LanguageVerifier>(std::move(language), std::move(part)));
}

}  // namespace raison
