// SPDX-License-Identifier: MIT
// The options of a case, read one by one: what nobody has read in the end is an option that is not known.
#pragma once

#include <initializer_list>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "generate.hpp"

namespace data2vec::parity {

/// An object of a case's JSON. Every function throws UnsupportedOption, naming the option.
class Options {
 public:
  explicit Options(const nlohmann::json& json, std::string path = "");

  bool has(const std::string& key) const;               ///< there and not null
  int integer(const std::string& key);
  int integer_or(const std::string& key, int fallback);
  double number(const std::string& key);
  double number_or(const std::string& key, double fallback);  ///< also where it is null
  std::string number_text(const std::string& key);      ///< so that the compiler reads the same number
  bool flag(const std::string& key);
  bool flag_or(const std::string& key, bool fallback);
  std::string word(const std::string& key, std::initializer_list<const char*> allowed);
  /// "[(512, 10, 5), (512, 3, 2)]" as initialisers.
  std::string convolutions(const std::string& key);
  const nlohmann::json& json(const std::string& key);
  /// An object within.
  Options within(const std::string& key);

  /// Supported with one value only (null and absent count as it), and why.
  void expect(const std::string& key, double value, const std::string& reason);
  /// Read when the case runs, or without effect on any number.
  void ignore(std::initializer_list<const char*> keys);
  /// Throws for an option that was not read.
  void finish() const;

  [[noreturn]] void unsupported(const std::string& key, const std::string& expected) const;

 private:
  const nlohmann::json* json_;
  std::string path_;
  std::set<std::string> read_;
};

/// "true" or "false".
inline std::string text_of(bool value) { return value ? "true" : "false"; }
/// A number as source, exactly.
std::string text_of(double value);

/// The main function of a generated program, which calls `run`.
std::string main_of(const std::string& run);

}  // namespace data2vec::parity
