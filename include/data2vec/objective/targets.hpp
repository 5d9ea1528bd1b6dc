// SPDX-License-Identifier: MIT
// The teacher's targets (data2vec 2.0, section 3.1; data2vec, section 3.3): the mean over the last K blocks, each layer
// and the mean normalised as the configuration says. No gradient flows here.
#pragma once

#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/norm.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// Accumulates the layers of a teacher pass over B samples of T tokens behind E extra tokens.
template <Config C, int B, int T_, int E>
struct Targets {
  static constexpr int D = C.embed_dim;
  static constexpr double eps = 1e-5;

  /// Whether block `layer` (0-based) is one of the last K.
  static constexpr bool takes(int layer) { return layer >= C.depth - C.average_top_k_layers; }

  template <class Dev, class T>
  static void start(Dev& d, View<T, B, T_, D> targets) { device::fill(d, targets.size, 0, targets.data); }

  /// Adds one layer's result (B, E + T, D). `layer` (B, T, D) is scratch and then holds the normalised layer.
  template <class Dev, class T>
  static void add(Dev& d, View<const T, B, E + T_, D> result, View<T, B, T_, D> layer, View<T, B, T_, D> targets) {
    device::copy_strided(d, B, T_ * D, result.data + E * D, (E + T_) * D, layer.data, T_ * D);
    if constexpr (C.batch_norm_target_layer) device::standardise_channels<D>(d, 1, B * T_, eps, layer.data);
    if constexpr (C.instance_norm_target_layer) device::standardise_channels<D>(d, B, T_, eps, layer.data);
    if constexpr (C.layer_norm_target_layer)
      device::layer_norm<D>(d, B * T_, layer.data, nullptr, nullptr, eps, layer.data, nullptr);
    device::add(d, targets.size, targets.data, layer.data, targets.data);
  }

  template <class Dev, class T>
  static void finish(Dev& d, View<T, B, T_, D> targets) {
    device::scale(d, targets.size, 1.0 / C.average_top_k_layers, targets.data);
    if constexpr (C.layer_norm_targets)
      device::layer_norm<D>(d, B * T_, targets.data, nullptr, nullptr, eps, targets.data, nullptr);
    if constexpr (C.instance_norm_targets) device::standardise_channels<D>(d, B, T_, eps, targets.data);
  }
};

}  // namespace data2vec::inline v0
