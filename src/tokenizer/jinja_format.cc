// Arithmetic and text formatting as Python does them: operators, "%", str.format and strftime.
#include <algorithm>
#include <array>
#include <cmath>

#include "tokenizer/jinja_interpreter.h"
#include "tokenizer/utf8.h"

namespace raison::jinja {
namespace {

[[noreturn]] void bad_operands(const std::string& op, const Value& a, const Value& b) {
  fail("unsupported operand type(s) for {}: '{}' and '{}'", op, a.type_name(), b.type_name());
}

Value arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    int64_t r = 0;
    const bool overflow = op == "+"   ? __builtin_add_overflow(a.as_int(), b.as_int(), &r)
                          : op == "-" ? __builtin_sub_overflow(a.as_int(), b.as_int(), &r)
                                      : __builtin_mul_overflow(a.as_int(), b.as_int(), &r);
    if (overflow) fail("integer result of {} is out of range", op);
    return Value::integer(r);
  }
  const double x = a.as_double(), y = b.as_double();
  return Value::real(op == "+" ? x + y : op == "-" ? x - y : x * y);
}

Value power(const Value& a, const Value& b) {
  if (!a.is_integral() || !b.is_integral() || b.as_int() < 0) {
    if (a.as_double() == 0 && b.as_double() < 0) fail("0.0 cannot be raised to a negative power");
    if (a.as_double() < 0 && b.as_double() != std::floor(b.as_double())) fail("negative number to a fractional power");
    return Value::real(std::pow(a.as_double(), b.as_double()));
  }
  int64_t result = 1, base = a.as_int();
  for (int64_t e = b.as_int(); e > 0; e >>= 1) {
    if ((e & 1) != 0 && __builtin_mul_overflow(result, base, &result)) fail("integer result of ** is out of range");
    if (e > 1 && __builtin_mul_overflow(base, base, &base)) fail("integer result of ** is out of range");
  }
  return Value::integer(result);
}

// Digits of a number in groups of three.
std::string group_thousands(const std::string& digits, char separator) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += separator;
    out += digits[i];
  }
  return out;
}

struct FormatSpec {
  std::string fill = " ";
  char align = 0, sign = '-', type = 0, thousands = 0;
  bool alternate = false, zero = false;
  int64_t width = 0, precision = -1;
};

int64_t read_number(std::string_view text, size_t& at) {
  int64_t n = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    n = n * 10 + (text[at] - '0');
    if (n > 100000) fail("format width or precision too large");
  }
  return n;
}

std::string pad(const FormatSpec& spec, const std::string& prefix, const std::string& body, char default_align) {
  spend(1 + (prefix.size() + body.size() + static_cast<size_t>(spec.width)) / 64);
  const auto length = static_cast<int64_t>(utf8_length(prefix) + utf8_length(body));
  const int64_t room = std::max<int64_t>(0, spec.width - length);
  const auto filler = [&](int64_t n) {
    std::string out;
    for (int64_t i = 0; i < n; ++i) out += spec.fill;
    return out;
  };
  switch (spec.align != 0 ? spec.align : default_align) {
    case '<': return prefix + body + filler(room);
    case '^': return filler(room / 2) + prefix + body + filler(room - room / 2);
    case '=': return prefix + filler(room) + body;
    default: return filler(room) + prefix + body;
  }
}

std::string in_base(uint64_t n, unsigned base, bool upper) {
  // A name of its own: g++ 12's UBSan evaluates an index into (c ? "a" : "b") on one of the two ways only.
  const std::string_view digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  do {
    out.insert(out.begin(), digits[n % base]);
    n /= base;
  } while (n != 0);
  return out;
}

// |d| in the style of C's %e, %f, %g.
std::string real_digits(double d, char type, int64_t precision, bool alternate) {
  spend(static_cast<size_t>(std::max<int64_t>(precision, 0)) / 64);
  const char format[] = {'%', alternate ? '#' : '.', alternate ? '.' : '*', alternate ? '*' : type, alternate ? type : '\0',
                         '\0'};
  std::array<char, 64> small{};
  const int p = static_cast<int>(precision < 0 ? 6 : precision);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  const int n = std::snprintf(small.data(), small.size(), format, p, std::abs(d));
  if (n < static_cast<int>(small.size())) return small.data();
  std::string big(static_cast<size_t>(n) + 1, '\0');
  std::snprintf(big.data(), big.size(), format, p, std::abs(d));
#pragma GCC diagnostic pop
  big.pop_back();
  return big;
}

std::string format_number(const Value& v, FormatSpec spec) {
  const char type = spec.type;
  const bool integral = std::string_view("dxXobc").find(type) != std::string_view::npos && type != 0;
  bool negative = false;
  std::string body, prefix;
  if (integral || (type == 0 && v.is_integral())) {
    if (!v.is_integral()) fail("format code '{}' needs an integer, not {}", type, v.type_name());
    const int64_t i = v.as_int();
    negative = i < 0;
    const uint64_t magnitude = negative ? 0 - static_cast<uint64_t>(i) : static_cast<uint64_t>(i);
    const unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    body = in_base(magnitude, base, type == 'X');
    if (spec.alternate && base != 10) prefix.append(1, '0').append(1, type);
  } else {
    const double d = v.as_double() * (type == '%' ? 100 : 1);
    negative = std::signbit(d) && !std::isnan(d);
    const char lower = static_cast<char>(type | 0x20);
    if (std::isnan(d) || std::isinf(d)) {
      body = std::isnan(d) ? "nan" : "inf";
    } else if (type == 0) {
      body = spec.precision < 0 ? float_repr(std::abs(d)) : real_digits(d, 'g', std::max<int64_t>(1, spec.precision), false);
    } else {
      body = real_digits(d, type == '%' ? 'f' : type, spec.precision, spec.alternate && lower == 'g');
    }
    if (type == '%') body += '%';
  }
  if (spec.thousands != 0) {
    const size_t end = std::min(body.find_first_not_of("0123456789"), body.size());
    body = group_thousands(body.substr(0, end), spec.thousands) + body.substr(end);
  }
  if (const char sign = negative ? '-' : spec.sign; sign != '-' || negative) prefix.insert(prefix.begin(), sign);
  if (spec.zero && spec.align == 0) {
    spec.fill.assign(1, '0');
    spec.align = '=';
  }
  return pad(spec, prefix, body, '>');
}

std::string format_text(std::string s, const FormatSpec& spec) {
  if (spec.precision >= 0) {
    const auto chars = characters(s);
    s.clear();
    for (size_t i = 0; i < std::min(chars.size(), static_cast<size_t>(spec.precision)); ++i) s += chars[i];
  }
  return pad(spec, "", s, '<');
}

// The mini-language of str.format: [[fill]align][sign][#][0][width][,][.precision][type]
std::string apply_spec(const Value& v, std::string_view text) {
  FormatSpec spec;
  size_t at = 0;
  const auto is_align = [&](size_t i) {
    return i < text.size() && std::string_view("<>=^").find(text[i]) != std::string_view::npos;
  };
  if (!text.empty()) {
    const size_t first = utf8_step(text, 0).length;
    if (is_align(first)) {
      spec.fill = std::string(text.substr(0, first));
      spec.align = text[first];
      at = first + 1;
    } else if (is_align(0)) {
      spec.align = text[0];
      at = 1;
    }
  }
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) spec.sign = text[at++];
  if (at < text.size() && text[at] == '#') spec.alternate = true, ++at;
  if (at < text.size() && text[at] == '0') spec.zero = true, ++at;
  spec.width = read_number(text, at);
  if (at < text.size() && (text[at] == ',' || text[at] == '_')) spec.thousands = text[at++];
  if (at < text.size() && text[at] == '.') spec.precision = read_number(text, ++at);
  if (at < text.size()) spec.type = text[at++];
  if (at != text.size()) fail("invalid format specifier '{}'", text);
  if (v.is_number() && !(v.is(Kind::Bool) && spec.type == 0) && spec.type != 's') {
    if (spec.type != 0 && std::string_view("dxXobeEfFgG%").find(spec.type) == std::string_view::npos)
      fail("unknown format code '{}'", spec.type);
    return format_number(v, spec);
  }
  if (spec.type != 0 && spec.type != 's') fail("unknown format code '{}' for '{}'", spec.type, v.type_name());
  return format_text(v.str(), spec);
}

}  // namespace

Value floor_divide(const Value& a, const Value& b) {
  if (b.as_double() == 0) fail("integer division or modulo by zero");
  if (!a.is_integral() || !b.is_integral()) {
    const double rest = remainder(a, b).as_double();
    const double q = (a.as_double() - rest) / b.as_double();
    const double floored = std::floor(q);
    return Value::real(q - floored > 0.5 ? floored + 1 : floored);
  }
  const int64_t x = a.as_int(), y = b.as_int();
  if (y == -1) return arithmetic("-", Value::integer(0), a);
  return Value::integer(x / y - (x % y != 0 && (x < 0) != (y < 0)));
}

Value remainder(const Value& a, const Value& b) {
  if (b.as_double() == 0) fail("division or modulo by zero");
  if (!a.is_integral() || !b.is_integral()) {
    double r = std::fmod(a.as_double(), b.as_double());
    if (r != 0 && (r < 0) != (b.as_double() < 0)) r += b.as_double();
    return Value::real(r == 0 ? std::copysign(0.0, b.as_double()) : r);
  }
  const int64_t x = a.as_int(), y = b.as_int();
  if (y == -1) return Value::integer(0);
  const int64_t r = x % y;
  return Value::integer(r != 0 && (r < 0) != (y < 0) ? r + y : r);
}

Value Interpreter::binary(const std::string& op, const Value& a, const Value& b) {
  for (const Value* v : {&a, &b}) {
    if (v->is(Kind::Undefined)) fail("{}", v->hint());
  }
  if (op == "%" && a.is(Kind::String)) return text(format_percent(a.as_string(), b));
  if (a.is_number() && b.is_number()) {
    if (op == "+" || op == "-" || op == "*") {
      if (op == "-" && a.is(Kind::Int) && a.as_int() == 0 && b.is(Kind::Float))
        return Value::real(-b.as_double());  // also unary minus: -0.0
      return arithmetic(op, a, b);
    }
    if (op == "**") return power(a, b);
    if (op == "//") return floor_divide(a, b);
    if (op == "%") return remainder(a, b);
    if (b.as_double() == 0) fail("division by zero");
    return Value::real(a.as_double() / b.as_double());
  }
  if (op == "+" && a.is(Kind::String) && b.is(Kind::String)) return text(a.as_string() + b.as_string());
  if (op == "+" && a.is(Kind::Sequence) && b.is(Kind::Sequence) && a.seq().type == b.seq().type &&
      a.seq().type <= SequenceType::Tuple) {
    ValueList items = iterate(a);
    for (Value& v : iterate(b)) items.push_back(std::move(v));
    return Value::sequence(a.seq().type, std::move(items));
  }
  if (op == "*" && (a.is_integral() || b.is_integral())) {
    const Value& what = a.is_integral() ? b : a;
    const auto times = static_cast<uint64_t>(std::max<int64_t>(0, (a.is_integral() ? a : b).as_int()));
    if (what.is(Kind::String)) {
      if (times > 0 && what.as_string().size() > limits_.output_bytes / times)
        fail("a text of more than {} bytes", limits_.output_bytes);
      std::string out;
      for (uint64_t i = 0; i < times; ++i) out += what.as_string();
      return text(std::move(out));
    }
    if (what.is_sequence(SequenceType::List) || what.is_sequence(SequenceType::Tuple)) {
      ValueList out;
      for (uint64_t i = 0; i < times; ++i) {
        charge(1);
        for (Value& v : iterate(what)) out.push_back(std::move(v));
        if (what.seq().items.empty()) break;
      }
      return Value::sequence(what.seq().type, std::move(out));
    }
  }
  bad_operands(op, a, b);
}

std::string format_percent(const std::string& format, const Value& arguments) {
  spend(format.size() / 64);
  const bool is_tuple = arguments.is_sequence(SequenceType::Tuple);
  size_t used = 0;
  bool by_name = false;
  const auto next = [&]() -> Value {
    if (!is_tuple && used++ == 0) return arguments;
    if (!is_tuple || used >= arguments.seq().items.size()) fail("not enough arguments for format string");
    return arguments.seq().items[used++];
  };
  std::string out;
  for (size_t at = 0; at < format.size();) {
    if (format[at] != '%') {
      out += format[at++];
      continue;
    }
    FormatSpec spec;
    Value value;
    bool named = false;
    ++at;
    if (at < format.size() && format[at] == '(') {
      const size_t close = format.find(')', at);
      if (close == std::string::npos || !arguments.is(Kind::Dict)) fail("format requires a mapping");
      const Value* found = arguments.as_dict().find(std::string_view(format).substr(at + 1, close - at - 1));
      if (found == nullptr) fail("no key '{}' for a format string", format.substr(at + 1, close - at - 1));
      value = *found;
      named = by_name = true;
      at = close + 1;
    }
    bool left = false;
    for (; at < format.size() && std::string_view("-+ 0#").find(format[at]) != std::string_view::npos; ++at) {
      left = left || format[at] == '-';
      spec.zero = spec.zero || format[at] == '0';
      spec.alternate = spec.alternate || format[at] == '#';
      if (format[at] == '+' || (format[at] == ' ' && spec.sign != '+')) spec.sign = format[at];
    }
    spec.width = read_number(format, at);
    if (at < format.size() && format[at] == '.') spec.precision = read_number(format, ++at);
    if (at >= format.size()) fail("incomplete format");
    const char type = format[at++];
    if (type == '%') {
      out += '%';
      continue;
    }
    if (!named) value = next();
    spec.align = left ? '<' : 0;
    if (type == 's' || type == 'r' || type == 'a') {
      if (!left) spec.align = '>';
      out += format_text(type == 's' ? value.str() : value.repr(), spec);
    } else if (std::string_view("diueEfFgGxXo").find(type) != std::string_view::npos) {
      if (!value.is_number()) fail("%{} format: a number is required, not {}", type, value.type_name());
      spec.type = type == 'i' || type == 'u' ? 'd' : type;
      if (spec.type == 'd' && value.is(Kind::Float)) {
        if (!(std::abs(value.as_double()) < 9e18)) fail("%d format: number out of range");
        value = Value::integer(static_cast<int64_t>(value.as_double()));
      }
      out += format_number(value, spec);
    } else {
      fail("unsupported format character '{}'", type);
    }
  }
  if (is_tuple && used < arguments.seq().items.size() && !by_name) fail("not all arguments converted during string formatting");
  if (!is_tuple && used == 0 && !by_name && !arguments.is(Kind::Dict) && !arguments.is(Kind::Sequence))
    fail("not all arguments converted during string formatting");
  return out;
}

std::string format_braces(const std::string& format, const Arguments& arguments) {
  std::string out;
  size_t automatic = 0;
  for (size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if ((c == '{' || c == '}') && at + 1 < format.size() && format[at + 1] == c) {
      out += c;
      ++at;
      continue;
    }
    if (c != '{') {
      if (c == '}') fail("single '}}' encountered in format string");
      out += c;
      continue;
    }
    const size_t close = format.find('}', at);
    if (close == std::string::npos) fail("expected '}}' before end of string");
    std::string field = format.substr(at + 1, close - at - 1), spec;
    if (const size_t colon = field.find(':'); colon != std::string::npos) {
      spec = field.substr(colon + 1);
      field.resize(colon);
    }
    bool repr = false;
    if (field.size() >= 2 && field[field.size() - 2] == '!') {
      repr = field.back() == 'r';
      field.resize(field.size() - 2);
    }
    Value value;
    if (field.empty() || field.find_first_not_of("0123456789") == std::string::npos) {
      size_t digits = 0;
      const size_t index = field.empty() ? automatic++ : static_cast<size_t>(read_number(field, digits));
      if (index >= arguments.positional.size()) fail("replacement index {} out of range for positional args", index);
      value = arguments.positional[index];
    } else {
      spend(arguments.named.size() / 16);
      const auto it =
          std::find_if(arguments.named.begin(), arguments.named.end(), [&](const auto& a) { return a.first == field; });
      if (it == arguments.named.end()) fail("no value for '{{{}}}' in a format string", field);
      value = it->second;
    }
    out += apply_spec(repr ? Value::string(value.repr()) : value, spec);
    at = close;
  }
  return out;
}

std::string format_time(const std::string& format, const std::tm& t) {
  spend(format.size() / 4);
  static const char* const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
  static const char* const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                       "July",    "August",   "September", "October", "November", "December"};
  // Names are English whatever the locale: prompts must not change with it.
  const std::string day = days[std::clamp(t.tm_wday, 0, 6)], month = months[std::clamp(t.tm_mon, 0, 11)];
  const int hour12 = t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12, year = t.tm_year + 1900;
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out += format[i];
      continue;
    }
    const bool bare = format[i + 1] == '-' && i + 2 < format.size();  // glibc's %-d: no leading zeros
    i += bare ? 2 : 1;
    const auto number = [&](int n, int width) { out += bare ? fmt::format("{}", n) : fmt::format("{:0{}d}", n, width); };
    switch (format[i]) {
      case 'Y': out += fmt::format("{}", year); break;
      case 'y': number(year % 100, 2); break;
      case 'm': number(t.tm_mon + 1, 2); break;
      case 'd': number(t.tm_mday, 2); break;
      case 'e': out += bare ? fmt::format("{}", t.tm_mday) : fmt::format("{:2d}", t.tm_mday); break;
      case 'H': number(t.tm_hour, 2); break;
      case 'I': number(hour12, 2); break;
      case 'M': number(t.tm_min, 2); break;
      case 'S': number(t.tm_sec, 2); break;
      case 'f': out += "000000"; break;
      case 'j': number(t.tm_yday + 1, 3); break;
      case 'p': out += t.tm_hour < 12 ? "AM" : "PM"; break;
      case 'A': out += day; break;
      case 'a': out += day.substr(0, 3); break;
      case 'B': out += month; break;
      case 'b':
      case 'h': out += month.substr(0, 3); break;
      case 'w': out += fmt::format("{}", t.tm_wday); break;
      case 'u': out += fmt::format("{}", t.tm_wday == 0 ? 7 : t.tm_wday); break;
      case 'F': out += format_time("%Y-%m-%d", t); break;
      case 'T':
      case 'X': out += format_time("%H:%M:%S", t); break;
      case 'R': out += format_time("%H:%M", t); break;
      case 'D':
      case 'x': out += format_time("%m/%d/%y", t); break;
      case 'c': out += format_time("%a %b %e %H:%M:%S %Y", t); break;
      case 'n': out += '\n'; break;
      case 't': out += '\t'; break;
      case 'Z':
      case 'z': break;  // strftime_now has no time zone
      case '%': out += '%'; break;
      default: out.append({'%', format[i]});
    }
  }
  return out;
}

}  // namespace raison::jinja
