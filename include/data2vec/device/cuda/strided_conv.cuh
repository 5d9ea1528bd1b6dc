// SPDX-License-Identifier: MIT
// Strided convolutions on the GPU. Channels last, the window of a frame is contiguous. Windows of neighbouring frames
// overlap, which a matrix of cuBLASLt may not; those of every lanes-th frame do not, and need no copy of the input.
#pragma once

#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/product.cuh>
#include <data2vec/device/cuda/tiles.hpp>
#include <data2vec/device/strided_conv.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// Frames lane, lane + lanes, ... of a sequence, whose windows do not overlap.
template <StridedConvShape S>
struct FrameLanes {
  static constexpr int step = S.stride * S.in_channels, lanes = ceil_div(S.kernel, S.stride);
  D2V_HD static constexpr int frames(int lane) {
    return lane < S.out_length() ? ceil_div(S.out_length() - lane, lanes) : 0;
  }
};

/// Weight i of (out_channels, in_channels, kernel) in the order of windows.
template <StridedConvShape S>
D2V_HD constexpr std::size_t ordered_place(std::size_t i) {
  const Divided tap = divide(i, S.kernel), channel = divide(tap.quotient, S.in_channels);
  return channel.quotient * S.window() + static_cast<std::size_t>(tap.rest) * S.in_channels + channel.rest;
}

template <StridedConvShape S, class T>
struct OrderWeights {
  const T* weight;
  T* ordered;
  __device__ void operator()(std::size_t i) const { ordered[ordered_place<S>(i)] = weight[i]; }
};

template <StridedConvShape S, class T>
struct AddOrdered {
  const float* ordered;
  T* weight;
  __device__ void operator()(std::size_t i) const {
    put(weight[i], to_float(weight[i]) + ordered[ordered_place<S>(i)]);
  }
};

/// Zeros in the elements [first, first + width) of every row of `stride`.
template <class T>
struct ClearStrip {
  T* x;
  std::size_t stride, first;
  int width;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, width);
    put(x[place.quotient * stride + first + place.rest], 0.0f);
  }
};

}  // namespace detail::gpu

template <Precision P>
struct kernel::StridedConv<BasicCuda<P>> {
  using D = BasicCuda<P>;
  using Index = std::ptrdiff_t;

  template <StridedConvShape S, class T>
  static void order(D& d, const T* weight, T* ordered) {
    d.for_each("strided_conv_order", S.weight_size(), detail::gpu::OrderWeights<S, T>{weight, ordered});
  }

  template <StridedConvShape S, class T>
  static void forward(D& d, int rows, const T* x, const T* ordered, T* y, const T* bias) {
    using L = detail::gpu::FrameLanes<S>;
    ProductKey key{.m = S.out_channels, .n = 0, .k = S.window(), .transposes_a = true};
    key.batch = rows;
    for (int lane = 0; lane < L::lanes; ++lane) {
      key.n = L::frames(lane);
      detail::gpu::product<P>(d, "strided_conv", key, ordered, S.window(), x + Index{lane} * L::step,
                              L::lanes * L::step, bias, y + Index{lane} * S.out_channels, L::lanes * S.out_channels,
                              {0, in<S>, out<S>});
    }
  }

  // Places stride * t + k, k < stride, of all frames t are rows of `step` numbers. Taps are taken a stride's worth at a
  // time: the first such block writes the places, the next ones, that many strides further on, are added.
  template <StridedConvShape S, class T>
  static void input_gradient(D& d, int rows, const T* dy, const T* ordered, T* dx) {
    constexpr const char* name = "strided_conv_input_gradient";
    constexpr int step = detail::gpu::FrameLanes<S>::step, taps = detail::gpu::lesser(S.kernel, S.stride);
    constexpr Index written = S.kernel < S.stride ? 0 : Index{step} * S.out_length();
    if constexpr (written < in<S>)
      d.for_each(name, static_cast<std::size_t>(rows) * (in<S> - written),
                 detail::gpu::ClearStrip<T>{dx, in<S>, written, static_cast<int>(in<S> - written)});
    ProductKey key{.m = 0, .n = S.out_length(), .k = S.out_channels};
    key.batch = rows;
    for (int k = 0; k < S.kernel; k += taps) {
      key.m = detail::gpu::lesser(taps, S.kernel - k) * S.in_channels;
      key.adds = k > 0;
      detail::gpu::product<P>(d, name, key, ordered + Index{k} * S.in_channels, S.window(), dy, S.out_channels,
                              static_cast<const T*>(nullptr), dx + Index{k} * S.in_channels, step, {0, out<S>, in<S>});
    }
  }

  /// Sums over all sequences are fp32: in half precision they are scratch of the device.
  template <StridedConvShape S, class T>
  static void weight_gradient(D& d, int rows, const T* dy, const T* x, T* dweight, T* scratch, T* dbias) {
    using L = detail::gpu::FrameLanes<S>;
    constexpr const char* name = "strided_conv_weight_gradient";
    if (rows == 0 || S.out_length() == 0) return;
    if (dbias)
      detail::gpu::add_column_sums(d, name, rows * S.out_length(), S.out_channels, dy, dbias);
    float* sums = nullptr;
    if constexpr (sizeof(T) == sizeof(float))
      sums = scratch;
    else
      sums = d.template scratch<float>(name, S.weight_size());
    ProductKey key{.m = S.window(), .n = S.out_channels, .k = 0, .transposes_b = true};
    for (Index row = 0; row < rows; ++row)
      for (int lane = 0; lane < L::lanes; ++lane) {
        key.k = L::frames(lane);
        detail::gpu::product<P>(d, name, key, x + row * in<S> + Index{lane} * L::step, L::lanes * L::step,
                                dy + row * out<S> + Index{lane} * S.out_channels, L::lanes * S.out_channels,
                                static_cast<const T*>(nullptr), sums, S.window());
        key.adds = true;
      }
    d.for_each(name, S.weight_size(), detail::gpu::AddOrdered<S, T>{sums, dweight});
  }

 private:
  template <StridedConvShape S>
  static constexpr Index in = Index{S.length} * S.in_channels;
  template <StridedConvShape S>
  static constexpr Index out = Index{S.out_length()} * S.out_channels;
};

}  // namespace data2vec::inline v0
