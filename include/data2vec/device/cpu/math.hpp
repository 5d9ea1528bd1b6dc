// SPDX-License-Identifier: MIT
// exp, erf, GELU, logarithm and sine on vectors. Polynomials are least-maximum fits of our own (Lawson's iteration);
// the errors stated are those of the float code over dense sweeps (tests/device/math.cpp).
#pragma once

#include <array>
#include <cmath>
#include <cstring>

#include <data2vec/device/cpu/vec.hpp>

namespace data2vec::inline v0 {

/// Functions of `Vec<T, Isa>`, lane by lane. NaN gives NaN. The double version calls the standard library.
template <class T, class Isa>
struct VectorMath {
  using L = Lanes<T, Isa>;
  using V = typename L::V;
  using I = typename L::I;
  static constexpr bool fast = sizeof(T) == 4;

  /// Relative error below 1.2e-7; 0 below -87.3, infinity above 88.3.
  [[gnu::always_inline]] static inline V exp(V x) {
    if constexpr (fast) {
      constexpr float magic = 0x1.8p23f;  // adding it rounds to a whole number, in the low bits
      const V t = L::fma(x, L::all(1.44269504f), L::all(magic)), n = t - magic;
      V r = L::fma(n, L::all(-0.693359375f), x);  // ln 2 = 355 / 512 - 2.1219444e-4
      r = L::fma(n, L::all(2.12194440e-4f), r);
      const V q = horner(r, 4.999999404e-01f, 1.666650921e-01f, 4.166852683e-02f, 8.370134979e-03f, 1.381166279e-03f);
      const V p = L::fma(r * r, q, r) + 1.0f;
      V y = times_power(p, t);
      y = x < L::all(-87.3f) ? V{} : y;
      return x > L::all(88.3f) ? x * L::all(INFINITY) : y;
    } else {
      for (int i = 0; i < L::size; ++i) x[i] = std::exp(x[i]);
      return x;
    }
  }

  /// Absolute error below 1.5e-7; odd.
  [[gnu::always_inline]] static inline V erf(V x) {
    if constexpr (fast) {
      const I sign = reinterpret_cast<I>(x) & reinterpret_cast<I>(L::all(-0.0f));
      const V magnitude = 1.0f - erfc(reinterpret_cast<V>(reinterpret_cast<I>(x) ^ sign));
      return reinterpret_cast<V>(reinterpret_cast<I>(magnitude) | sign);
    } else {
      for (int i = 0; i < L::size; ++i) x[i] = std::erf(x[i]);
      return x;
    }
  }

  /// x (1 + erf(x / sqrt 2)) / 2 = max(x, 0) - |x / 2| erfc(|x| / sqrt 2). Absolute error below 3e-7.
  [[gnu::always_inline]] static inline V gelu(V x) {
    if constexpr (fast) {
      const V size = L::max(x, -x);
      return L::fma(size * -0.5f, erfc(size * 0.70710678f), L::max(x, V{}));
    } else {
      const V half = x * T(0.5);
      return L::fma(half, erf(x * T(0.70710678118654752440)), half);
    }
  }

  /// (1 + erf(x / sqrt 2)) / 2 + x exp(-x^2 / 2) / sqrt(2 pi). Absolute error below 3e-7.
  [[gnu::always_inline]] static inline V gelu_derivative(V x) { return gelu_with_derivative(x)[1]; }

  /// Both, at the price of little more than the derivative.
  [[gnu::always_inline]] static inline std::array<V, 2> gelu_with_derivative(V x) {
    const V density = exp(x * x * T(-0.5)) * T(0.39894228040143267794);
    if constexpr (fast) {
      const V size = L::max(x, -x), rest = erfc(size * 0.70710678f), tail = 0.5f * rest;
      return {L::fma(size * -0.5f, rest, L::max(x, V{})), L::fma(x, density, x < V{} ? tail : 1.0f - tail)};
    } else {
      const V half = x * T(0.5), e = erf(x * T(0.70710678118654752440));
      return {L::fma(half, e, half), L::fma(x, density, L::fma(L::all(T(0.5)), e, L::all(T(0.5))))};
    }
  }

  /// Natural logarithm of normal positive numbers. Relative error below 1.5e-7.
  [[gnu::always_inline]] static inline V log(V x) {
    if constexpr (fast) {
      const U bits = reinterpret_cast<U>(x), shifted = bits - 0x3F3504F3u;  // mantissa in [sqrt 1/2, sqrt 2)
      const V e = __builtin_convertvector(reinterpret_cast<I>(shifted) >> 23, V);
      const V f = reinterpret_cast<V>(bits - (shifted & ~0x7FFFFFu)) - 1.0f;
      const V q = horner(f, 3.333333135e-01f, -2.500082254e-01f, 2.000122666e-01f, -1.662335396e-01f, 1.420174837e-01f,
                         -1.316020042e-01f, 1.276165396e-01f, -7.634545118e-02f);
      const V square = f * f;
      const V tail = L::fma(square * f, q, e * -2.12194440e-4f);
      return L::fma(e, L::all(0.693359375f), f + L::fma(square, L::all(-0.5f), tail));
    } else {
      for (int i = 0; i < L::size; ++i) x[i] = std::log(x[i]);
      return x;
    }
  }

  /// Cosine and sine of x in [-8, 8]. Absolute error below 1e-7.
  [[gnu::always_inline]] static inline std::array<V, 2> cos_sin(V x) {
    V cosine, sine;
    if constexpr (fast) {
      constexpr float magic = 0x1.8p23f;
      const V t = L::fma(x, L::all(0.636619772f), L::all(magic)), n = t - magic;
      V r = L::fma(n, L::all(-0x1.92p0f), x);  // pi / 2 in three parts, the first two of 8 and 11 bits
      r = L::fma(n, L::all(-0x1.fb4p-12f), r);
      r = L::fma(n, L::all(-7.54978995e-8f), r);
      const V s2 = r * r;
      const V s3 = horner(s2, -1.666666716e-01f, 8.333329111e-03f, -1.983923285e-04f, 2.717365760e-06f);
      const V s = L::fma(s2 * r, s3, r);
      const V c4 = horner(s2, 4.166666791e-02f, -1.388888340e-03f, 2.479943578e-05f, -2.720329633e-07f);
      const V c = L::fma(s2, L::fma(s2, c4, L::all(-0.5f)), L::all(1.0f));
      const I odd = (reinterpret_cast<I>(t) & 1) != I{};
      const U turn = reinterpret_cast<U>(t), flip_sine = (turn & 2u) << 30, flip_cosine = ((turn + 1u) & 2u) << 30;
      sine = reinterpret_cast<V>(reinterpret_cast<U>(odd ? c : s) ^ flip_sine);
      cosine = reinterpret_cast<V>(reinterpret_cast<U>(odd ? s : c) ^ flip_cosine);
    } else {
      for (int i = 0; i < L::size; ++i) {
        cosine[i] = std::cos(x[i]);
        sine[i] = std::sin(x[i]);
      }
    }
    return {cosine, sine};
  }

 private:
  using U = Vec<std::make_unsigned_t<detail::IntegerOf<T>>, Isa>;  // wraps where a result is thrown away

  /// p 2^n, n being the low bits of t.
  [[gnu::always_inline]] static inline V times_power(V p, V t) {
    return reinterpret_cast<V>(reinterpret_cast<U>(p) + (reinterpret_cast<U>(t) << 23));
  }

  /// c0 + x (c1 + x (c2 + ...)).
  template <class... C>
  [[gnu::always_inline]] static inline V horner(V x, T c0, C... rest) {
    if constexpr (sizeof...(rest) == 0) return L::all(c0);
    else return L::fma(x, horner(x, rest...), L::all(c0));
  }

  /// 1 - erf(x) for x >= 0 as 2^(-x Q(x)), whose error fades where 1 - erf does. 0 from about 10 on.
  [[gnu::always_inline]] static inline V erfc(V x) {
    constexpr float magic = 0x1.8p23f;
    const V q = horner(x, -1.627909899e+00f, -9.183965325e-01f, -1.485802829e-01f, 2.847869135e-02f, -1.040334930e-03f,
                       -1.322387485e-03f, 3.927189973e-04f, -3.879900032e-05f);
    const V t = L::fma(x, q, L::all(magic)), r = L::fma(x, q, L::all(magic) - t);
    const V p = horner(r, 1.0f, 6.931471825e-01f, 2.402264774e-01f, 5.550329387e-02f, 9.618449956e-03f,
                       1.340017305e-03f, 1.535232732e-04f);
    const V y = times_power(p, t);
    return x * q < L::all(-125.0f) ? V{} : y;
  }
};

}  // namespace data2vec::inline v0
