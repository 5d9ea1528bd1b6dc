// SPDX-License-Identifier: MIT
// Tables that token ids are looked up in: vectors of tokens and of their positions.
#pragma once

#include <cstddef>
#include <cstdint>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Embedding;
}

/// Samples of so many token ids. `pad` is the id that fills up: it counts as no position.
struct EmbeddingShape {
  int samples, tokens, pad;
};

namespace device {

/// y (samples, tokens, C) = scale * table[id] + positions[p] (none if null). The position p of a token is pad + 1 for
/// the first of its sample that is not `pad`, pad + 2 for the next, ...; that of a pad token is `pad` (fairseq's
/// `make_positions`). All ids must be rows of the table.
template <int C, Device D, class T>
void embed(D& d, const EmbeddingShape& shape, const std::int32_t* ids, In<T> table, double scale, In<T> positions,
           T* y) {
  kernel::Embedding<D>::template embed<C, T>(d, shape, ids, table, scale, positions, y);
}

/// Gradients of `embed`, accumulated; `dpositions` may be null. The rows of pad tokens get none.
template <int C, Device D, class T>
void embed_gradient(D& d, const EmbeddingShape& shape, const std::int32_t* ids, In<T> dy, double scale, T* dtable,
                    Out<T> dpositions) {
  kernel::Embedding<D>::template gradient<C, T>(d, shape, ids, dy, scale, dtable, dpositions);
}

/// Sinusoids of the positions 0 .. rows - 1: y (rows, C), [sin(p w) | cos(p w)] with w_k = 10000^(-k / (h - 1)),
/// k < h = C / 2 (Vaswani et al., 2017, in fairseq's layout); the last column of an odd C and row `pad` are zero.
template <int C, Device D, class T>
void sinusoids(D& d, int rows, int pad, T* y) {
  kernel::Embedding<D>::template sinusoids<C, T>(d, rows, pad, y);
}

}  // namespace device
}  // namespace data2vec::inline v0
