// SPDX-License-Identifier: MIT
// A learned attention bias by the offset of two patches on their grid, one table for all blocks (BEiT, Bao et al.,
// 2022, section 2.1; data2vec's vision models).
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/alibi.hpp>
#include <data2vec/device/attention.hpp>
#include <data2vec/device/elementwise.hpp>

namespace data2vec::inline v0 {

/// Rows behind E extra tokens, which have three rows of the table: from them to anything, from anything to them, among
/// themselves.
template <Grid grid, int E, int heads>
struct RelativeBias {
  static constexpr int T_ = grid.size(), rows = relative_offsets(grid) + (E > 0 ? 3 : 0);

  template <class T>
  struct Parameters {
    View<T, rows, heads> relative_position_bias_table;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"relative_position_bias_table", init::zeros()}, p.relative_position_bias_table...);
    }
  };

  template <class T, int N, int V>
  struct Memory {
    static constexpr int S = E + V;
    View<T, N, heads, S, S> bias, dbias, total;  // of one block, of all
    static constexpr void visit(auto&& f, auto&... m) {
      f("bias", m.bias...);
      f("dbias", m.dbias...);
      f("total", m.total...);
    }
  };

  /// The bias of N rows that keep V tokens each, as `Stack` asks for it.
  template <class D, class T, int N, int V>
  struct Rows {
    static constexpr BiasShape shape{N, heads, T_, E, V};
    D& d;
    const Parameters<const T>& p;
    const Memory<T, N, V>& memory;
    const int* keep;
    const Parameters<T>* gradient = nullptr;
    int first = 0;

    /// Call once per pass, before the first block.
    void gather() {
      device::relative_bias(d, shape, grid, p.relative_position_bias_table.data, keep, memory.bias.data);
      if (gradient) device::fill(d, memory.total.size, 0, memory.total.data);
    }
    template <class U>
    void prepare(int, AttentionExtras<U>& extras) const {
      extras.bias = memory.bias.data;
    }
    template <class U>
    U* gradient_of_bias() const {
      return gradient ? memory.dbias.data : nullptr;
    }
    /// Takes up the gradient that a block's backward left.
    void finish(int) {
      if (gradient) device::add(d, memory.total.size, memory.total.data, memory.dbias.data, memory.total.data);
    }
    /// Call once, after the backward of all blocks.
    void scatter() {
      if (gradient)
        device::relative_bias_gradient(d, shape, grid, memory.total.data, keep,
                                       gradient->relative_position_bias_table.data);
    }
  };
};

}  // namespace data2vec::inline v0
