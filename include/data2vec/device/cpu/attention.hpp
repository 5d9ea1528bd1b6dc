// SPDX-License-Identifier: MIT
// Softmax attention on the processor: per row and head, blocks of queries whose logits stay in the cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/device/attention.hpp>
#include <data2vec/device/cpu/dropout.hpp>
#include <data2vec/device/cpu/math.hpp>
#include <data2vec/device/cpu/product.hpp>

namespace data2vec::inline v0 {

template <class Isa>
struct kernel::Attention<BasicCpu<Isa>> {
  using Cpu = BasicCpu<Isa>;
  using Index = std::ptrdiff_t;

  /// The longest sequence: the logits of one query fill the scratch of 128 KiB.
  template <class T>
  static constexpr int longest = static_cast<int>(131072 / sizeof(T));

  template <int H, int Dh, bool with_dropout, class T>
  static void forward(Cpu& d, int rows, int sequence, const T* qkv, const AttentionExtras<T>& extras, T* probabilities,
                      T* out) {
    check_length<T>(sequence);
    detail::share(d, Index{rows} * H, grain<Dh>(sequence), [&](Index first, Index end) {
      forward_heads<H, Dh, with_dropout>(first, end, sequence, qkv, extras, probabilities, out);
    });
  }

  // With P the probabilities, Q those after dropout: dv = Q^T do, dQ = do v^T, dP from dQ by dropout,
  // dlogits = P (dP - sum(dP P)), dq = dlogits k / sqrt(Dh), dk = dlogits^T q / sqrt(Dh).
  template <int H, int Dh, bool with_dropout, class T>
  static void backward(Cpu& d, int rows, int sequence, const T* dout, const T* qkv, const T* probabilities,
                       const AttentionExtras<T>& extras, T* dqkv, T* dbias) {
    check_length<T>(sequence);
    detail::share(d, Index{rows} * H, grain<Dh>(sequence), [&](Index first, Index end) {
      backward_heads<H, Dh, with_dropout>(first, end, sequence, dout, qkv, probabilities, extras, dqkv, dbias);
    });
  }

 private:
  // Heads that are worth a thread's while.
  template <int Dh>
  static constexpr Index grain(int sequence) {
    return std::max<Index>(1, 65536 / (Index{sequence} * sequence * Dh));
  }

  // Heads [first, end) of rows times heads.
  template <int H, int Dh, bool with_dropout, class T>
  static void forward_heads(Index first_head, Index end, int sequence, const T* qkv, const AttentionExtras<T>& extras,
                            T* probabilities, T* out) {
    alignas(64) T scratch[longest<T>];
    const int S = sequence, pad = padded<T>(S), block = query_block<T>(pad);
    constexpr Index step = 3 * H * Dh;
    for (Index head = first_head; head < end; ++head) {
      const int row = static_cast<int>(head / H), h = static_cast<int>(head % H);
      const T *q = qkv + Index{row} * S * step + h * Dh, *k = q + H * Dh, *v = k + H * Dh;
      const bool* hidden = extras.key_hidden ? extras.key_hidden + Index{row} * S : nullptr;
      for (int first = 0; first < S; first += block) {
        const int n = std::min(block, S - first);
        const Index place = ((Index{row} * H + h) * S + first) * S;
        detail::Product<T, Isa>::run(n, S, Dh, {q + first * step, step, 1}, {k, 1, step}, nullptr, false, scratch, pad);
        for (int i = 0; i < n; ++i) {
          T* p = scratch + Index{i} * pad;
          const Index query = place + Index{i} * S;
          softmax(S, pad, T(1) / std::sqrt(T(Dh)), extras.bias ? extras.bias + query : nullptr, hidden, p,
                  probabilities ? probabilities + query : nullptr);
          if constexpr (with_dropout) drop(extras.dropout, row, h, first + i, S, p);
        }
        detail::Product<T, Isa>::run(n, Dh, S, {scratch, pad, 1}, {v, step, 1}, nullptr, false,
                                     out + (Index{row} * S + first) * H * Dh + h * Dh, H * Dh);
      }
    }
  }

  template <int H, int Dh, bool with_dropout, class T>
  static void backward_heads(Index first_head, Index end, int sequence, const T* dout, const T* qkv,
                             const T* probabilities, const AttentionExtras<T>& extras, T* dqkv, T* dbias) {
    using P = detail::Product<T, Isa>;
    alignas(64) T scratch[longest<T>];
    const int S = sequence, pad = padded<T>(S), block = query_block<T>(pad);
    constexpr Index step = 3 * H * Dh, out_step = H * Dh;
    for (Index head = first_head; head < end; ++head) {
      const int row = static_cast<int>(head / H), h = static_cast<int>(head % H);
      const Index start = Index{row} * S * step + h * Dh;
      const T *q = qkv + start, *k = q + H * Dh, *v = k + H * Dh;
      T *dq = dqkv + start, *dk = dq + H * Dh, *dv = dk + H * Dh;
      for (int first = 0; first < S; first += block) {
        const int n = std::min(block, S - first);
        const Index place = ((Index{row} * H + h) * S + first) * S;
        const T* d = dout + (Index{row} * S + first) * out_step + h * Dh;
        const T* p = probabilities + place;
        const T* dropped = p;
        Index dropped_step = S;
        if constexpr (with_dropout) {
          for (int i = 0; i < n; ++i) {
            std::copy(p + Index{i} * S, p + Index{i} * S + S, scratch + Index{i} * pad);
            drop(extras.dropout, row, h, first + i, S, scratch + Index{i} * pad);
          }
          dropped = scratch;
          dropped_step = pad;
        }
        P::run(S, Dh, n, {dropped, 1, dropped_step}, {d, out_step, 1}, nullptr, first > 0, dv, step);
        P::run(n, S, Dh, {d, out_step, 1}, {v, 1, step}, nullptr, false, scratch, pad);
        for (int i = 0; i < n; ++i) {
          T* g = scratch + Index{i} * pad;
          if constexpr (with_dropout) drop(extras.dropout, row, h, first + i, S, g);
          softmax_backward(S, p + Index{i} * S, g);
          if (dbias) std::copy(g, g + S, dbias + place + Index{i} * S);
          const T factor = T(1) / std::sqrt(T(Dh));
          Lanes<T, Isa>::map(
              static_cast<std::size_t>(S), g, [=](Vec<T, Isa> x) { return x * factor; }, g);
        }
        P::run(n, Dh, S, {scratch, pad, 1}, {k, step, 1}, nullptr, false, dq + first * step, step);
        P::run(S, Dh, n, {scratch, 1, pad}, {q + first * step, step, 1}, nullptr, first > 0, dk, step);
      }
    }
  }

  template <class T>
  static void check_length(int sequence) {
    if (sequence > longest<T>)
      throw OptionError("attention: expected a sequence of at most " + std::to_string(longest<T>) + ", found " +
                        std::to_string(sequence));
  }
  template <class T>
  static constexpr int padded(int n) {
    return (n + Lanes<T, Isa>::size - 1) / Lanes<T, Isa>::size * Lanes<T, Isa>::size;
  }
  template <class T>
  static constexpr int query_block(int pad) {
    return std::max(1, longest<T> / std::max(pad, 1));
  }

  // Dropout of the probabilities of one query: element (head, query, key) of the stream of the row.
  template <class T>
  static void drop(const DropoutDraws& draws, int row, int head, int query, int S, T* p) {
    const auto first =
        (static_cast<std::uint32_t>(head) * static_cast<std::uint32_t>(S) + static_cast<std::uint32_t>(query)) *
        static_cast<std::uint32_t>(S);
    Dropout<Cpu>::template apply<T>(draws.key(row), first, S, draws.rate, p, p);
  }

  // In place, of `n` logits before scaling; `pad` elements are written. `copy` receives n elements, or is null.
  template <class T>
  static void softmax(int n, int pad, T factor, const T* bias, const bool* hidden, T* p, T* copy) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    using Scalar = detail::IntegerOf<T>;
    constexpr T lowest = -std::numeric_limits<T>::infinity();
    V top = L::all(lowest);
    for (int i = 0; i < pad; i += L::size) {
      const int rest = n - i;
      const V offset = !bias ? V{} : rest >= L::size ? L::load(bias + i) : L::load(bias + i, rest);
      V x = L::fma(L::load(p + i), L::all(factor), offset);  // fused here, or the compiler might do it in some copies
      x = L::index() < static_cast<Scalar>(rest) ? x : L::all(lowest);
      if (hidden) {
        typename L::I see{};
        for (int k = 0; k < std::min(rest, L::size); ++k) see[k] = !hidden[i + k];
        x = see != typename L::I{} ? x : L::all(lowest);
      }
      L::store(p + i, x);
      top = L::max(top, x);
    }
    const T largest = L::largest(top);
    const V shift = L::all(largest == lowest ? T(0) : largest);  // no key left: zeros, but NaN stays
    V sum{};
    for (int i = 0; i < pad; i += L::size) {
      const V e = VectorMath<T, Isa>::exp(L::load(p + i) - shift);
      sum += e;
      L::store(p + i, e);
    }
    const T total = L::sum(sum);
    const V inverse = L::all(total == T(0) ? T(0) : T(1) / total);
    for (int i = 0; i < pad; i += L::size) {
      const V y = L::load(p + i) * inverse;
      L::store(p + i, y);
      if (copy) n - i >= L::size ? L::store(copy + i, y) : L::store(copy + i, y, n - i);
    }
  }

  // g = p (g - sum(g p)).
  template <class T>
  static void softmax_backward(int n, const T* p, T* g) {
    using L = Lanes<T, Isa>;
    using V = typename L::V;
    V dot{};
    int i = 0;
    for (; i + L::size <= n; i += L::size) dot = L::fma(L::load(p + i), L::load(g + i), dot);
    if (i < n) dot = L::fma(L::load(p + i, n - i), L::load(g + i, n - i), dot);
    const V mean = L::all(L::sum(dot));
    L::map(
        static_cast<std::size_t>(n), g, [=](V a, V b) { return a * (b - mean); }, p, g);
  }
};

}  // namespace data2vec::inline v0
