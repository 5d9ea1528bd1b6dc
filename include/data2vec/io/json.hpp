// SPDX-License-Identifier: MIT
// JSON for checkpoints, logs and reports: the library's one name for nlohmann-json, and a strict reader.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// Keeps the order in which keys were set.
using Json = nlohmann::ordered_json;

/// Parses text; a key that occurs twice in an object, or anything that is not JSON, is a FileError that names `where`.
inline Json parse_json(std::string_view text, const std::string& where) {
  std::vector<std::set<std::string>> open;
  std::string twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(value.get<std::string>()).second && twice.empty())
      twice = value.get<std::string>();
    return true;
  };
  try {
    Json value = Json::parse(text, watch);
    if (!twice.empty()) throw FileError(where, "expected every key once, found \"" + twice + "\" twice");
    return value;
  } catch (const Json::parse_error& error) {
    throw FileError(where, std::string("expected JSON: ") + error.what());
  }
}

}  // namespace data2vec::inline v0
