// SPDX-License-Identifier: MIT
// Attention bias of the tokens that a row keeps, from a table over all tokens.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Alibi;
}

/// Sizes of a gather of attention bias: rows keep `visible` of `tokens` tokens, behind `extra` tokens without bias.
struct BiasShape {
  int rows, heads, tokens, extra, visible;
  constexpr int sequence() const { return extra + visible; }
};

namespace device {

/// bias (rows, heads, S, S), S = extra + visible: table (heads, tokens, tokens) at the kept tokens keep (rows,
/// visible), zero where a query or a key is an extra token.
template <Device D, class T>
void gather_bias(D& d, const BiasShape& shape, In<T> table, const int* keep, T* bias) {
  kernel::Alibi<D>::template gather<T>(d, shape, table, keep, bias);
}

/// scaled = max(scale, 0) bias, with one scale for all heads or one for each.
template <Device D, class T>
void scale_bias(D& d, const BiasShape& shape, In<T> bias, In<T> scale, bool per_head, T* scaled) {
  kernel::Alibi<D>::template scale<T>(d, shape, bias, scale, per_head, scaled);
}

/// dscale += gradient of `scale_bias` with respect to the scale; zero where the scale is negative.
template <Device D, class T>
void scale_bias_gradient(D& d, const BiasShape& shape, In<T> dscaled, In<T> bias, In<T> scale, bool per_head,
                         T* dscale) {
  kernel::Alibi<D>::template scale_gradient<T>(d, shape, dscaled, bias, scale, per_head, dscale);
}

/// dtable (heads, tokens, tokens) += gradient of `gather_bias` followed by `scale_bias` with respect to the table.
template <Device D, class T>
void gather_bias_gradient(D& d, const BiasShape& shape, In<T> dscaled, In<T> scale, bool per_head, const int* keep,
                          T* dtable) {
  kernel::Alibi<D>::template gather_gradient<T>(d, shape, dscaled, scale, per_head, keep, dtable);
}

}  // namespace device
}  // namespace data2vec::inline v0
