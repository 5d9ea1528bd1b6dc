// SPDX-License-Identifier: MIT
// Softmax attention of many short sequences, forward and backward.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>
#include <data2vec/device/dropout.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Attention;
}

/// What attention may be given besides queries, keys and values. Null: there is none.
template <class T>
struct AttentionExtras {
  const T* bias = nullptr;             ///< (rows, H, S, S), added to the scaled logits
  const bool* key_hidden = nullptr;    ///< (rows, S), true: no query may look at this key
  DropoutDraws dropout = {};           ///< on the probabilities; used if `with_dropout`
};

/// Elements that attention leaves per query for its backward: the probabilities, or in half precision, where rounding
/// would spoil them, the logarithm of the sum of exponentials alone.
template <class T>
constexpr int attention_kept(int sequence) {
  return sizeof(T) >= sizeof(float) ? sequence : kept_numbers<T>(1);
}

namespace device {

/// out = concatenated heads of softmax(q k^T / sqrt(Dh) + bias) v. qkv (rows, S, 3, H, Dh), out (rows, S, H, Dh).
/// `probabilities` (rows, H, S, attention_kept<T>(S)) receives the softmax before dropout, or what stands for it. A row of which all keys are hidden gives zeros.
template <int H, int Dh, bool with_dropout, Device D, class T>
void attention(D& d, int rows, int sequence, In<T> qkv, const AttentionExtras<std::type_identity_t<T>>& extras,
               Out<T> probabilities, T* out) {
  kernel::Attention<D>::template forward<H, Dh, with_dropout, T>(d, rows, sequence, qkv, extras, probabilities, out);
}

/// Gradient: dqkv is overwritten; dbias (rows, H, S, S), unless null, is overwritten with the gradient of the logits.
template <int H, int Dh, bool with_dropout, Device D, class T>
void attention_backward(D& d, int rows, int sequence, In<T> dout, In<T> qkv, In<T> probabilities,
                        const AttentionExtras<std::type_identity_t<T>>& extras, T* dqkv, Out<T> dbias) {
  kernel::Attention<D>::template backward<H, Dh, with_dropout, T>(d, rows, sequence, dout, qkv, probabilities, extras,
                                                                  dqkv, dbias);
}

}  // namespace device
}  // namespace data2vec::inline v0
