// SPDX-License-Identifier: MIT
// ALiBi (Press et al., 2022) as data2vec 2.0 uses it: a bias by the distance of tokens, with a fixed or learned scale
// (one, or one per head, or one per head and block), or as a learned table.
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/alibi.hpp>
#include <data2vec/device/attention.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/layers/alibi.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// `blocks` is the number of prenet and shared blocks: with a scale per layer, prenet block i has row i, shared block i
/// row prenet_depth + i.
template <ModalityConfig C, Grid grid, int heads, int blocks>
struct Alibi {
  static constexpr bool used = C.use_alibi_encoder;
  static constexpr int T_ = grid.size(), E = C.num_extra_tokens;
  static constexpr int scale_rows = C.learned_alibi_scale_per_layer ? blocks : 1;
  static constexpr int scale_heads = C.learned_alibi_scale_per_head ? heads : 1;
  static constexpr int table_side = C.alibi_max_pos > 0 ? C.alibi_max_pos : T_;
  static constexpr double initial_scale = C.alibi_scale;
  static constexpr bool learns = used && (C.learned_alibi_scale || C.learned_alibi);

  template <class T>
  struct Learned {
    View<T, 1, heads, table_side, table_side> table;
    static constexpr void visit(auto&& f, auto&... p) { f(Field{"", init::fixed()}, p.table...); }
  };
  template <class T>
  struct Present {
    View<T, scale_rows, 1, scale_heads, 1, 1> scale;
    std::conditional_t<C.learned_alibi, Learned<T>, Nothing> bias;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"alibi_scale", init::constant(initial_scale), C.learned_alibi_scale}, p.scale...);
      f("alibi_bias", p.bias...);
    }
  };
  template <class T>
  using Parameters = std::conditional_t<used, Present<T>, Nothing>;

  template <class T, int N, int V>
  struct Buffers {
    static constexpr int S = E + V;
    View<T, heads, T_, T_> table, dtable;
    View<T, N, heads, S, S> bias, scaled, dscaled;
    static constexpr void visit(auto&& f, auto&... m) {
      f("table", m.table...);
      f("dtable", m.dtable...);
      f("bias", m.bias...);
      f("scaled", m.scaled...);
      f("dscaled", m.dscaled...);
    }
  };
  template <class T, int N, int V>
  using Memory = std::conditional_t<used, Buffers<T, N, V>, Nothing>;

  /// The initial table: distances times slopes, over the side of the learned table.
  template <class T>
  static void fixed_table(int side, T* table) {
    if (C.alibi_dims == 2 && side == T_) alibi_bias_2d(heads, grid, C.alibi_distance, table);
    else alibi_bias(heads, side, table);
  }

  /// The bias of N rows that keep V tokens each, as `Stack` asks for it. `first` is the index of the stack's block 0.
  template <class D, class T, int N, int V>
  struct Rows {
    D& d;
    const Parameters<const T>& p;
    const Memory<T, N, V>& memory;
    const int* keep;
    const Parameters<T>* gradient = nullptr;
    int first = 0;
    static constexpr BiasShape shape{N, heads, T_, E, V};

    /// Call once per pass, before the first block.
    void gather() {
      if constexpr (used) {
        if constexpr (C.learned_alibi)
          device::learned_bias(d, heads, table_side, p.bias.table.data, T_, memory.table.data);
        else
          device::distance_bias(d, heads, C.alibi_dims == 2 ? grid : Grid{1, T_},
                                C.alibi_dims == 2 && C.alibi_distance == AlibiDistance::euclidean, memory.table.data);
        device::gather_bias(d, shape, memory.table.data, keep, memory.bias.data);
        if (scale_rows == 1) scale(0);
        if (gradient) device::fill(d, memory.dtable.size, 0, memory.dtable.data);
      }
    }
    template <class U>
    void prepare(int block, AttentionExtras<U>& extras) {
      if constexpr (used) {
        if (scale_rows > 1) scale(first + block);
        extras.bias = memory.scaled.data;
      }
    }
    template <class U>
    U* gradient_of_bias() const {
      if constexpr (learns) return gradient ? memory.dscaled.data : nullptr;
      else return nullptr;
    }
    /// Takes up the gradient that a block's backward left.
    void finish(int block) {
      if constexpr (learns) {
        const int row = scale_rows > 1 ? first + block : 0;
        if constexpr (C.learned_alibi_scale)
          device::scale_bias_gradient(d, shape, memory.dscaled.data, memory.bias.data, scale_of(row), scale_heads > 1,
                                      gradient->scale.data + row * scale_heads);
        if constexpr (C.learned_alibi)
          device::gather_bias_gradient(d, shape, memory.dscaled.data, scale_of(row), scale_heads > 1, keep,
                                       memory.dtable.data);
      }
    }
    /// Call once, after the backward of all blocks.
    void scatter() {
      if constexpr (used && C.learned_alibi)
        device::learned_bias_gradient(d, heads, table_side, T_, memory.dtable.data, gradient->bias.table.data);
    }

   private:
    const T* scale_of(int row) const { return p.scale.data + row * scale_heads; }
    void scale(int row) {
      device::scale_bias(d, shape, memory.bias.data, scale_of(row), scale_heads > 1, memory.scaled.data);
    }
  };
};

}  // namespace data2vec::inline v0
