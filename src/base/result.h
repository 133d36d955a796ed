// Errors as values. Library code never throws across a public boundary, exits, aborts or prints: it returns Status or
// Result<T>. A message is one line: what, where, what to do.
#pragma once
#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

namespace raison {

class [[nodiscard]] Error {
 public:
  explicit Error(std::string message) : message_(std::move(message)) {}
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};

// Error from a format string: `return error("{}: cannot open: {}", path, strerror(errno));`
template <class... Args>
Error error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(fmt::format(format, std::forward<Args>(args)...));
}

// Success, or an Error.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error e) : error_(std::move(e)) {}  // NOLINT: conversion is the point
  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  const std::string& message() const { return error_->message(); }  // only if !ok()
  const Error& error() const { return *error_; }                    // only if !ok()

 private:
  std::optional<Error> error_;
};

// A T, or an Error.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT
  Result(Error e) : error_(std::move(e)) {}      // NOLINT
  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  T& value() & { return *value_; }  // only if ok()
  const T& value() const& { return *value_; }
  T&& value() && { return std::move(*value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  const std::string& message() const { return error_->message(); }  // only if !ok()
  const Error& error() const { return *error_; }                    // only if !ok()

 private:
  std::optional<T> value_;
  std::optional<Error> error_;
};

}  // namespace raison

#define RAISON_CONCAT_(a, b) a##b
#define RAISON_CONCAT(a, b) RAISON_CONCAT_(a, b)
// Evaluate a Status (or Result); on error return it from the enclosing function.
#define RAISON_RETURN_IF_ERROR(expr)                                        \
  do {                                                                      \
    if (auto raison_s_ = (expr); !raison_s_.ok()) return raison_s_.error(); \
  } while (0)
// RAISON_ASSIGN(auto file, MappedFile::open(path)): unwrap a Result, or return its error.
#define RAISON_ASSIGN(decl, expr) RAISON_ASSIGN_(RAISON_CONCAT(raison_r_, __LINE__), decl, expr)
#define RAISON_ASSIGN_(tmp, decl, expr) \
  auto tmp = (expr);                    \
  if (!tmp.ok()) return tmp.error();    \
  decl = std::move(tmp).value()
