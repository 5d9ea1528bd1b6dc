// SPDX-License-Identifier: MIT
// .npy, the array file of NumPy (NEP 1, "A simple file format for NumPy arrays"), version 1.0: magic, header length, a
// Python dictionary (descr, fortran_order, shape) padded to a multiple of 64 bytes, then the raw row-major data.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/io/file.hpp>

namespace data2vec::inline v0 {

inline constexpr std::size_t npy_max_rank = 32;  ///< NumPy's own limit

/// The element types of a file: float (f4) and std::int32_t (i4), in the machine's byte order.
template <class T>
concept NpyElement = std::is_same_v<T, float> || std::is_same_v<T, std::int32_t>;

namespace detail {

template <NpyElement T>
std::string npy_descr() {
  return std::string(std::endian::native == std::endian::little ? "<" : ">") + (std::is_same_v<T, float> ? "f4" : "i4");
}

/// Elements of a shape; nothing if it has a negative size or more than memory can address.
inline std::optional<std::uint64_t> npy_elements(std::span<const std::int64_t> shape) {
  std::uint64_t count = 1;
  bool empty = false;
  for (const std::int64_t n : shape) {
    if (n < 0) return std::nullopt;
    empty = empty || n == 0;
    if (n > 0 && count > (std::uint64_t{1} << 60) / static_cast<std::uint64_t>(n)) return std::nullopt;
    if (n > 0) count *= static_cast<std::uint64_t>(n);
  }
  return empty ? 0 : count;
}

inline std::string npy_shape(std::span<const std::int64_t> shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

template <NpyElement T>
std::string npy_header(std::span<const std::int64_t> shape) {
  std::string text = "{'descr': '" + npy_descr<T>() + "', 'fortran_order': False, 'shape': " + npy_shape(shape) + ", }";
  text.resize((10 + text.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  text += '\n';
  std::string head("\x93NUMPY\x01\x00", 8);
  head += static_cast<char>(text.size() & 255);
  head += static_cast<char>(text.size() >> 8);
  return head + text;
}

}  // namespace detail

/// Writes an array of a known shape piece by piece; an existing file is replaced at commit(), once all elements are
/// there. Errors: MismatchError for a shape that cannot be, and for more or fewer elements than it has; FileError.
template <NpyElement T>
class NpyWriter {
 public:
  NpyWriter(std::string path, std::vector<std::int64_t> shape)
      : path_(std::move(path)), shape_(std::move(shape)), left_(expected()),
        file_(path_, detail::npy_header<T>(shape_).size() + left_ * sizeof(T)) {
    const std::string header = detail::npy_header<T>(shape_);
    file_.write(std::as_bytes(std::span(header)));
  }

  /// The next elements in row-major order.
  void write(std::span<const T> values) {
    if (values.size() > left_)
      throw MismatchError(path_ + ": expected " + std::to_string(left_) + " more elements of shape " +
                          detail::npy_shape(shape_) + ", found " + std::to_string(values.size()));
    file_.write(std::as_bytes(values));
    left_ -= values.size();
  }

  /// Puts the file in its place.
  void commit() {
    if (left_ != 0)
      throw MismatchError(path_ + ": expected an array of shape " + detail::npy_shape(shape_) + ", found " +
                          std::to_string(left_) + " elements too few");
    file_.commit();
  }

 private:
  std::uint64_t expected() const {
    const auto elements = detail::npy_elements(shape_);
    if (shape_.size() > npy_max_rank || !elements)
      throw MismatchError(path_ + ": expected a shape of at most " + std::to_string(npy_max_rank) +
                          " sizes of 0 or more and fewer than 2^60 elements, found " + detail::npy_shape(shape_));
    return *elements;
  }

  std::string path_;
  std::vector<std::int64_t> shape_;
  std::uint64_t left_;  // elements to come
  AtomicFile file_;
};

/// Writes a whole array.
template <NpyElement T>
void write_npy(const std::string& path, std::vector<std::int64_t> shape, std::span<const T> values) {
  NpyWriter<T> writer(path, std::move(shape));
  writer.write(values);
  writer.commit();
}

/// An array in memory, row-major.
template <NpyElement T>
struct NpyArray {
  std::vector<std::int64_t> shape;
  std::vector<T> values;
};

namespace detail {

/// What stands behind `'key':` in the header, without blanks before it.
inline std::string_view npy_value(const std::string& file, std::string_view header, const std::string& key) {
  const std::size_t at = header.find("'" + key + "':");
  if (at == header.npos) throw FileError(file, "header: expected the key '" + key + "', found none");
  std::string_view rest = header.substr(at + key.size() + 3);
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  return rest;
}

inline std::vector<std::int64_t> npy_parse_shape(const std::string& file, std::string_view text) {
  const auto broken = [&] { return FileError(file, "shape: expected a tuple of whole numbers, found another text"); };
  std::vector<std::int64_t> shape;
  if (text.empty() || text.front() != '(') throw broken();
  for (std::size_t i = 1;; ++i) {
    while (i < text.size() && text[i] == ' ') ++i;
    if (i < text.size() && text[i] == ')') return shape;
    std::int64_t n = 0;
    const std::size_t first = i;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && i - first < 18; ++i) n = 10 * n + (text[i] - '0');
    if (i == first || i >= text.size() || shape.size() == npy_max_rank) throw broken();
    shape.push_back(n);
    if (text[i] == ')') return shape;
    if (text[i] != ',') throw broken();
  }
}

}  // namespace detail

/// The array in the bytes of a file; `file` is its name in errors. Reads what NpyWriter writes: version 1.0, row-major,
/// elements of type T in the machine's byte order. Throws FileError for anything else.
template <NpyElement T>
NpyArray<T> parse_npy(std::span<const std::byte> bytes, const std::string& file = "memory") {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.substr(0, 6) != "\x93NUMPY") throw FileError(file, "start: expected the magic bytes of .npy, found others");
  if (text.size() < 10)
    throw FileError(file, "truncated: expected 10 bytes or more, found " + std::to_string(text.size()));
  if (text[6] != 1 || text[7] != 0)
    throw FileError(file, "version: expected 1.0, found " + std::to_string(static_cast<unsigned char>(text[6])) + "." +
                              std::to_string(static_cast<unsigned char>(text[7])));
  const std::size_t length = static_cast<unsigned char>(text[8]) + 256u * static_cast<unsigned char>(text[9]);
  if (text.size() < 10 + length)
    throw FileError(file, "truncated: expected a header of " + std::to_string(length) + " bytes, found " +
                              std::to_string(text.size() - 10));
  const std::string_view header = text.substr(10, length);
  const std::string descr = "'" + detail::npy_descr<T>() + "'";
  if (const auto found = detail::npy_value(file, header, "descr"); !found.starts_with(descr))
    throw FileError(file, "descr: expected " + descr + ", found " + std::string(found.substr(0, found.find(','))));
  if (!detail::npy_value(file, header, "fortran_order").starts_with("False"))
    throw FileError(file, "fortran_order: expected False, found another order");
  NpyArray<T> array{detail::npy_parse_shape(file, detail::npy_value(file, header, "shape")), {}};
  const std::span<const std::byte> data = bytes.subspan(10 + length);
  const auto elements = detail::npy_elements(array.shape);
  if (!elements || *elements * sizeof(T) != data.size())
    throw FileError(file, "data: expected the bytes of shape " + detail::npy_shape(array.shape) + ", found " +
                              std::to_string(data.size()) + " bytes");
  array.values.resize(static_cast<std::size_t>(*elements));
  if (!data.empty()) std::memcpy(array.values.data(), data.data(), data.size());
  return array;
}

/// The array of a file.
template <NpyElement T>
NpyArray<T> read_npy(const std::string& path) {
  return parse_npy<T>(read_file(path), path);
}

}  // namespace data2vec::inline v0
