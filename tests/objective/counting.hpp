// SPDX-License-Identifier: MIT
// A device that computes nothing: its kernels add up the operations that each call asks for, a multiply and an add as
// two. What is not a product costs nothing here.
#pragma once

#include <data2vec/device/adam.hpp>
#include <data2vec/device/alibi.hpp>
#include <data2vec/device/attention.hpp>
#include <data2vec/device/conv.hpp>
#include <data2vec/device/dropout.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/gelu.hpp>
#include <data2vec/device/linear.hpp>
#include <data2vec/device/norm.hpp>
#include <data2vec/device/patches.hpp>
#include <data2vec/device/reduce.hpp>

namespace counting {

struct Device {
  static constexpr bool is_device = true;
  double flops = 0;
};

}  // namespace counting

namespace data2vec::inline v0::kernel {

template <>
struct Linear<counting::Device> {
  template <int In_, int Out_, class T>
  static void forward(counting::Device& d, int rows, auto...) { d.flops += 2.0 * rows * In_ * Out_; }
  template <int In_, int Out_, class T>
  static void forward_gelu(counting::Device& d, int rows, auto...) { d.flops += 2.0 * rows * In_ * Out_; }
  template <int In_, int Out_, Grad G, class T>
  static void input_gradient(counting::Device& d, int rows, auto...) { d.flops += 2.0 * rows * In_ * Out_; }
  template <int In_, int Out_, class T>
  static void weight_gradient(counting::Device& d, int rows, auto...) { d.flops += 2.0 * rows * In_ * Out_; }
};

/// Every query with every key, hidden or not: two products forward, four backward.
template <>
struct Attention<counting::Device> {
  template <int H, int Dh, bool with_dropout, class T>
  static void forward(counting::Device& d, int rows, int sequence, auto...) {
    d.flops += 2 * 2.0 * rows * sequence * sequence * H * Dh;
  }
  template <int H, int Dh, bool with_dropout, class T>
  static void backward(counting::Device& d, int rows, int sequence, auto...) {
    d.flops += 4 * 2.0 * rows * sequence * sequence * H * Dh;
  }
};

template <>
struct GroupedConv<counting::Device> {
  template <ConvShape S, class T>
  static void forward(counting::Device& d, int rows, auto...) { d.flops += flops<S>(rows); }
  template <ConvShape S, Grad G, class T>
  static void input_gradient(counting::Device& d, int rows, auto...) { d.flops += flops<S>(rows); }
  template <ConvShape S, class T>
  static void weight_gradient(counting::Device& d, int rows, auto...) { d.flops += flops<S>(rows); }

 private:
  template <ConvShape S>
  static double flops(int rows) {
    double window = 0;  // multiply-adds of one output cell
    for (int o = 0; o < S.out_channels; ++o) window += S.in_channels / S.groups * S.kernel_height * S.kernel_width;
    return 2 * window * rows * S.height * S.width;
  }
};

template <>
struct Norm<counting::Device> {
  template <int C, class T>
  static void layer_norm(auto&&...) {}
  template <int C, class T>
  static void add_layer_norm(auto&&...) {}
  template <int C, class T>
  static void layer_norm_backward(auto&&...) {}
  template <int C, class T>
  static void norm_gelu(auto&&...) {}
  template <int C, class T>
  static void norm_gelu_backward(auto&&...) {}
  template <int C, class T>
  static void standardise_channels(auto&&...) {}
};

template <>
struct Gelu<counting::Device> {
  template <class T>
  static void forward(auto&&...) {}
  template <class T>
  static void backward(auto&&...) {}
};

template <>
struct Elementwise<counting::Device> {
  template <int C, class T>
  static void gather_rows(auto&&...) {}
  template <int C, class T>
  static void scatter_add_rows(auto&&...) {}
  template <class T>
  static void add(auto&&...) {}
  template <class T>
  static void add_repeated(auto&&...) {}
  template <int C, class T>
  static void mean_rows(auto&&...) {}
  template <class T>
  static void add_scaled(auto&&...) {}
  template <class T>
  static void scale(auto&&...) {}
  template <class T>
  static void fill(auto&&...) {}
  template <class T>
  static void copy(auto&&...) {}
  template <class T>
  static void copy_strided(auto&&...) {}
};

template <>
struct Dropout<counting::Device> {
  template <class T>
  static void elements(auto&&...) {}
  template <class T>
  static void rows(auto&&...) {}
  template <class T>
  static void noise(auto&&...) {}
};

template <>
struct Patches<counting::Device> {
  template <int C, Extent input, Extent patch, class T>
  static void channels_first(auto&&...) {}
  template <int C, Extent input, Extent patch, class T>
  static void normalised(auto&&...) {}
};

template <>
struct Reduce<counting::Device> {
  template <class T>
  static double sum_of_squares(auto&&...) { return 0; }
  template <int C, class T>
  static double regression_loss(auto&&...) { return 0; }
  template <int C, class T>
  static void channel_moments(auto&&...) {}
};

}  // namespace data2vec::inline v0::kernel
