// SPDX-License-Identifier: MIT
// Cutting images into patches on the GPU.
#pragma once

#include <data2vec/device/cuda/cuda.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/tiles.hpp>
#include <data2vec/device/patches.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

template <int C, int height, int width, int patch_h, int patch_w, bool channels_last, class T>
struct PatchElements {
  const T* images;
  T* out;
  __device__ void operator()(std::size_t i) const {
    out[i] = images[patch_source<C, height, width, patch_h, patch_w, channels_last>(i)];
  }
};

/// A warp per patch.
template <int C, int height, int width, int patch_h, int patch_w, class T>
__global__ void normalise_patches(std::size_t patches, const T* images, T* out) {
  constexpr int size = C * patch_h * patch_w;
  const std::size_t patch = (std::size_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32;
  if (patch >= patches) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const auto value = [&](int i) {
    return static_cast<double>(
        to_float(images[patch_source<C, height, width, patch_h, patch_w, true>(patch * size + i)]));
  };
  double sum = 0, squares = 0;
  for (int i = lane; i < size; i += 32) sum += value(i);
  const double mean = warp_sum(sum) / size;
  for (int i = lane; i < size; i += 32) {
    const double u = value(i) - mean;
    squares += u * u;
  }
  const double factor = 1 / sqrt(warp_sum(squares) / (size - 1) + 1e-6);
  for (int i = lane; i < size; i += 32) put(out[patch * size + i], static_cast<float>((value(i) - mean) * factor));
}

}  // namespace detail::gpu

template <Precision P>
struct kernel::Patches<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <int C, Extent input, Extent patch, class T>
  static void channels_first(D& d, int rows, const T* images, T* out) {
    elements<false, C, input, patch>(d, rows, images, out);
  }

  template <int C, Extent input, Extent patch, class T>
  static void channels_last(D& d, int rows, const T* images, T* out) {
    elements<true, C, input, patch>(d, rows, images, out);
  }

  template <int C, Extent input, Extent patch, class T>
  static void normalised(D& d, int rows, const T* images, T* out) {
    static_assert(patch.size() * C > 1, "data2vec: a patch of one value has no variance");
    constexpr int tokens = input.width / patch.width * (input.height / patch.height);
    const std::size_t patches = static_cast<std::size_t>(rows) * tokens;
    d.launch("normalised_patches", static_cast<unsigned>((patches + 7) / 8), 256, 0,
             &detail::gpu::normalise_patches<C, input.height, input.width, patch.height, patch.width, T>, patches,
             images, out);
  }

 private:
  template <bool channels_last, int C, Extent input, Extent patch, class T>
  static void elements(D& d, int rows, const T* images, T* out) {
    using F = detail::gpu::PatchElements<C, input.height, input.width, patch.height, patch.width, channels_last, T>;
    constexpr int across = input.width / patch.width, down = input.height / patch.height;
    d.for_each("patches", static_cast<std::size_t>(rows) * across * down * patch.size() * C, F{images, out});
  }
};

}  // namespace data2vec::inline v0
