// SPDX-License-Identifier: MIT
// The teacher's targets (data2vec 2.0, section 3.1; data2vec, section 3.3): the mean over the last K blocks, each layer
// and the mean normalised as the configuration says. No gradient flows here.
#pragma once

#include <bit>

#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/norm.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// Accumulates the layers of a teacher pass over B samples of T tokens behind E extra tokens. `exact`: padding takes no
/// part in the norms, its targets are zero; the passes then need `valid` (B), the tokens that are none.
template <Config C, int B, int T_, int E, bool exact = false>
struct Targets {
  static constexpr int D = C.embed_dim;
  static constexpr double eps = 1e-5;

  /// Whether block `layer` (0-based) is one of those averaged, and how many are.
  static constexpr bool takes(int layer) {
    return C.target_layers != 0 ? (C.target_layers >> layer & 1) != 0 : layer >= C.depth - C.average_top_k_layers;
  }
  static constexpr int layers = C.target_layers != 0 ? std::popcount(C.target_layers) : C.average_top_k_layers;

  template <class Dev, class T>
  static void start(Dev& d, View<T, B, T_, D> targets) { device::fill(d, targets.size, 0, targets.data); }

  /// Adds one layer's result (B, E + T, D). `layer` (B, T, D) is scratch.
  template <class Dev, class T>
  static void add(Dev& d, View<const T, B, E + T_, D> result, View<T, B, T_, D> layer, View<T, B, T_, D> targets,
                  const int* valid = nullptr) {
    int first[B + 1], rows[B];  // tokens that count, one sample behind the other in `layer`
    first[0] = 0;
    for (int b = 0; b < B; ++b) {
      rows[b] = exact ? valid[b] : T_;
      first[b + 1] = first[b] + rows[b];
    }
    T* const x = layer.data;
    if constexpr (exact)
      for (int b = 0; b < B; ++b) device::copy(d, elements(rows[b]), result[b][E].data, x + elements(first[b]));
    else device::copy_strided(d, B, T_ * D, result.data + E * D, (E + T_) * D, x, T_ * D);
    if constexpr (C.batch_norm_target_layer) device::standardise_channels<D>(d, 1, first[B], eps, x);
    if constexpr (C.instance_norm_target_layer) {
      if constexpr (exact)
        for (int b = 0; b < B; ++b) device::standardise_channels<D>(d, 1, rows[b], eps, x + elements(first[b]));
      else device::standardise_channels<D>(d, B, T_, eps, x);
    }
    if constexpr (C.layer_norm_target_layer)
      device::layer_norm<D>(d, first[B], x, nullptr, nullptr, eps, x, nullptr);
    if constexpr (exact)
      for (int b = 0; b < B; ++b)
        device::add(d, elements(rows[b]), targets[b].data, x + elements(first[b]), targets[b].data);
    else device::add(d, targets.size, targets.data, x, targets.data);
  }

  template <class Dev, class T>
  static void finish(Dev& d, View<T, B, T_, D> targets, const int* valid = nullptr) {
    device::scale(d, targets.size, 1.0 / layers, targets.data);
    if constexpr (C.layer_norm_targets)
      device::layer_norm<D>(d, B * T_, targets.data, nullptr, nullptr, eps, targets.data, nullptr);
    if constexpr (C.instance_norm_targets) {
      if constexpr (exact)
        for (int b = 0; b < B; ++b) device::standardise_channels<D>(d, 1, valid[b], eps, targets[b].data);
      else device::standardise_channels<D>(d, B, T_, eps, targets.data);
    }
  }

 private:
  static constexpr std::size_t elements(int rows) { return static_cast<std::size_t>(rows) * D; }
};

}  // namespace data2vec::inline v0
