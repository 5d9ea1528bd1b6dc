// SPDX-License-Identifier: MIT
// Patches on the CPU: plain copies; the products that follow cost far more.
#pragma once

#include <cmath>

#include <data2vec/device/cpu/cpu.hpp>
#include <data2vec/device/patches.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Patches<BasicCpu<Isa>> {
  template <int C, Extent input, Extent patch, class T>
  static void channels_first(BasicCpu<Isa>&, int rows, const T* images, T* out) {
    for_each_patch<C, input, patch>(rows, images, [&](const T* corner) {
      for (int c = 0; c < C; ++c)
        for (int y = 0; y < patch.height; ++y)
          for (int x = 0; x < patch.width; ++x) *out++ = corner[(c * input.height + y) * input.width + x];
    });
  }

  template <int C, Extent input, Extent patch, class T>
  static void channels_last(BasicCpu<Isa>&, int rows, const T* images, T* out) {
    for_each_patch<C, input, patch>(rows, images, [&](const T* corner) {
      for (int y = 0; y < patch.height; ++y)
        for (int x = 0; x < patch.width; ++x)
          for (int c = 0; c < C; ++c) *out++ = corner[(c * input.height + y) * input.width + x];
    });
  }

  template <int C, Extent input, Extent patch, class T>
  static void normalised(BasicCpu<Isa>&, int rows, const T* images, T* out) {
    constexpr int size = patch.size() * C;
    static_assert(size > 1, "data2vec: a patch of one value has no variance");
    for_each_patch<C, input, patch>(rows, images, [&](const T* corner) {
      double sum = 0, squares = 0;
      for (int y = 0, i = 0; y < patch.height; ++y)
        for (int x = 0; x < patch.width; ++x)
          for (int c = 0; c < C; ++c, ++i) sum += out[i] = corner[(c * input.height + y) * input.width + x];
      const double mean = sum / size;
      for (int i = 0; i < size; ++i) squares += (out[i] - mean) * (out[i] - mean);
      const double factor = 1 / std::sqrt(squares / (size - 1) + 1e-6);
      for (int i = 0; i < size; ++i) out[i] = static_cast<T>((out[i] - mean) * factor);
      out += size;
    });
  }

 private:
  /// Calls `f` with the upper left corner of every patch, in token order.
  template <int C, Extent input, Extent patch, class T, class F>
  static void for_each_patch(int rows, const T* images, F&& f) {
    for (int row = 0; row < rows; ++row, images += C * input.size())
      for (int y = 0; y < input.height; y += patch.height)
        for (int x = 0; x < input.width; x += patch.width) f(images + y * input.width + x);
  }
};

}  // namespace data2vec::inline v0
