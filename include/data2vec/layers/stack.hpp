// SPDX-License-Identifier: MIT
// A stack of transformer blocks: forward with or without memory of it, and backward.
#pragma once

#include <utility>

#include <data2vec/layers/block.hpp>

namespace data2vec::inline v0 {

/// Which part of a model a stack is: its layer indices for random draws start at `first_layer`, its blocks may be
/// skipped (`layerdrop`), and stochastic depth goes from `first_rate` to `last_rate`.
struct StackRates {
  int first_layer = 0;
  double layerdrop = 0, start_drop_path_rate = 0, end_drop_path_rate = 0;
};

/// Attention bias of every block: the same for all, or made by `bias_of(layer)` before each block.
struct NoBias {
  template <class T>
  static void prepare(int, AttentionExtras<T>&) {}
  template <class T>
  static T* gradient_of_bias() { return nullptr; }
  static void finish(int) {}
};

template <BlockConfig C, int depth, bool layerdrop = false>
struct Stack {
  using BlockType = Block<C>;
  static constexpr int dim = C.dim;

  template <class T>
  using Parameters = std::array<typename BlockType::template Parameters<T>, static_cast<std::size_t>(depth)>;

  /// What backward needs: the output of every block (`states`; the last one is the stack's) and every block's tape.
  template <class T, int N, int S>
  struct Tape {
    std::array<View<T, N, S, dim>, static_cast<std::size_t>(depth)> states;
    std::array<typename BlockType::template Tape<T, N, S>, static_cast<std::size_t>(depth)> blocks;
    static constexpr void visit(auto&& f, auto&... t) {
      f("states", t.states...);
      f("blocks", t.blocks...);
    }
  };

  /// What a pass without backward needs: two states and one block's tape.
  template <class T, int N, int S>
  struct Inference {
    std::array<View<T, N, S, dim>, 2> states;
    typename BlockType::template Tape<T, N, S> block;
    static constexpr void visit(auto&& f, auto&... t) {
      f("states", t.states...);
      f("block", t.block...);
    }
  };

  template <class T, int N, int S>
  using Scratch = typename BlockType::template Scratch<T, N, S>;

  static constexpr double flops(int sequence) { return depth * BlockType::flops(sequence); }

  /// Runs the blocks on x (N, S, dim); returns the output of the last. After each block `tap(i, mlp_output, output)`.
  /// `bias` provides the attention bias of each block. `Memory` is a Tape or an Inference.
  template <class P, class T, int N, int S, class Memory, class Bias, class Tap>
  static View<const T, N, S, dim> forward(const P& pass, const Parameters<const T>& p, const StackRates& rates,
                                          View<const T, N, S, dim> x, const Memory& memory,
                                          const Scratch<T, N, S>& scratch, AttentionExtras<T> extras, Bias& bias,
                                          Tap&& tap) {
    for (int i = 0; i < depth; ++i) {
      const auto index = static_cast<std::size_t>(i);
      const auto y = state(memory, index);
      const int layer = rates.first_layer + i;
      if (P::training && layerdrop && layer_dropped(pass.draws, layer, rates.layerdrop)) {
        device::copy(pass.device, x.size, x.data, y.data);
      } else {
        bias.prepare(i, extras);
        const auto result = BlockType::forward(pass, p[index], layer, drop_path_rate(rates, i), x, y,
                                               block(memory, index), scratch, extras);
        tap(i, result, View<const T, N, S, dim>(y));
      }
      x = y;
    }
    return x;
  }

  /// Backward through all blocks. `dy` holds the gradient of the output and is destroyed; returns the gradient of the
  /// input, which stands in one of `dy` and `other`.
  template <class P, class T, int N, int S, class Bias>
  static View<T, N, S, dim> backward(const P& pass, const Parameters<const T>& p, const StackRates& rates,
                                     View<const T, N, S, dim> x, View<T, N, S, dim> dy, View<T, N, S, dim> other,
                                     const Parameters<T>& gradient, const Tape<T, N, S>& tape,
                                     const Scratch<T, N, S>& scratch, AttentionExtras<T> extras, Bias& bias) {
    for (int i = depth - 1; i >= 0; --i) {
      const auto index = static_cast<std::size_t>(i);
      const int layer = rates.first_layer + i;
      if (P::training && layerdrop && layer_dropped(pass.draws, layer, rates.layerdrop)) continue;
      bias.prepare(i, extras);
      const View<const T, N, S, dim> input = i > 0 ? View<const T, N, S, dim>(tape.states[index - 1]) : x;
      BlockType::backward(pass, p[index], layer, drop_path_rate(rates, i), input, dy, other, gradient[index],
                          tape.blocks[index], scratch, extras, bias.template gradient_of_bias<T>());
      bias.finish(i);
      std::swap(dy, other);
    }
    return dy;
  }

 private:
  static double drop_path_rate(const StackRates& rates, int block) {
    return spread_rate(rates.start_drop_path_rate, rates.end_drop_path_rate, block, depth);
  }
  template <class T, int N, int S>
  static auto state(const Tape<T, N, S>& tape, std::size_t i) { return tape.states[i]; }
  template <class T, int N, int S>
  static auto state(const Inference<T, N, S>& memory, std::size_t i) { return memory.states[i % 2]; }
  template <class T, int N, int S>
  static const auto& block(const Tape<T, N, S>& tape, std::size_t i) { return tape.blocks[i]; }
  template <class T, int N, int S>
  static const auto& block(const Inference<T, N, S>& memory, std::size_t) { return memory.block; }
};

}  // namespace data2vec::inline v0
