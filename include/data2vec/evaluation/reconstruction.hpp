// SPDX-License-Identifier: MIT
// Images as a masked autoencoder completes them: it sees some patches and predicts the others (He et al., 2022,
// figure 2).
#pragma once

#include <cmath>
#include <cstddef>

#include <data2vec/core/random.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/objective/mae.hpp>

namespace data2vec::inline v0 {

/// Completes B images at a time under masks that are drawn from the model's policy. Weights are read only: any number
/// of threads may share one buffer of parameters, each with a workspace and indices of its own.
template <class Model, int B = 1>
struct Reconstruction {
  using Branch = typename Model::First;
  using M = typename Branch::M;
  using Workspace = typename Branch::template Workspace<float, B>;
  using Indices = typename Branch::template Indices<B>;
  using Samples = View<const float, B, M::sample_size>;
  static constexpr int hidden = Branch::R;  ///< patches of an image

  /// samples (B, C, H, W) -> `completed` (B, C, H, W): visible patches as they are, hidden ones as predicted.
  /// `index.mask.masked` (B, hidden) then says which those are. A model whose targets are normalised patches predicts
  /// no mean and deviation: its patches get those of the hidden ones.
  static void run(Cpu& d, const typename Model::template Parameters<const float>& parameters, Samples samples,
                  const Draws& draws, const Workspace& w, const Indices& index, float* completed) {
    index.draw(draws);
    const Pass<Cpu, true> pass{d, draws, {}};  // without dropout
    Branch::predict(pass, Model::template weights<0>(parameters), samples, w, index);
    device::copy(d, samples.size, samples.data, completed);
    for (int b = 0; b < B; ++b)
      for (int r = 0; r < hidden; ++r) {
        const int patch = index.mask.masked[b][r];
        float* const image = completed + static_cast<std::ptrdiff_t>(b) * M::sample_size;
        double mean = 0, deviation = 1;
        if constexpr (Branch::normalises) {
          double squares = 0;
          each_pixel(image, patch, [&](float& x, int) { mean += static_cast<double>(x) / Branch::values; });
          each_pixel(image, patch, [&](float& x, int) {
            squares += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean);
          });
          deviation = std::sqrt(squares / (Branch::values - 1) + 1e-6);
        }
        const float* const predicted = w.decoder.prediction[b][r].data;
        each_pixel(image, patch, [&](float& x, int i) {
          x = static_cast<float>(mean + deviation * static_cast<double>(predicted[i]));
        });
      }
  }

  /// f(pixel, i) for the numbers of a patch of an image (C, H, W), i in the order of predictions: pixel row, pixel
  /// column, channel.
  template <class F>
  static void each_pixel(float* image, int patch, F&& f) {
    constexpr Extent size = M::vision.input_size, side = M::vision.patch_size;
    constexpr int channels = M::vision.in_chans;
    const int top = patch / M::grid.width * side.height, left = patch % M::grid.width * side.width;
    for (int y = 0, i = 0; y < side.height; ++y)
      for (int x = 0; x < side.width; ++x)
        for (int c = 0; c < channels; ++c, ++i)
          f(image[(static_cast<std::ptrdiff_t>(c) * size.height + top + y) * size.width + left + x], i);
  }
};

}  // namespace data2vec::inline v0
