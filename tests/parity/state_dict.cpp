// SPDX-License-Identifier: MIT
// The published models against the reference's state dicts: names, shapes, what is trained, what the teacher
// has, numbers of elements, and how parameters start; see tables.hpp.
#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include <data2vec/data2vec.hpp>

#include "tables.hpp"

namespace data2vec::parity {
namespace {

/// A statistic of `n` initial values: two independent draws agree up to five standard deviations of the difference.
/// Moments: sd(mean) = s / sqrt(n), sd(s) <= s / sqrt(2n) for normal and uniform values. Extremes of normal values
/// follow Gumbel's law of scale s / sqrt(2 ln n); the difference of two exceeds 15 scales as rarely as a normal one
/// exceeds five deviations. Printed numbers have five digits.
void check_start(const Case& c, Report& r, const std::string& path, std::string_view name, const float* values,
                 std::size_t count) {
  const double n = static_cast<double>(count);
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(values[i]);
  const double mean = sum / n;
  for (std::size_t i = 0; i < count; ++i) squares += std::pow(static_cast<double>(values[i]) - mean, 2);
  const double deviation = std::sqrt(squares / std::max(1.0, n - 1));
  const auto [low, high] = std::minmax_element(values, values + count);
  const double s = c.number(path + "/init_std"), root2 = std::sqrt(2.0);
  const double of_mean = 5 * root2 * s / std::sqrt(n), of_deviation = 5 * s / std::sqrt(n);
  const double of_extremes = 15 * s / std::sqrt(2 * std::log(std::max(n, 2.0)));
  const auto near = [&](const char* what, double found, double allowed) {
    const double expected = c.number(path + "/" + what), rounding = 1e-4 * std::fabs(expected) + 1e-9;
    r.expect(std::fabs(found - expected) <= allowed + rounding,
             std::string(name) + " " + what + ": expected " + std::to_string(expected) + " within " +
                 std::to_string(allowed + rounding) + ", found " + std::to_string(found));
  };
  near("init_mean", mean, of_mean);
  near("init_std", deviation, of_deviation);
  near("init_min", static_cast<double>(*low), of_extremes);
  near("init_max", static_cast<double>(*high), of_extremes);
}

template <class Model>
void check_model(const Case& c, Report& r, const std::string& preset) {
  using Parameters = typename Model::template Parameters<float>;
  const auto names = c.keys(preset + ".tensors");
  r.check_value(Quantity::exact, "number of tensors", static_cast<double>(names.size()), tensor_count<Parameters>);
  double elements = 0, without_decoder = 0;
  std::map<std::string, const TensorInfo*> ours;
  for (const TensorInfo& info : tensor_table<Parameters>) {
    const std::string name(info.name.view());
    ours[name] = &info;
    elements += static_cast<double>(info.size);
    if (name.find(".decoder.") == name.npos) without_decoder += static_cast<double>(info.size);
    r.expect(std::binary_search(names.begin(), names.end(), name), name + ": a tensor that the reference lacks");
  }
  r.check_value(Quantity::exact, "total_elements", c.number(preset + ".total_elements"), elements);
  r.check_value(Quantity::exact, "elements_without_decoder", c.number(preset + ".elements_without_decoder"),
                without_decoder);
  std::vector<float> start;
  for (const std::string& name : names) {
    const auto it = ours.find(name);
    r.expect(it != ours.end(), name + ": a tensor that the model lacks");
    if (it == ours.end()) continue;
    const TensorInfo& info = *it->second;
    const std::string path = preset + "/tensors/" + name;
    const std::vector<double> shape(info.shape.begin(), info.shape.begin() + info.rank);
    r.check(Quantity::exact, name + " shape", c.numbers(path + "/shape"), shape);
    r.check_value(Quantity::exact, name + " trained", c.number(path + "/trained"), info.trained);
    r.check_value(Quantity::exact, name + " in_teacher", c.number(path + "/in_teacher"), Model::in_teacher(name));
    if (!c.has_number(path + "/init_std")) continue;
    if (start.empty()) {
      start.resize(buffer_size<Parameters>);
      Model::initialise(start.data(), 1);
    }
    check_start(c, r, path, name, start.data() + info.offset, info.size);
  }
}

}  // namespace

std::vector<CaseResult> check_state_dicts(const Case& c) {
  constexpr const char* not_built = "there is no preset of that name";
  std::vector<CaseResult> results;
  for (const std::string& preset : c.keys("")) {
    const std::string name = c.name() + "/" + preset;
    const auto add = [&](void (*check)(const Case&, Report&, const std::string&)) {
      results.push_back(run_case(name, [&](Report& r) { check(c, r, preset); }));
    };
    if (preset == "base_images_only_task") add(check_model<VisionBase>);
    else if (preset == "large_images_only_task") add(check_model<VisionLarge>);
    else if (preset == "huge_images14_only_task") add(check_model<VisionHuge14>);
    else if (preset == "base_audio_only_task") add(check_model<SpeechBase>);
    else if (preset == "large_audio_only_task") add(check_model<SpeechLarge>);
    else if (preset == "base_text_only_task") add(check_model<TextBase>);
    else if (preset == "large_text_only_task") add(check_model<TextLarge>);
    else results.push_back({name, CaseResult::Status::skipped, not_built, {}});
  }
  return results;
}

}  // namespace data2vec::parity
