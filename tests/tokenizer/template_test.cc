// Chat templates: hostile and broken ones, limits, the clock, and where templates lie in tokenizer_config.json.
#include <gtest/gtest.h>

#include <ctime>

#include "tokenizer/chat_template.h"

namespace raison {
namespace {

using nlohmann::ordered_json;

Result<std::string> render(const std::string& source, const ordered_json& variables = ordered_json::object(),
                           ChatTemplateOptions options = {}) {
  auto parsed = ChatTemplate::parse(source, "dir/t.jinja", options);
  if (!parsed.ok()) return parsed.error();
  return (*parsed)->render(variables);
}

std::string repeat(const std::string& s, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

TEST(Template, BrokenOnesGiveOneLineThatNamesTheFile) {
  const std::pair<const char*, const char*> broken[] = {
      {"{% if true %}", "expected {% endif %}"},
      {"line\n{{ 1 + }}", "line 2: expected an expression"},
      {"{{ 'abc }}", "string without its closing quote"},
      {"{{ 1 ", "tag without its end"},
      {"{# never closed", "comment without its end"},
      {"{% raw %} never closed", "raw block without endraw"},
      {"{% endfor %}", "unknown tag 'endfor'"},
      {"{% for x of y %}{% endfor %}", "expected 'in'"},
      {"{% set 1 = 2 %}", "expected a name"},
      {"{% set none = 2 %}", "can't assign to 'none'"},
      {"{% break %}", "outside of a loop"},
      {"{% include 'x' %}", "not supported"},
      {"{{ x|nosuch }}", "no filter named 'nosuch'"},
      {"{{ x is nosuch }}", "no test named 'nosuch'"},
      {"{{ (1] }}", "unbalanced bracket"},
      {"{{ '\\ud800' }}", "bad escape"},
      {"{{ 99999999999999999999 }}", "out of range"},
      {"{{ f(a=1, 2) }}", "positional argument"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "without a default"},
      {"{{ ? }}", "unexpected character"},
      {"\xFF", "not valid UTF-8"},
  };
  for (const auto& [source, expect] : broken) {
    auto parsed = ChatTemplate::parse(source, "dir/t.jinja");
    ASSERT_FALSE(parsed.ok()) << source;
    EXPECT_EQ(parsed.message().rfind("dir/t.jinja: ", 0), 0u) << parsed.message();
    EXPECT_EQ(parsed.message().find('\n'), std::string::npos) << parsed.message();
    EXPECT_NE(parsed.message().find(expect), std::string::npos) << source << " -> " << parsed.message();
  }
}

TEST(Template, RunTimeErrorsNameTheFile) {
  const std::pair<const char*, const char*> failing[] = {
      {"{{ a.b }}", "'a' is undefined"},        {"{{ 1 / 0 }}", "division by zero"},
      {"{{ 'a' + 1 }}", "unsupported operand"}, {"{{ 5() }}", "not callable"},
      {"{{ {[]: 1} }}", "unhashable"},          {"{{ range(10**9) }}", "range too big"},
      {"{{ 2 ** 64 }}", "out of range"},        {"{{ -9223372036854775807 - 2 }}", "out of range"},
  };
  for (const auto& [source, expect] : failing) {
    auto out = render(source);
    ASSERT_FALSE(out.ok()) << source;
    EXPECT_EQ(out.message().rfind("dir/t.jinja: ", 0), 0u) << out.message();
    EXPECT_NE(out.message().find(expect), std::string::npos) << source << " -> " << out.message();
  }
  auto said = render("{{ raise_exception('roles must\nalternate') }}");
  ASSERT_FALSE(said.ok());
  EXPECT_EQ(said.message(), "roles must alternate");
}

TEST(Template, ExtremeNumbersAreNoTraps) {
  const std::string least = "(-9223372036854775807 - 1)";
  const std::pair<std::string, std::string> cases[] = {
      {"{{ '--9223372036854775808'|int }}", "0"},
      {"{{ '-9223372036854775807'|int }}", "-9223372036854775807"},
      {"{{ 'abc'.ljust(" + least + ") }}", "abc"},
      {"{{ 'abc'.zfill(" + least + ") }}", "abc"},
      {"{{ 'abcabc'.replace('a', 'x', " + least + ") }}", "xbcxbc"},
      {"{{ 'abc'|truncate(9223372036854775807) }}", "abc"},
      {"{{ 'abc'|truncate(" + least + ", true, '', 0) }}", ""},
      {"{{ [1, 2, 3][" + least + "] is defined }}", "False"},
      {"{{ [1, 2, 3][" + least + ":9223372036854775807:9223372036854775807] }}", "[1]"},
      {"{{ [1, 2, 3][::" + least + "] }}", "[3]"},
      {"{{ " + least + " // -1 }}", "!"},
      {"{{ " + least + " % -1 }}", "0"},
      {"{{ range(" + least + ", 5) }}", "!"},
      {"{{ 9223372036854775807|round(-1) is number }}", "True"},
      {"{{ 'abc'.find('c', " + least + ") }}", "2"},
      {"{{ 'a,b,c'.split(',', " + least + ")|length }}", "3"},
      {"{{ 1e308 * 10 }} {{ -1e308 * 10 }} {{ (1e308 * 10 - 1e308 * 10)|int }}", "inf -inf 0"},
  };
  for (const auto& [source, wanted] : cases) {
    const auto out = render(source);
    EXPECT_EQ(out.ok() ? *out : "!", wanted) << source << (out.ok() ? "" : ": " + out.message());
  }
}

// None of these may crash, hang or eat the machine's memory.
TEST(Template, HostileOnesEndInAnError) {
  std::string names;
  for (int i = 0; i < 20000; ++i) names += "{% set v" + std::to_string(i) + "=1 %}";
  const std::string hostile[] = {
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
      "{% set ns = namespace(s={}) %}{% for i in range(100000) %}{% set ns.s = {'a': ns.s} %}{% endfor %}{{ ns.s|tojson }}",
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
      "{{ 'x' * 10**12 }}",
      "{{ [0] * 10**12 }}",
      "{{ [] * 10**18 }}"
      "{{ 1/0 }}",
      "{{ '%1000000d' % 1 }}",
      "{{ '{:1000000000}'.format(1) }}",
      "{{ 'x'.center(10**15) }}",
      "{{ 'x'|indent(10**15) }}{{ 1/0 }}",
      "{{ 'ab' * 20000000 }}{{ 'ab' * 20000000 }}",
      "{{ " + repeat("(", 100000) + "1" + repeat(")", 100000) + " }}",
      "{{ " + repeat("[", 100000),
      "{{ " + repeat("not ", 100000) + "1 }}",
      "{{ " + repeat("-", 100000) + "1 }}",
      "{{ 1" + repeat(" + 1", 100000) + " }}",
      "{{ 1" + repeat("|abs", 100000) + " }}",
      "{{ x" + repeat(".a", 100000) + " }}",
      "{{ x" + repeat("[0]", 100000) + " }}",
      "{{ 1" + repeat(" if 1 else 1", 100000) + " }}",
      "{{ 1" + repeat(" if 1", 100000) + " }}",
      repeat("{% if 1 %}", 100000),
      repeat("{% for i in [1] %}", 1000),
      repeat("{% raw %}", 1000),
      "{% for i in x recursive %}{{ loop([1]) }}{% endfor %}",
      "{% set l = [] %}{% for i in range(200) %}{% set _ = l.append(l) %}{% endfor %}{{ l }}",
      "{{ ('[' * 100000)|from_json }}",
      // Small values that share their parts grow without end when they are looked at.
      "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson(2) }}",
      "{% set ns = namespace(s=(1,), t=(1,)) %}{% for i in range(100) %}{% set ns.s = (ns.s, ns.s) %}{% set ns.t = (ns.t, "
      "ns.t) "
      "%}{% endfor %}{{ ns.s == ns.t }}{{ ns.s < ns.t }}",
      "{% set ns = namespace(s=(1,)) %}{% for i in range(100) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ [].append(ns.s) }}",
      "{% set s = 'x' * 10**6 %}{{ [s] * 100000 }}",
      "{% set s = 'x' * 6 * 10**7 %}{{ s ~ s ~ s ~ s }}",
      // Work that leaves nothing behind.
      "{% set s = 'a' * 10**7 %}{{ (s ~ s).find(s ~ 'b') }}{{ 1/0 }}",
      "{% set s = 'a' * 10**6 %}{% for i in range(100000) %}{% if s|length == 1 or s|wordcount == 2 or 'b' in s %}{% endif "
      "%}{% "
      "endfor %}",
      "{{ ('ab' * 10**6).strip('cd' * 10**6 ~ 'ab') }}{{ 1/0 }}",
      "{{ ('a' * 10**7).split('a')|length }}{{ 1/0 }}",
      "{{ ('a' * 10**6).replace('a', 'b' * 10**6) }}",
      "{{ ('a' * 10**6).replace('', 'b' * 10**6) }}",
      "{{ ('%(a)99999d' * 10**6) % {'a': 1} }}",
      "{{ ('{0:99999}' * 10**6).format(1) }}",
      "{{ ('%.99999f' * 100) % ([0.1] * 100) }}{{ 1/0 }}",
      "{{ range(100000)|join('x' * 10**7) }}",
      "{{ ('x' * 10**7).join(['a'] * 10000) }}",
      "{{ [[1]]|tojson(separators=('x' * 10**8, 'y')) }}",
      "{{ (['a'] * 10**5)|tojson(separators=('x' * 10**7, 'y')) }}",
      "{{ 'a'.center(10**6, 'xy' * 10**6) }}",
      "{% set j = joiner('x' * 10**7) %}{% set l = [] %}{% for i in range(100000) %}{% set _ = l.append(j()) %}{% endfor %}",
      "{{ strftime_now('%c' * 10**7) }}",
      "{% set l = [0] * 10**6 %}{% for i in range(100000) %}{% for j in range(40) %}{% set _ = l.pop(0) %}{% set _ = "
      "l.insert(0, 1) "
      "%}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ kwargs|length }}{% endmacro %}{% set d = {} %}{% for i in range(100000) %}{% set _ = d.update({i ~ "
      "'': i}) "
      "%}{% endfor %}{% for i in range(1000) %}{{ m(**d) }}{% endfor %}",
      names + "{% for i in range(100000) %}{% for j in range(40) %}{{ v19999 }}{% endfor %}{% endfor %}{{ 1/0 }}",
      "{{ ('1,' * 10**7 ~ '1')|from_json }}",
      "{{ ('[' ~ '1,' * 10**6 ~ '1]')|from_json|length }}{{ 1/0 }}",
      "{{ raise_exception('x' * 10**7) }}",
      "{{ ['x' * 10**7].index(1) }}",
  };
  ChatTemplateOptions options;
  options.max_steps = 1'000'000;  // a fifth of what is allowed, for the tests' sake
  for (const std::string& source : hostile) {
    const std::clock_t start = std::clock();
    auto out = render(source, {{"x", {1, 2}}}, options);
    EXPECT_FALSE(out.ok()) << source.substr(0, 100);
    if (!out.ok()) {
      EXPECT_EQ(out.message().find('\n'), std::string::npos) << source.substr(0, 100);
      EXPECT_LT(out.message().size(), 2100u) << source.substr(0, 100);
    }
    EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 5) << source.substr(0, 100);
  }
}

TEST(Template, ObjectsMayReferToEachOther) {
  // Cycles of namespaces and macros must be released (the leak sanitizer watches).
  EXPECT_EQ(*render("{% set a = namespace() %}{% set a.me = [a] %}{% macro m() %}{% endmacro %}{% set a.m = m %}ok"), "ok");
  EXPECT_EQ(*render("{% set ns = namespace(head=none) %}{% for i in range(50000) %}{% set n = namespace(next=ns.head) %}{% set "
                    "ns.head = n %}{% endfor %}ok"),
            "ok");
}

TEST(Template, DeepVariablesAreRefused) {
  ordered_json deep = 1;
  for (int i = 0; i < 5000; ++i) {
    ordered_json outer = ordered_json::array();
    outer.push_back(std::move(deep));
    deep = std::move(outer);
  }
  ordered_json variables = ordered_json::object();
  variables["x"] = std::move(deep);
  auto out = render("{{ x }}", variables);
  ASSERT_FALSE(out.ok());
  EXPECT_NE(out.message().find("nests more than"), std::string::npos);
  EXPECT_FALSE(render("x", ordered_json::array()).ok());
}

TEST(Template, LimitsAreTheCallers) {
  ChatTemplateOptions options;
  options.max_steps = 100;
  EXPECT_TRUE(render("{% for i in range(10) %}x{% endfor %}", ordered_json::object(), options).ok());
  auto steps = render("{% for i in range(1000) %}x{% endfor %}", ordered_json::object(), options);
  ASSERT_FALSE(steps.ok());
  EXPECT_NE(steps.message().find("more than 100 steps"), std::string::npos) << steps.message();
  options = {};
  options.max_output = 10;
  EXPECT_TRUE(render("0123456789", ordered_json::object(), options).ok());
  EXPECT_FALSE(render("0123456789x", ordered_json::object(), options).ok());
}

TEST(Template, LenientListsGrowAndStrictOnesDont) {
  const std::string grow =
      "{% set l = [1] %}{% set _ = l.append(2) %}{% set _ = l.insert(0, 0) %}{{ l }}{{ l.pop() }}{{ l|length }}";
  EXPECT_EQ(*render(grow), "[0, 1, 2]22");
  ChatTemplateOptions strict;
  strict.lenient = false;
  EXPECT_FALSE(render(grow, ordered_json::object(), strict).ok());
  EXPECT_EQ(*render("{{ ('{\"b\": [1, 2.0]}'|from_json).b }}"), "[1, 2.0]");
  EXPECT_FALSE(render("{{ '1'|from_json }}", ordered_json::object(), strict).ok());
}

TEST(Template, ClockIsInjected) {
  ChatTemplateOptions options;
  options.now = [] {
    std::tm t{};
    t.tm_year = 99;
    t.tm_mon = 11;
    t.tm_mday = 31;
    t.tm_hour = 23;
    return t;
  };
  EXPECT_EQ(*render("{{ strftime_now('%d %b %Y %I%p %-d') }}", ordered_json::object(), options), "31 Dec 1999 11PM 31");
  EXPECT_EQ(render("{{ strftime_now('%Y') }}")->size(), 4u);
}

TEST(Template, RendersTwiceTheSame) {
  auto parsed = ChatTemplate::parse("{% for m in messages %}{{ m.role }}: {{ m['content'] }}\n{% endfor %}", "t");
  ASSERT_TRUE(parsed.ok());
  const ordered_json v = {{"messages", {{{"role", "user"}, {"content", "hi"}}, {{"role", "assistant"}, {"content", "yo"}}}}};
  EXPECT_EQ(*(*parsed)->render(v), "user: hi\nassistant: yo\n");
  EXPECT_EQ(*(*parsed)->render(v), *(*parsed)->render(v));
}

TEST(TemplateOfConfig, TextListAndErrors) {
  EXPECT_EQ(*chat_template_of_tokenizer_config(R"({"chat_template": "a"})", "c"), "a");
  EXPECT_EQ(*chat_template_of_tokenizer_config(R"({})", "c"), "");
  EXPECT_EQ(*chat_template_of_tokenizer_config(R"({"chat_template": null})", "c"), "");
  EXPECT_EQ(*chat_template_of_tokenizer_config(
                R"({"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]})", "c"),
            "d");
  for (const char* bad :
       {"", "[", R"({"chat_template": 5})", R"({"chat_template": [1]})", R"({"chat_template": [{"name": "x"}]})"}) {
    auto r = chat_template_of_tokenizer_config(bad, "dir/c.json");
    ASSERT_FALSE(r.ok()) << bad;
    EXPECT_EQ(r.message().rfind("dir/c.json", 0), 0u) << r.message();
  }
}

}  // namespace
}  // namespace raison
