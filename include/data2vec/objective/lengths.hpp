// SPDX-License-Identifier: MIT
// One model in several static lengths: a type for each, one set of parameters for all.
//
//   template <int samples>
//   struct Of : Data2Vec2<config, Branch<Speech<waveforms(samples)>, Masks<samples>, Decoder>> {};
//   struct Model : Lengths<Of<16'000>, Of<32'000>, Of<64'000>> {};
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>

#include <data2vec/objective/data2vec2.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// Whether the tensors of two structs have the same names and shapes.
template <class P, class Q>
inline constexpr bool same_tensors = [] {
  const auto& a = tensor_table<P>;
  const auto& b = tensor_table<Q>;
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].name.view() != b[i].name.view() || a[i].shape != b[i].shape) return false;
  return true;
}();

constexpr bool is_ascending(const auto& numbers) {
  for (std::size_t i = 1; i < numbers.size(); ++i)
    if (numbers[i] <= numbers[i - 1]) return false;
  return true;
}

}  // namespace detail

/// Models of one branch each that differ in the length of their samples alone, the shortest first. To a trainer they
/// are branches of which none owns a parameter: `step<i>(batch)` takes a batch of length i, and every update moves all
/// parameters. Features, heads and fine-tuning take `LengthAt<i>` with the buffer that all share.
template <class... Models>
struct Lengths {
  static constexpr int branches = sizeof...(Models);
  static constexpr bool has_teacher = (Models::has_teacher && ...);
  template <int i>
  using LengthAt = std::tuple_element_t<static_cast<std::size_t>(i), std::tuple<Models...>>;
  template <int i>
  using BranchAt = typename LengthAt<i>::First;
  using First = BranchAt<0>;
  using FirstModel = LengthAt<0>;
  static constexpr Config config = FirstModel::config;
  static constexpr std::array<int, sizeof...(Models)> lengths{Models::First::M::sample_size...};
  static_assert(((Models::branches == 1) && ...), "data2vec: Lengths takes models of one branch each");
  static_assert(detail::is_ascending(lengths), "data2vec: Lengths takes models in ascending length of their samples");
  template <class T>
  using Parameters = typename FirstModel::template Parameters<T>;
  static_assert((detail::same_tensors<Parameters<float>, typename Models::template Parameters<float>> && ...),
                "data2vec: Lengths takes models of the same parameters; a learned ALiBi table or a table of positions "
                "has the length of its type");

  template <class Enc, class T>
  using EncoderParameters = typename FirstModel::template EncoderParameters<Enc, T>;

  /// What a step of length `i` needs of the parameters.
  template <int i, template <class> class P, class T>
  static auto weights(const P<T>& p) {
    T* start = nullptr;  // of the buffer that p is bound to
    for_each_tensor([&](const TensorName&, const Field&, auto& view) { start = start ? start : view.data; }, p);
    return LengthAt<i>::template weights<0>(bind<typename LengthAt<i>::template Parameters<T>>(start));
  }

  static constexpr std::size_t parameter_count = FirstModel::parameter_count;
  static constexpr std::size_t encoder_parameter_count = FirstModel::encoder_parameter_count;
  static constexpr std::size_t teacher_parameter_count = FirstModel::teacher_parameter_count;
  static constexpr bool in_decoder(std::string_view name) { return FirstModel::in_decoder(name); }
  static constexpr bool in_teacher(std::string_view name) { return FirstModel::in_teacher(name); }
  static constexpr bool receives_gradient(std::string_view name, int = 0) {
    return FirstModel::receives_gradient(name);
  }
  static constexpr int branch_of(std::string_view) { return -1; }

  template <int i = 0>
  static constexpr StepFlops step_flops = LengthAt<i>::template step_flops<0>;
  template <int i = 0>
  static constexpr double flops_per_sample = step_flops<i>.total();

  template <class T>
  static void initialise(T* buffer, std::uint64_t seed) {
    FirstModel::initialise(buffer, seed);
  }

  /// Calls f.template operator()<i>() for a length by its number at run time.
  template <class F>
  static void visit(int length, F&& f) {
    [&]<int... i>(std::integer_sequence<int, i...>) {
      (static_cast<void>(length == i && (f.template operator()<i>(), true)), ...);
    }(std::make_integer_sequence<int, branches>{});
  }
};

}  // namespace data2vec::inline v0
