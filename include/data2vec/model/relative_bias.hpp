// SPDX-License-Identifier: MIT
// A learned attention bias by the offset of two patches on their grid, one table for all blocks (BEiT, Bao et al.,
// 2022, section 2.1; data2vec's vision models).
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/device/attention.hpp>
#include <data2vec/device/elementwise.hpp>

namespace data2vec::inline v0 {

/// Rows behind E extra tokens, which have three rows of the table: from them to anything, from anything to them, among
/// themselves.
template <Grid grid, int E, int heads>
struct RelativeBias {
  static constexpr int T_ = grid.size();
  static constexpr int offsets = (2 * grid.height - 1) * (2 * grid.width - 1), rows = offsets + (E > 0 ? 3 : 0);

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

  /// The row of the table for query token `query` and key token `key`; extra tokens are negative.
  static constexpr int row(int query, int key) {
    if (query < 0) return key < 0 ? rows - 1 : rows - 3;
    if (key < 0) return rows - 2;
    const int down = query / grid.width - key / grid.width + grid.height - 1;
    return down * (2 * grid.width - 1) + query % grid.width - key % grid.width + grid.width - 1;
  }

  /// The bias of N rows that keep V tokens each, as `Stack` asks for it.
  template <class D, class T, int N, int V>
  struct Rows {
    static constexpr int S = E + V;
    D& d;
    const Parameters<const T>& p;
    const Memory<T, N, V>& memory;
    const int* keep;
    const Parameters<T>* gradient = nullptr;
    int first = 0;

    /// Call once per pass, before the first block.
    void gather() {
      for_each([&](int n, int h, int i, int j, int at) {
        memory.bias[n][h][i][j] = p.relative_position_bias_table[at][h];
      });
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
        for_each([&](int n, int h, int i, int j, int at) {
          gradient->relative_position_bias_table[at][h] += memory.total[n][h][i][j];
        });
    }

   private:
    template <class F>
    void for_each(F&& f) const {
      for (int n = 0; n < N; ++n) {
        const auto token = [&](int s) { return s < E ? -1 : keep[n * V + s - E]; };
        for (int h = 0; h < heads; ++h)
          for (int i = 0; i < S; ++i)
            for (int j = 0; j < S; ++j) f(n, h, i, j, row(token(i), token(j)));
      }
    }
  };
};

}  // namespace data2vec::inline v0
