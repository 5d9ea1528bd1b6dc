// SPDX-License-Identifier: MIT
// Features of recordings of any length through a model of a static one: window after window, each frame from the window
// that gives it context on both sides. Memory is one window, whatever the length.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <data2vec/core/buffer.hpp>
#include <data2vec/data/windows.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/evaluation/features.hpp>

namespace data2vec::inline v0 {

/// Means over `parts` equal stretches of frames (n, width), n >= 1: (parts, width), as Features::pool_stretches().
inline void pool_frames(std::span<const float> frames, int width, int parts, float* pooled) {
  const auto columns = static_cast<std::size_t>(width);
  const int count = static_cast<int>(frames.size() / columns);
  for (int part = 0; part < parts; ++part, pooled += width) {
    const int begin = part * count / parts, end = ((part + 1) * count + parts - 1) / parts;
    std::fill_n(pooled, width, 0.0f);
    for (int t = begin; t < end; ++t)
      for (std::size_t i = 0; i < columns; ++i)
        pooled[i] += frames[static_cast<std::size_t>(t) * columns + i] / static_cast<float>(end - begin);
  }
}

/// How the samples of a speech modality become its frames.
template <class M>
constexpr FrameGeometry frame_geometry_of() {
  std::array<std::pair<int, int>, M::speech.feature_encoder_spec.size> layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& layer = M::speech.feature_encoder_spec[static_cast<int>(i)];
    layers[i] = {layer.kernel, layer.stride};
  }
  return frame_geometry(layers);
}

/// Features of long recordings on one thread of the CPU. `Model` is of one length, the window's; recordings shorter
/// than a window are padded, which is exact under Padding::exact. Reads the weights only: an object for each thread.
template <class Model>
class LongFeatures {
 public:
  using F = Features<Model>;
  using M = typename F::M;
  static constexpr int D = F::D;
  static constexpr FrameGeometry geometry = frame_geometry_of<M>();

  /// `margin`: frames of context that a frame has on either side within its window; `layer` as of features(). Throws
  /// OptionError for a layer that is not there; run() throws for a margin that leaves a window nothing to yield.
  LongFeatures(std::int64_t margin, int layer = F::last_layer) : margin_(margin), layer_(layer) {
    if (layer < 0 || layer > F::depth)
      throw OptionError("features: expected a layer between 0 and " + std::to_string(F::depth) + ", found " +
                        std::to_string(layer));
  }

  /// The frames that a recording of `samples` samples has.
  static constexpr std::int64_t frames(std::int64_t samples) { return geometry.frames(samples); }

  /// `source(span)` returns how many of the recording's next samples it wrote; `sink(first frame, values)` is called
  /// for stretches of frames in order, with values (frames, D). Throws OptionError for the margin, MismatchError for a
  /// recording without a frame or one that ends early.
  template <class Source, class Sink>
  void run(const typename Model::template Parameters<const float>& parameters, std::int64_t samples, Source&& source,
           Sink&& sink) {
    each_window(parameters, samples, source, [&](std::int64_t frame, int at, int count, const auto& found) {
      sink(frame, std::span<const float>(found[0][F::E + at].data, static_cast<std::size_t>(count) * D));
    });
  }

  /// The same of the codes that the quantiser of wav2vec 2.0 gives to frames, without noise (Baevski et al., 2020,
  /// section 2): `sink(first frame, codes)`, codes (frames, groups), each from 0 to the entries of a group.
  template <class Source, class Sink>
  void codes(const typename Model::template Parameters<const float>& parameters, std::int64_t samples, Source&& source,
             Sink&& sink)
    requires requires { typename F::Branch::Quantiser; }
  {
    using Q = typename F::Branch::Quantiser;
    constexpr int T = F::Enc::T_, groups = F::Branch::groups;
    constexpr double temperature = 1;  // none is drawn
    Buffer<float> memory(buffer_size<typename Q::template Tape<float, T>>), quantised(std::size_t{T} * Q::dim);
    int chosen[T * groups];
    const auto w = bind<typename F::template Workspace<float>>(memory_.data());
    each_window(parameters, samples, source, [&](std::int64_t frame, int at, int count, const auto&) {
      Q::forward(device_, Model::template weights<0>(parameters).branch.quantizer, count,
                 static_cast<const float*>(w.local_tape.normed[0][at].data), static_cast<const float*>(nullptr),
                 &temperature, chosen, quantised.data(), bind<typename Q::template Tape<float, T>>(memory.data()));
      sink(frame, std::span<const int>(chosen, static_cast<std::size_t>(count) * groups));
    });
  }

 private:
  /// use(first frame, its place in the window, frames, the window's features) for the frames that each window keeps.
  template <class Source, class Use>
  void each_window(const typename Model::template Parameters<const float>& parameters, std::int64_t samples,
                   Source&& source, Use&& use) {
    WindowReader reader(WindowPlan(samples, M::sample_size, margin_, geometry));
    while (!reader.done()) {
      const auto [window, values] = reader.read(source);
      const int length = static_cast<int>(window.valid);
      const auto found = F::run(device_, Model::template weights<0>(parameters),
                                View<const float, 1, M::sample_size>{values.data()},
                                bind<typename F::template Workspace<float>>(memory_.data()),
                                bind<typename F::Index>(index_.data()), layer_, F::Enc::padded ? &length : nullptr);
      use(window.keep_begin, static_cast<int>(window.keep_begin - window.first_frame),
          static_cast<int>(window.keep_end - window.keep_begin), found);
    }
  }

  std::int64_t margin_;
  int layer_;
  Cpu device_;
  Buffer<float> memory_{buffer_size<typename F::template Workspace<float>>};
  Buffer<int> index_{buffer_size<typename F::Index>};
};

}  // namespace data2vec::inline v0
