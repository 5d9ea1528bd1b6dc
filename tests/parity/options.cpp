// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <cmath>
#include <cstdio>
#include <limits>

namespace data2vec::parity {

using Json = nlohmann::json;

Options::Options(const Json& json, std::string path) : json_(&json), path_(std::move(path)) {
  if (!json.is_object()) throw UnsupportedOption("option " + path_ + ": expected an object, found " + json.dump());
}

void Options::unsupported(const std::string& key, const std::string& expected) const {
  throw UnsupportedOption("option " + path_ + key + ": expected " + expected + ", found " +
                          (json_->contains(key) ? (*json_)[key].dump() : "none"));
}

bool Options::has(const std::string& key) const { return json_->contains(key) && !(*json_)[key].is_null(); }

const Json& Options::json(const std::string& key) {
  read_.insert(key);
  if (!json_->contains(key)) unsupported(key, "a value");
  return (*json_)[key];
}

int Options::integer(const std::string& key) {
  const Json& value = json(key);
  if (!value.is_number_integer() || value.get<double>() < 0 || value.get<double>() > std::numeric_limits<int>::max())
    unsupported(key, "a whole number from 0 to 2^31 - 1");
  return value.get<int>();
}

int Options::integer_or(const std::string& key, int fallback) {
  read_.insert(key);
  return has(key) ? integer(key) : fallback;
}

double Options::number(const std::string& key) {
  const Json& value = json(key);
  if (!value.is_number() || !std::isfinite(value.get<double>())) unsupported(key, "a number");
  return value.get<double>();
}

double Options::number_or(const std::string& key, double fallback) {
  read_.insert(key);
  return has(key) ? number(key) : fallback;
}

std::string Options::number_text(const std::string& key) { return text_of(number(key)); }

bool Options::flag(const std::string& key) {
  const Json& value = json(key);
  if (!value.is_boolean()) unsupported(key, "true or false");
  return value.get<bool>();
}

bool Options::flag_or(const std::string& key, bool fallback) {
  read_.insert(key);
  return has(key) ? flag(key) : fallback;
}

std::string Options::word(const std::string& key, std::initializer_list<const char*> allowed) {
  const Json& value = json(key);
  std::string list;
  for (const char* each : allowed) {
    if (value == each) return each;
    list += (list.empty() ? "\"" : " or \"") + std::string(each) + "\"";
  }
  unsupported(key, list);
}

std::string Options::convolutions(const std::string& key) {
  const Json& value = json(key);
  std::string text = value.is_string() ? value.get<std::string>() : "";
  std::erase(text, ' ');
  if (!text.starts_with("[(") || !text.ends_with(")]") || text.find_first_not_of("[]()0123456789,") != text.npos)
    unsupported(key, "a list of (channels, kernel, stride)");
  for (char& c : text) c = c == '[' || c == '(' ? '{' : c == ']' || c == ')' ? '}' : c;
  return text;
}

Options Options::within(const std::string& key) { return Options(json(key), path_ + key + "."); }

void Options::expect(const std::string& key, double value, const std::string& reason) {
  read_.insert(key);
  if (!has(key)) return;
  const Json& found = (*json_)[key];
  const bool same = found.is_number() ? found.get<double>() == value
                                      : found.is_boolean() && (value == 0 || value == 1) && found == (value == 1);
  if (!same) unsupported(key, text_of(value) + " (" + reason + ")");
}

void Options::ignore(std::initializer_list<const char*> keys) { read_.insert(keys.begin(), keys.end()); }

void Options::finish() const {
  static const std::set<std::string> about{"system", "kind", "reference", "name", "keys", "verify", "seed", "optimizer",
                                           "note"};  // of the case itself; `optimizer` is read when it runs
  for (const auto& [key, value] : json_->items())
    if (!read_.contains(key) && !(path_.empty() && about.contains(key)))
      throw UnsupportedOption("option " + path_ + key + ": not known, value " + value.dump());
}

std::string text_of(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

std::string main_of(const std::string& run) {
  return "int main(int argc, char** argv) {\n  return data2vec::parity::case_main(argc, argv, &data2vec::parity::" + run +
         ");\n}\n";
}

}  // namespace data2vec::parity
