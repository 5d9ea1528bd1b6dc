// SPDX-License-Identifier: MIT
// Named parameters and activations: structs of views over one block of memory.
//
// A struct of tensors lists its members once, in `visit`; names, offsets, sizes and initialisers all follow from that
// list at compile time. Weights, gradients, both Adam moments and the teacher are buffers of the same layout, so
// whatever walks over parameters is one loop. Activations use the same mechanism.
//
//   template <class T> struct Parameters {
//     View<T, Out, In> weight; View<T, Out> bias;
//     static constexpr void visit(auto&& f, auto&... p) { f({"weight", init::normal(0.02)}, p.weight...); ... }
//   };
#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include <data2vec/core/view.hpp>

namespace data2vec::inline v0 {

enum class Distribution { zeros, constant, normal, truncated_normal, uniform, fixed };

/// How a tensor starts. `fixed` tensors (position tables) are filled by the model.
struct Init {
  Distribution kind = Distribution::zeros;
  double scale = 0;   ///< the constant, the standard deviation, or the bound of the uniform distribution
  int zero_row = -1;  ///< this row of the last axis stays zero
  bool linear = false;  ///< weight or bias of a linear layer: `Config::mae_init` applies
};

namespace init {
constexpr Init zeros() { return {}; }
constexpr Init constant(double value) { return {Distribution::constant, value}; }
constexpr Init normal(double deviation, int zero_row = -1) { return {Distribution::normal, deviation, zero_row}; }
constexpr Init truncated_normal(double deviation) { return {Distribution::truncated_normal, deviation}; }
constexpr Init uniform(double bound) { return {Distribution::uniform, bound}; }
constexpr Init fixed() { return {Distribution::fixed}; }
/// Square root at compile time (Newton's method), for bounds such as 1 / sqrt(fan_in).
constexpr double square_root(double x) {
  double root = x > 1 ? x : 1;
  for (int i = 0; i < 200; ++i) root = 0.5 * (root + x / root);
  return root;
}
/// The default of the reference's layers: uniform within 1 / sqrt(fan_in).
constexpr Init fan_in(int inputs) { return uniform(1 / square_root(inputs)); }
constexpr Init of_linear(Init start) { return {start.kind, start.scale, start.zero_row, true}; }
constexpr Init xavier(int inputs, int outputs) { return uniform(square_root(6.0 / (inputs + outputs))); }
}  // namespace init

/// What `visit` says about a member: its name, how it starts, whether the optimizer moves it.
struct Field {
  std::string_view name;
  Init init = {};
  bool trained = true;
  int gap = -1;  ///< elements, always zero, between it and the tensor before; -1: as many as alignment asks for
  bool decays = true;  ///< false: exempt from weight decay whatever its shape
  constexpr Field(const char* n) : name(n) {}
  constexpr Field(std::string_view n) : name(n) {}
  constexpr Field(const char* n, Init i, bool t = true, int g = -1, bool decay = true)
      : name(n), init(i), trained(t), gap(g), decays(decay) {}
};

/// "0", "1", ... "99" as the name of an element.
struct IndexName {
  char text[3] = {};
  constexpr explicit IndexName(int i)
      : text{static_cast<char>('0' + (i < 10 ? i : i / 10)), i < 10 ? '\0' : static_cast<char>('0' + i % 10), '\0'} {}
};

/// A member that a configuration switches off.
struct Nothing {
  static constexpr void visit(auto&&, auto&...) {}
};

/// A tensor's path such as "blocks.0.attn.qkv.weight", in place.
struct TensorName {
  static constexpr int capacity = 96;
  char text[capacity] = {};
  int length = 0;
  constexpr std::string_view view() const { return {text, static_cast<std::size_t>(length)}; }
  constexpr void append(std::string_view part) {
    if (part.empty()) return;
    if (length > 0) text[length++] = '.';
    for (const char c : part) text[length++] = c;  // a name that is too long is an error of constant evaluation
  }
};

/// One row of the table of a struct of tensors.
struct TensorInfo {
  TensorName name;
  std::size_t offset = 0;  ///< in elements from the start of the buffer; a multiple of 16 unless the field has a gap
  std::size_t size = 0;    ///< in elements
  int rank = 0;
  std::array<int, 5> shape{};
  Init init;
  bool trained = true;
  bool decays = true;

  /// What the reference means to exempt from weight decay: vectors, biases, ALiBi scales (its code decays them too).
  constexpr bool exempt_from_decay() const {
    return !decays || rank <= 1 || name.view().ends_with(".bias") || name.view().ends_with("alibi_scale");
  }
};

namespace detail {

template <class X>
inline constexpr int array_size = -1;
template <class X, std::size_t N>
inline constexpr int array_size<std::array<X, N>> = static_cast<int>(N);

template <class F>
struct Walker {
  F& f;
  TensorName name{};

  template <class First, class... Rest>
  constexpr void operator()(Field field, First& first, Rest&... rest) {
    using Member = std::remove_const_t<First>;
    const int length = name.length;
    name.append(field.name);
    if constexpr (is_view<Member>) {
      f(name, field, first, rest...);
    } else if constexpr (array_size<Member> >= 0) {
      for (int i = 0; i < array_size<Member>; ++i) {
        const IndexName index(i);
        (*this)(Field(index.text), first[static_cast<std::size_t>(i)], rest[static_cast<std::size_t>(i)]...);
      }
    } else {
      Member::visit(*this, first, rest...);
    }
    name.length = length;
  }
};

constexpr std::size_t aligned(std::size_t elements) { return (elements + 15) / 16 * 16; }

/// Where tensors lie: each at a multiple of 16, or `gap` elements behind the one before.
struct Placement {
  std::size_t end = 0;
  constexpr std::size_t next(const Field& field, std::size_t size) {
    const std::size_t offset = field.gap < 0 ? aligned(end) : end + static_cast<std::size_t>(field.gap);
    end = offset + size;
    return offset;
  }
};

}  // namespace detail

/// Calls `f(name, field, view...)` for every tensor of the structs, which all have the same type of layout.
template <class F, class P, class... More>
constexpr void for_each_tensor(F&& f, P& p, More&... more) {
  detail::Walker<std::remove_reference_t<F>> walker{f};
  std::remove_const_t<P>::visit(walker, p, more...);
}

/// Number of tensors of a struct.
template <class P>
inline constexpr int tensor_count = [] {
  int count = 0;
  P p{};
  for_each_tensor([&](const TensorName&, const Field&, auto&) { ++count; }, p);
  return count;
}();

/// Elements of the buffer that holds a struct.
template <class P>
inline constexpr std::size_t buffer_size = [] {
  detail::Placement place;
  P p{};
  for_each_tensor(
      [&](const TensorName&, const Field& field, auto& view) {
        place.next(field, std::remove_reference_t<decltype(view)>::size);
      },
      p);
  return detail::aligned(place.end);
}();

/// The table of a struct: name, offset, shape, initialiser of every tensor, in the order of the buffer.
template <class P>
inline constexpr auto tensor_table = [] {
  std::array<TensorInfo, static_cast<std::size_t>(tensor_count<P>)> table{};
  std::size_t row = 0;
  detail::Placement place;
  P p{};
  for_each_tensor(
      [&](const TensorName& name, const Field& field, auto& view) {
        using V = std::remove_reference_t<decltype(view)>;
        static_assert(V::rank <= 5);
        TensorInfo& info = table[row++];
        info.name = name;
        info.offset = place.next(field, V::size);
        info.size = V::size;
        info.rank = V::rank;
        for (std::size_t i = 0; i < V::rank; ++i) info.shape[i] = V::shape[i];
        info.init = field.init;
        info.trained = field.trained;
        info.decays = field.decays;
      },
      p);
  return table;
}();

/// Elements of all tensors of a struct, without the padding between them.
template <class P>
inline constexpr std::size_t element_count = [] {
  std::size_t elements = 0;
  for (const TensorInfo& info : tensor_table<P>) elements += info.size;
  return elements;
}();

/// The struct over the buffer at `base`, which holds `buffer_size<P>` elements.
template <class P, class T>
constexpr P bind(T* base) {
  P p{};
  detail::Placement place;
  for_each_tensor(
      [&](const TensorName&, const Field& field, auto& view) {
        view.data = base + place.next(field, std::remove_reference_t<decltype(view)>::size);
      },
      p);
  return p;
}

/// The tensors of `q` in a struct of another type with the same members.
template <class P, class Q>
constexpr P alike(const Q& q) {
  P p{};
  for_each_tensor([](const TensorName&, const Field&, auto& to, auto& from) { to = from; }, p, q);
  return p;
}

/// Memory that holds one of several structs at a time.
template <class T, class... Structs>
struct Overlay {
  static constexpr std::size_t elements = [] {
    std::size_t most = 0;
    ((most = buffer_size<Structs> > most ? buffer_size<Structs> : most), ...);
    return most;
  }();
  View<T, static_cast<int>(elements / 16), 16> memory;  // two axes: an int does not count what large batches need

  template <class S>
  S as() const {
    static_assert((std::is_same_v<S, Structs> || ...), "data2vec: the overlay does not hold this struct");
    return bind<S>(memory.data);
  }
  static constexpr void visit(auto&& f, auto&... o) { f("memory", o.memory...); }
};

}  // namespace data2vec::inline v0
