// SPDX-License-Identifier: MIT
// IDX, the format of MNIST and its kin (http://yann.lecun.com/exdb/mnist, "file formats"): big-endian magic number and
// extents, then bytes. Plain or gzip, told apart by the first bytes and not by the name.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <zlib.h>

#include <data2vec/core/error.hpp>
#include <data2vec/io/file.hpp>

namespace data2vec::inline v0 {

/// Grey images: `pixels[(i * rows + y) * cols + x]`, 0 to 255.
struct IdxImages {
  int count = 0, rows = 0, cols = 0;
  std::vector<std::uint8_t> pixels;
};

/// Images with one label each.
struct IdxSet {
  IdxImages images;
  std::vector<std::uint8_t> labels;
};

/// A training and a test set of images of one size.
struct IdxDataset {
  IdxSet train, test;
};

namespace detail {

/// The content of a file, inflated on the way if it is gzip (RFC 1952; several members in a row are one content).
class IdxSource {
 public:
  explicit IdxSource(const std::string& path) : path_(path), bytes_(read_file(path)) {
    gzip_ = bytes_.size() >= 2 && bytes_[0] == std::byte{0x1f} && bytes_[1] == std::byte{0x8b};
    if (!gzip_) return;
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw FileError(path_, "zlib: cannot start to inflate");
  }

  IdxSource(const IdxSource&) = delete;
  IdxSource& operator=(const IdxSource&) = delete;
  ~IdxSource() {
    if (gzip_) inflateEnd(&stream_);
  }

  /// Most bytes of content that can follow: deflate shrinks by less than 1032 to 1 (zlib, "Technical details").
  std::uint64_t at_most() const { return gzip_ ? std::uint64_t{bytes_.size()} * 1032 : bytes_.size() - offset_; }

  /// The next bytes of content, as many as there are.
  std::size_t read_some(std::span<std::uint8_t> to) {
    std::size_t count = 0;
    if (gzip_) {
      while (count < to.size() && !ended_) count += inflate_some(to.subspan(count));
    } else {
      count = std::min(to.size(), bytes_.size() - static_cast<std::size_t>(offset_));
      std::transform(bytes_.begin() + static_cast<std::ptrdiff_t>(offset_),
                     bytes_.begin() + static_cast<std::ptrdiff_t>(offset_ + count), to.begin(),
                     [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
    }
    offset_ += count;
    return count;
  }

  /// Exactly `to.size()` bytes; `what` names them in the error.
  void read(std::span<std::uint8_t> to, const char* what) {
    const std::uint64_t start = offset_;
    const std::size_t count = read_some(to);
    if (count != to.size()) truncated(what, start, to.size(), count);
  }

  [[noreturn]] void truncated(const char* what, std::uint64_t start, std::uint64_t expected, std::uint64_t count) {
    throw FileError(path_, "truncated at offset " + std::to_string(start + count) + ": expected " +
                               std::to_string(expected) + " bytes of " + what + ", found " + std::to_string(count));
  }

  std::uint32_t read_u32(const char* what) {
    std::array<std::uint8_t, 4> b{};
    read(b, what);
    return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
  }

  /// Throws if content is left; for gzip this also checks the sum at the end.
  void expect_end() {
    std::array<std::uint8_t, 1> extra{};
    const std::uint64_t end = offset_;
    if (read_some(extra) != 0)
      throw FileError(path_, "trailing bytes at offset " + std::to_string(end) + ": expected the end, found more data");
  }

  std::uint64_t offset() const { return offset_; }

 private:
  std::size_t inflate_some(std::span<std::uint8_t> to) {
    constexpr std::size_t piece = 1u << 30;  // zlib counts in 32 bits
    const std::size_t left = bytes_.size() - consumed_;
    stream_.next_in = reinterpret_cast<Bytef*>(bytes_.data() + consumed_);
    stream_.avail_in = static_cast<uInt>(std::min(left, piece));
    stream_.next_out = to.data();
    stream_.avail_out = static_cast<uInt>(std::min(to.size(), piece));
    const uInt in_before = stream_.avail_in, out_before = stream_.avail_out;
    const int status = inflate(&stream_, Z_NO_FLUSH);
    consumed_ += in_before - stream_.avail_in;
    const std::size_t made = out_before - stream_.avail_out;
    const std::string where = " at byte " + std::to_string(consumed_) + " of the compressed file";
    if (status == Z_STREAM_END) {
      const bool another = bytes_.size() - consumed_ >= 2 && bytes_[consumed_] == std::byte{0x1f} &&
                           bytes_[consumed_ + 1] == std::byte{0x8b};
      if (another) {
        inflateReset(&stream_);
      } else if (consumed_ != bytes_.size()) {
        throw FileError(path_, "gzip: trailing bytes" + where + ": expected the end of the file, found " +
                                   std::to_string(bytes_.size() - consumed_) + " more");
      } else {
        ended_ = true;
      }
    } else if (status == Z_BUF_ERROR || (status == Z_OK && made == 0 && consumed_ == bytes_.size())) {
      throw FileError(path_, "gzip: truncated" + where + ": expected more compressed data, found the end of the file");
    } else if (status != Z_OK) {
      const std::string message = stream_.msg ? stream_.msg : "unknown error";
      const bool sum = message == "incorrect data check" || message == "incorrect length check";
      throw FileError(path_, sum ? "gzip: wrong checksum" + where + ": expected that of the content, found another"
                                 : "gzip: corrupt data" + where + ": expected a deflate stream, found: " + message);
    }
    return made;
  }

  std::string path_;
  std::vector<std::byte> bytes_;
  std::uint64_t offset_ = 0;   // in the content
  std::size_t consumed_ = 0;   // of the compressed bytes
  z_stream stream_{};
  bool gzip_ = false, ended_ = false;
};

inline std::string hex(std::uint32_t value) {
  std::string text = "0x00000000";
  for (std::size_t i = 9; i >= 2; --i, value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

inline void expect_magic(const std::string& path, IdxSource& source, std::uint32_t expected, const char* of) {
  const std::uint32_t magic = source.read_u32("magic number");
  if (magic != expected)
    throw FileError(path, "magic number at offset 0: expected " + hex(expected) + " (" + of + "), found " + hex(magic));
}

inline int read_extent(const std::string& path, IdxSource& source, const char* what) {
  const std::uint64_t offset = source.offset();
  const std::uint32_t extent = source.read_u32(what);
  if (extent < 1 || extent > static_cast<std::uint32_t>(std::numeric_limits<int>::max()))
    throw FileError(path, std::string(what) + " at offset " + std::to_string(offset) +
                              ": expected 1 to 2^31 - 1, found " + std::to_string(extent));
  return static_cast<int>(extent);
}

/// `size` bytes, and nothing after them. Memory is asked for only if the file can hold so much, and for a gzip file as
/// the content comes: a wrong number in a header of some bytes must not take all memory.
inline std::vector<std::uint8_t> read_payload(IdxSource& source, std::uint64_t size, const char* what) {
  const std::uint64_t start = source.offset();
  if (size > source.at_most()) source.truncated(what, start, size, source.at_most());
  std::vector<std::uint8_t> payload;
  for (std::uint64_t step = std::uint64_t{1} << 24; payload.size() < size; step = payload.size()) {
    const std::size_t done = payload.size();
    payload.resize(static_cast<std::size_t>(std::min(size, done + step)));
    const std::size_t count = source.read_some(std::span(payload).subspan(done));
    if (done + count != payload.size()) source.truncated(what, start, size, done + count);
  }
  source.expect_end();
  return payload;
}

}  // namespace detail

/// Reads a file of images (magic number 0x00000803). Throws FileError with file, offset, expected and found.
inline IdxImages read_idx_images(const std::string& path) {
  detail::IdxSource source(path);
  detail::expect_magic(path, source, 0x803, "images");
  IdxImages images;
  images.count = detail::read_extent(path, source, "number of images");
  images.rows = detail::read_extent(path, source, "rows");
  images.cols = detail::read_extent(path, source, "columns");
  std::uint64_t size = std::uint64_t(images.count) * std::uint64_t(images.rows);  // both below 2^31
  if (__builtin_mul_overflow(size, std::uint64_t(images.cols), &size)) size = std::numeric_limits<std::uint64_t>::max();
  images.pixels = detail::read_payload(source, size, "pixels");
  return images;
}

/// Reads a file of labels (magic number 0x00000801). Throws FileError with file, offset, expected and found.
inline std::vector<std::uint8_t> read_idx_labels(const std::string& path) {
  detail::IdxSource source(path);
  detail::expect_magic(path, source, 0x801, "labels");
  const int count = detail::read_extent(path, source, "number of labels");
  return detail::read_payload(source, static_cast<std::uint64_t>(count), "labels");
}

namespace detail {

inline std::string find_idx(const std::string& directory, const std::string& name) {
  const auto path = std::filesystem::path(directory) / name;
  std::error_code error;
  for (const char* ending : {"", ".gz"})
    if (std::filesystem::exists(path.string() + ending, error)) return path.string() + ending;
  throw FileError(directory, "expected a file " + name + " or " + name + ".gz, found neither");
}

inline IdxSet read_idx_set(const std::string& directory, const std::string& part) {
  const std::string images = find_idx(directory, part + "-images-idx3-ubyte");
  const std::string labels = find_idx(directory, part + "-labels-idx1-ubyte");
  IdxSet set{read_idx_images(images), read_idx_labels(labels)};
  if (set.labels.size() != static_cast<std::size_t>(set.images.count))
    throw FileError(labels, "number of labels: expected " + std::to_string(set.images.count) + " as in " + images +
                                ", found " + std::to_string(set.labels.size()));
  return set;
}

}  // namespace detail

/// Reads a folder with the standard names `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-...`, each with
/// or without `.gz`. Throws FileError; the number of labels and the size of the test images are checked.
inline IdxDataset read_idx_dataset(const std::string& directory) {
  IdxDataset data{detail::read_idx_set(directory, "train"), detail::read_idx_set(directory, "t10k")};
  const IdxImages &train = data.train.images, &test = data.test.images;
  if (train.rows != test.rows || train.cols != test.cols)
    throw FileError(directory, "size of the test images: expected " + std::to_string(train.rows) + " x " +
                                   std::to_string(train.cols) + " as in training, found " + std::to_string(test.rows) +
                                   " x " + std::to_string(test.cols));
  return data;
}

}  // namespace data2vec::inline v0
