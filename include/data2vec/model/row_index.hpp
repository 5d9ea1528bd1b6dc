// SPDX-License-Identifier: MIT
// Which tokens the rows of an encoder's pass hold, where they come from, and which of them are padding.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>

#include <data2vec/core/parameter.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// The indices of rows over T tokens behind E extra tokens; `relative`: positions are computed from all tokens.
template <int T_, int E, bool relative, Padding rule>
struct RowIndexing {
  static constexpr bool padded = rule != Padding::none, exact = rule == Padding::exact;

  /// Where relative positions are computed from and go to: source (N, T) rows of the pool, -1 at hidden and, under the
  /// exact rule, padding tokens; rows (N, E + V) of (N, T).
  template <int N, int V>
  struct RelativeIndex {
    View<int, N, T_> source;
    View<int, N, E + V> rows;
    static constexpr void visit(auto&& f, auto&... i) {
      f("source", i.source...);
      f("rows", i.rows...);
    }
  };
  /// valid (N): tokens of each row that are no padding, and which places of a row no query may look at.
  template <int N, int V>
  struct PaddingIndex {
    static constexpr int per_word = sizeof(int) / sizeof(bool);
    View<int, N> valid;
    View<int, (N * (E + V) + per_word - 1) / per_word> words;
    static constexpr void visit(auto&& f, auto&... i) {
      f("valid", i.valid...);
      f("words", i.words...);
    }
    /// (N, E + V), in the memory of `words`.
    bool* key_hidden() const { return reinterpret_cast<bool*>(words.data); }
  };
  /// Which tokens the rows hold: keep (N, V) of the row's sample, rows (N, E + V) of the pool (-1: an unused place).
  template <int N, int V>
  struct Index {
    View<int, N, V> keep;
    View<int, N, E + V> rows;
    std::conditional_t<relative, RelativeIndex<N, V>, Nothing> positions;
    std::conditional_t<padded, PaddingIndex<N, V>, Nothing> padding;
    static constexpr void visit(auto&& f, auto&... i) {
      f("keep", i.keep...);
      f("rows", i.rows...);
      f("positions", i.positions...);
      f("padding", i.padding...);
    }
  };

  /// Fills the index from `keep`, of which the first `visible(n)` of a row are in use (the others become 0, a token
  /// like any other, that is not seen). `hide(n, f)` calls f with every hidden token of row n. `valid` (N / masks):
  /// tokens of each sample that are no padding; null: all.
  template <int N, int V, class Visible, class Hide>
  static void index_rows(int masks, const Index<N, V>& index, const int* valid, Visible&& visible, Hide&& hide) {
    for (int n = 0; n < N; ++n) {
      const int sample = n / masks, used = visible(n), tokens = valid ? valid[sample] : T_;
      for (int v = used; v < V; ++v) index.keep[n][v] = 0;
      for (int e = 0; e < E; ++e) index.rows[n][e] = N / masks * T_ + e;
      for (int v = 0; v < V; ++v) index.rows[n][E + v] = v < used ? sample * T_ + index.keep[n][v] : -1;
      if constexpr (relative) {
        const auto source = index.positions.source[n];
        for (int t = 0; t < T_; ++t) source[t] = exact && t >= tokens ? -1 : sample * T_ + t;
        hide(n, [&](int t) { source[t] = -1; });
        for (int e = 0; e < E; ++e) index.positions.rows[n][e] = -1;
        for (int v = 0; v < V; ++v) index.positions.rows[n][E + v] = v < used ? n * T_ + index.keep[n][v] : -1;
      }
      if constexpr (padded) {
        index.padding.valid[n] = tokens;
        bool* const hidden = index.padding.key_hidden() + static_cast<std::ptrdiff_t>(n) * (E + V);
        for (int i = 0; i < E + V; ++i)
          ::new (hidden + i) bool(i >= E && (i - E >= used || index.keep[n][i - E] >= tokens));
      }
    }
  }
  template <int N, int V>
  static void index_rows(int masks, const Index<N, V>& index) {
    index_rows(masks, index, nullptr, [](int) { return V; }, [](auto&&...) {});
  }

  /// The index of rows that keep every token; `valid` (N): tokens that are no padding, null: all.
  template <int N>
  static void index_all(const Index<N, T_>& index, const int* valid = nullptr) {
    for (int n = 0; n < N; ++n)
      for (int t = 0; t < T_; ++t) index.keep[n][t] = t;
    index_rows(1, index, valid, [&](int n) { return exact && valid ? valid[n] : T_; }, [](auto&&...) {});
  }
};

}  // namespace data2vec::inline v0
