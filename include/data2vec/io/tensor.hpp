// SPDX-License-Identifier: MIT
// Tensor: a named run-time array as it comes from or goes to a file: element type, shape, bytes. No parser needed.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// Element types of safetensors; all little-endian.
enum class Dtype { boolean, u8, i8, f8_e5m2, f8_e4m3, i16, u16, f16, bf16, i32, u32, f32, i64, u64, f64 };

namespace detail {
struct DtypeEntry {
  std::string_view name;
  std::size_t bytes;
};
inline constexpr std::array<DtypeEntry, 15> dtypes{{{"BOOL", 1}, {"U8", 1}, {"I8", 1}, {"F8_E5M2", 1}, {"F8_E4M3", 1},
    {"I16", 2}, {"U16", 2}, {"F16", 2}, {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4}, {"I64", 8}, {"U64", 8},
    {"F64", 8}}};
}  // namespace detail

/// Bytes of one element.
constexpr std::size_t element_size(Dtype dtype) { return detail::dtypes[static_cast<std::size_t>(dtype)].bytes; }

/// The format's name: "F32", "I32", ...
constexpr std::string_view dtype_name(Dtype dtype) { return detail::dtypes[static_cast<std::size_t>(dtype)].name; }
static_assert(dtype_name(Dtype::f64) == "F64" && element_size(Dtype::bf16) == 2);

/// The type of that name, if there is one.
constexpr std::optional<Dtype> dtype_named(std::string_view name) {
  for (std::size_t i = 0; i < detail::dtypes.size(); ++i)
    if (detail::dtypes[i].name == name) return static_cast<Dtype>(i);
  return std::nullopt;
}

/// The element type that holds a C++ type.
template <class T>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<T, float>) return Dtype::f32;
  else if constexpr (std::is_same_v<T, double>) return Dtype::f64;
  else if constexpr (std::is_same_v<T, std::int8_t>) return Dtype::i8;
  else if constexpr (std::is_same_v<T, std::uint8_t>) return Dtype::u8;
  else if constexpr (std::is_same_v<T, std::int16_t>) return Dtype::i16;
  else if constexpr (std::is_same_v<T, std::uint16_t>) return Dtype::u16;
  else if constexpr (std::is_same_v<T, std::int32_t>) return Dtype::i32;
  else if constexpr (std::is_same_v<T, std::uint32_t>) return Dtype::u32;
  else if constexpr (std::is_same_v<T, std::int64_t>) return Dtype::i64;
  else if constexpr (std::is_same_v<T, std::uint64_t>) return Dtype::u64;
  else static_assert(!sizeof(T), "data2vec: a tensor's elements are float, double or a fixed-width integer");
}

/// Bytes of an array of that shape; nothing if a product overflows 64 bits.
inline std::optional<std::uint64_t> byte_size(Dtype dtype, std::span<const std::int64_t> shape) {
  std::uint64_t bytes = element_size(dtype);
  for (const std::int64_t extent : shape)
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) return std::nullopt;
  return bytes;
}

/// A shape as text: "[2, 3]".
inline std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// A named array; `data` is a view that somebody else owns.
struct Tensor {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;  ///< empty: a scalar
  std::span<const std::byte> data;  ///< row-major, little-endian

  /// The elements in place. Throws MismatchError if `T` is not the tensor's type or the data are not aligned for it.
  template <class T>
  std::span<const T> as() const {
    expect_type<T>();
    if (data.empty()) return {};  // wherever it lies
    if (reinterpret_cast<std::uintptr_t>(data.data()) % alignof(T) != 0)
      throw MismatchError("tensor '" + name + "': expected data aligned to " + std::to_string(alignof(T)) +
                          " bytes, found other data: use copy<T>()");
    return {reinterpret_cast<const T*>(data.data()), data.size() / sizeof(T)};
  }

  /// The elements as a copy, whatever the alignment. Throws MismatchError if `T` is not the tensor's type.
  template <class T>
  std::vector<T> copy() const {
    expect_type<T>();
    std::vector<T> values(data.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), data.data(), values.size() * sizeof(T));
    return values;
  }

 private:
  template <class T>
  void expect_type() const {
    constexpr Dtype expected = dtype_of<T>();
    if (dtype != expected && !(expected == Dtype::u8 && dtype == Dtype::boolean))
      throw MismatchError("tensor '" + name + "': expected dtype " + std::string(dtype_name(expected)) + ", found " +
                          std::string(dtype_name(dtype)));
  }
};

/// A tensor over values of the caller's, who keeps them alive.
template <class T>
Tensor make_tensor(std::string name, std::vector<std::int64_t> shape, std::span<const T> values) {
  Tensor tensor;
  tensor.name = std::move(name);
  tensor.dtype = dtype_of<T>();
  tensor.shape = std::move(shape);
  tensor.data = std::as_bytes(values);
  return tensor;
}

/// The `count` names that need the fewest insertions, deletions and replacements to become `name` (Levenshtein, 1966).
inline std::vector<std::string> nearest_names(std::string_view name, std::vector<std::string> names,
                                              std::size_t count) {
  const auto distance = [name](std::string_view other) {
    std::vector<std::size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < name.size(); ++i) {
      std::size_t diagonal = row[0]++;
      for (std::size_t j = 0; j < other.size(); ++j) {
        const std::size_t replaced = diagonal + (name[i] != other[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
      }
    }
    return row.back();
  };
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (std::string& other : names) {
    const std::size_t d = distance(other);
    ranked.emplace_back(d, std::move(other));
  }
  count = std::min(count, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count), ranked.end());
  std::vector<std::string> nearest;
  for (std::size_t i = 0; i < count; ++i) nearest.push_back(std::move(ranked[i].second));
  return nearest;
}

}  // namespace data2vec::inline v0
