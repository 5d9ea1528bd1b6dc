// SPDX-License-Identifier: MIT
// Vectors of the processor through the compilers' vector types: the one header of vector code. Tails go through whole
// vectors padded with zeros, so an element has the same bits in a body and in a tail.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <data2vec/core/macros.hpp>
#include <data2vec/device/cpu/cpu.hpp>

namespace data2vec::inline v0 {

namespace detail {
template <class T, int Bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(Bytes)));
};
template <class T>
using IntegerOf = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
}  // namespace detail

/// As many elements of type T as a vector of the instruction set holds.
template <class T, class Isa>
using Vec = typename detail::VectorOf<T, Isa::vector_bytes>::type;

/// Operations on `Vec<T, Isa>`. Loads and stores need no alignment.
template <class T, class Isa>
struct Lanes {
  using V = Vec<T, Isa>;
  using I = Vec<detail::IntegerOf<T>, Isa>;  ///< integers of the same width; comparisons give these
  static constexpr int size = Isa::vector_bytes / static_cast<int>(sizeof(T));

  [[gnu::always_inline]] static inline V all(T x) { return x - V{}; }  // x - 0 is x, for -0 too

  [[gnu::always_inline]] static inline V load(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  [[gnu::always_inline]] static inline void store(T* p, V v) { __builtin_memcpy(p, &v, sizeof v); }

  /// The first n elements, zeros behind them.
  [[gnu::always_inline]] static inline V load(const T* p, int n) {
#if defined(__AVX512F__)
    if constexpr (Isa::vector_bytes == 64) {
      if constexpr (sizeof(T) == 4) return __builtin_ia32_loadups512_mask(p, V{}, mask(n));
      else return __builtin_ia32_loadupd512_mask(p, V{}, mask(n));
    }
#endif
#if defined(__AVX2__)
    if constexpr (Isa::vector_bytes == 32) {
      using Mask = Vec<std::conditional_t<sizeof(T) == 4, int, long long>, Isa>;
      const auto m = reinterpret_cast<Mask>(index() < static_cast<detail::IntegerOf<T>>(n));
      if constexpr (sizeof(T) == 4) return __builtin_ia32_maskloadps256(reinterpret_cast<const V*>(p), m);
      else return __builtin_ia32_maskloadpd256(reinterpret_cast<const V*>(p), m);
    }
#endif
    V v{};
    for (int i = 0; i < size; ++i)
      if (i < n) v[i] = p[i];
    return v;
  }
  [[gnu::always_inline]] static inline void store(T* p, V v, int n) {
#if defined(__AVX512F__)
    if constexpr (Isa::vector_bytes == 64) {
      if constexpr (sizeof(T) == 4) return __builtin_ia32_storeups512_mask(p, v, mask(n));
      else return __builtin_ia32_storeupd512_mask(p, v, mask(n));
    }
#endif
#if defined(__AVX2__)
    if constexpr (Isa::vector_bytes == 32) {
      using Mask = Vec<std::conditional_t<sizeof(T) == 4, int, long long>, Isa>;
      const auto m = reinterpret_cast<Mask>(index() < static_cast<detail::IntegerOf<T>>(n));
      if constexpr (sizeof(T) == 4) return __builtin_ia32_maskstoreps256(reinterpret_cast<V*>(p), m, v);
      else return __builtin_ia32_maskstorepd256(reinterpret_cast<V*>(p), m, v);
    }
#endif
    for (int i = 0; i < size; ++i)
      if (i < n) p[i] = v[i];
  }

  [[gnu::always_inline]] static inline I index() {
    return [&]<int... i>(std::integer_sequence<int, i...>) {
      return I{i...};
    }(std::make_integer_sequence<int, size>());
  }
  /// v with zeros from lane n on.
  [[gnu::always_inline]] static inline V first(V v, int n) {
    using Scalar = detail::IntegerOf<T>;
    return index() < static_cast<Scalar>(n) ? v : V{};
  }

  [[gnu::always_inline]] static inline V max(V a, V b) { return a < b ? b : a; }  // a where one is NaN
  [[gnu::always_inline]] static inline V min(V a, V b) { return b < a ? b : a; }

  /// a0 b0 a1 b1 ... of the lower halves, and of the upper halves.
  [[gnu::always_inline]] static inline V interleave_low(V a, V b) {
    return [&]<int... i>(std::integer_sequence<int, i...>) {
      return __builtin_shufflevector(a, b, (i / 2 + i % 2 * size)...);
    }(std::make_integer_sequence<int, size>());
  }
  [[gnu::always_inline]] static inline V interleave_high(V a, V b) {
    return [&]<int... i>(std::integer_sequence<int, i...>) {
      return __builtin_shufflevector(a, b, (size / 2 + i / 2 + i % 2 * size)...);
    }(std::make_integer_sequence<int, size>());
  }

  /// a b + c, rounded once where the instruction set can. Kernels write every such sum this way: left to itself, the
  /// compiler fuses in some copies of a loop and not in others.
  [[gnu::always_inline]] static inline V fma(V a, V b, V c) {
#if defined(__AVX512F__)
    if constexpr (Isa::vector_bytes == 64) {
      if constexpr (sizeof(T) == 4) return __builtin_ia32_vfmaddps512_mask(a, b, c, static_cast<unsigned short>(-1), 4);
      else return __builtin_ia32_vfmaddpd512_mask(a, b, c, static_cast<unsigned char>(-1), 4);
    }
#endif
#if defined(__FMA__)
    if constexpr (Isa::vector_bytes == 32) {
      if constexpr (sizeof(T) == 4) return __builtin_ia32_vfmaddps256(a, b, c);
      else return __builtin_ia32_vfmaddpd256(a, b, c);
    } else if constexpr (Isa::vector_bytes == 16) {
      if constexpr (sizeof(T) == 4) return __builtin_ia32_vfmaddps(a, b, c);
      else return __builtin_ia32_vfmaddpd(a, b, c);
    }
#endif
#if defined(__ARM_FEATURE_FMA)
    return a * b + c;
#else
    const V product = a * b;  // one expression would be fused by clang where it evaluates constants
    return product + c;
#endif
  }

  [[gnu::always_inline]] static inline V sqrt(V a) {
#if defined(__AVX512F__) && defined(__clang__)
    if constexpr (Isa::vector_bytes == 64) {
      if constexpr (sizeof(T) == 4) return __builtin_ia32_sqrtps512(a, 4);
      else return __builtin_ia32_sqrtpd512(a, 4);
    }
#elif defined(__AVX512F__)
    if constexpr (Isa::vector_bytes == 64) {
      if constexpr (sizeof(T) == 4) return __builtin_ia32_sqrtps512_mask(a, a, static_cast<unsigned short>(-1), 4);
      else return __builtin_ia32_sqrtpd512_mask(a, a, static_cast<unsigned char>(-1), 4);
    }
#endif
#if defined(__AVX2__)
    if constexpr (Isa::vector_bytes == 32) {
      if constexpr (sizeof(T) == 4) return __builtin_ia32_sqrtps256(a);
      else return __builtin_ia32_sqrtpd256(a);
    }
#endif
    for (int i = 0; i < size; ++i) a[i] = std::sqrt(a[i]);
    return a;
  }

  /// Sum of the lanes, by halves.
  [[gnu::always_inline]] static inline T sum(V v) {
    fold<size / 2>(v, [](V a, V b) { return a + b; });
    return v[0];
  }
  /// Largest lane; NaN may be passed over.
  [[gnu::always_inline]] static inline T largest(V v) {
    fold<size / 2>(v, [](V a, V b) { return max(a, b); });
    return v[0];
  }

  /// `size` elements of another type, and back.
  template <class S>
  [[gnu::always_inline]] static inline V load_as(const S* p) {
    typename detail::VectorOf<S, size * static_cast<int>(sizeof(S))>::type v;
    __builtin_memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, V);
  }
  template <class S>
  [[gnu::always_inline]] static inline V load_as(const S* p, int n) {
    S part[size] = {};
    for (int i = 0; i < size; ++i)
      if (i < n) part[i] = p[i];
    return load_as(part);
  }
  template <class S>
  [[gnu::always_inline]] static inline void store_as(S* p, V v) {
    const auto x = __builtin_convertvector(v, typename detail::VectorOf<S, size * static_cast<int>(sizeof(S))>::type);
    __builtin_memcpy(p, &x, sizeof x);
  }
  template <class S>
  [[gnu::always_inline]] static inline void store_as(S* p, V v, int n) {
    S part[size];
    store_as(part, v);
    for (int i = 0; i < size; ++i)
      if (i < n) p[i] = part[i];
  }

  /// Sum of x[i] y[i] over `count` elements.
  static T dot(int count, const T* x, const T* y) {
    V part[2] = {};
    int i = 0;
    for (; i + 2 * size <= count; i += 2 * size)
      for (int j = 0; j < 2; ++j) part[j] = fma(load(x + i + j * size), load(y + i + j * size), part[j]);
    for (int j = 0; i < count; i += size, ++j) {
      const int n = count - i < size ? count - i : size;
      part[j] = fma(load(x + i, n), load(y + i, n), part[j]);
    }
    return sum(part[0] + part[1]);
  }

  /// y[i] = f(x[i]...) for `count` elements; y may be one of the inputs.
  template <class F, class... X>
  [[gnu::always_inline]] static inline void map(std::size_t count, T* y, F f, const X*... x) {
    std::size_t i = 0;
    for (; i + size <= count; i += size) store(y + i, f(load(x + i)...));
    if (i < count) {
      const int n = static_cast<int>(count - i);
      store(y + i, f(load(x + i, n)...), n);
    }
  }

 private:
  template <int n, class F>
  [[gnu::always_inline]] static inline void fold(V& v, F f) {
    v = f(v, [&]<int... i>(std::integer_sequence<int, i...>) {
      return __builtin_shufflevector(v, v, (i ^ n)...);
    }(std::make_integer_sequence<int, size>()));
    if constexpr (n > 1) fold<n / 2>(v, f);
  }
#if defined(__AVX512F__)
  // The first n lanes, for masked loads and stores of 64 bytes.
  [[gnu::always_inline]] static inline auto mask(int n) {
    return static_cast<std::conditional_t<sizeof(T) == 4, unsigned short, unsigned char>>((1u << n) - 1u);
  }
#endif
};

}  // namespace data2vec::inline v0
