// SPDX-License-Identifier: MIT
// Dropout, stochastic depth and normal noise on the GPU: the words of core/random.hpp, bit for bit those of the CPU.
#pragma once

#include <data2vec/device/cuda/cuda.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/math.hpp>
#include <data2vec/device/cuda/tiles.hpp>
#include <data2vec/device/dropout.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// Draws as kernels see them: `clock` is added to the update when they run.
struct DeviceDraws {
  DropoutDraws draws;
  const std::uint32_t* clock;
  std::uint32_t threshold;
  float scale;

  DeviceDraws(CudaContext& d, const DropoutDraws& from)
      : draws(from),
        clock(d.clock()),
        threshold(keep_threshold(from.rate)),
        scale(static_cast<float>(1 / (1 - from.rate))) {}

  __device__ DrawKey key(int row) const {
    DrawKey k = draws.key(row);
    k.update += *clock;
    return k;
  }
};

/// Thread i has block i % blocks of the stream of row i / blocks: four elements.
template <class T>
struct DropElements {
  DeviceDraws draws;
  int width, blocks;
  const T* x;
  T* y;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, blocks);
    const int row = static_cast<int>(place.quotient), block = place.rest;
    const auto words = draw(draws.key(row), static_cast<std::uint32_t>(block));
    const std::size_t start = static_cast<std::size_t>(row) * width + 4 * block;
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (4 * block + k < width)
        put(y[start + k], kept_word(words[k], draws.threshold) ? to_float(x[start + k]) * draws.scale : 0.0f);
  }
};

template <class T>
struct DropRows {
  DeviceDraws draws;
  int width;
  const T* x;
  T* y;
  __device__ void operator()(std::size_t i) const {  // rows are few and long: a draw each is cheap beside the memory
    const int row = static_cast<int>(divide(i, width).quotient);
    const bool keep = kept_word(draw(draws.key(row), 0)[0], draws.threshold);
    put(y[i], keep ? to_float(x[i]) * draws.scale : 0.0f);
  }
};

template <class T>
struct NoiseElements {
  DeviceDraws draws;
  int width, blocks;
  T* y;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, blocks);
    const int row = static_cast<int>(place.quotient), block = place.rest;
    const auto words = draw(draws.key(row), static_cast<std::uint32_t>(block));
    const std::size_t start = static_cast<std::size_t>(row) * width + 4 * block;
    const auto deviation = static_cast<float>(draws.draws.rate);
    const auto low = normal_pair(words[0], words[1]), high = normal_pair(words[2], words[3]);
    const float values[4] = {low[0], low[1], high[0], high[1]};
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (4 * block + k < width) put(y[start + k], deviation * values[k]);
  }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::Dropout<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <class T>
  static void elements(D& d, int rows, int width, const DropoutDraws& draws, const T* x, T* y) {
    const int blocks = (width + 3) / 4;
    d.for_each("dropout", static_cast<std::size_t>(rows) * blocks,
               detail::gpu::DropElements<T>{{d, draws}, width, blocks, x, y});
  }
  template <class T>
  static void rows(D& d, int count, int width, const DropoutDraws& draws, const T* x, T* y) {
    d.for_each("drop_path", static_cast<std::size_t>(count) * width, detail::gpu::DropRows<T>{{d, draws}, width, x, y});
  }
  template <class T>
  static void noise(D& d, int rows, int width, const DropoutDraws& draws, T* y) {
    const int blocks = (width + 3) / 4;
    d.for_each("normal_noise", static_cast<std::size_t>(rows) * blocks,
               detail::gpu::NoiseElements<T>{{d, draws}, width, blocks, y});
  }
};

}  // namespace data2vec::inline v0
