// SPDX-License-Identifier: MIT
// Cases and reports; see support.hpp.
#include "support.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include <data2vec/io/safetensors.hpp>

namespace data2vec::parity {

struct Case::Content {
  std::string path, name;
  nlohmann::json json;
  std::optional<SafetensorsFile> tensors;  // none: the JSON has no twin

  const nlohmann::json* find(std::string_view rest) const {
    const nlohmann::json* at = &json;
    const char separator = rest.find('/') == rest.npos ? '.' : '/';
    while (!rest.empty()) {
      auto end = std::min(rest.find(separator), rest.size());
      if (at->is_object())  // keys may hold dots: the shortest one that is there
        while (end < rest.size() && !at->contains(std::string(rest.substr(0, end))))
          end = std::min(rest.find(separator, end + 1), rest.size());
      const std::string key(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (at->is_object() && at->contains(key)) {
        at = &(*at)[key];
      } else if (at->is_array() && !key.empty() && key.find_first_not_of("0123456789") == key.npos &&
                 key.size() < 10 && std::stoul(key) < at->size()) {
        at = &(*at)[std::stoul(key)];
      } else {
        return nullptr;
      }
    }
    return at;
  }

  const nlohmann::json& at(std::string_view where) const {
    if (const auto* value = find(where)) return *value;
    throw FileError(path, "expected a value '" + std::string(where) + "', found none");
  }

  const Tensor& tensor(std::string_view tensor_name) const {
    if (!tensors) throw FileError(path, "expected a safetensors file of the same name, found none");
    return tensors->at(tensor_name);
  }
};

Case::Case(const std::string& json_path) : content_(std::make_unique<Content>()) {
  content_->path = json_path;
  const std::filesystem::path path(json_path);
  content_->name = path.stem().string();
  const auto bytes = read_file(json_path);
  content_->json = nlohmann::json::parse(reinterpret_cast<const char*>(bytes.data()),
                                         reinterpret_cast<const char*>(bytes.data()) + bytes.size());
  auto twin = path;
  twin.replace_extension(".safetensors");
  if (std::filesystem::exists(twin)) content_->tensors = SafetensorsFile::open(twin.string());
}

Case::Case(Case&&) noexcept = default;
Case::~Case() = default;

const std::string& Case::name() const { return content_->name; }

double Case::number(std::string_view path) const {
  const auto& value = content_->at(path);
  if (value.is_null()) return 0;
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_number())
    throw FileError(content_->path, std::string(path) + ": expected a number, found " + value.type_name());
  return value.get<double>();
}

bool Case::has_number(std::string_view path) const {
  const auto* value = content_->find(path);
  return value && (value->is_number() || value->is_boolean());
}

double Case::number_or(std::string_view path, double fallback) const {
  return content_->find(path) ? number(path) : fallback;
}

std::string Case::text(std::string_view path) const {
  const auto& value = content_->at(path);
  if (!value.is_string())
    throw FileError(content_->path, std::string(path) + ": expected a string, found " + value.type_name());
  return value.get<std::string>();
}

std::vector<double> Case::numbers(std::string_view path) const {
  std::vector<double> values;
  for (std::size_t i = 0; i < size(path); ++i)
    values.push_back(number(std::string(path) + (path.find('/') == path.npos ? "." : "/") + std::to_string(i)));
  return values;
}

std::size_t Case::size(std::string_view path) const { return content_->at(path).size(); }

std::vector<std::string> Case::keys(std::string_view path) const {
  std::vector<std::string> names;
  for (const auto& [key, value] : content_->at(path).items()) names.push_back(key);
  return names;
}

bool Case::has(std::string_view name) const { return content_->tensors && content_->tensors->find(name); }
std::vector<std::int64_t> Case::shape(std::string_view name) const { return content_->tensor(name).shape; }

std::vector<std::string> Case::names(std::string_view prefix) const {
  std::vector<std::string> found;
  if (content_->tensors)
    for (const Tensor& tensor : *content_->tensors)
      if (tensor.name.starts_with(prefix)) found.push_back(tensor.name);
  std::sort(found.begin(), found.end());
  return found;
}

std::span<const float> Case::f32(std::string_view name) const { return content_->tensor(name).as<float>(); }
std::span<const double> Case::f64(std::string_view name) const { return content_->tensor(name).as<double>(); }
std::span<const std::int32_t> Case::i32(std::string_view name) const {
  return content_->tensor(name).as<std::int32_t>();
}
std::span<const std::uint8_t> Case::u8(std::string_view name) const {
  return content_->tensor(name).as<std::uint8_t>();
}

std::span<const float> Case::f32(std::string_view name, std::size_t elements) const {
  const auto values = f32(name);
  if (values.size() != elements)
    throw FileError(content_->path, "tensor '" + std::string(name) + "': expected " + std::to_string(elements) +
                                        " elements as in the model, found " + shape_text(shape(name)));
  return values;
}

double Case::value(std::string_view name, std::size_t i) const {
  const Tensor& tensor = content_->tensor(name);
  if (i >= tensor.data.size() / element_size(tensor.dtype))
    throw FileError(content_->path, "tensor '" + tensor.name + "': expected an element " + std::to_string(i) +
                                        ", found shape " + shape_text(tensor.shape));
  switch (tensor.dtype) {
    case Dtype::f32: return static_cast<double>(tensor.as<float>()[i]);
    case Dtype::f64: return tensor.as<double>()[i];
    case Dtype::i32: return tensor.as<std::int32_t>()[i];
    case Dtype::i64: return static_cast<double>(tensor.as<std::int64_t>()[i]);
    default: return tensor.as<std::uint8_t>()[i];
  }
}

template <class T>
void Report::compare(Quantity quantity, std::string_view name, std::span<const T> expected, std::span<const T> found) {
  if (expected.size() != found.size()) {
    broken_.push_back(std::string(name) + ": expected " + std::to_string(expected.size()) + " elements, found " +
                      std::to_string(found.size()));
    return;
  }
  const bool relative = rule_of(quantity).measure == Measure::relative;
  Entry entry{quantity, std::string(name), 0, 0, 0, 0, 0};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double a = static_cast<double>(expected[i]), b = static_cast<double>(found[i]);
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      if (std::isfinite(a)) entry.largest = std::max(entry.largest, std::fabs(a));
      continue;
    }
    double difference = std::fabs(a - b);
    if (!std::isfinite(difference)) difference = std::numeric_limits<double>::infinity();
    if (relative) difference /= std::fabs(a);
    if (std::isfinite(a)) entry.largest = std::max(entry.largest, std::fabs(a));
    if (difference > entry.difference) {
      entry.difference = difference;
      entry.index = i;
      entry.expected = a;
      entry.found = b;
    }
  }
  if (rule_of(quantity).measure == Measure::gradient) largest_gradient_ = std::max(largest_gradient_, entry.largest);
  entries_.push_back(std::move(entry));
}

void Report::check(Quantity q, std::string_view name, std::span<const float> expected, std::span<const float> found) {
  compare(q, name, expected, found);
}
void Report::check(Quantity q, std::string_view name, std::span<const double> expected, std::span<const double> found) {
  compare(q, name, expected, found);
}
void Report::check(Quantity q, std::string_view name, std::span<const std::int32_t> expected,
                   std::span<const std::int32_t> found) {
  compare(q, name, expected, found);
}
void Report::check_value(Quantity q, std::string_view name, double expected, double found) {
  compare(q, name, std::span<const double>(&expected, 1), std::span<const double>(&found, 1));
}

void Report::expect(bool condition, std::string_view sentence) {
  ++conditions_;
  if (!condition) broken_.emplace_back(sentence);
}

double Report::error(const Entry& entry) const {
  double divisor = 1;
  const Measure measure = rule_of(entry.quantity).measure;
  if (measure == Measure::of_largest) divisor = entry.largest;
  if (measure == Measure::gradient) divisor = std::max(entry.largest, 1e-3 * largest_gradient_);
  return entry.difference == 0 ? 0 : entry.difference / divisor;
}

bool Report::passed() const {
  return broken_.empty() && !(entries_.empty() && conditions_ == 0) &&
         std::all_of(entries_.begin(), entries_.end(),
                     [this](const Entry& e) { return error(e) <= rule_of(e.quantity).bound; });
}

std::string Report::summary() const {
  std::string text;
  for (std::size_t q = 0; q < std::size(rules); ++q) {
    double worst = -1;
    for (const Entry& entry : entries_)
      if (static_cast<std::size_t>(entry.quantity) == q) worst = std::max(worst, error(entry));
    if (worst < 0) continue;
    char part[96];
    std::snprintf(part, sizeof part, "%s%s %.2g (bound %.0e)", text.empty() ? "" : ", ", rules[q].name, worst,
                  rules[q].bound);
    text += part;
  }
  if (conditions_ > 0) text += (text.empty() ? "" : ", ") + std::to_string(conditions_) + " conditions";
  return text;
}

std::vector<std::string> Report::details(std::size_t most) const {
  std::vector<std::string> lines = broken_;
  for (const Entry& entry : entries_) {
    const Rule& rule = rule_of(entry.quantity);
    if (error(entry) <= rule.bound) continue;
    char part[160];
    std::snprintf(part, sizeof part, ": %s error %.3g, bound %.0e: element %zu expected %.9g, found %.9g", rule.name,
                  error(entry), rule.bound, entry.index, entry.expected, entry.found);
    lines.push_back(entry.name + part);
  }
  if (lines.size() > most) {
    const std::size_t more = lines.size() - most;
    lines.resize(most);
    lines.push_back("... and " + std::to_string(more) + " more");
  }
  return lines;
}

int case_main(int argc, char** argv, void (*run)(const Case&, Report&)) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CASE.json\n", argv[0]);
    return 2;
  }
  Report report;
  try {
    run(Case(argv[1]), report);
  } catch (const std::exception& error) {
    report.expect(false, error.what());
  }
  std::printf("%s\n", report.summary().c_str());
  for (const std::string& line : report.details()) std::printf("    %s\n", line.c_str());
  return report.passed() ? 0 : 1;
}

}  // namespace data2vec::parity
