// SPDX-License-Identifier: MIT
// Owned memory: zeroed, aligned to 64 bytes, allocated once. Large buffers ask the system for large pages: with pages of
// 4 KiB the walk over a weight's rows spends a tenth of a product's time on finding them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

namespace detail {

constexpr std::size_t large_page = std::size_t{2} << 20;

/// Memory of `bytes` bytes at a multiple of `alignment`: of large pages where it fills some and the system has them.
inline void* allocate(std::size_t bytes, std::size_t alignment) {
  if (alignment < large_page) return ::operator new(bytes, std::align_val_t{alignment});
  bytes = (bytes + large_page - 1) / large_page * large_page;
  void* const memory = ::operator new(bytes, std::align_val_t{alignment});
#if defined(MADV_HUGEPAGE)
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // advice: where it is not taken, nothing but time is lost
#endif
  return memory;
}

}  // namespace detail

/// `size` elements, zero at first. Throws std::bad_alloc.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size)
      : data_(static_cast<T*>(detail::allocate(size * sizeof(T), alignment(size))), Release{alignment(size)}),
        size_(size) {
    std::uninitialized_value_construct_n(data_.get(), size);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t size() const { return size_; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  T& operator[](std::size_t i) { return data_.get()[i]; }
  const T& operator[](std::size_t i) const { return data_.get()[i]; }

 private:
  struct Release {
    std::size_t alignment = 64;
    void operator()(T* p) const { ::operator delete(p, std::align_val_t{alignment}); }
  };
  static constexpr std::size_t alignment(std::size_t size) {
    return size * sizeof(T) >= 2 * detail::large_page ? detail::large_page : 64;
  }
  std::unique_ptr<T, Release> data_;
  std::size_t size_ = 0;
};

/// Whether a number is neither infinite nor NaN, by its bits: compilers may assume there are none.
constexpr bool is_finite(double x) { return (std::bit_cast<std::uint64_t>(x) >> 52 & 0x7FF) != 0x7FF; }
constexpr bool is_finite(float x) { return (std::bit_cast<std::uint32_t>(x) >> 23 & 0xFF) != 0xFF; }

}  // namespace data2vec::inline v0
