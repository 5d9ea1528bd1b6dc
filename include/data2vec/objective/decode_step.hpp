// SPDX-License-Identifier: MIT
// One decoder in a step: from the encoder's output and noise to predictions at the hidden positions, the regression of
// the targets, and back (data2vec 2.0, section 3.3). A branch has one of its own and may share another.
#pragma once

#include <data2vec/decoder/decoder.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/reduce.hpp>
#include <data2vec/layers/dropout.hpp>

namespace data2vec::inline v0 {

/// What a decoder's input and loss are made of in a step.
template <class T>
struct DecodeOptions {
  double input_dropout = 0;         ///< rate, if the decoder's configuration has one
  std::uint32_t layer = 0;          ///< tells its draws from another decoder's
  const T* positions = nullptr;     ///< fixed positions (T, D), null if the modality has none
  const T* noise = nullptr;         ///< (N, T - V, D), drawn if null
  double noise_deviation = 0;
};

/// `Dec` on rows of shape.visible tokens behind E extra tokens.
template <class Dec, DecoderShape shape, int E>
struct DecodeStep {
  using Network = typename Dec::template Network<shape>;
  static constexpr int D = shape.dim, T_ = shape.tokens(), V = shape.visible, R = shape.masked, S = E + V;
  static constexpr int filled = T_ - V, input_tokens = Dec::sees_all ? T_ : V;
  static constexpr bool drops_input = Dec::config.input_dropout > 0;

  /// The encoder's output after dropout, then noise.
  template <class T, int N>
  using Pool = View<T, N * (S + filled), D>;

  template <class T, int N>
  struct Memory {
    View<T, N, input_tokens, D> input;
    typename Network::template Tape<T, N> network;
    View<T, N, R, D> prediction, dprediction;
    static constexpr void visit(auto&& f, auto&... m) {
      f("input", m.input...);
      f("network", m.network...);
      f("prediction", m.prediction...);
      f("dprediction", m.dprediction...);
    }
  };

  /// Predictions from the encoder's output in `pool`, which dropout changes in place (as in the reference).
  template <class P, class T, int N>
  static void forward(const P& pass, const typename Network::template Parameters<const T>& p,
                      const DecodeOptions<T>& options, Pool<T, N> pool, const Memory<T, N>& m, const auto& index) {
    auto& d = pass.device;
    drop_input(pass, options, N, pool.data);
    if constexpr (!Dec::sees_all) {
      device::copy_strided(d, N, V * D, pool.data + E * D, S * D, m.input.data, V * D);
    } else {
      T* drawn = pool.data + static_cast<std::ptrdiff_t>(N) * S * D;
      if (options.noise) device::copy(d, static_cast<std::size_t>(N) * filled * D, options.noise, drawn);
      else device::normal_noise(d, N, filled * D, pass.draws.at(Site::noise, options.layer, options.noise_deviation), drawn);
      device::gather_rows<D>(d, N * T_, pool.data, index.pool_rows.data, m.input.data);            // (N, T, D)
      if constexpr (Dec::config.add_positions_masked) {  // the predictions' place is free
        device::gather_rows<D>(d, N * R, options.positions, index.masked.data, m.prediction.data);
        device::scatter_add_rows<D>(d, N * R, m.prediction.data, index.masked_rows.data, m.input.data);
      }
      if constexpr (Dec::config.add_positions_all)
        device::add_repeated(d, N, T_ * D, m.input.data, options.positions, m.input.data);
    }
    Network::forward(pass, p, input(options, m, index), m.prediction, m.network);                  // (N, R, D)
  }

  /// Sum of loss(prediction - target) over the hidden positions; their gradient times `weight` is left in m.dprediction.
  /// `moments` receives sums and sums of squares per channel of the predictions (2, D).
  template <class Dev, class T, int N>
  static double loss(Dev& d, const Memory<T, N>& m, const T* targets, double beta, double weight, double* moments,
                     const auto& index) {
    if constexpr (shape.padded) device::fill(d, m.dprediction.size, 0, m.dprediction.data);
    double sum = 0;
    for (int n = 0; n < N; n += shape.padded ? 1 : N) {  // all rows at once, unless some hide fewer tokens
      const int count = shape.padded ? index.hidden(n) : N * R;
      sum += device::regression_loss<D>(d, count, m.prediction[n].data, targets, index.target_rows[n].data, beta,
                                        weight, m.dprediction[n].data);
      device::channel_moments<D>(d, count, m.prediction[n].data, nullptr, moments, moments + D);
    }
    return sum;
  }

  /// From m.dprediction to the gradient of the encoder's output, dencoded (N, S, D), before `backward_input`. Destroys
  /// the pool and the decoder's input.
  template <class P, class T, int N>
  static void backward(const P& pass, const typename Network::template Parameters<const T>& p,
                       const DecodeOptions<T>& options, const typename Network::template Parameters<T>& gradient,
                       Pool<T, N> pool, const Memory<T, N>& m, const auto& index, T* dencoded) {
    using Input = View<T, N, input_tokens, D>;
    static_assert(Input::size <= Pool<T, N>::size);
    const Input scratch{pool.data};  // the network's backward needs its input: the gradient takes its place after that
    Network::backward(pass, p, input(options, m, index), m.dprediction, scratch, gradient, m.network);
    device::copy(pass.device, Input::size, scratch.data, m.input.data);
    device::gather_rows<D>(pass.device, N * S, m.input.data, index.decoder_rows.data, dencoded);   // (N, S, D)
  }

  /// Dropout of the encoder's output or its gradient, (N, S, D).
  template <class P, class T>
  static void drop_input(const P& pass, const DecodeOptions<T>& options, int N, T* x) {
    if constexpr (drops_input)
      device::dropout(pass.device, N, S * D, pass.draws.at(Site::input_dropout, options.layer, options.input_dropout),
                      x, x);
  }

 private:
  template <class T, int N>
  static DecoderInput<T> input(const DecodeOptions<T>& options, const Memory<T, N>& m, const auto& index) {
    const int* valid = nullptr;
    if constexpr (shape.padded) valid = index.student.padding.valid.data;
    return {m.input.data, options.positions, index.visible.data, index.masked.data, index.masked_rows.data, valid};
  }
};

}  // namespace data2vec::inline v0
